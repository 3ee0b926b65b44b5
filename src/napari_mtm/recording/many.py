"""Many sessions to stores, in parallel processes.

A process that is killed, or a session that cannot be prepared, costs no other
session anything. What stands already is kept, so that the same call goes on
where an earlier one ended.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_mtm.errors import MtmError, PreparationError, SourceError, StoreError
from napari_mtm.files import new_folder, remove_partial
from napari_mtm.processes import Death, share
from napari_mtm.progress import Progress, silent
from napari_mtm.recording import cache
from napari_mtm.recording.opening import archive, find_source, sessions_of
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
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
        Folder of a ONE cache to use in local mode, or of a release of the Brain-Wide Map; the
        sources are then eids.
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
    plan = _plan(sources, folder, None if one is None else archive(one), progress)
    jobs = [job for job in plan if isinstance(job, _Job)]
    work = partial(_do, preparation=preparation, one=None if one is None else str(one))
    done: dict[_Job, Outcome] = {}
    for ended in share(jobs, work, workers or os.cpu_count() or 1, tidy=_remove_partial):
        if ended is not None:
            place, outcome = ended
            job = jobs[place]
            done[job] = (
                _failed(job.source, job.name, MtmError(_farewell(outcome)))
                if isinstance(outcome, Death)
                else outcome
            )
        n = len(plan) - len(jobs) + len(done)
        progress(n / len(plan), f"finished {n} of {len(plan)} sessions")
    return [done[item] if isinstance(item, _Job) else item for item in plan]


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
            plan.append(_Job(source, *_place(found.id, found.name, out, holders)))
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
    try:
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
    return archive(one)


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
