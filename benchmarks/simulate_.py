"""Twelve simulated animals of 300 units and 400 trials, written as a ONE cache."""

import tempfile
import time
from pathlib import Path

from benchmarks.report import Result, Results
from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.cache_writer import simulate

_MOST_SECONDS = 60.0


def run() -> Results:
    """Measure once; the reference is the time that it may take on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        simulate(Path(folder) / "D", Recipe(seed=1, units=300, trials=400), animals=12)
        seconds = time.perf_counter() - start
    return {"seconds": Result(seconds, "s", _MOST_SECONDS, seconds / _MOST_SECONDS)}
