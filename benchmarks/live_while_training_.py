"""From the end of a stroke to the new picture while the open session is fine-tuned.

The program is painted on as in `live`, beside a fine-tuning of the shipped model on the same
session in a process of its own (`training/worker.py`), as the window would start it. Blocks of
strokes while it is paused and while it trains alternate. It needs a screen; Xvfb will do.

`p95_ratio_to_idle`
    From the release of the mouse to the picture with its answer, p95: while it trains, and,
    as the reference, while it is paused.
`p50_ratio_to_idle`
    The same, p50.
`longest_block_ms`
    The longest that the Qt thread was held by a call into our own code, from outside to
    return, while it trains.
`training_share`
    Trials a second that it trains while the window is painted on, against the same while the
    window is at rest.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.held import Held
from benchmarks.report import Result, Results
from benchmarks.strokes import Program
from napari_mtm.recording.store import save_session
from napari_mtm.training.loop import Report
from napari_mtm.training.messages import Assignment, News, Paused
from napari_mtm.training.settings import Settings
from napari_mtm.training.worker import Worker

_BLOCKS, _STROKES = 6, 15
_REST_SECONDS = 10.0
_SETTINGS = Settings(steps=1_000_000)


def run(*, blocks: int = _BLOCKS, strokes: int = _STROKES, rest: float = _REST_SECONDS) -> Results:
    """Paint beside a training; the first block is to warm up."""
    from napari_mtm import ui

    held = Held()
    held.watch(ui)
    program = Program()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "session.mtm"
        save_session(program.coordinator.session, store)
        worker = Worker(Assignment(store, "sample", Path(folder) / "run", "full", _SETTINGS, "cpu"))
        try:
            results = _measure(program, held, worker, blocks, strokes, rest)
        finally:
            worker.cancel()
            worker.close()
            program.close()
    return results


def _measure(
    program: Program, held: Held, worker: Worker, blocks: int, strokes: int, rest: float
) -> Results:
    _await(program, worker, Report)
    alone = _speed(worker, lambda: program.wait(rest))
    idle: list[float] = []
    busy: list[float] = []
    longest = ("", 0.0)
    speeds: list[float] = []
    for block in range(blocks):
        worker.pause()
        _await(program, worker, Paused)
        paused = [program.stroke(block + 7 * k).seconds for k in range(strokes)]
        program.coordinator.masks.clear()
        worker.go_on()
        _await(program, worker, Report)
        held.calls.clear()
        training: list[float] = []

        def paint(block: int = block, training: list[float] = training) -> None:
            training += [program.stroke(block + 7 * k).seconds for k in range(strokes)]

        speed = _speed(worker, paint)
        if block > 0:
            idle += paused
            busy += training
            speeds.append(speed)
            longest = max(longest, held.longest(), key=lambda call: call[1])
        program.coordinator.masks.clear()
        program.rest()
    print(f"The longest call was {longest[0]}.")
    results = {}
    for p in (50, 95):
        ours, reference = (1e3 * float(np.percentile(s, p)) for s in (busy, idle))
        results[f"p{p}_ratio_to_idle"] = Result(ours, "ms", reference, ours / reference)
    results["longest_block_ms"] = Result(1e3 * longest[1], "ms")
    painted = float(np.mean(speeds))
    results["training_share"] = Result(painted, "trials/s", alone, painted / alone)
    return results


def _await(program: Program, worker: Worker, kind: type) -> None:
    """Handle events until some kind of news comes."""

    def came() -> bool:
        news = worker.look()
        if worker.ended is not None:
            raise RuntimeError(f"The training ended: {worker.ended}.")
        return any(isinstance(one, kind) for one in news)

    program.until(came)


def _speed(worker: Worker, act: Callable[[], None]) -> float:
    """Trials a second that are trained while something is done."""
    worker.look()
    start = time.perf_counter()
    act()
    steps = _steps(worker.look())
    return _SETTINGS.batch * steps / (time.perf_counter() - start)


def _steps(news: list[News]) -> int:
    """How many steps were taken between the first report and the last."""
    reached = [one.step for one in news if isinstance(one, Report)]
    return reached[-1] - reached[0] if reached else 0
