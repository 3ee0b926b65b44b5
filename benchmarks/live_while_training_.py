"""From the end of a stroke to the new picture while the open session is fine-tuned.

The program is painted on as in `live`, beside a fine-tuning of the shipped model on the same
session, begun in its dock, which is on screen. Blocks of strokes while it is paused and while it
trains, then with what the newest weights say in a cell of its own, alternate. It needs a screen;
Xvfb will do.

`p95_ratio_to_idle`
    From the release of the mouse to the picture with its answer, p95: while it trains, and,
    as the reference, while it is paused.
`p50_ratio_to_idle`
    The same, p50.
`p95_with_preview_ratio_to_idle`, `p50_with_preview_ratio_to_idle`
    The same, with the cell of the newest weights.
`longest_block_ms`
    The longest that the Qt thread was held by a call into our own code, from outside to
    return, while it trains and is painted on.
`longest_own_block_ms`
    The same, less what napari does in it to refresh layers.
`cell_added_ms`
    How long it is held by adding the cell of the newest weights, once in a training: napari makes
    two layers, and a grid with a column more.
`training_share`
    Steps a second that it trains while the window is painted on, against the same while the
    window is at rest.
"""

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.held import Call, Held
from benchmarks.report import Result, Results
from benchmarks.strokes import Program, blocks_of, held_by

_BLOCKS, _STROKES = 6, 15
_REST_SECONDS = 10.0
_STEPS = 1_000_000


def run(*, blocks: int = _BLOCKS, strokes: int = _STROKES, rest: float = _REST_SECONDS) -> Results:
    """Paint beside a training; the first block is to warm up."""
    from napari_mtm import ui

    held = held_by(ui)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_MTM_RUNS"] = folder
        program = Program()
        training = Training(program)
        try:
            results = _measure(program, held, training, blocks, strokes, rest)
        finally:
            training.close()
            program.close()
    return results


class Training:
    """The fine-tuning of a program, begun with a click."""

    def __init__(self, program: Program) -> None:
        from napari_mtm.ui.docks.finetune.dock import FinetuneDock

        self._program = program
        self._finetuning: Any = program.coordinator.finetuning
        main = program.viewer.window._qt_window  # noqa: SLF001
        dock = main.findChild(FinetuneDock)
        dock.parent().raise_()
        program.wait(0.2)
        dock.plan.steps.setValue(_STEPS)
        dock.plan.start_button.click()
        self.preview = dock.monitor.preview.on
        self.go(paused=False)

    @property
    def step(self) -> int:
        """How many steps were told of."""
        return int(self._finetuning.course.step)

    def go(self, *, paused: bool) -> None:
        """Pause it, or let it go on, and wait until it does."""
        if paused:
            self._finetuning.pause()
            self._await(lambda: self._finetuning.phase == "paused")
        else:
            self._finetuning.go_on()
            step = self.step
            self._await(lambda: self._finetuning.phase == "running" and self.step > step)

    def close(self) -> None:
        """End it."""
        self._finetuning.cancel()
        self._program.until(lambda: not self._finetuning.at_work)

    def _await(self, true: Callable[[], bool]) -> None:
        def so() -> bool:
            if self._finetuning.phase in ("failed", "idle"):
                raise RuntimeError(f"The training ended: {self._finetuning.course}.")
            return true()

        self._program.until(so)


def _measure(
    program: Program, held: Held, training: Training, blocks: int, strokes: int, rest: float
) -> Results:
    def paint(block: int) -> list[float]:
        seconds = [program.stroke(block + 7 * k).seconds for k in range(strokes)]
        program.coordinator.masks.clear()
        return seconds

    alone = _speed(training, lambda: program.wait(rest))
    idle: list[float] = []
    busy: list[float] = []
    previewed: list[float] = []
    speeds: list[float] = []
    added: list[float] = []
    calls: list[Call] = []
    for block in range(blocks):
        training.preview.setChecked(False)
        training.go(paused=True)
        paused = paint(block)
        training.go(paused=False)
        held.calls.clear()
        trained: list[float] = []

        def paint_beside(block: int = block, trained: list[float] = trained) -> None:
            trained += paint(block)

        speed = _speed(training, paint_beside)
        training.preview.setChecked(True)
        while_trained = held.calls.copy()
        held.calls.clear()
        program.until(lambda: len(program.coordinator.views) == 4)
        program.wait(0.5)
        added.append(held.longest().seconds)
        held.calls.clear()
        beside = paint(block)
        if block > 0:
            idle += paused
            busy += trained
            previewed += beside
            speeds.append(speed)
            calls += [*while_trained, *held.calls]
        program.rest()
    held.calls = calls
    results = blocks_of(held)
    for p in (50, 95):
        ours, cell, reference = (1e3 * float(np.percentile(s, p)) for s in (busy, previewed, idle))
        results[f"p{p}_ratio_to_idle"] = Result(ours, "ms", reference, ours / reference)
        results[f"p{p}_with_preview_ratio_to_idle"] = Result(
            cell, "ms", reference, cell / reference
        )
    results["cell_added_ms"] = Result(1e3 * float(np.median(added)), "ms")
    painted = float(np.mean(speeds))
    results["training_share"] = Result(painted, "steps/s", alone, painted / alone)
    return results


def _speed(training: Training, act: Callable[[], object]) -> float:
    """Steps a second that are trained while something is done."""
    first, start = training.step, time.perf_counter()
    act()
    return (training.step - first) / (time.perf_counter() - start)
