"""What is kept of a recording, and the sentence for each recording that gives no session."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.errors import Cancelled, MtmError, PreparationError, SourceError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.spikes import usable
from napari_mtm.recording.traces import Trace
from napari_mtm.recording.windows import adjoining, recorded
from tests.conftest import trials

REGIONS = ["LP", "CA1", "VISa", "root"]


def probe(name: str = "probe00", *, stop: float = 60.0, **changes) -> Probe:
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0, stop, 4000))
    units = pd.DataFrame(
        {
            "uuid": [f"{name}-{k}" for k in range(4)],
            "region": REGIONS,
            "acronym": REGIONS,
            "depth": [100.0, 200.0, 300.0, 400.0],
            "label": [1.0, 1.0, 0.0, 1.0],
            "firing_rate": [20.0, 5.0, 20.0, 1.0],
        }
    )
    return replace(Probe(name, times, rng.integers(0, 4, 4000), units), **changes)


def recording(*probes: Probe, **changes) -> Recording:
    t = np.arange(0, 60, 0.01)
    whole = Recording(
        id="the-id",
        name="MOUSE 2024-01-01 001",
        probes=probes or (probe(),),
        trials=trials(12),
        wheel_position=Trace(t, 2 * t),
        whisker=Trace(t, 3 + t),
    )
    return replace(whole, **changes)


def test_good_units_are_kept_by_default():
    session = prepare(recording(), Preparation())
    assert session.units["region"].tolist() == ["root", "CA1", "LP"]
    assert session.counts.shape == (12, 100, 3)


def test_all_units_and_a_least_rate():
    session = prepare(recording(), Preparation(units="all", min_rate=6.0))
    assert session.units["region"].tolist() == ["VISa", "LP"]


def test_units_of_one_region_lie_by_depth_over_probes():
    tables = []
    for name, depths in (("probe00", [30.0, 10.0]), ("probe01", [20.0, 10.0])):
        units = probe(name).units.iloc[:2].assign(region="CA1", acronym="CA1", depth=depths)
        one = probe(name)
        tables.append(replace(one, units=units, clusters=one.clusters % 2))
    session = prepare(recording(*tables), Preparation())
    assert session.units["depth"].tolist() == [10.0, 10.0, 20.0, 30.0]
    assert session.units["probe"].tolist() == ["probe00", "probe01", "probe01", "probe00"]
    # Each column holds the spikes of the probe and cluster that its row names.
    for column, row in enumerate(session.units.itertuples()):
        source = tables[int(row.probe[-1])]
        spikes = source.times[source.clusters == row.cluster]
        expected, _ = np.histogram(
            spikes, session.trials["stimOn_times"][4] + np.linspace(-0.5, 1.5, 101)
        )
        assert session.counts[4, :, column].sum() == expected.sum()


def test_behaviour_is_binned_on_the_trial_clock():
    session = prepare(recording(), Preparation())
    velocity = session.behaviour["wheel-velocity"]
    np.testing.assert_allclose(velocity[1:-1], 2.0, atol=1e-3)
    np.testing.assert_allclose(session.behaviour["wheel-speed"][1:-1], 2.0, atol=1e-3)
    middle = (
        session.trials["stimOn_times"].to_numpy()[:, None] - 0.5 + (np.arange(100) + 0.5) * 0.02
    )
    np.testing.assert_allclose(session.behaviour["whisker-motion-energy"], 3 + middle, rtol=1e-5)


def test_another_event_window_and_bin():
    preparation = Preparation(align="feedback_times", window=(-1.0, 0.5), bin_size=0.05)
    session = prepare(recording(), preparation)
    assert session.counts.shape[1] == 30
    assert session.align == "feedback_times"
    spikes = probe().times[probe().clusters == 0]
    start = session.trials["feedback_times"][3] - 1.0
    expected, _ = np.histogram(spikes, start + 0.05 * np.arange(31))
    np.testing.assert_array_equal(session.counts[3, :, 2], expected)


def test_excluded_trials_are_counted_by_reason():
    table = trials(12)
    table.loc[0, "choice"] = 0
    table.loc[[3, 4], "firstMovement_times"] += 5
    session = prepare(recording(trials=table), Preparation())
    assert session.n_trials == 9
    assert session.excluded == {"no choice made": 1, "reaction time over 2 s": 2}


def test_contrast_with_its_side_is_in_the_trials():
    session = prepare(recording(), Preparation())
    assert session.trials["signed_contrast"].tolist()[:2] == [1.0, -0.25]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": "best"}, '"good" or "all"'),
        ({"min_rate": -1}, "0 or more"),
        ({"min_rate": np.nan}, "minimum rate must be finite"),
        ({"window": (1.0, 1.0)}, "is empty"),
        ({"window": (np.nan, 1.0)}, "window must be finite"),
        ({"window": 2.0}, "window must be of shape"),
        ({"bin_size": 1e-9}, "more than 100,000 bins"),
        ({"bin_size": 1e-320}, "more than 100,000 bins"),
        ({"window": (-1e308, 1e308)}, "more than 100,000 bins"),
        ({"bin_size": 0.0}, "is empty"),
        ({"bin_size": 0.03}, "not a whole number of bins"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(PreparationError, match=message):
        Preparation(**settings)


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        (
            {"probes": (probe(units=probe().units.assign(label=0.5)),)},
            {},
            'None of the 4 units .* has quality label 1 .*try units="all"',
        ),
        ({}, {"min_rate": 1000.0}, "and 1000 spikes/s or more"),
        ({}, {"units": "all", "min_rate": 1000.0}, "lower the minimum rate"),
        ({"probes": (probe(units=probe().units.iloc[:0]),)}, {}, "no units at all"),
        ({"trials": trials(12).assign(choice=0.0)}, {}, "None of the 12 trials.*12 no choice made"),
        ({"trials": trials(0)}, {}, "trials table .* is empty"),
        ({}, {"align": "lick_times"}, "no trials column 'lick_times'. There are: intervals_0"),
        ({"trials": None}, {"align": "feedback_times"}, 'use align="any-time"'),
        ({"trials": None}, {"window": (0.0, 100.0)}, "shorter than one window"),
    ],
)
def test_no_session_and_why(changes, settings, message):
    with pytest.raises(PreparationError, match=message):
        prepare(recording(**changes), Preparation(**settings))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.arange(10.0)}, "10 spike times but 4000 spike clusters"),
        ({"times": np.full(4000, np.nan)}, "not numbers"),
        ({"clusters": np.zeros(4000)}, "must be ids"),
        ({"clusters": np.full(4000, -1)}, "negative"),
        ({"times": np.array(["a"] * 4000)}, "must be seconds"),
    ],
)
def test_damaged_spikes(changes, message):
    with pytest.raises(SourceError, match=message):
        prepare(recording(probe(**changes)), Preparation())


def test_spikes_out_of_order_are_sorted_and_it_says_so():
    whole = probe()
    order = np.random.default_rng(0).permutation(4000)
    mixed = replace(whole, times=whole.times[order], clusters=whole.clusters[order])
    session = prepare(recording(mixed), Preparation())
    assert any("not in order" in note for note in session.notes)
    np.testing.assert_array_equal(session.counts, prepare(recording(), Preparation()).counts)


@pytest.mark.parametrize("last", [0.2, 31.0])
def test_spikes_out_of_order_give_the_same_adjoining_windows(last):
    whole = probe(stop=60.0)
    k = np.searchsorted(whole.times, last)
    order = np.append(np.delete(np.arange(4000), k), k)  # that spike comes last
    mixed = replace(whole, times=whole.times[order], clusters=whole.clusters[order])
    session = prepare(recording(mixed, trials=None), Preparation())
    expected = prepare(recording(trials=None), Preparation())
    assert expected.n_trials == 29  # of 2 s, from the first spike to the last before 60 s
    pd.testing.assert_frame_equal(session.trials, expected.trials)
    np.testing.assert_array_equal(session.counts, expected.counts)


@pytest.mark.parametrize(
    "probes",
    [
        (probe(),),
        (probe(stop=47.0), probe("probe01", stop=60.0)),
        (probe(), probe("probe01", times=np.empty(0), clusters=np.empty(0, int))),
        (probe(times=probe().times[::-1] - 5.0),),
        (probe(times=probe().times + 100.0),),
    ],
)
def test_the_adjoining_windows_of_a_recording_can_be_told_before(probes):
    preparation = Preparation(window=(-0.3, 1.2), bin_size=0.05)
    session = prepare(recording(*probes, trials=None), preparation)
    first, n = adjoining([usable(one, []) for one in probes], preparation)
    assert n == session.n_trials
    assert first == session.trials["intervals_0"][0]
    seconds = recorded([usable(one, []) for one in probes])
    assert seconds[0] == first
    assert first + 1.5 * n <= seconds[1]


def test_spikes_before_time_zero_are_left_out_and_it_says_so():
    early = probe(times=probe().times - 1.0)
    n = (early.times < 0).sum()
    session = prepare(recording(early), Preparation())
    assert f"Probe probe00: {n} spikes before time 0 are left out." in session.notes


def test_probes_that_stopped_at_different_times():
    session = prepare(recording(probe(), probe("probe01", stop=30.0)), Preparation())
    assert any("disagree on the length of the recording (30 and 60 s)" in n for n in session.notes)
    assert session.trials["stimOn_times"].max() < 30
    assert session.excluded == {"window outside the recording": 6}


def test_one_unit_on_two_probes_is_refused():
    with pytest.raises(SourceError, match="names unit probe00-0 twice"):
        prepare(recording(probe(), probe("probe01", units=probe().units)), Preparation())


def test_probes_where_only_one_is_labelled():
    unlabelled = probe("probe01", units=probe("probe01").units.assign(label=np.nan))
    session = prepare(recording(probe(), unlabelled), Preparation())
    assert set(session.units["probe"]) == {"probe00"}
    assert any("probe01 has units without a quality label" in n for n in session.notes)


def test_without_labels_all_units_are_kept_and_it_says_so():
    session = prepare(recording(probe(units=probe().units.assign(label=np.nan))), Preparation())
    assert session.n_units == 4
    assert "There are no quality labels, so all units are kept." in session.notes


def test_without_regions_units_lie_by_depth_and_it_says_so():
    bare = probe().units.assign(region="unknown", depth=[400.0, 100.0, 300.0, 200.0])
    session = prepare(recording(probe(units=bare)), Preparation(units="all"))
    assert session.units["depth"].tolist() == [100.0, 200.0, 300.0, 400.0]
    assert "There are no region labels; units are in order of depth." in session.notes


def test_no_wheel_and_no_whiskers():
    session = prepare(recording(wheel_position=None, whisker=None), Preparation())
    assert all(np.isnan(t).all() for t in session.behaviour.values())
    assert set(session.behaviour) == {"wheel-velocity", "wheel-speed", "whisker-motion-energy"}
    assert {"There is no wheel trace.", "There is no whisker motion energy."} <= set(session.notes)


def test_wheel_and_whiskers_on_another_clock_are_missing_and_it_says_so():
    wheel, frames = recording().wheel_position, recording().whisker
    elsewhere = recording(
        wheel_position=replace(wheel, times=1.7e9 + wheel.times),
        whisker=replace(frames, times=1000 * (100 + frames.times)),
    )
    session = prepare(elsewhere, Preparation())
    assert all(np.isnan(t).all() for t in session.behaviour.values())
    windows = "the windows between 1.5 and 53 s. Its times may be from another clock"
    wheel, whiskers = session.notes
    assert wheel.startswith(
        "There is no wheel trace in any window: its samples lie between 1.7e+09"
    )
    assert whiskers.startswith("There is no whisker motion energy in any window: its samples lie ")
    assert "between 100000 and 159990 s" in whiskers
    assert all(windows in note for note in session.notes)


def test_camera_frames_that_are_missing_leave_a_gap():
    whole = recording().whisker
    seen = (whole.times < 20.0) | (whole.times > 20.4)
    session = prepare(
        recording(whisker=Trace(whole.times[seen], whole.values[seen])), Preparation()
    )
    start = session.trials["stimOn_times"].to_numpy()[:, None] - 0.5 + np.arange(100) * 0.02
    expected = (start + 0.02 > 19.99) & (start < 20.41)  # from one frame to the next
    np.testing.assert_array_equal(np.isnan(session.behaviour["whisker-motion-energy"]), expected)


def test_a_single_unit():
    one = probe(units=probe().units.iloc[:1])
    session = prepare(recording(one), Preparation())
    assert session.counts.shape == (12, 100, 1)
    assert session.counts.sum() > 0


def test_a_probe_without_spikes():
    silent = probe("probe01", times=np.empty(0), clusters=np.empty(0, int))
    session = prepare(recording(probe(), silent), Preparation())
    assert "Probe probe01 has no spikes." in session.notes
    assert session.counts[:, :, (session.units["probe"] == "probe01").to_numpy()].sum() == 0


def test_large_bins_saturate_and_it_says_so():
    preparation = Preparation(window=(0.0, 20.0), bin_size=20.0, align="any-time")
    session = prepare(recording(), preparation)
    assert session.saturated > 0
    assert any("use smaller bins" in note for note in session.notes)


def test_cancelling_leaves_nothing():
    def cancel(fraction, message):
        raise Cancelled

    with pytest.raises(Cancelled):
        prepare(recording(), Preparation(), progress=cancel)


def test_progress_rises_to_the_end():
    seen = []
    prepare(recording(), Preparation(), progress=lambda f, m: seen.append(f))
    assert seen == sorted(seen)
    assert 0 <= seen[0] < seen[-1] <= 1


def test_every_error_is_one_of_ours():
    assert issubclass(PreparationError, MtmError)
    assert issubclass(SourceError, MtmError)


@pytest.mark.parametrize("last", [1e9, 1e300])
def test_a_spike_time_that_cannot_be_is_refused_before_it_takes_memory(last):
    times = np.append(np.arange(0.0, 60.0, 0.01), last)
    with pytest.raises(PreparationError, match="last spike times are wrong, or in another unit"):
        Session.from_spikes(times, np.zeros(len(times), int))


def test_more_than_memory_holds_is_refused(monkeypatch):
    prepare(recording(), Preparation())
    monkeypatch.setattr(os, "sysconf", lambda _name: 50)  # pages, and bytes of each
    with pytest.raises(PreparationError, match=r"12 windows of 100 bins and 3 units would take"):
        prepare(recording(), Preparation())
