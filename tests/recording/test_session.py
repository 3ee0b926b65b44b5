"""Sessions from arrays: order, split, selection, equality, and what they say of themselves."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtm import Session, open_session
from napari_mtm.errors import PreparationError
from tests.conftest import trials, write_alf


def small(n_trials: int = 12, **more) -> Session:
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.3, (n_trials, 10, 4))
    return Session.from_counts(
        counts, ["LP", "VISa5", "CA1", "VISa2/3"], trials=trials(n_trials), **more
    )


def test_units_are_put_in_anatomical_order_and_counts_follow():
    rng = np.random.default_rng(0)
    counts, rates = rng.poisson(1.0, (3, 5, 4)), rng.random((3, 5, 4))
    session = Session.from_counts(counts, ["LP", "VISa5", "CA1", "root"], rates=rates, id="s")
    order = [3, 1, 2, 0]
    assert session.units["region"].tolist() == ["root", "VISa", "CA1", "LP"]
    assert session.units["acronym"].tolist() == ["root", "VISa5", "CA1", "LP"]
    assert session.units["cluster"].tolist() == order
    assert session.units["uuid"].tolist() == ["s/3", "s/1", "s/2", "s/0"]
    np.testing.assert_array_equal(session.counts, counts[:, :, order])
    np.testing.assert_allclose(session.rates, rates[:, :, order], rtol=1e-6)
    assert session.window == (-0.5, -0.4)


def test_regions_name_order_colour_and_slice():
    session = small()
    assert [(r.name, r.units) for r in session.regions] == [
        ("VISa", slice(0, 2)),
        ("CA1", slice(2, 3)),
        ("LP", slice(3, 4)),
    ]
    assert [r.order for r in session.regions] == sorted(r.order for r in session.regions)
    assert all(len(r.colour) == 3 for r in session.regions)


def test_counts_saturate_and_say_so():
    session = Session.from_counts(np.full((1, 1, 1), 300), ["CA1"])
    assert session.counts.item() == 255
    assert session.saturated == 1
    assert "1 counts were above 255" in session.describe()


@pytest.mark.parametrize(
    ("counts", "regions", "message"),
    [
        (np.zeros((2, 3)), [], "3 axes"),
        (np.zeros((2, 3, 4)), ["CA1"], "1 regions were given for 4 units"),
        (np.full((1, 1, 1), -1), ["CA1"], "0 or more"),
        (np.full((1, 1, 1), np.nan), ["CA1"], "without NaN"),
        (np.full((1, 1, 1), 0.5), ["CA1"], "whole numbers; there are fractions"),
        (np.full((1, 1, 1), 1 + 1j), ["CA1"], "complex"),
        (np.ma.masked_equal([[[1, 2]]], 2), ["CA1"] * 2, "must not be masked"),
        ([[["1"]]], ["CA1"], "text"),
        (np.zeros((2, 3, 3)), "CA1", "one for each unit, not the text 'CA1'"),
        (np.zeros((2, 3, 1)), [382], "Allen acronyms; 382 is none"),
        (np.zeros((2, 3, 0)), [], "at least one trial, bin and unit"),
        (np.zeros((0, 3, 1)), ["CA1"], "at least one trial, bin and unit"),
        (np.zeros((2, 0, 1)), ["CA1"], "at least one trial, bin and unit"),
    ],
)
def test_arrays_that_make_no_session(counts, regions, message):
    with pytest.raises(PreparationError, match=message):
        Session.from_counts(counts, regions)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"trials": trials(3)}, "trials table has 3 where counts has 2"),
        ({"behaviour": {"wheel-speed": np.zeros((2, 7))}}, "wheel-speed must be of shape"),
        (
            {"rates": np.zeros((2, 3, 9))},
            r"Rates must be of shape \(2, 3, 4\); this one is \(2, 3, 9",
        ),
        ({"rates": np.full((2, 3, 4), np.nan)}, "Rates must be finite"),
        ({"rates": np.full((2, 3, 4), -1.0)}, "Rates must be 0 or more"),
        ({"behaviour": {"wheel-speed": [["a"] * 3] * 2}}, "wheel-speed must be numbers"),
        ({"behaviour": {"wheel-speed": np.full((2, 3), 1e300)}}, "wheel-speed must be at most"),
        ({"trials": np.zeros((2, 3))}, "Trials must be a pandas table"),
        ({"bin_size": 0}, "is empty"),
        ({"bin_size": -0.02}, "The bin size must be 0 or more"),
        ({"bin_size": np.nan}, "The bin size must be finite"),
        ({"bin_size": "20 ms"}, "The bin size must be numbers"),
        ({"window": (0.5, -0.5)}, "is empty"),
        ({"window": (0.0, 1.0), "bin_size": 0.1}, "0 to 1 s does not hold 3 bins of 0.1 s"),
        ({"window": (0.0, np.inf)}, "The window must be finite"),
        ({"window": (0.0, 0.5, 1.0)}, r"The window must be of shape \(2,\)"),
    ],
)
def test_parts_that_disagree(parts, message):
    with pytest.raises(PreparationError, match=message):
        Session.from_counts(np.zeros((2, 3, 4)), ["CA1"] * 4, **parts)


def test_missing_regions_are_unknown():
    session = Session.from_counts(np.zeros((1, 1, 3)), [None, "CA1", np.nan])
    assert session.units["region"].tolist() == ["CA1", "unknown", "unknown"]


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_split_covers_all_trials_once_in_their_shares(n, seed):
    session = Session.from_counts(np.zeros((n, 1, 1)), ["CA1"], trials=trials(n))
    split = session.split(seed)
    parts = [split.train, split.validation, split.test]
    assert sorted(np.concatenate(parts)) == list(range(n))
    if n >= 3:
        assert abs(len(split.validation) - 0.1 * n) <= 1
        assert abs(len(split.test) - 0.2 * n) <= 1
        assert all(len(p) for p in parts)
    assert all((np.diff(p) > 0).all() for p in parts)


def test_each_trial_is_in_the_part_that_it_is_said_to_be_in():
    split = Session.from_counts(np.zeros((30, 1, 1)), ["CA1"], trials=trials(30)).split()
    parts = {"training": split.train, "validation": split.validation, "test": split.test}
    for name, found in parts.items():
        assert [t for t in range(30) if split.part_of(t) == name] == found.tolist()


def test_a_seed_that_is_none():
    for seed in (-1, 0.5, "a"):
        with pytest.raises(PreparationError, match="The seed of a split must be"):
            small().split(seed)


def test_split_is_stratified_by_choice_and_reproducible():
    table = trials(100)
    table["choice"] = np.where(np.arange(100) < 30, -1.0, 1.0)
    session = Session.from_counts(np.zeros((100, 1, 1)), ["CA1"], trials=table)
    for seed in range(20):
        split = session.split(seed)
        for part in (split.train, split.validation, split.test):
            assert abs((part < 30).sum() - 0.3 * len(part)) <= 1.5
    again = Session.from_counts(np.zeros((100, 1, 1)), ["CA1"], trials=table)
    np.testing.assert_array_equal(session.split(7).test, again.split(7).test)
    with pytest.raises(ValueError, match="read-only"):
        session.split(7).test[0] = 1
    assert not np.array_equal(session.split(7).test, session.split(8).test)


def test_select_by_trial_unit_and_region():
    session = small(rates=np.ones((12, 10, 4)), behaviour={"wheel-speed": np.zeros((12, 10))})
    chosen = session.select(trials=[5, 2], regions=["VISa", "LP"])
    assert chosen.units["region"].tolist() == ["VISa", "VISa", "LP"]
    np.testing.assert_array_equal(chosen.counts, session.counts[[5, 2]][:, :, [0, 1, 3]])
    assert chosen.trials["stimOn_times"].tolist() == [24.5, 11.0]
    assert chosen.rates.shape == chosen.counts.shape
    assert chosen.behaviour["wheel-speed"].shape == (2, 10)
    mask = np.array([False, True, False, True])
    assert session.select(units=mask).units.equals(session.select(units=[1, 3]).units)
    assert session.select(regions="VISa").n_units == 2


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"regions": ["VISa", "PO"]}, "no region 'PO'; there are VISa, CA1, LP"),
        ({"trials": [True, False]}, r"Trials are chosen by .* a boolean for each"),
        ({"trials": [0.7]}, "of type float64"),
        ({"trials": [12]}, "there is no 12"),
        ({"trials": slice(0, 3)}, "Trials are chosen"),
        ({"trials": [[0, 1]]}, r"of shape \(1, 2\)"),
        ({"units": [-1]}, "Units are chosen by indices from 0 to 3"),
        ({"units": []}, "Nothing of session"),
        ({"units": [0], "regions": ["LP"]}, "Nothing of session"),
    ],
)
def test_what_is_not_there_cannot_be_selected(selection, message):
    with pytest.raises(PreparationError, match=message):
        small().select(**selection)


def test_a_units_table_has_all_its_columns():
    with pytest.raises(PreparationError, match=r"units table of session .* lacks depth"):
        replace(small(), units=small().units.drop(columns="depth"))


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("firing_rate", [1, 2, np.nan, 3], "firing rates of units must be finite"),
        ("firing_rate", [1, 2, -1, 3], "firing rates of units must be 0 or more"),
        ("firing_rate", ["a", "b", "c", "d"], "firing rates of units must be numbers"),
        ("uuid", ["a", "b", "", "d"], "must have a uuid of its own"),
        ("uuid", ["a", "b", "a", "d"], "must have a uuid of its own"),
        ("uuid", [1, 2, 3, 4], "must have a uuid of its own"),
    ],
)
def test_units_that_cannot_be(column, values, said):
    with pytest.raises(PreparationError, match=said):
        replace(small(), units=small().units.assign(**{column: values}))


def test_what_is_no_region_can_be_dropped():
    session = Session.from_counts(np.zeros((1, 1, 4)), ["root", "CA1", "void", "nowhere"])
    assert session.drop_outside().units["region"].tolist() == ["CA1"]


def test_without_the_units_of_a_probe(alf, own_cache):
    write_alf(alf, "probe01")
    session = open_session(alf)
    dropped = session.drop_probes("probe00")
    assert set(dropped.units["probe"]) == {"probe01"}
    assert dropped.n_units == session.n_units / 2
    with pytest.raises(PreparationError, match="no probe 'probe02'; there are probe00, probe01"):
        session.drop_probes("probe02")
    with pytest.raises(PreparationError, match="Nothing of session"):
        session.drop_probes("probe00", "probe01")


def test_equality_looks_at_everything():
    assert small() == small()
    assert small() != small(id="other")
    assert small(rates=np.ones((12, 10, 4))) != small()
    other = small()
    other.counts[0, 0, 0] += 1
    assert small(id="x") != Session.from_counts(
        other.counts, other.units["region"].tolist(), id="x"
    )
    assert small() != "a session"
    with_nan = {"wheel-speed": np.full((12, 10), np.nan)}
    assert small(behaviour=with_nan) == small(behaviour=with_nan)


def test_describe_and_repr_tell_a_person_what_it_is(sample):
    text = sample.describe()
    assert "(simulated)" in text.splitlines()[0]
    assert f"{sample.n_trials} trials x 100 bins x {sample.n_units} units" in text
    assert "-0.5 to 1.5 s from stimOn_times, bins of 20 ms" in text
    assert "VISa" in text
    assert "(simulated)" in repr(sample)
    assert sample.id in repr(sample)


def test_missing_behaviour_is_named():
    traces = {"wheel-speed": np.zeros((12, 10)), "whisker-motion-energy": np.full((12, 10), np.nan)}
    traces["wheel-speed"][3, 2] = np.nan
    text = small(behaviour=traces).describe()
    assert "wheel-speed (1 trials incomplete), whisker-motion-energy (missing)" in text


def test_from_spikes_cuts_trials_and_names_units_by_cluster():
    times = np.array([1.6, 2.0, 2.01, 2.021, 3.4999, 30.0])
    clusters = np.array([4, 4, 9, 9, 4, 4])
    table = trials(2)
    session = Session.from_spikes(
        times, clusters, regions={4: "LP", 9: "VISa5"}, depths={4: 10.0, 9: 50.0}, trials=table
    )
    assert session.units["region"].tolist() == ["VISa", "LP"]
    assert session.units["cluster"].tolist() == [9, 4]
    assert session.units["depth"].tolist() == [50.0, 10.0]
    first = session.counts[0]  # stimulus at 2 s, window from 1.5 s
    assert np.argwhere(first).tolist() == [[5, 1], [25, 0], [25, 1], [26, 0], [99, 1]]


def test_from_spikes_without_trials_uses_adjoining_windows():
    times = np.arange(0.005, 10, 0.01)
    session = Session.from_spikes(times, np.zeros(len(times), int), window=(0.0, 2.0))
    assert session.align == "any-time"
    assert session.window == (0.0, 2.0)
    assert session.n_trials == 4  # the fifth window is not whole
    assert session.trials["intervals_0"].diff().dropna().unique() == pytest.approx(2.0)
    assert (session.counts == 2).mean() > 0.99
    assert any("no trials" in note for note in session.notes)


def test_regions_may_be_a_list_by_cluster():
    session = Session.from_spikes(
        np.linspace(0, 10, 100), np.arange(100) % 3, regions=["LP", "CA1"], align="any-time"
    )
    assert session.units["region"].tolist() == ["CA1", "LP", "unknown"]


def test_the_trials_index_does_not_matter():
    shuffled = trials(5).set_index(pd.Index([9, 8, 7, 6, 5]))
    session = Session.from_counts(np.zeros((5, 2, 1)), ["CA1"], trials=shuffled)
    assert session.trials.index.tolist() == [0, 1, 2, 3, 4]
