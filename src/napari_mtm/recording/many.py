"""Many sessions to stores, in parallel processes.

A process that is killed, or a session that cannot be prepared, costs no other
session anything. What stands already is kept, so that the same call goes on
where an earlier one ended.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_mtm.errors import Cancelled, MtmError, PreparationError, SourceError, StoreError
from napari_mtm.files import new_folder, remove_partial
from napari_mtm.processes import Death, share
from napari_mtm.progress import Progress, silent
from napari_mtm.recording import cache
from napari_mtm.recording.one_files import open_one
from napari_mtm.recording.opening import find_source, is_release, sessions_of
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.reading import AlfSource
from napari_mtm.recording.servers import ServerOffline, cache_folder, is_address
from napari_mtm.recording.session import Session, titled
from napari_mtm.recording.source import Source
from napari_mtm.recording.store import (
    open_store,
    save_session,
    store_id,
    store_origin,
    store_path,
)

if TYPE_CHECKING:
    from one.api import One


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


_FAREWELL = 5.0
"""Seconds for a download to hear that it is stopped; it hears none while nothing comes."""


@dataclass(eq=False)
class _Job:
    """A session to prepare.

    `found` is a session of a server, which can be read once it is `here`, unless it has `failed`.
    """

    source: str
    name: str
    store: Path
    found: AlfSource | None = None
    here: bool = True
    failed: Outcome | None = None


class _Downloads:
    """Downloads sessions of a server one after the other, as ONE is not made for several at once.

    It does so in a thread until it is told to stop; `doing` says what it does.
    """

    doing = ""

    def __init__(self, jobs: Sequence[_Job]) -> None:
        self._jobs = jobs
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="downloads")

    def __enter__(self) -> "_Downloads":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(_FAREWELL)

    def _run(self) -> None:
        for job in self._jobs:
            assert job.found is not None
            try:
                job.found = job.found.downloaded(partial(self._told, job.name))
            except Exception as error:  # noqa: BLE001  one session's trouble is not the others'
                job.found, job.failed = None, _failed(job.source, job.name, error)
            job.here = True
        self.doing = ""

    def _told(self, name: str, _: float, message: str) -> None:
        if self._stopped.is_set():
            raise Cancelled
        self.doing = f", {name}: {message}"


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
        Folder of a ONE cache or of a release of the Brain-Wide Map, or address of a server; the
        sources are then eids. What a server has is downloaded one session after the other, while
        those that are here are prepared. Of a server that gives no answer, what is on disk is
        prepared.
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
    folder = new_folder(Path(out))
    known, cached = _opened_here(one)
    plan = _plan(sources, folder, known, progress)
    jobs = [job for job in plan if isinstance(job, _Job)]
    work = partial(_do, preparation=preparation, one=cached)
    done: dict[_Job, Outcome] = {}
    processes = workers or os.cpu_count() or 1
    with _Downloads([job for job in jobs if not job.here]) as downloads:
        for ended in share(jobs, work, processes, tidy=_remove_partial, ready=lambda j: j.here):
            if ended is not None:
                place, outcome = ended
                job = jobs[place]
                done[job] = (
                    _failed(job.source, job.name, MtmError(_farewell(outcome)))
                    if isinstance(outcome, Death)
                    else outcome
                )
            n = len(plan) - len(jobs) + len(done)
            progress(n / len(plan), f"finished {n} of {len(plan)} sessions{downloads.doing}")
    return [done[item] if isinstance(item, _Job) else item for item in plan]


def _opened_here(one: str | Path | None) -> tuple["One | Path | None", str | None]:
    """Open ONE, and say which folder, of its cache or a release, the processes are to open."""
    if one is None:
        return None, None
    if is_release(one):
        return Path(one), str(one)
    if not is_address(one):
        return open_one(one), str(one)
    try:
        return open_one(one), None
    except ServerOffline:
        folder = cache_folder(str(one))
        if folder is None:
            raise
        return open_one(folder), str(folder)


def _plan(
    sources: Sequence[str | Path], out: Path, one: "One | Path | None", progress: Progress
) -> list[_Job | Outcome]:
    """Find each session and a store of its own for it, or say why there is none."""
    plan: list[_Job | Outcome] = []
    first: dict[str, str] = {}  # source by session
    holders: dict[str, str] = {}  # session by name of store
    for source in _each(sources, one):
        progress(0.0, f"looking for {source}")
        try:
            found = find_source(source, one=one)
            if found.id in first:
                raise SourceError(
                    f"{source} is the same session as {first[found.id]}; name one of them."
                )
            first[found.id] = source
            job = _Job(source, *_place(found.id, found.name, out, holders))
            local = one is None or isinstance(one, Path) or one.offline
            if not local and isinstance(found, AlfSource):
                job.found, job.here = found, False
            plan.append(job)
        except Exception as error:  # noqa: BLE001  one source's trouble is not the others'
            plan.append(_failed(source, source, error))
    return plan


def _each(sources: Sequence[str | Path], one: "One | Path | None") -> list[str]:
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


def _do(job: _Job, preparation: Preparation, one: str | None) -> Outcome:
    if job.failed is not None:
        return job.failed
    try:
        source: Source | None = job.found
        if source is None:
            source = find_source(job.source, one=None if one is None else _opened(one))
        source.fetch()
        origin = cache.key(source, preparation)
        session = _known(job.store, origin)
        there = session is not None
        if session is None:
            session = prepare(source.read(), preparation)
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


@lru_cache(maxsize=1)
def _opened(one: str) -> "One | Path":
    """Open a ONE once in each process: its tables may be large."""
    return Path(one) if is_release(one) else open_one(one)


def _remove_partial(job: _Job, process: int) -> None:
    remove_partial(job.store, process)


def _known(store: Path, origin: str) -> Session | None:
    """Open a store if it is whole and came of the same files by the same settings."""
    try:
        return open_store(store, verify=True) if store_origin(store) == origin else None
    except StoreError:
        return None


def _failed(source: str, name: str, error: Exception) -> Outcome:
    why = str(error) if isinstance(error, MtmError) else f"{type(error).__name__}: {error}"
    return Outcome(source, name, "failed", why=" ".join(why.split()))


def _farewell(death: Death) -> str:
    if death.killed:
        return (
            "Its process was killed, as happens where memory runs out; "
            "prepare it again with fewer workers."
        )
    return f"Its process ended before its time (exit code {death.code}); prepare it again."
