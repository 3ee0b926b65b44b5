"""Spikes come with any cluster ids; what is made of them does not depend on how high these are."""

import tracemalloc

import numpy as np
import pytest

from napari_mtm import Session, save_session
from napari_mtm.errors import SourceError
from napari_mtm.recording.spikes import mean_rates, spikes_per_cluster
from napari_mtm.recording.store import open_store

HIGH = [3, 10_000_000, 9_876_543_210, 2**53, 2**53 + 1, 2**63 - 1]


def some_spikes():
    """Times in order, and which of six clusters each of them is of."""
    rng = np.random.default_rng(5)
    times = np.sort(rng.uniform(0, 20, 3000))
    return times, np.append(np.arange(6), rng.integers(0, 6, 2994))


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ([0, 1, 2, 3, 4, 10_000_000], "uint32"),
        (HIGH, "int64"),
        (HIGH, "uint64"),
        (HIGH, ">i8"),
        (HIGH, ">u8"),
    ],
)
def test_high_cluster_ids_keep_their_names_and_cost_no_memory(ids, kind, tmp_path):
    times, which = some_spikes()
    expected = Session.from_spikes(times, which, id="s")
    tracemalloc.start()
    session = Session.from_spikes(times, np.array(ids, dtype=kind)[which], id="s")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    assert session.units["cluster"].tolist() == ids
    assert session.units["uuid"].tolist() == [f"s/{id}" for id in ids]
    np.testing.assert_array_equal(session.counts, expected.counts)
    np.testing.assert_array_equal(session.units["firing_rate"], expected.units["firing_rate"])
    save_session(session, tmp_path / "s.mtm")
    assert open_store(tmp_path / "s.mtm") == session


def test_regions_and_depths_are_found_by_high_ids():
    times, which = some_spikes()
    session = Session.from_spikes(
        times,
        np.array(HIGH, dtype=np.uint64)[which],
        regions={2**63 - 1: "CA1", 2**53 + 1: "LP"},
        depths={2**63 - 1: 70.0},
    )
    assert session.units["region"].tolist() == ["CA1", "LP", *["unknown"] * 4]
    assert session.units["cluster"].tolist()[:2] == [2**63 - 1, 2**53 + 1]
    assert session.units["depth"].tolist()[0] == 70


def test_ids_that_no_signed_integer_holds_are_refused():
    with pytest.raises(SourceError, match=r"cluster 18446744073709551615; ids end at 2\*\*63 - 1"):
        Session.from_spikes(np.arange(2.0), np.array([-1, 4]).astype(np.uint64))


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint32", ">u4", "int64", "uint64", ">u8"])
def test_spikes_per_cluster(kind):
    number = spikes_per_cluster(np.array([7, 2, 7, 120, 7], dtype=kind))
    assert number.to_dict() == {2: 1, 7: 3, 120: 1}
    assert number.index.tolist() == [2, 7, 120]
    assert number.index.dtype == np.int64
    assert len(spikes_per_cluster(np.empty(0, dtype=kind))) == 0


def test_rates_are_over_the_time_from_the_first_spike_to_the_last():
    times = np.array([5.0, 3.0, 4.0, 7.0])
    rates = mean_rates(times, np.array([1, 1, 2**40, 1]), np.array([1, 0, 2**40]))
    assert rates.tolist() == [0.75, 0, 0.25]
    assert mean_rates(times[:1], np.array([1]), np.array([1])).tolist() == [0]
    assert mean_rates(np.zeros(2), np.array([1, 1]), np.array([1])).tolist() == [0]
