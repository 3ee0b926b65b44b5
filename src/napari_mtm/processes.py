"""Processes that share work, and end at once with whoever began it."""

import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

NO_CONSOLE: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""For a process of its own on Windows: no console opens, and no Ctrl-C in ours is heard there."""

LOW_PRIORITY: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
"""For a process of its own on Windows, which has no `os.nice`: others come first."""

_TICK = 0.1
"""Seconds between turns, so that a caller can report and cancel however long a job takes."""

_FAREWELL = 5.0
"""Seconds for a process that has closed its pipe to be gone."""

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Death:
    """What a job came to whose process died of it; `code` is minus a signal's number, or a code."""

    code: int | None

    @property
    def killed(self) -> bool:
        """Whether it was killed, as happens where memory runs out."""
        return self.code == -9


def share(
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    workers: int,
    *,
    threads: int = 1,
    tidy: Callable[[Job, int], object] | None = None,
    ready: Callable[[Job], bool] = lambda _: True,
) -> Iterator[tuple[int, Result | Death] | None]:
    """Do jobs in fresh processes; yield the place of each and what it came to, as they end.

    Yields None where for a tenth of a second none ended, so that whoever asks can report, or
    stop. What `work` raises is raised here. A process that dies costs its own job alone.

    Whatever ends this early ends the processes in the middle of their work, and so does the end
    of this process, however it ends. Ctrl-C itself they do not hear.

    Parameters
    ----------
    jobs, work, workers
        What to do, and in how many processes at most; each is begun when it is first needed.
        `work` and the jobs must be importable and picklable.
    threads
        Of linear algebra in each process.
    tidy
        Called with a job that was cut off and the number of its process, to remove what it had
        half done: here, or in that process where this one is gone.
    ready
        Whether a job can begin yet; it is asked again several times a second until it can.

    """
    waiting = dict(enumerate(jobs))
    crew: list[_Worker[Job, Result]] = [
        _Worker(work, threads, tidy) for _ in range(min(workers, len(jobs)))
    ]
    try:
        for _ in jobs:
            ended = None
            while ended is None:
                for worker in crew:
                    if worker.job is None:
                        place = next((p for p, job in waiting.items() if ready(job)), None)
                        if place is not None:
                            worker.give(place, waiting.pop(place))
                busy = {worker.pipe: worker for worker in crew if worker.job is not None}
                if not busy:
                    time.sleep(_TICK)
                heard = wait(list(busy), _TICK) if busy else []
                ended = busy[heard[0]].answer() if heard else None  # type: ignore[index]
                yield ended
    finally:
        with _undisturbed():
            for worker in crew:
                worker.end()


class _Worker(Generic[Job, Result]):
    """A process that does one job after another; begun when it is first needed."""

    pipe: Connection
    job: tuple[int, Job] | None = None
    _process: SpawnProcess | None = None

    def __init__(
        self,
        work: Callable[[Job], Result],
        threads: int,
        tidy: Callable[[Job, int], object] | None,
    ) -> None:
        self._work, self._threads, self._tidy = work, threads, tidy

    def give(self, place: int, job: Job) -> None:
        """Have a job done; `pipe` is ready when it is."""
        if self._process is None:
            self._begin()
        self.job = place, job
        with suppress(OSError):  # that it is dead is said by `answer`
            self.pipe.send(job)

    def answer(self) -> tuple[int, Result | Death]:
        """Return the place of the job and what became of it, also where the process died of it."""
        assert self.job is not None
        assert self._process is not None
        place, _ = self.job
        try:
            error, result = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(_FAREWELL)
            code = self._process.exitcode
            self.end()
            return place, Death(code)
        self.job = None
        if error is not None:
            raise error
        return place, result

    def end(self) -> None:
        """End the process at once, and tidy up after it."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.join()
        self.pipe.close()
        if self.job is not None and self._tidy is not None and process.pid is not None:
            self._tidy(self.job[1], process.pid)
        self._process = self.job = None

    def _begin(self) -> None:
        context = get_context("spawn")
        with _undisturbed(), _threads_of_linear_algebra(self._threads):
            self.pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(theirs, self._work, self._tidy), daemon=True
            )
            self._process.start()
            theirs.close()  # the pipe then ends with the process


def _serve(
    pipe: Connection, work: Callable[[Any], Any], tidy: Callable[[Any, int], object] | None
) -> None:
    """Do the jobs that come through a pipe; end at once when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # if not inherited
    waiting: SimpleQueue[Any] = SimpleQueue()
    doing: list[Any] = []

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                waiting.put(pipe.recv())
        for job in doing if tidy is not None else ():
            with suppress(Exception):
                tidy(job, os.getpid())  # type: ignore[misc]
        os._exit(1)  # nobody is left to tell

    threading.Thread(target=listen, daemon=True, name="jobs").start()
    while True:
        doing[:] = [waiting.get()]
        answer: tuple[BaseException | None, Any]
        try:
            answer = None, work(doing[0])
        except Exception as error:  # noqa: BLE001  raised again where the job was given
            error.add_note(traceback.format_exc())
            answer = error, None
        doing.clear()
        with suppress(OSError):
            pipe.send(answer)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Do something that Ctrl-C must not cut in two.

    A process that is started meanwhile never hears Ctrl-C, from its first
    instruction on: whoever started it does, and ends it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears Ctrl-C
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _threads_of_linear_algebra(number: int) -> Iterator[None]:
    """Let processes that are started now use so many threads each for linear algebra."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(number)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
