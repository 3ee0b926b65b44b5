"""Spikes come in any form and with any cluster ids, or are refused in a sentence."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session, save_session
from napari_mtm.errors import SourceError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.spikes import mean_rates, recording_from_spikes, spikes_per_cluster
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
    times, ids = np.arange(2.0), np.array([-1, 4]).astype(np.uint64)
    with pytest.raises(SourceError, match=r"whole numbers below 2\*\*63"):
        Session.from_spikes(times, ids)
    recording = recording_from_spikes(times, [0, 4])
    probe = replace(recording.probes[0], clusters=ids)
    with pytest.raises(SourceError, match=r"cluster 18446744073709551615; ids end at 2\*\*63 - 1"):
        prepare(replace(recording, probes=(probe,)), Preparation(units="all"))


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


TIMES, WHICH = some_spikes()


@pytest.mark.parametrize(
    ("times", "clusters"),
    [
        (TIMES.astype(">f8"), WHICH.astype(">i2")),
        (TIMES.tolist(), WHICH.tolist()),
        (TIMES[:, None], WHICH[:, None]),
        (TIMES[None], WHICH[None]),
        (TIMES.astype(np.longdouble), WHICH.astype(np.float32)),
        (pd.Series(TIMES, index=TIMES), pd.Series(WHICH, dtype="Int64")),
        (np.ma.masked_array(TIMES), np.ma.masked_array(WHICH, mask=False)),
    ],
    ids=["big-endian", "lists", "columns", "rows", "floats", "pandas", "nothing-masked"],
)
def test_spikes_in_another_form_are_the_same_spikes(times, clusters):
    expected = Session.from_spikes(TIMES, WHICH)
    session = Session.from_spikes(times, clusters)
    assert session == replace(expected, id=session.id, name=session.name, units=session.units)
    pd.testing.assert_frame_equal(session.units.iloc[:, 1:], expected.units.iloc[:, 1:])


STRUCTURED = np.zeros(3, dtype=[("a", "f8")])
MASKED = np.ma.masked_array([1, 2, 3], mask=[False, True, False])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": STRUCTURED}, "Spike times must be numbers; what is there is of type"),
        ({"times": np.ones(3, complex)}, "Spike times must be numbers.* complex128"),
        ({"times": ["1", "2", "3"]}, "Spike times must be numbers; what is there is text"),
        ({"times": [1, 2, None]}, "Spike times must be numbers.* object"),
        ({"times": np.zeros(3, "datetime64[s]")}, "Spike times must be numbers.* datetime64"),
        ({"times": MASKED}, "Spike times must not be masked"),
        ({"times": np.ones((3, 3))}, r"Spike times must have one axis; the shape is \(3, 3\)"),
        ({"times": 5.0}, r"Spike times must have one axis; the shape is \(\)"),
        ({"times": [True, False, True]}, "spike times of type bool; they must be seconds"),
        ({"times": [1.0, 2.0]}, "2 spike times but 3 spike clusters"),
        ({"clusters": STRUCTURED}, "Spike clusters must be whole numbers; what is there is of"),
        ({"clusters": np.ones(3, complex)}, "Spike clusters must be whole numbers"),
        ({"clusters": ["a", "b", "c"]}, "Spike clusters must be whole numbers.* text"),
        ({"clusters": [1, 2, None]}, "Spike clusters must be whole numbers.* object"),
        ({"clusters": MASKED}, "Spike clusters must not be masked"),
        ({"clusters": np.ones((3, 3), int)}, "Spike clusters must have one axis"),
        ({"clusters": [0, 1, 0.5]}, "Spike clusters must be whole numbers; there are fractions"),
        ({"clusters": [0, 1, np.nan]}, "Spike clusters must be whole numbers, without NaN"),
        ({"clusters": [0, 1, -1]}, "negative spike clusters; ids begin at 0"),
        ({"trials": {"stimOn_times": [1.0]}}, "Trials must be a pandas table"),
        ({"regions": "CA1"}, "Regions must be given by cluster id: in a dictionary, or in a list"),
        ({"regions": {"CA1"}}, "Regions must be given by cluster id"),
        ({"regions": 5}, "Regions must be given by cluster id"),
        ({"regions": [["CA1", "LP"]] * 2}, "Regions must be given by cluster id"),
        ({"regions": pd.DataFrame({"r": ["CA1"]})}, "Regions must be given by cluster id"),
        ({"regions": {"0": "CA1"}}, "Regions must be given by cluster id; '0' is none"),
        ({"regions": [1, 2]}, "Regions must be Allen acronyms; 1 is none"),
        ({"regions": {0: ["CA1"]}}, r"Regions must be Allen acronyms; \['CA1'\] is none"),
        ({"depths": "deep"}, "Depths must be given by cluster id"),
        ({"depths": ["10", "20"]}, "Depths must be numbers; what is there is text"),
        ({"depths": {1: 1j}}, "Depths must be numbers.* complex"),
        ({"depths": {0: [1.0, 2.0]}}, "Depths must be numbers, as many in each row"),
        ({"depths": np.ones((2, 2))}, "Depths must be given by cluster id"),
        ({"depths": MASKED}, "Depths must be given by .* with nothing masked"),
        ({"wheel": 5}, "The wheel must be two arrays: times in s, and values"),
        ({"wheel": np.zeros(3)}, "The wheel must be two arrays"),
        ({"wheel": ([1.0, 2.0], [1.0])}, "The wheel has 2 times for 1 values; give one value"),
        ({"wheel": ([1.0, 2.0], ["a", "b"])}, "The wheel: values must be numbers.* text"),
        ({"wheel": ([1.0, 2.0], [1j, 2.0])}, "The wheel: values must be numbers.* complex"),
        ({"wheel": (MASKED, [1, 2, 3])}, "The wheel: times must not be masked"),
        ({"wheel": (np.ones((2, 2)), np.ones((2, 2)))}, "The wheel: times must have one axis"),
    ],
)
def test_what_makes_no_recording(changes, message):
    given = {"times": np.array([1.0, 2.0, 3.0]), "clusters": np.array([0, 1, 0]), **changes}
    with pytest.raises(SourceError, match=message):
        recording_from_spikes(given.pop("times"), given.pop("clusters"), **given)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_times_that_are_no_numbers_are_refused(bad):
    with pytest.raises(SourceError, match="holds 2 spike times that are not numbers"):
        Session.from_spikes([1.0, bad, bad], [0, 1, 0])
    with pytest.raises(SourceError, match="holds 2 spike times that are not numbers"):
        Session.from_spikes([bad, bad], [0, 0])


@pytest.mark.parametrize(
    "regions",
    [
        {0: "CA1", 4: "LP"},
        {0.0: "CA1", np.int64(4): np.str_("LP"), 2: None, 3: ""},
        ["CA1", None, np.nan, pd.NA, "LP", ""],
        np.array(["CA1", "", "", "", "LP"]),
        pd.Series(["LP", "CA1"], index=[4, 0]),
        pd.Index(["CA1", None, None, None, "LP", None, "PO"]),
    ],
    ids=lambda regions: type(regions).__name__,
)
def test_regions_come_by_cluster_id(regions):
    session = Session.from_spikes(TIMES, WHICH, regions=regions)
    assert session.units["region"].tolist() == ["CA1", "LP", *["unknown"] * 4]
    assert session.units["cluster"].tolist() == [0, 4, 1, 2, 3, 5]


def test_depths_come_by_cluster_id():
    for depths in (
        [60.0, None, 30, np.nan],
        {0: 60, 2: np.float32(30)},
        np.array([60, np.nan, 30]),
    ):
        units = Session.from_spikes(TIMES, WHICH, depths=depths).units.set_index("cluster")
        assert units["depth"].dropna().to_dict() == {0: 60.0, 2: 30.0}


def test_a_wheel_in_another_form_is_the_same_wheel():
    t = np.arange(0, 20, 0.01)
    expected = Session.from_spikes(TIMES, WHICH, wheel=(t, np.sin(t))).behaviour
    assert np.isfinite(expected["wheel-velocity"]).all()
    for wheel in (
        np.stack([t, np.sin(t)]),
        (t[:, None].astype(">f8"), np.sin(t).tolist()),
        pd.DataFrame({"times": t, "position": np.sin(t)}).to_numpy().T,
        [np.append(t, np.nan), np.append(np.sin(t), 1.0)],
    ):
        found = Session.from_spikes(TIMES, WHICH, wheel=wheel).behaviour
        np.testing.assert_array_equal(found["wheel-velocity"], expected["wheel-velocity"])
