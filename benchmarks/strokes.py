"""The program painted on with the mouse, beside a bare napari viewer: see `live_.py`."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.bare import bare_forward
from benchmarks.held import Held
from benchmarks.report import Result, Results
from napari_mtm.live.engine import Request, use_threads

_SIZE = 1366, 768
_BLOCKS, _STROKES, _REQUESTS = 7, 10, 200
_MOVES, _MOVE_SECONDS = 6, 0.012
_PLACES = 10, 5
_SECONDS, _PER_SECOND, _MOST_AT_ONCE = 30.0, 20, 2
_PATIENCE = 120.0


def measure_window(
    *,
    blocks: int = _BLOCKS,
    strokes: int = _STROKES,
    requests: int = _REQUESTS,
    seconds: float = _SECONDS,
) -> Results:
    """Measure all that needs a window; the first block is to warm up."""
    from napari_mtm import ui

    held = held_by(ui)
    program = Program()
    overhead = [1e3 * seconds for seconds in program.overheads(requests)]  # with no other window
    bare = Bare(program)
    gc.freeze()  # Python is not to look through that viewer, too, while the program is painted on
    ours: list[float] = []
    theirs: list[float] = []
    for block in range(blocks):
        drawn = [program.stroke(block + 7 * k) for k in range(strokes)]
        program.rest()
        reference = [bare.update(picture) for picture in drawn]
        if block > 0:
            ours += [1e3 * picture.seconds for picture in drawn]
            theirs += [1e3 * seconds for seconds in reference]
        program.coordinator.masks.clear()
        program.rest()
    results = {f"p{p}_ms": Result(float(np.percentile(ours, p)), "ms") for p in (50, 95)}
    p95, bare95 = float(np.percentile(ours, 95)), float(np.percentile(theirs, 95))
    results["ratio_to_bare"] = Result(p95, "ms", bare95, p95 / bare95)
    results["engine_overhead_p95_ms"] = Result(float(np.percentile(overhead, 95)), "ms")
    results |= _under_load(program, held, seconds)
    bare.viewer.close()  # not before: of two napari viewers, one cannot draw without the other
    program.close()
    return results


def _under_load(program: "Program", held: Held, seconds: float) -> Results:
    """Paint many strokes a second."""
    program.paint(seconds / 3)
    program.rest()
    before = _resident()
    held.calls.clear()
    program.paint(seconds)
    program.rest()
    growth = 100 * (_resident() / before - 1)
    return {
        **blocks_of(held),
        "memory_growth_percent": Result(growth, "%"),
    }


def held_by(package: ModuleType) -> Held:
    """Watch how long a package holds the Qt thread; that napari refreshes layers is not its own."""
    from napari.layers import Layer

    held = Held()
    held.watch(package)
    held.leave_out(Layer, "refresh")
    return held


def blocks_of(held: Held) -> Results:
    """Return the longest times that the Qt thread was held."""
    longest, own = held.longest(), held.longest_own()
    print(f"The longest call was {longest.name}, the longest of our own {own.name}.")
    return {
        "longest_block_ms": Result(1e3 * longest.seconds, "ms"),
        "longest_own_block_ms": Result(1e3 * own.own, "ms"),
    }


def _resident() -> int:
    """Resident memory in bytes, without garbage."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, eq=False)
class Picture:
    """What was drawn after a stroke: seconds from its end, what was asked, data by layer name."""

    seconds: float
    request: Request
    data: dict[str, npt.NDArray[Any]]


class Canvas:
    """The canvas of a viewer, which knows when a picture that was expected was seen."""

    def __init__(self, viewer: Any) -> None:
        canvas = viewer.window._qt_viewer.canvas  # noqa: SLF001
        self.widget = canvas.native
        canvas._scene_canvas.events.draw.connect(self._on_painted)  # noqa: SLF001
        self.widget.frameSwapped.connect(self._on_shown)
        self._painted = self.seen = False
        self.seen_at = 0.0

    def expect(self) -> None:
        """Wait for the next picture that is painted."""
        self._painted = self.seen = False

    def _on_painted(self, _: object = None) -> None:
        self._painted = True

    def _on_shown(self) -> None:
        if self._painted and not self.seen:
            self.seen, self.seen_at = True, time.perf_counter()


class Program:
    """The program on the sample, with a brush in hand and nothing hidden."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        from napari_mtm.recording.preparation import Preparation
        from napari_mtm.ui.canvas.set_aside import REST_MS
        from napari_mtm.ui.coordinator import coordinator_of
        from napari_mtm.ui.heap import keep_memory_together
        from napari_mtm.ui.launch import choose_qt, window

        keep_memory_together()  # as the command line does
        choose_qt()
        self.viewer = window("sample", one=None, preparation=Preparation())
        self.viewer.show()
        self.viewer.window.resize(*_SIZE)
        self.canvas = Canvas(self.viewer)
        self.coordinator = coordinator_of(self.viewer)
        self._wake = QTimer()  # so that waiting for events comes to an end
        self._wake.start(10)
        self._told_at = 0.0
        self._numbers: list[int] = []
        self._final = False
        live, cells = self.coordinator.live, self.coordinator.cells
        self.rest()
        # Torch counts threads for each thread that uses it, and numba, with which napari draws,
        # counts anew here. The bare pass is to have as many as the engine's: with more, which
        # share their cores with a window, it takes twice as long.
        use_threads(None)
        self.forward = bare_forward(live.model, self.coordinator.session)
        live.answered.connect(self._on_answered)
        show = cells.show

        def told(answer: Any) -> None:
            self._told_at = time.perf_counter()
            show(answer)

        cells.show = told  # the first that is given an answer
        self.coordinator.masks.clear()
        self.coordinator.masks.tool = "paint"
        self.rest()
        self.wait(2 * REST_MS / 1000)  # as a person does who looks at what was opened

    def close(self) -> None:
        """Close the window and stop the engine."""
        self.coordinator.live.close(_PATIENCE)
        self.viewer.close()
        self.wait(0.5)
        self._wake.stop()

    def until(self, done: Callable[[], bool]) -> None:
        """Handle events until something is so."""
        from qtpy.QtCore import QEventLoop
        from qtpy.QtWidgets import QApplication

        end = time.perf_counter() + _PATIENCE
        while not done():
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
            if time.perf_counter() > end:
                raise TimeoutError("The window does not get there.")

    def wait(self, seconds: float) -> None:
        """Handle events for a while."""
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() >= end)

    def rest(self) -> None:
        """Wait until nothing is left to do."""
        live = self.coordinator.live
        self.until(lambda: not live.stale and live.whole is not None and live.whole.done)
        self.wait(0.3)

    def stroke(self, k: int) -> Picture:
        """Paint a stroke, and wait until the answer to it is drawn."""
        coordinator = self.coordinator
        before = coordinator.masks.mask.hidden
        press, *moves, release = self._stroke(k)
        press()
        for move in moves[:-1]:
            move()
            self.wait(_MOVE_SECONDS)
        moves[-1]()
        self._final = True
        start = time.perf_counter()
        release()
        if np.array_equal(coordinator.masks.mask.hidden, before):
            raise AssertionError(f"Stroke {k} hides nothing.")
        self.until(lambda: not self._final and self.canvas.seen)
        seconds = self.canvas.seen_at - start
        self.wait(0.05)
        data = {layer.name: np.array(layer.data) for layer in self.viewer.layers[1:]}
        return Picture(seconds, coordinator.live.answer.request, data)

    def _on_answered(self, answer: Any) -> None:
        self._numbers.append(answer.request.number)
        if self._final and answer.request.mask == self.coordinator.masks.mask:
            self._final = False
            self.canvas.expect()

    def overheads(self, number: int) -> Iterator[float]:
        """Yield seconds from a request to its result, less the pass of the bare network."""
        coordinator = self.coordinator
        live, mask = coordinator.live, coordinator.masks.mask
        for _ in range(number):
            start = time.perf_counter()
            live.once()
            self.until(lambda: not live.stale)
            asked = self._told_at - start
            self.until(lambda: live.behaviour is not None)
            self.wait(0.15)  # until all of it is drawn
            start = time.perf_counter()
            self.forward(coordinator.trial, mask.hidden, mask.prompt)
            yield asked - (time.perf_counter() - start)

    def paint(self, seconds: float) -> None:
        """Paint strokes, and check that the newest answers win."""
        from qtpy.QtCore import QTimer

        live, masks = self.coordinator.live, self.coordinator.masks
        painted = 0
        begun = last = time.perf_counter()

        def paint_what_is_due() -> None:
            nonlocal painted, last
            now = time.perf_counter()
            due = int((now - last) * _PER_SECOND)
            last += due / _PER_SECOND
            for _ in range(min(due, _MOST_AT_ONCE)):
                # What is painted in one round is erased in the next.
                masks.tool = ("paint", "erase")[painted // (_PLACES[0] * _PLACES[1]) % 2]
                for act in self._stroke(painted):
                    act()
                painted += 1

        timer = QTimer()
        timer.timeout.connect(paint_what_is_due)
        timer.start(5)
        self._numbers.clear()
        self.wait(seconds)
        timer.stop()
        seconds = time.perf_counter() - begun
        self.until(lambda: not live.stale)
        if live.answer.request.mask != masks.mask:
            raise AssertionError("The last answer is not to the final mask.")
        if self._numbers != sorted(self._numbers):
            raise AssertionError("Answers came in another order than their requests.")
        answers = len(self._numbers) / seconds
        print(f"{painted / seconds:.1f} strokes/s, {answers:.1f} answers/s")
        masks.tool = "paint"

    def _stroke(self, k: int) -> list[Callable[[], None]]:
        """Return what the mouse does in a stroke at one of some places."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        coordinator, widget = self.coordinator, self.canvas.widget
        session, view = coordinator.session, coordinator.view
        columns, rows = _PLACES
        column, row = k % columns, k // columns % rows
        height, (start, stop) = coordinator.layer.scale[-2], session.window
        points = [
            QPoint(
                round(view.to_x(start + (stop - start) * (column + share) / columns)),
                round(view.to_y(height * len(coordinator.rows) * (row + share) / rows)),
            )
            for share in np.linspace(0.3, 0.7, _MOVES + 1)
        ]
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        return [
            lambda: QTest.mousePress(widget, left, none, points[0]),
            *[lambda p=point: QTest.mouseMove(widget, p) for point in points[1:]],
            lambda: QTest.mouseRelease(widget, left, none, points[-1]),
        ]


class Bare:
    """A viewer with the same layers in the same grid, and nothing of ours."""

    def __init__(self, program: Program) -> None:
        import napari
        from napari.layers import Layer

        self._program = program
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*_SIZE)
        for layer in program.viewer.layers:
            data, state, kind = layer.as_layer_data_tuple()
            state["metadata"] = {}
            self.viewer.add_layer(Layer.create(data, state, kind))
        for name in ("stride", "spacing", "shape", "enabled"):
            setattr(self.viewer.canvas.grid, name, getattr(program.viewer.canvas.grid, name))
        self.canvas = Canvas(self.viewer)
        program.wait(0.5)
        self.canvas.widget.setFixedSize(program.canvas.widget.size())
        program.wait(0.5)
        ours, bare = program.viewer.scene.camera, self.viewer.scene.camera
        bare.center, bare.zoom = ours.center, ours.zoom
        program.wait(0.5)

    def update(self, picture: Picture) -> float:
        """Seconds that the bare network takes, and the cells until they are drawn."""
        program, request = self._program, picture.request
        layers = self.viewer.layers
        layers["hidden"].data = picture.data["hidden"]
        program.wait(0.15)
        changed = [layer for layer in layers[2:] if layer.visible]
        self.canvas.expect()
        start = time.perf_counter()
        program.forward(request.trial, request.mask.hidden, request.mask.prompt)
        for layer in changed:
            layer.data = picture.data[layer.name]
        program.until(lambda: self.canvas.seen)
        return self.canvas.seen_at - start
