"""Opening sessions: the sample as on the first day, real sizes from all kinds of files, a store."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.large import DOORS, large
from benchmarks.report import Result, Results, median_seconds
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import open_store, save_session

_OPEN = """
import json, resource, sys, time
sys.path.insert(0, {source!r})
start = time.perf_counter()
import napari_mtm
session = napari_mtm.open_session(**{asked!r})
session.counts.sum()
seconds = time.perf_counter() - start
try:  # what the process that started this one had in memory does not count
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
except (OSError, StopIteration):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, peak / 1e3]))
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
        **_doors(),
        "cold_s": Result(cold_s, "s"),
        "warm_s": Result(warm_s, "s", cold_s, warm_s / cold_s),
        "peak_mb": Result(peak_mb, "MB"),
        "store_s": Result(large_s, "s", small_s, large_s / small_s),
        "store_mb": Result(size, "MB"),
    }


def _doors() -> Results:
    """A session of real size from each kind of files: cold, again, and the memory it takes.

    The reference of each is the ONE cache, through which most come.
    """
    results: Results = {}
    recording = large()
    for name, write in DOORS.items():
        with tempfile.TemporaryDirectory() as folder:
            asked = write(recording, Path(folder))
            cold, peak = _opened(f"{folder}/cache", asked)
            warm, _ = _opened(f"{folder}/cache", asked)
        for key, value, unit in (
            ("cold_s", cold, "s"),
            ("warm_s", warm, "s"),
            ("peak_mb", peak, "MB"),
        ):
            first = results.get(f"one_{key}")
            known = None if first is None else first.value
            ratio = None if known is None else value / known
            results[f"{name}_{key}"] = Result(value, unit, known, ratio)
    return results


def _sample(cache: str) -> tuple[float, float]:
    """Seconds and peak MB of a process that opens the sample with a cache folder."""
    return _opened(cache, {"source": "sample"})


def _opened(cache: str, asked: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak MB of a process that opens something with a cache folder."""
    source = str(Path(__file__).parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-c", _OPEN.format(source=source, asked=asked)],
        env={**os.environ, "NAPARI_MTM_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak = json.loads(done.stdout)
    return float(seconds), float(peak)
