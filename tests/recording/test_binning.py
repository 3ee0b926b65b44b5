"""Counts are exact at bin edges, saturate, ignore other clusters, and check spike times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtm.errors import Cancelled, SourceError
from napari_mtm.recording.binning import bin_edges, bin_spikes, check_times


def count_one_by_one(times, clusters, edges, ids):
    """Straight from the definition: each spike against each bin of each unit."""
    counts = np.zeros((len(edges), edges.shape[1] - 1, len(ids)), dtype=int)
    for time, cluster in zip(times, clusters, strict=True):
        for unit in (u for u, id in enumerate(ids) if id == cluster):
            for w, row in enumerate(edges):
                for b in range(len(row) - 1):
                    if row[b] <= time < row[b + 1]:
                        counts[w, b, unit] += 1
    return np.minimum(counts, 255)


@settings(max_examples=200, deadline=None)
@given(
    # Quarters hit edges exactly; tenths come within a rounding error of them.
    times=st.lists(
        st.one_of(
            st.integers(0, 40).map(lambda k: k / 4),
            st.integers(0, 100).map(lambda k: k * 0.1),
            st.floats(0, 10, allow_subnormal=False),
        ),
        max_size=60,
    ),
    clusters=st.data(),
    starts=st.lists(st.integers(0, 30).map(lambda k: k / 4), max_size=4),
    n_bins=st.integers(1, 5),
    bin_size=st.sampled_from([0.1, 0.25, 0.02, 1.0]),
    kind=st.sampled_from(["uint32", "int16", "uint64", ">i4", ">u8"]),
    far=st.booleans(),
)
def test_counts_follow_the_definition(times, clusters, starts, n_bins, bin_size, kind, far):
    times = np.sort(np.array(times, dtype=float))
    given = np.array(
        clusters.draw(st.lists(st.integers(0, 6), min_size=len(times), max_size=len(times))),
        dtype=kind,
    )
    ids = np.array([2, 3, 0])  # 1, 4, 5 and 6 are no units
    if far and given.dtype.itemsize == 8:  # ids that a table or a float could not hold
        given, ids = given + given.dtype.type(2**63 - 7), ids + (2**63 - 7)
    edges = bin_edges(np.array(starts), n_bins, bin_size)
    binned = bin_spikes(times, given, edges, ids)
    assert binned.counts.dtype == np.uint8
    np.testing.assert_array_equal(binned.counts, count_one_by_one(times, given, edges, ids))
    assert binned.saturated == 0


def test_same_counts_as_a_histogram_per_trial():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 100, 50_000))
    clusters = rng.integers(0, 40, len(times))
    edges = bin_edges(rng.uniform(0, 97, 30), 100, 0.02)
    counts = bin_spikes(times, clusters, edges, np.arange(40)).counts
    for k, row in enumerate(edges):
        inside = (times >= row[0]) & (times < row[-1])
        expected, _, _ = np.histogram2d(times[inside], clusters[inside], bins=[row, np.arange(41)])
        np.testing.assert_array_equal(counts[k], expected)


def test_saturates_at_255_and_says_how_often():
    times = np.concatenate([np.full(300, 0.5), np.full(256, 1.5), np.full(255, 2.5)])
    binned = bin_spikes(
        times, np.zeros(len(times), int), bin_edges(np.array([0.0]), 3, 1.0), np.array([0])
    )
    assert binned.counts.ravel().tolist() == [255, 255, 255]
    assert binned.saturated == 2


def test_no_spikes_and_no_windows():
    none = np.empty(0)
    edges = bin_edges(np.array([1.0]), 4, 0.5)
    assert bin_spikes(none, none.astype(int), edges, np.array([0])).counts.sum() == 0
    empty = bin_spikes(np.array([1.0]), np.array([0]), edges[:0], np.array([0]))
    assert empty.counts.shape == (0, 4, 1)


def test_progress_can_cancel():
    def cancel(fraction, message):
        raise Cancelled

    edges = bin_edges(np.array([0.0]), 1, 1.0)
    with pytest.raises(Cancelled):
        bin_spikes(np.array([0.5]), np.array([0]), edges, np.array([0]), progress=cancel)


def test_order_of_times_is_reported():
    assert check_times(np.array([0.0, 1.0, 1.0, 2.0]), "x")
    assert not check_times(np.array([0.0, 2.0, 1.0]), "x")
    assert check_times(np.empty(0), "x")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 3, 9])
def test_times_that_are_no_numbers_are_refused(bad, place):
    times = np.arange(10.0)
    times[place] = bad
    with pytest.raises(SourceError, match=f"probe07 holds 1 spike times.*at index {place}"):
        check_times(times, "probe07")


def test_a_nan_beyond_the_first_chunk_is_found():
    times = np.arange(5_000_000, dtype=float)
    times[4_500_000] = np.nan
    with pytest.raises(SourceError, match="index 4500000"):
        check_times(times, "x")
