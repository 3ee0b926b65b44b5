"""The other process: does what it is assigned, tells news, and heeds orders.

    python -m napari_mtm.training.child

The assignment is the first line on standard input, orders are the others.
"""

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import IO, Literal

import torch

from napari_mtm.errors import Cancelled, MtmError, TrainingError
from napari_mtm.model.model import Model
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import open_store
from napari_mtm.training.comparison import compare, save_comparison
from napari_mtm.training.finetuning import begun_with, finetune, fit_best
from napari_mtm.training.loop import Report
from napari_mtm.training.messages import (
    Assignment,
    Comparing,
    Ended,
    Measured,
    News,
    Order,
    Paused,
    Preparing,
    assignment_of,
    line_of,
)
from napari_mtm.training.pace import measure
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings

_NICE = 10
"""How far a training stands back behind whoever paints, where both want the same core."""


@dataclass
class Line:
    """The child's end: tells news, hears orders, and does as they say."""

    told: IO[bytes]
    orders: "SimpleQueue[Order | None]" = field(default_factory=SimpleQueue)
    ordered: Order | None = None
    alone: bool = False

    def listen(self, stream: IO[bytes]) -> None:
        """Hear orders on a thread; None is the last, when whoever gave them is gone."""

        def hear() -> None:
            for line in stream:
                self.orders.put(json.loads(line))
            self.orders.put(None)

        threading.Thread(target=hear, daemon=True, name="orders").start()

    def tell(self, news: News) -> None:
        """Tell, if there is somebody to be told."""
        with suppress(OSError, ValueError):
            self.told.write(line_of(news))
            self.told.flush()

    def heed(self) -> None:
        """Do what was ordered since the last time; wait while paused.

        Raises Cancelled where it is to end.
        """
        paused = False
        while True:
            try:
                order = self.orders.get(block=paused)
            except Empty:
                return
            if order is None:
                if not self.alone:
                    raise Cancelled("The program that started it is gone.")
                paused = False
            elif order in ("stop", "cancel"):
                self.ordered = order
                raise Cancelled("It was stopped.")
            elif order == "leave":
                self.alone, paused = True, False
            elif isinstance(order, int):
                torch.set_num_threads(order)
            else:
                paused = order == "pause"
                if paused:
                    self.tell(Paused())

    def progress(self, fraction: float, message: str) -> None:
        """Tell of what comes before the first step."""
        self.heed()
        self.tell(Preparing(fraction, message))

    def comparing(self, fraction: float, message: str) -> None:
        """Tell of what comes after the last."""
        self.heed()
        self.tell(Comparing(fraction, message))

    def watch(self, report: Report) -> None:
        """Tell of a training that goes on."""
        self.tell(report)
        self.heed()


def carry_out(assignment: Assignment, line: Line) -> Ended:
    """Do as assigned; say how it ended. Raises nothing but what is a bug."""
    begun_before = Run.is_in(assignment.out)
    try:
        line.progress(0.0, "opening the session")
        session = open_store(assignment.session)
        if assignment.work == "measure":
            _measure(assignment, session, line)
            return Ended("finished")
        if assignment.work == "fine-tune":
            _fine_tune(assignment, session, line)
    except Cancelled as reason:
        return _end_early(assignment, line, str(reason), begun_before=begun_before)
    except KeyboardInterrupt:  # SIGTERM, too, after the step in hand
        return _end_early(assignment, line, "The system ended it.", begun_before=begun_before)
    except MtmError as error:
        return Ended("failed", str(error))
    return _compare(assignment, session, line, begun_before=begun_before)


def _end_early(assignment: Assignment, line: Line, why: str, *, begun_before: bool) -> Ended:
    """Leave what was asked for of a training that did not come to its end."""
    try:
        if line.ordered == "cancel":
            if not begun_before:
                Run.remove(assignment.out)
            return Ended("cancelled")
        if not Run.is_in(assignment.out):
            return Ended("stopped", why)
        session = open_store(assignment.session)
        # The best weights are to decode behaviour, too.
        fit_best(Run(assignment.out), session, device=assignment.device)
    except MtmError as error:
        return Ended("failed", str(error))
    if line.ordered is None:  # nobody asked for it, or waits for more
        run = Run(assignment.out)
        run.set_status(run.status.model_copy(update={"state": "interrupted", "message": why}))
        return Ended("stopped", why)
    return _compare(assignment, session, line, begun_before=begun_before, how="stopped", why=why)


def _compare(
    assignment: Assignment,
    session: Session,
    line: Line,
    *,
    begun_before: bool,
    how: Literal["finished", "stopped"] = "finished",
    why: str = "",
) -> Ended:
    """Score before and after; the run is there whether that comes to its end or not."""
    try:
        run = Run(assignment.out)
        model = run.model("best", device=assignment.device)
        line.ordered = None
        save_comparison(run, compare(run, session, model, progress=line.comparing))
    except Cancelled:
        if line.ordered == "cancel" and not begun_before:
            Run.remove(assignment.out)
            return Ended("cancelled")
    except torch.OutOfMemoryError:
        why = "There was not enough memory to compare it with the weights before."
    except MtmError as error:
        why = str(error)
    return Ended(how, why)


def _begun_with(assignment: Assignment, session: Session) -> Model:
    """Return the weights that an assignment begins with."""
    if Run.is_in(assignment.out):
        return Run(assignment.out).model("start", device=assignment.device)
    return begun_with(assignment.weights, session, assignment.device)


def _measure(assignment: Assignment, session: Session, line: Line) -> None:
    model = begun_with(assignment.weights, session, assignment.device)
    settings = assignment.settings or Settings.of(model.preset)
    pace = measure(model, session, settings, progress=line.progress)
    line.tell(Measured(pace, str(model.device)))


def _fine_tune(assignment: Assignment, session: Session, line: Line) -> None:
    """Fine-tune; where the GPU's memory is too small, go on with smaller batches."""
    line.progress(0.0, "loading the weights")
    out, model = assignment.out, _begun_with(assignment, session)
    settings = assignment.settings or Settings.of(model.preset)
    while True:
        try:
            finetune(
                model,
                session,
                out,
                scope=assignment.scope,
                settings=settings,
                source=str(assignment.session.resolve()),
                weights=assignment.weights,
                resume=True,
                watch=line.watch,
                progress=line.progress,
            )
            return
        except torch.OutOfMemoryError:
            if Run.is_in(out):
                settings = Run(out).about.settings
            if settings.batch == 1:
                raise TrainingError(
                    f"There is not enough memory on {model.device} for a single trial. "
                    "Close what else uses it, or train on the CPU."
                ) from None
            settings = halved(settings)
            if Run.is_in(out):
                Run(out).set_settings(settings)
            if model.device.type == "cuda":
                torch.cuda.empty_cache()
            line.progress(0.0, f"out of memory: going on with batches of {settings.batch} trials")


def halved(settings: Settings) -> Settings:
    """Return settings with batches half as large, and more of them in a step."""
    return replace(settings, batch=settings.batch // 2, batches=2 * settings.batches)


@contextmanager
def _own_streams() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Yield standard input and output, and keep what libraries print out of the latter."""
    orders, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with orders, told:
        yield orders, told


def _told_whatever(act: Callable[[], Ended]) -> Ended:
    """Let nothing go untold, what nobody foresaw neither."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001  told
        traceback.print_exc()
        return Ended("failed", f"{type(error).__name__}: {error}")


def main() -> None:
    """Do what the first line on standard input assigns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _own_streams() as (orders, told):
        assignment = assignment_of(orders.readline())
        line = Line(told)
        line.listen(orders)
        if assignment.nice and hasattr(os, "nice"):
            os.nice(_NICE)
        if assignment.threads is not None:
            torch.set_num_threads(assignment.threads)
        line.tell(_told_whatever(lambda: carry_out(assignment, line)))


if __name__ == "__main__":
    main()
