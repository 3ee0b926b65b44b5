"""Many sessions to stores, in parallel processes.

A process that is killed, or a session that cannot be prepared, costs no other
session anything. What stands already is kept, so that the same call goes on
where an earlier one ended.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_mtm.errors import MtmError, PreparationError, SourceError, StoreError
from napari_mtm.files import remove_partial
from napari_mtm.progress import Progress, silent
from napari_mtm.recording import cache
from napari_mtm.recording.one_files import open_one
from napari_mtm.recording.opening import find_files, sessions_of
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.reading import read_recording
from napari_mtm.recording.session import Session, titled
from napari_mtm.recording.store import (
    open_store,
    save_session,
    store_id,
    store_origin,
    store_path,
)

if TYPE_CHECKING:
    from one.api import One

_TICK = 0.1
"""Seconds between reports, so that a caller can cancel however long a session takes."""

_FAREWELL = 5.0
"""Seconds for a process that has closed its pipe to be gone."""

_KILLED = -9

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Outcome:
    """What became of one session.

    Attributes
    ----------
    source, name
        Where it was to come from, and what a person calls it; the source again
        where there is no session.
    status
        "done" now, "there already" from an earlier time, or "failed".
    store, size
        Its file, and the bytes of it; None and 0 where it failed.
    units, trials
        How many there are; 0 where it failed.
    why
        Why it failed, in one line; empty otherwise.

    """

    source: str
    name: str
    status: Literal["done", "there already", "failed"]
    store: Path | None = None
    size: int = 0
    units: int = 0
    trials: int = 0
    why: str = ""


@dataclass(frozen=True)
class _Job:
    source: str
    name: str
    store: Path


def prepare_many(
    sources: Sequence[str | Path],
    out: str | Path,
    preparation: Preparation,
    *,
    one: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Outcome]:
    """Prepare sessions in parallel processes, each to a store in the folder `out`.

    Parameters
    ----------
    sources
        As for `open_session`; a folder of several sessions stands for all of them.
    out
        Folder for the stores, made where there is none. A whole store of the same
        source and preparation that lies there is kept; any other is written again.
    preparation
        How the recordings are cut.
    one
        Folder of a ONE cache to use in local mode; the sources are then eids.
    workers
        Number of processes; by default one per core, as far as there are sessions.
    progress
        Called several times a second; what it raises ends the processes at once,
        and nothing half-written is left.

    Returns one outcome per session, in the order of the sources. A script calls
    this under `if __name__ == "__main__"`, as every process imports the script.

    """
    if workers is not None and workers < 1:
        raise PreparationError("Preparing needs at least one worker.")
    folder = _folder(Path(out))
    plan = _plan(sources, folder, None if one is None else open_one(one), progress)
    jobs = [job for job in plan if isinstance(job, _Job)]
    waiting = deque(jobs)
    done: dict[_Job, Outcome] = {}
    with _crew(min(workers or os.cpu_count() or 1, len(jobs)), preparation, one) as crew:
        while len(done) < len(jobs):
            for worker in crew:
                if waiting and worker.job is None:
                    worker.give(waiting.popleft())
            ready = wait([worker.pipe for worker in crew if worker.job is not None], _TICK)
            for worker in crew:
                job = worker.job
                if job is not None and worker.pipe in ready:
                    done[job] = worker.answer()
            n = len(plan) - len(jobs) + len(done)
            progress(n / len(plan), f"finished {n} of {len(plan)} sessions")
    return [done[item] if isinstance(item, _Job) else item for item in plan]


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out} cannot be a folder for stores: {error.strerror}.") from None
    return out


def _plan(
    sources: Sequence[str | Path], out: Path, one: "One | None", progress: Progress
) -> list[_Job | Outcome]:
    """Find each session and a store of its own for it, or say why there is none."""
    plan: list[_Job | Outcome] = []
    first: dict[str, str] = {}  # source by session
    holders: dict[str, str] = {}  # session by name of store
    for source in _each(sources, one):
        progress(0.0, f"looking for {source}")
        try:
            files = find_files(source, one=one)
            if files.id in first:
                raise SourceError(
                    f"{source} is the same session as {first[files.id]}; name one of them."
                )
            first[files.id] = source
            plan.append(_Job(source, *_place(files.id, files.name, out, holders)))
        except Exception as error:  # noqa: BLE001  one source's trouble is not the others'
            plan.append(_failed(source, source, error))
    return plan


def _each(sources: Sequence[str | Path], one: "One | None") -> list[str]:
    """All sessions of the sources, each path once."""
    every: dict[Path, str] = {}
    for source in sources:
        try:
            sessions = sessions_of(source, one=one)
        except OSError:
            sessions = [str(source)]  # what is wrong with it is said when its files are looked for
        every |= {Path(session).absolute(): session for session in sessions}
    return list(every.values())


def _place(id: str, name: str, out: Path, holders: dict[str, str]) -> tuple[str, Path]:
    """Name and store of a session: with its id, where another session has the bare name.

    Who had the name in an earlier run keeps it.
    """
    store = store_path(out, name)
    # Some disks do not tell capitals from small letters.
    if holders.setdefault(store.name.casefold(), _stored_id(store) or id) == id:
        return name, store
    return f"{name} {id}", store_path(out, f"{name} {id}")


def _stored_id(store: Path) -> str | None:
    try:
        return store_id(store)
    except StoreError:
        return None


class _Worker:
    """A process that prepares one session after another; begun when it is first needed."""

    pipe: Connection
    job: _Job | None = None
    _process: SpawnProcess | None = None

    def __init__(self, preparation: Preparation, one: str | Path | None) -> None:
        self._settings = preparation, one

    def give(self, job: _Job) -> None:
        """Have a job done; `pipe` is ready when it is."""
        if self._process is None:
            self._begin()
        self.job = job
        with suppress(OSError):  # that it is dead is said by `answer`
            self.pipe.send(job)

    def answer(self) -> Outcome:
        """What became of the job, also where the process has died of it."""
        job, process = self.job, self._process
        assert job is not None
        assert process is not None
        try:
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            process.join(_FAREWELL)
            outcome = _failed(job.source, job.name, MtmError(_farewell(process.exitcode)))
            self.end()
        self.job = None
        return outcome

    def end(self) -> None:
        """End the process at once and remove what it had half-written."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.join()
        self.pipe.close()
        if self.job is not None and process.pid is not None:
            remove_partial(self.job.store, process.pid)
        self._process = None

    def _begin(self) -> None:
        context = get_context("spawn")
        with _undisturbed(), _single_threaded():
            self.pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=_work, args=(theirs, *self._settings), daemon=True
            )
            self._process.start()
            theirs.close()  # the pipe then ends with the process


@contextmanager
def _crew(n: int, preparation: Preparation, one: str | Path | None) -> Iterator[list[_Worker]]:
    """Workers that are gone afterwards, whatever happens."""
    crew = [_Worker(preparation, one) for _ in range(n)]
    try:
        yield crew
    finally:
        with _undisturbed():
            for worker in crew:
                worker.end()


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
def _single_threaded() -> Iterator[None]:
    """Let processes that are started now use one thread each for linear algebra."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection, preparation: Preparation, one: str | Path | None) -> None:
    """Do the jobs that come through the pipe until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # if not inherited
    opened = None if one is None else open_one(one)
    with suppress(EOFError, OSError):
        while True:
            job: _Job = pipe.recv()
            pipe.send(_do(job, preparation, opened))


def _do(job: _Job, preparation: Preparation, one: "One | None") -> Outcome:
    try:
        files = find_files(job.source, one=one)
        origin = cache.key(files, preparation)
        session = _known(job.store, origin)
        there = session is not None
        if session is None:
            session = prepare(read_recording(files), preparation)
            save_session(session, job.store, origin=origin)
        return Outcome(
            source=job.source,
            name=titled(job.name, simulated=session.simulated),
            status="there already" if there else "done",
            store=job.store,
            size=job.store.stat().st_size,
            units=session.n_units,
            trials=session.n_trials,
        )
    except Exception as error:  # noqa: BLE001  told in the outcome; the next session is another
        return _failed(job.source, job.name, error)


def _known(store: Path, origin: str) -> Session | None:
    """Open a store if it is whole and came of the same files by the same settings."""
    try:
        return open_store(store, verify=True) if store_origin(store) == origin else None
    except StoreError:
        return None


def _failed(source: str, name: str, error: Exception) -> Outcome:
    why = str(error) if isinstance(error, MtmError) else f"{type(error).__name__}: {error}"
    return Outcome(source, name, "failed", why=" ".join(why.split()))


def _farewell(code: int | None) -> str:
    if code == _KILLED:
        return (
            "Its process was killed, as happens where memory runs out; "
            "prepare it again with fewer workers."
        )
    return f"Its process ended before its time (exit code {code}); prepare it again."
