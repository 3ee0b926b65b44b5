"""Spikes that pynapple and SpikeInterface hold, through stand-ins that are asked as these are."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.errors import PreparationError, SourceError

RNG = np.random.default_rng(4)
TRAINS = [np.sort(RNG.uniform(0, 30, n)) for n in (300, 200, 400)]


class Ts:
    def __init__(self, times):
        self._times = times

    def times(self):
        return self._times


class TsGroup:
    """As in pynapple 0.11: numbers lead to `Ts`, and columns of metadata are pandas'."""

    def __init__(self, trains, **metadata):
        self._trains = {k: Ts(t) for k, t in trains.items()}
        self._metadata = pd.DataFrame({"rate": 1.0, **metadata}, index=list(trains))

    def keys(self):
        return list(self._trains)

    def __getitem__(self, key):
        return self._trains[key]

    @property
    def metadata_columns(self):
        return list(self._metadata)

    def get_info(self, key):
        return self._metadata[key]


class Sorting:
    """As in SpikeInterface 0.105: ids of any kind, and properties as arrays."""

    def __init__(self, ids, trains, segments=1, **properties):
        self._trains = dict(zip(ids, trains, strict=True))
        self._segments = segments
        self._properties = properties

    def get_unit_ids(self):
        return np.array(list(self._trains))

    def get_num_segments(self):
        return self._segments

    def get_unit_spike_train(self, unit_id, segment_index=None, *, return_times=False):
        assert return_times, "or they are samples"
        assert segment_index == 0
        return self._trains[unit_id]

    def get_property_keys(self):
        return list(self._properties)

    def get_property(self, key):
        return np.array(self._properties[key])


def expected(ids, **known):
    clusters = np.repeat(ids, [len(t) for t in TRAINS])
    return Session.from_spikes(np.concatenate(TRAINS), clusters, id="s", **known)


def test_a_group_of_pynapple():
    group = TsGroup(
        dict(zip([3, 7, 12], TRAINS, strict=True)),
        location=["CA1", None, "LP"],
        quality=["good", "mua", "good"],
    )
    session = Session.from_spikes(group, id="s")
    like = expected([3, 7, 12], regions={3: "CA1", 12: "LP"})
    np.testing.assert_array_equal(session.counts, like.counts)
    pd.testing.assert_frame_equal(
        session.units.drop(columns="label"), like.units.drop(columns="label")
    )
    assert session.units["label"].tolist() == [1, 1, 0]
    assert Session.from_spikes(group, units="good").n_units == 2


def test_a_sorting_of_spikeinterface():
    sorting = Sorting(["a", "b", "c"], TRAINS, brain_area=["LP", "CA1", "PO"], depth=[1.0, 2, 3])
    session = Session.from_spikes(sorting, id="s")
    like = expected([0, 1, 2], regions=["LP", "CA1", "PO"], depths=[1.0, 2, 3])
    np.testing.assert_array_equal(session.counts, like.counts)
    assert session.units["uuid"].tolist() == ["b", "a", "c"]
    assert session.units["cluster"].tolist() == [1, 0, 2]
    assert session.units["depth"].tolist() == [2, 1, 3]


def test_numbers_stay_numbers():
    session = Session.from_spikes(Sorting([4, 9, 2], TRAINS), id="s")
    np.testing.assert_array_equal(session.counts, expected([4, 9, 2]).counts)
    assert session.units["uuid"].tolist() == ["s/2", "s/4", "s/9"]
    assert sorted(Session.from_spikes(Sorting([4, 9, -2], TRAINS)).units["cluster"]) == [0, 1, 2]


def test_what_is_given_counts_before_what_is_found():
    sorting = Sorting([0, 1, 2], TRAINS, brain_area=["LP", "CA1", "PO"])
    session = Session.from_spikes(sorting, regions={1: "DG"}, depths={1: 40.0})
    assert session.units["region"].tolist() == ["DG", "unknown", "unknown"]
    assert session.units["depth"].tolist()[0] == 40


@pytest.mark.parametrize(
    ("thing", "error", "said"),
    [
        (Sorting([0], TRAINS[:1], segments=2), SourceError, "2 segments"),
        (Sorting([0], [np.array(["a", "b"])]), SourceError, "Times of unit 0 must be numbers"),
        (TsGroup({1: None}), SourceError, "Times of unit 1 must be numbers"),
        (TsGroup({}), PreparationError, "no units at all"),
        ([1.0, 2.0], PreparationError, "Spike times need clusters"),
        (TsGroup, PreparationError, "Spike times need clusters"),
        (None, PreparationError, "Spike times need clusters"),
    ],
)
def test_what_cannot_be_read(thing, error, said):
    with pytest.raises(error, match=said):
        Session.from_spikes(thing)


def test_a_library_that_has_changed_is_said_to_have():
    class Newer(TsGroup):
        def get_info(self, key):
            raise AttributeError("no get_info any more")

    with pytest.raises(SourceError, match="This Newer is not as those that are known here"):
        Session.from_spikes(Newer({1: TRAINS[0]}))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ([1, 2], "Behaviour must be a dictionary"),
        ({"lick": [1.0]}, "Behaviour lick must be two arrays"),
        ({"lick": ([1.0], [1.0, 2.0])}, "Behaviour lick has 1 times for 2 values"),
        ({"lick": (["a"], [1.0])}, "Behaviour lick: times must be numbers"),
    ],
)
def test_behaviour_that_is_none(behaviour, said):
    with pytest.raises(SourceError, match=said):
        Session.from_spikes(TRAINS[0], np.zeros(300, int), behaviour=behaviour)
