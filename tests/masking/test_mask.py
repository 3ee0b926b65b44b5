"""Masks: what they hide and score, which task they are, how they combine and what they say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_mtm import Session
from napari_mtm.errors import MaskError, MtmError
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import FORWARD_SECONDS, TASK_OF_SCORE, TASKS

SESSION = Session.from_counts(
    np.zeros((3, 100, 6)), ["VISa", "VISa", "CA1", "CA1", "CA1", "LP"], id="s"
)
ONE_REGION = Session.from_counts(np.zeros((3, 100, 3)), ["CA1"] * 3)
ONE_UNIT = Session.from_counts(np.zeros((3, 100, 1)), ["CA1"])
MANY_REGIONS = Session.from_counts(np.zeros((3, 100, 5)), ["VISa", "CA1", "DG", "LP", "PO"])

VISA, CA1, LP = [0, 1], [2, 3, 4], [5]


def rasters(session: Session = SESSION) -> st.SearchStrategy[np.ndarray]:
    """Rasters of any kind; whole units and whole bins are drawn often."""
    shape = (session.n_bins, session.n_units)
    kinds = [(1, shape[1]), (shape[0], 1), shape]
    return st.one_of([arrays(bool, k).map(lambda a: np.broadcast_to(a, shape)) for k in kinds])


@st.composite
def masks(draw, session: Session = SESSION) -> Mask:
    hidden = draw(rasters(session))
    scored = hidden & draw(st.one_of(st.just(hidden), rasters(session)))
    return Mask.from_array(session, hidden, scored)


def some_units(session: Session) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, session.n_units - 1), min_size=1, unique=True)


def hidden_units(mask: Mask) -> list[int]:
    """Indices of the hidden units of a mask that hides whole units."""
    assert (mask.hidden == mask.hidden[0]).all()
    return np.flatnonzero(mask.hidden[0]).tolist()


def scored_units(mask: Mask) -> list[int]:
    assert (mask.scored == mask.scored[0]).all()
    return np.flatnonzero(mask.scored[0]).tolist()


def test_sessions_are_as_these_tests_take_them():
    regions = np.array(SESSION.units["region"].tolist())
    for name, units in {"VISa": VISA, "CA1": CA1, "LP": LP}.items():
        assert np.flatnonzero(regions == name).tolist() == units


def test_tasks_are_in_the_published_order():
    assert TASKS == ("neuron", "causal", "inter-region", "intra-region")
    assert set(TASK_OF_SCORE.values()) == set(TASKS)


# What the constructors hide and score


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (3, [3]),
        (np.int64(3), [3]),
        ([4, 0], [0, 4]),
        (np.array([0, 4], dtype=np.uint8), [0, 4]),
        ([True, False, False, False, True, False], [0, 4]),
        ("s/3", [3]),
        (["s/4", "s/0", "s/4"], [0, 4]),
        (SESSION.units["uuid"].iloc[[0, 4]], [0, 4]),
        ([], []),
    ],
)
def test_neurons_are_chosen_by_index_boolean_or_uuid(units, expected):
    mask = Mask.neurons(SESSION, units)
    assert hidden_units(mask) == scored_units(mask) == expected


def test_uuids_follow_the_anatomical_order_of_units():
    session = Session.from_counts(np.zeros((1, 5, 3)), ["LP", "VISa", "CA1"], id="t")
    assert hidden_units(Mask.neurons(session, "t/0")) == [2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("CA1", CA1), ("LP", LP), (["VISa", "LP"], [0, 1, 5]), ({"CA1"}, CA1), (iter(["LP"]), LP)],
)
def test_region_hides_whole_regions(name, expected):
    mask = Mask.region(SESSION, name)
    assert hidden_units(mask) == scored_units(mask) == expected


def test_within_region_hides_the_rest_and_scores_its_units():
    mask = Mask.within_region(SESSION, "CA1", [3])
    assert hidden_units(mask) == [0, 1, 3, 5]
    assert scored_units(mask) == [3]
    assert mask == Mask.within_region(SESSION, "CA1", "s/3")


def test_within_region_draws_30_percent_from_a_seed():
    big = Session.from_counts(np.zeros((1, 5, 24)), ["CA1"] * 20 + ["LP"] * 4)
    draws = [scored_units(Mask.within_region(big, "CA1", seed=seed)) for seed in range(5)]
    assert all(len(units) == 6 and max(units) < 20 for units in draws)
    assert len({tuple(units) for units in draws}) > 1
    assert Mask.within_region(big, "CA1", seed=3) == Mask.within_region(big, "CA1", seed=3)
    assert Mask.within_region(big, "CA1") == Mask.within_region(big, "CA1", seed=0)
    assert scored_units(Mask.within_region(SESSION, "LP")) == LP


@pytest.mark.parametrize(
    ("start", "first"),
    [(None, 90), (1.3, 90), (0.1, 30), (0.11, 30), (1.48, 99), (1.4999, 99), (-0.5, 0)],
)
def test_forward_hides_all_units_from_a_time_on(start, first):
    mask = Mask.forward(SESSION, start)
    expected = np.repeat(np.arange(100)[:, None] >= first, 6, axis=1)
    np.testing.assert_array_equal(mask.hidden, expected)
    np.testing.assert_array_equal(mask.scored, expected)


@given(st.integers(0, 99))
def test_forward_from_the_edge_of_a_bin_begins_with_that_bin(first):
    for start in (SESSION.window[0] + first * SESSION.bin_size, -0.5 + first / 50):
        assert Mask.forward(SESSION, start).hidden.all(axis=1).sum() == 100 - first


def test_forward_hides_the_last_200_ms_whatever_the_bins():
    session = Session.from_counts(np.zeros((1, 40, 2)), ["CA1"] * 2, bin_size=0.05)
    hidden = Mask.forward(session).hidden.all(axis=1)
    assert hidden.sum() * session.bin_size == pytest.approx(FORWARD_SECONDS)
    assert hidden[-4:].all()


@pytest.mark.parametrize("shape", [(100, 6), (6,), (1, 6), (100, 1)])
def test_arrays_are_spread_over_bins_and_units(shape):
    array = np.random.default_rng(0).random(shape) < 0.5
    mask = Mask.from_array(SESSION, array)
    np.testing.assert_array_equal(mask.hidden, np.broadcast_to(array, (100, 6)))
    np.testing.assert_array_equal(mask.scored, mask.hidden)
    assert Mask.from_array(SESSION, array.astype(float)) == mask


def test_part_of_an_array_may_be_scored():
    mask = Mask.from_array(SESSION, np.ones(6, bool), scored=[[1, 0, 0, 0, 0, 1]])
    assert mask.hidden.all()
    assert scored_units(mask) == [0, 5]


def test_nothing_hides_nothing():
    mask = Mask.nothing(SESSION)
    assert mask.fraction == 0
    assert not mask.scored.any()


def test_fraction_is_the_share_that_is_hidden():
    assert Mask.region(SESSION, "CA1").fraction == pytest.approx(3 / 6)
    assert Mask.forward(SESSION).fraction == pytest.approx(0.1)


def test_masks_remember_regions_and_times():
    mask = Mask.region(SESSION, "LP")
    assert mask.regions == ("VISa", "VISa", "CA1", "CA1", "CA1", "LP")
    assert (mask.window, mask.bin_size) == ((-0.5, 1.5), 0.02)


def test_masks_do_not_change():
    array = np.zeros((100, 6), dtype=bool)
    mask = Mask.from_array(SESSION, array)
    array[:] = True
    assert not mask.hidden.any()
    for part in (mask.hidden, mask.scored):
        with pytest.raises(ValueError, match="read-only"):
            part[0, 0] = True


# Tasks


@given(some_units(SESSION).filter(lambda units: len(units) < 6))
def test_neurons_are_the_neuron_task(units):
    assert Mask.neurons(SESSION, units).task == "neuron"


@pytest.mark.parametrize("name", ["VISa", "CA1", "LP"])
def test_one_region_is_the_inter_region_task(name):
    assert Mask.region(SESSION, name).task == "inter-region"


@given(st.data())
def test_within_region_is_the_intra_region_task(data):
    region = data.draw(st.sampled_from([VISA, CA1]))
    units = data.draw(st.lists(st.sampled_from(region), min_size=1, max_size=len(region) - 1))
    name = SESSION.units["region"][region[0]]
    assert Mask.within_region(SESSION, name, units).task == "intra-region"


@given(st.integers(1, 99))
def test_forward_is_the_causal_task(first):
    assert Mask.forward(SESSION, -0.5 + first * 0.02).task == "causal"


@pytest.mark.parametrize("session", [SESSION, ONE_REGION, ONE_UNIT])
def test_hiding_nothing_or_all_bins_is_no_task(session):
    assert Mask.nothing(session).task is None
    assert Mask.neurons(SESSION, []).task is None
    assert Mask.forward(session, session.window[0]).task in {
        None,
        # The only unit there is lies alone in its region.
        "intra-region" if session is ONE_UNIT else None,
    }


def test_a_unit_alone_in_its_region_is_what_was_asked():
    arrays_alike = [
        (Mask.region(SESSION, "LP"), "inter-region"),
        (Mask.neurons(SESSION, LP), "neuron"),
        (Mask.from_array(SESSION, np.arange(6) == 5), "inter-region"),
    ]
    for mask, task in arrays_alike:
        assert hidden_units(mask) == LP
        assert mask.task == mask.prompt == task
    assert arrays_alike[0][0] != arrays_alike[1][0]
    assert arrays_alike[0][0] == arrays_alike[2][0]


def test_a_unit_alone_in_its_region_may_leave_nothing_visible():
    mask = Mask.within_region(SESSION, "LP", LP)
    assert mask.hidden.all()
    assert scored_units(mask) == LP
    assert mask.task == mask.prompt == "intra-region"
    assert Mask.within_region(SESSION, "CA1", CA1).task is None


def test_in_a_session_of_one_region_units_are_what_was_asked():
    assert Mask.neurons(ONE_REGION, [0]).task == "neuron"
    assert Mask.within_region(ONE_REGION, "CA1", [0]).task == "intra-region"
    assert Mask.from_array(ONE_REGION, [1, 0, 0]).task == "neuron"
    assert Mask.region(ONE_REGION, "CA1").task is None
    assert Mask.forward(ONE_REGION).task == "causal"


def test_the_only_unit_of_a_session_is_within_its_region():
    assert Mask.within_region(ONE_UNIT, "CA1").task == "intra-region"
    assert Mask.forward(ONE_UNIT).task == "causal"


def test_several_regions_are_so_many_neurons():
    assert Mask.region(SESSION, ["CA1", "LP"]).task == "neuron"


def test_masks_that_are_no_task():
    later = Mask.forward(SESSION)
    earlier = ~later
    only_part_scored = Mask.from_array(SESSION, [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0])
    last_bin_of_one = np.zeros((100, 6), bool)
    last_bin_of_one[99, 2] = True
    rest_scored = Mask.from_array(SESSION, [1, 1, 1, 0, 0, 1], [1, 0, 1, 0, 0, 0])
    unscored_inside = Mask.from_array(SESSION, [1, 1, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0])
    gap = np.zeros((100, 1), bool)
    gap[[50, 99]] = True
    for mask in [
        earlier,
        only_part_scored,
        Mask.from_array(SESSION, last_bin_of_one),
        rest_scored,
        unscored_inside,
        Mask.from_array(SESSION, gap),
        Mask.within_region(SESSION, "CA1", []),
        later | Mask.region(SESSION, "CA1"),
    ]:
        assert mask.task is None


def test_what_combines_into_a_task_is_that_task():
    visa = Mask.neurons(SESSION, 0) | Mask.neurons(SESSION, 1)
    assert visa.asked is None
    assert visa.task == "inter-region"
    assert (~Mask.neurons(SESSION, [0])).task == "neuron"
    both = Mask.forward(SESSION, 0.0) & Mask.forward(SESSION, 1.0)
    assert both == Mask.forward(SESSION, 1.0)


@pytest.mark.parametrize(
    ("mask", "prompt"),
    [
        (Mask.forward(SESSION) | Mask.region(SESSION, "CA1"), "inter-region"),
        (Mask.forward(SESSION) | Mask.neurons(SESSION, [2, 3]), "causal"),
        (Mask.forward(SESSION) & Mask.region(SESSION, "CA1"), "neuron"),
        (~Mask.forward(SESSION), "neuron"),
        (Mask.nothing(SESSION), "neuron"),
        (Mask.region(ONE_REGION, "CA1"), "inter-region"),
        (Mask.neurons(SESSION, [2]), "neuron"),
        (Mask.within_region(SESSION, "CA1", [2]), "intra-region"),
    ],
)
def test_every_mask_has_a_prompt(mask, prompt):
    assert mask.prompt == prompt


@given(masks())
def test_prompt_is_the_task_where_there_is_one(mask):
    assert mask.prompt in TASKS
    assert mask.task in (None, mask.prompt)


# Combining


@given(masks(), masks())
def test_de_morgan(one, other):
    np.testing.assert_array_equal((~(one | other)).hidden, (~one & ~other).hidden)
    assert ~(one & other) == ~one | ~other


@given(masks(), masks())
def test_combining_is_by_entry(one, other):
    for mask, combine in [(one | other, np.logical_or), (one & other, np.logical_and)]:
        np.testing.assert_array_equal(mask.hidden, combine(one.hidden, other.hidden))
        np.testing.assert_array_equal(mask.scored, combine(one.scored, other.scored))
    assert (one | other) == (other | one)
    assert (one & other) == (other & one)


@given(masks(), masks())
def test_only_what_is_hidden_is_scored(one, other):
    for mask in (one, one | other, one & other, ~one):
        assert not (mask.scored & ~mask.hidden).any()
        assert mask.asked is None


@given(masks())
def test_not_turns_round_what_is_hidden_and_scores_it(mask):
    np.testing.assert_array_equal((~mask).hidden, ~mask.hidden)
    np.testing.assert_array_equal((~mask).scored, ~mask.hidden)
    np.testing.assert_array_equal((~~mask).hidden, mask.hidden)


@given(masks())
def test_arrays_make_the_same_mask_again(mask):
    assert Mask.from_array(SESSION, mask.hidden, mask.scored) == mask
    nothing = Mask.nothing(SESSION)
    assert mask | nothing == mask & mask == mask
    assert mask & nothing == nothing


def test_equality_looks_at_everything():
    mask = Mask.region(SESSION, "CA1")
    assert mask == Mask.neurons(SESSION, CA1) | Mask.nothing(SESSION)
    assert mask != Mask.neurons(SESSION, CA1)
    assert mask != Mask.from_array(SESSION, mask.hidden, np.zeros(6))
    assert mask != "CA1"
    coarse = Session.from_counts(SESSION.counts, list(mask.regions), bin_size=0.05)
    assert mask != Mask.region(coarse, "CA1")


def test_masks_of_different_sessions_do_not_combine():
    mask = Mask.nothing(SESSION)
    regions = list(mask.regions)

    def other(regions=regions, **about) -> Mask:
        return Mask.nothing(Session.from_counts(SESSION.counts, regions, **({"id": "s"} | about)))

    others = {
        "shape": Mask.nothing(Session.from_counts(np.zeros((1, 50, 6)), regions, id="s")),
        "units": other(id="another"),
        "regions": other(["CA1"] * 6),
        "window": other(window=(0.0, 2.0)),
        "bin width": replace(mask, bin_size=0.05),
    }
    for part, other in others.items():
        for combine in (Mask.__or__, Mask.__and__):
            with pytest.raises(MaskError, match=f"these differ in their {part}"):
                combine(mask, other)
    for combine in (Mask.__or__, Mask.__and__):
        assert combine(mask, "CA1") is NotImplemented


# Words


BLOCK = np.zeros((100, 6), bool)
BLOCK[10:40, 2:6] = True
DOT = np.zeros((100, 6), bool)
DOT[7, 0] = True


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Mask.nothing(SESSION), "nothing"),
        (~Mask.nothing(SESSION), "everything"),
        (Mask.region(SESSION, "CA1"), "all 3 units of CA1"),
        (Mask.region(SESSION, "LP"), "the only unit of LP"),
        (Mask.region(SESSION, ["CA1", "LP"]), "CA1 and LP (4 units)"),
        (Mask.region(MANY_REGIONS, ["CA1", "DG", "LP"]), "CA1, DG and LP (3 units)"),
        (Mask.region(MANY_REGIONS, ["VISa", "CA1", "DG", "LP"]), "4 regions (4 units)"),
        (Mask.neurons(SESSION, [0, 2, 3]), "3 units"),
        (Mask.neurons(SESSION, [3, 2]), "2 units of CA1"),
        (Mask.neurons(SESSION, 0), "1 unit of VISa"),
        (Mask.forward(SESSION), "the last 200 ms of all units"),
        (Mask.forward(SESSION, 0.0), "the last 1500 ms of all units"),
        (
            Mask.within_region(SESSION, "CA1", [2, 3]),
            "everything outside CA1, and 2 of its 3 units",
        ),
        (Mask.within_region(SESSION, "LP"), "everything outside LP, and its only unit"),
        (Mask.within_region(ONE_REGION, "CA1", [0]), "1 unit of CA1"),
        (Mask.within_region(SESSION, "CA1", []), "VISa and LP (3 units), of which 0% is scored"),
        (Mask.from_array(SESSION, BLOCK), "20% of the raster, in CA1 and LP"),
        (Mask.from_array(SESSION, DOT), "less than 1% of the raster, in VISa"),
        (~Mask.from_array(SESSION, DOT), "more than 99% of the raster"),
        (
            Mask.from_array(SESSION, [0, 0, 1, 1, 1, 1], BLOCK),
            "CA1 and LP (4 units), of which 30% is scored",
        ),
        (
            Mask.from_array(SESSION, np.ones(6), np.arange(6) > 2),
            "everything, of which 50% is scored",
        ),
    ],
)
def test_masks_say_what_they_hide(mask, words):
    assert mask.describe() == words
    assert repr(mask) == f"<Mask: {words}>"


@given(masks())
def test_every_mask_can_be_described(mask):
    assert (mask.describe() == "nothing") == (not mask.hidden.any())
    assert mask.describe().startswith("everything") == bool(
        mask.hidden.all() or mask.task == "intra-region"
    )


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Mask.region(SESSION, "PO"),
            "Session s has no region 'PO'; there are VISa, CA1, LP",
        ),
        (lambda: Mask.region(SESSION, ["CA1", "ca1"]), "no region 'ca1'"),
        (lambda: Mask.within_region(SESSION, "PO", [1]), "no region 'PO'"),
        (lambda: Mask.within_region(SESSION, "CA1", [2, 5]), "Unit 5 lies in LP, not in CA1"),
        (
            lambda: Mask.neurons(SESSION, 6),
            "Units of session s .* by indices from 0 to 5, .* there is no 6",
        ),
        (lambda: Mask.neurons(SESSION, [0, -1]), "there is no -1"),
        (lambda: Mask.neurons(SESSION, ["s/0", "x"]), "Session s has no unit 'x'"),
        (lambda: Mask.neurons(SESSION, [0.5]), "not named by uuid are chosen by indices"),
        (lambda: Mask.neurons(SESSION, {0, 1}), "not named by uuid are chosen by indices"),
        (
            lambda: Mask.neurons(SESSION, [True]),
            r"a boolean for each; what is given is of shape \(1,\)",
        ),
        (lambda: Mask.forward(SESSION, 1.5), "from 1.5 s is outside the window, .* -0.5 to 1.5 s"),
        (lambda: Mask.forward(SESSION, -0.6), "from -0.6 s is outside"),
        (lambda: Mask.forward(SESSION, "soon"), "start of a forecast must be numbers"),
        (lambda: Mask.forward(SESSION, float("nan")), "from nan s is outside"),
        (lambda: Mask.from_array(SESSION, np.ones((50, 6))), r"100 bins x 6 units; .* \(50, 6\)"),
        (lambda: Mask.from_array(SESSION, True), r"this one is \(\)"),
        (lambda: Mask.from_array(SESSION, [0, 1, 2, 3, 4, 5]), "true and false"),
        (lambda: Mask.from_array(SESSION, [np.nan] * 6), "true and false"),
        (
            lambda: Mask.from_array(SESSION, [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]),
            "Only what is hidden can be scored; 100 entries are not hidden",
        ),
        (
            lambda: Mask(
                np.ones((4, 2)), np.ones((4, 1)), ("a", "b"), ("LP", "LP"), (0.0, 1.0), 0.25
            ),
            "parts of a mask disagree",
        ),
        (
            lambda: Mask(np.ones((4, 2)), np.ones((4, 2)), ("a", "b"), ("LP",), (0.0, 1.0), 0.25),
            "2 units are named, and 1 regions",
        ),
    ],
)
def test_mistakes_are_said_clearly(make, message):
    with pytest.raises(MaskError, match=message) as raised:
        make()
    assert isinstance(raised.value, MtmError)
    assert "\n" not in str(raised.value)


@given(arrays(bool, array_shapes(min_dims=0, max_dims=3, max_side=7)))
def test_arrays_of_other_shapes_are_refused(array):
    session = Session.from_counts(np.zeros((1, 4, 3)), ["CA1", "CA1", "LP"])
    if array.shape in {(4, 3), (3,), (1, 3), (4, 1)}:
        assert Mask.from_array(session, array).hidden.shape == (4, 3)
    else:
        with pytest.raises(MaskError, match="4 bins x 3 units"):
            Mask.from_array(session, array)
