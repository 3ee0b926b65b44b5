"""Masks of every kind, always the same."""

import numpy as np

from napari_mtm import Session
from napari_mtm.masking.assorted import assorted_masks


def session_of(*regions: str, bins: int = 20) -> Session:
    return Session.from_counts(np.zeros((4, bins, len(regions)), np.uint8), list(regions))


def test_each_kind_is_there_and_the_last_hides_everything():
    session = session_of(*["CA1"] * 5, *["PO"] * 3, *["DG"] * 4)
    masks = assorted_masks(session)
    regions = session.units["region"].to_numpy()
    assert len(masks) == 13
    for k in range(0, 12, 4):
        inside, outside, some, later = (mask.hidden for mask in masks[k : k + 4])
        for hidden in (inside, ~outside):
            units = hidden[0]
            assert (hidden == units).all()
            assert len(set(regions[units])) == 1
            assert (regions[units][0] == regions).sum() == units.sum()
        assert (some == some[0]).all()
        assert (later == later[:, :1]).all()
        assert not later[: session.n_bins // 3].any()
        assert later[-1].all()
    assert masks[-1].hidden.all()


def test_they_follow_from_the_seed_alone():
    session = session_of("CA1", "CA1", "PO", "PO")
    first, again, other = (
        np.array([mask.hidden for mask in assorted_masks(session, seed)]) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_of_one_unit_in_one_bin():
    masks = assorted_masks(session_of("CA1", bins=1))
    assert len(masks) == 13
    assert masks[0].hidden.all()
    assert not masks[1].hidden.any()
