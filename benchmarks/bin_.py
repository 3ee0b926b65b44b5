"""30 million spikes of 1,000 units in 700 trials: our binning against a histogram per trial.

Two references, both a `histogram2d` per trial on the spikes of its window:
finding the window by bisection, the best that the plain way can do (`speedup`),
and by comparing all spike times, as scripts often do (`speedup_over_masks`).
"""

import statistics
import time
import tracemalloc

import numpy as np

from benchmarks.report import Result, Results
from napari_mtm.recording.binning import bin_edges, bin_spikes, check_times

N_SPIKES, N_UNITS, N_TRIALS, DURATION = 30_000_000, 1_000, 700, 4820.0
N_BINS, BIN_SIZE = 100, 0.02
_RUNS = 7
_MASKED_TRIALS = 7


def run() -> Results:
    """Measure time and peak memory; fail unless all counts are the same."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, DURATION, N_SPIKES))
    clusters = rng.integers(0, N_UNITS, N_SPIKES, dtype=np.int32)
    edges = bin_edges(np.sort(rng.uniform(0, DURATION - 3, N_TRIALS)), N_BINS, BIN_SIZE)
    ids = np.arange(N_UNITS)

    def ours() -> np.ndarray:
        check_times(times, "the recording")
        return bin_spikes(times, clusters, edges, ids).counts

    def plain() -> np.ndarray:
        counts = np.zeros((N_TRIALS, N_BINS, N_UNITS), dtype=np.uint8)
        for k, row in enumerate(edges):
            first, last = np.searchsorted(times, row[[0, -1]])
            counts[k] = _histogram(times[first:last], clusters[first:last], row)
        return counts

    if not np.array_equal(ours(), plain()):
        raise AssertionError("the counts differ")
    # In turn, so that both see the same machine.
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(_RUNS):
        for name, work in (("ours", ours), ("plain", plain)):
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    mine, theirs = (statistics.median(s) for s in seconds.values())
    ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["plain"], strict=True))

    start = time.perf_counter()
    for row in edges[:: N_TRIALS // _MASKED_TRIALS][:_MASKED_TRIALS]:
        inside = (times >= row[0]) & (times < row[-1])
        _histogram(times[inside], clusters[inside], row)
    masked = (time.perf_counter() - start) * N_TRIALS / _MASKED_TRIALS

    tracemalloc.start()
    counts = ours()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    given = times.nbytes + clusters.nbytes
    memory = (given + peak) / (given + counts.nbytes)
    return {
        "speedup": Result(mine, "s", theirs, ratio),
        "speedup_over_masks": Result(mine, "s", masked, masked / mine),
        "peak_memory_ratio": Result(
            (given + peak) / 1e6, "MB", (given + counts.nbytes) / 1e6, memory
        ),
    }


def _histogram(times: np.ndarray, clusters: np.ndarray, row: np.ndarray) -> np.ndarray:
    counts, _, _ = np.histogram2d(times, clusters, bins=[row, np.arange(N_UNITS + 1)])
    return np.asarray(counts)
