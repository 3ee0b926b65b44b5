"""Fine-tuning in a process of its own: what a window starts, watches, pauses and stops.

The two processes talk in lines of JSON over the child's standard input and output. Nothing is
lost by whatever ends either of them: the run is on disk, and goes on from its last save. A
child whose starter is gone saves and ends, unless it was told to go on alone.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Literal, TypeAlias

from pydantic import TypeAdapter

from napari_mtm.errors import Cancelled, MtmError, TrainingError
from napari_mtm.training.loop import Report
from napari_mtm.training.run import Run, Scope
from napari_mtm.training.settings import Settings

_NICE = 10
"""How far a training stands back behind whoever paints, where both want the same core."""

_PACKAGE = str(Path(__file__).parents[2])
"""Where the child finds this package, also in a checkout where nothing is installed."""


@dataclass(frozen=True)
class Assignment:
    """A fine-tuning for another process.

    Attributes
    ----------
    session
        A prepared store.
    weights
        What to begin with: a file, or the name of shipped weights. Unread where `out` holds
        a run: that one goes on.
    out
        Folder of the run.
    scope, settings
        As for `finetune`.
    device
        Where to train; None for the GPU where there is one.
    threads
        Of the CPU, None for as many as torch takes.
    nice
        Whether others come first.

    """

    session: Path
    weights: str
    out: Path
    scope: Scope | Literal["auto"] = "auto"
    settings: Settings | None = None
    device: str | None = None
    threads: int | None = 1
    nice: bool = True


@dataclass(frozen=True)
class Preparing:
    """What comes before the first step: the share that is done, and what it is."""

    fraction: float
    message: str


@dataclass(frozen=True)
class Paused:
    """Nothing is done until it is told to go on."""


@dataclass(frozen=True)
class Ended:
    """It ended, and how.

    "finished" and "stopped" leave the best weights with readouts, "cancelled" leaves nothing
    of a run that it began. After "failed" and "killed" the run can be resumed if there is one.
    """

    how: Literal["finished", "stopped", "cancelled", "failed", "killed"]
    message: str = ""


News: TypeAlias = Preparing | Report | Paused | Ended
Order: TypeAlias = Literal["pause", "go on", "stop", "cancel", "leave"]

_NEWS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Preparing, Report, Paused, Ended)
}
_ASSIGNMENT = TypeAdapter(Assignment)


class Worker:
    """A fine-tuning in another process, as the process that started it sees it.

    It goes on while it is not looked at. `ended` is set once there is nothing more to hear.
    """

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.ended: Ended | None = None
        self._heard: SimpleQueue[News] = SimpleQueue()
        # A file, since a pipe would break with this process: who is left alone may print there.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `_listen`
        paths = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        # In a session of its own: a Ctrl-C in the terminal is for the program, not for it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "napari_mtm.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )
        self._send(_ASSIGNMENT.dump_json(assignment))
        threading.Thread(target=self._listen, daemon=True, name="training").start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def look(self) -> list[News]:
        """Return what was told since the last time, and never wait for it."""
        told: list[News] = []
        with suppress(Empty):
            while True:
                told.append(self._heard.get_nowait())
        for news in told:
            if isinstance(news, Ended):
                self.ended = news
        return told

    def pause(self) -> None:
        """Let it wait after the step in hand."""
        self._order("pause")

    def go_on(self) -> None:
        """End a pause."""
        self._order("go on")

    def stop(self) -> None:
        """Let it end after the step in hand, and keep the best weights."""
        self._order("stop")

    def cancel(self) -> None:
        """Let it end, and remove the run if it was begun by this assignment."""
        self._order("cancel")

    def leave(self) -> None:
        """Let it go on to its end when this process is gone."""
        self._order("leave")

    def close(self, timeout: float | None = None) -> bool:
        """Stop listening; return whether the process ended within `timeout` seconds.

        Unless it was left alone, it saves and ends.
        """
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(OSError):
            stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _order(self, order: Order) -> None:
        self._send(json.dumps(order).encode())

    def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # One that is gone says so by its end.
        with suppress(OSError, ValueError):
            stdin.write(line + b"\n")
            stdin.flush()

    def _listen(self) -> None:
        """Hear news on a thread, until there are no more."""
        ended, stream = False, self._process.stdout
        assert stream is not None
        with stream:
            for line in stream:
                news = _news_of(line)
                self._heard.put(news)
                ended = isinstance(news, Ended)
        code = self._process.wait()
        with self._errors:
            if not ended:
                self._heard.put(Ended("killed", self._why_killed(code)))

    def _why_killed(self, code: int) -> str:
        how = f"by signal {-code} ({_signal_name(-code)})" if code < 0 else f"with code {code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        said = f" Its last words: {last.strip()}" if last else ""
        return f"The training process ended {how}; the run can be resumed.{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _line_of(news: News) -> bytes:
    name = type(news).__name__
    return json.dumps({name: asdict(news)}).encode() + b"\n"


def _news_of(line: bytes) -> News:
    ((name, value),) = json.loads(line).items()
    found: News = _NEWS[name].validate_python(value)
    return found


# -- in the other process ------------------------------------------------------------------


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
            self.told.write(_line_of(news))
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
                    self.ordered = "stop"
                    raise Cancelled("The program that started it is gone.")
                paused = False
            elif order in ("stop", "cancel"):
                self.ordered = order
                raise Cancelled("It was stopped.")
            elif order == "leave":
                self.alone, paused = True, False
            else:
                paused = order == "pause"
                if paused:
                    self.tell(Paused())

    def progress(self, fraction: float, message: str) -> None:
        """Tell of what comes before the first step."""
        self.heed()
        self.tell(Preparing(fraction, message))

    def watch(self, report: Report) -> None:
        """Tell of a training that goes on."""
        self.tell(report)
        self.heed()


def carry_out(assignment: Assignment, line: Line) -> Ended:
    """Fine-tune as assigned; say how it ended. Raises nothing but what is a bug."""
    begun_before = Run.is_in(assignment.out)
    try:
        _fine_tune(assignment, line)
    except Cancelled as reason:
        return _end_early(assignment, line, str(reason), begun_before=begun_before)
    except KeyboardInterrupt:  # SIGTERM, too, after the step in hand
        return _end_early(assignment, line, "The system ended it.", begun_before=begun_before)
    except MtmError as error:
        return Ended("failed", str(error))
    return Ended("finished")


def _end_early(assignment: Assignment, line: Line, why: str, *, begun_before: bool) -> Ended:
    """Leave what was asked for of a training that did not come to its end."""
    try:
        if line.ordered != "cancel":
            _keep_best(assignment)
            return Ended("stopped", why)
        if not begun_before:
            Run.remove(assignment.out)
        return Ended("cancelled")
    except MtmError as error:
        return Ended("failed", str(error))


def _fine_tune(assignment: Assignment, line: Line) -> None:
    """Fine-tune; where the GPU's memory is too small, go on with smaller batches."""
    import torch

    from napari_mtm.model.weights import load_model
    from napari_mtm.recording.store import open_store
    from napari_mtm.training.finetuning import finetune

    line.progress(0.0, "opening the session")
    session = open_store(assignment.session)
    out = assignment.out
    if Run.is_in(out):
        model = Run(out).model("start", device=assignment.device)
    else:
        model = load_model(assignment.weights, device=assignment.device)
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


def _keep_best(assignment: Assignment) -> None:
    """Let the best weights of a run that was stopped decode behaviour, too."""
    from napari_mtm.recording.store import open_store
    from napari_mtm.training.finetuning import fit_best

    if Run.is_in(assignment.out):
        run = Run(assignment.out)
        fit_best(run, open_store(assignment.session), device=assignment.device)


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
        assignment = _ASSIGNMENT.validate_json(orders.readline())
        line = Line(told)
        line.listen(orders)
        if assignment.nice and hasattr(os, "nice"):
            os.nice(_NICE)
        if assignment.threads is not None:
            import torch

            torch.set_num_threads(assignment.threads)
        line.tell(_told_whatever(lambda: carry_out(assignment, line)))


if __name__ == "__main__":
    main()
