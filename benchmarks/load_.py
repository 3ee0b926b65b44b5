"""Opening sessions: the sample as on the first day, and a large prepared store."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.report import Result, Results, median_seconds
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import open_store, save_session

_SAMPLE = """
import json, resource, sys, time
sys.path.insert(0, {source!r})
start = time.perf_counter()
import napari_mtm
session = napari_mtm.open_session("sample")
session.counts.sum()
seconds = time.perf_counter() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))
"""
_UNITS, _TRIALS, _BINS = 1_500, 700, 100


def run() -> Results:
    """Measure in fresh processes (imports included) what a person waits for."""
    with tempfile.TemporaryDirectory() as folder:
        cold_s, peak_mb = _sample(folder)
        warm_s = min(_sample(folder)[0] for _ in range(3))
        path = Path(folder) / "large.mtm"
        rng = np.random.default_rng(0)
        counts = rng.integers(0, 3, (_TRIALS, _BINS, _UNITS), dtype=np.uint8)
        session = Session.from_counts(counts, ["CA1"] * _UNITS, rates=counts)
        save_session(session, path)
        size = path.stat().st_size / 1e6
        large_s = median_seconds(lambda: open_store(path))
        half = Path(folder) / "half.mtm"
        save_session(session.select(trials=np.arange(_TRIALS // 10)), half)
        small_s = median_seconds(lambda: open_store(half))
    return {
        "cold_s": Result(cold_s, "s"),
        "warm_s": Result(warm_s, "s", cold_s, warm_s / cold_s),
        "peak_mb": Result(peak_mb, "MB"),
        "store_s": Result(large_s, "s", small_s, large_s / small_s),
        "store_mb": Result(size, "MB"),
    }


def _sample(cache: str) -> tuple[float, float]:
    """Seconds and peak MB of a process that opens the sample with a cache folder."""
    source = str(Path(__file__).parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-c", _SAMPLE.format(source=source)],
        env={**os.environ, "NAPARI_MTM_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak = json.loads(done.stdout)
    return float(seconds), float(peak)
