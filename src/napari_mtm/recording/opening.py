"""Open a session, wherever it is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_mtm.errors import SourceError
from napari_mtm.files import is_folder, is_regular, shortened
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording import cache, formats
from napari_mtm.recording.alf import FolderFiles, holds_session, is_eid, sessions_below
from napari_mtm.recording.bench import BENCH, BenchSource
from napari_mtm.recording.formats import brain_wide_map
from napari_mtm.recording.one_files import OneFiles, failed_probes, open_one
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.reading import AlfSource, used
from napari_mtm.recording.servers import ServerOffline, cache_folder, is_address
from napari_mtm.recording.session import Session
from napari_mtm.recording.source import Source, Survey
from napari_mtm.recording.store import is_store, open_store

if TYPE_CHECKING:
    from one.api import One

SAMPLE = "sample"


def open_session(
    source: str | Path,
    *,
    one: "One | str | Path | None" = None,
    units: Literal["good", "all"] = "good",
    min_rate: float = 0.0,
    align: str = "stimOn_times",
    window: tuple[float, float] = (-0.5, 1.5),
    bin_size: float = 0.02,
    progress: Progress | None = None,
) -> Session:
    """Open a session.

    A store keeps the settings that it was prepared with. Other sources are
    prepared once and kept in the cache. Raises an `MtmError` that says what is
    wrong and what to do.

    Parameters
    ----------
    source
        "sample", an ALF session folder, a prepared store, or with `one` an eid, which may
        name a revision, `EID@2024-05-06`.
        A ONE cache folder will do where it holds a single session. Files of other
        formats are recognised by what is in them.
    one
        A ONE, the folder of a ONE cache to use in local mode, the address of an Alyx server, the
        folder of a release of the Brain-Wide Map, or "brain-wide-bench" for a session that is
        published there.
    units
        "good" (quality label 1) or "all" clusters.
    min_rate
        Least spikes/s of a unit that is kept.
    align, window, bin_size
        Trials column to align to ("any-time" for adjoining windows), seconds
        around it, and seconds per bin.
    progress
        Called with the fraction done and a few words; it may raise
        `napari_mtm.Cancelled`.

    """
    report = progress or silent
    start, stop = window
    preparation = Preparation(units, min_rate, align, (start, stop), bin_size)
    if one is None and str(source) != SAMPLE and is_regular(Path(source)):
        return open_file(Path(source), preparation, progress=report)
    return open_source(find_source(source, one=one), preparation, progress=report)


def open_file(
    path: Path,
    preparation: Preparation,
    *,
    cache_folder: Path | None = None,
    progress: Progress = silent,
) -> Session:
    """Open a file: a prepared store, which has settings of its own, or one of another format."""
    found = None if is_store(path) else formats.find(path)
    if found is None:
        return open_store(path)
    return open_source(found, preparation, cache_folder=cache_folder, progress=progress)


def open_source(
    source: Source,
    preparation: Preparation,
    *,
    cache_folder: Path | None = None,
    progress: Progress = silent,
) -> Session:
    """Open a session, from the cache where it was prepared before.

    `cache_folder` is where the cache lies, unless the environment names another folder.
    """
    progress(0.0, f"looking for {source.name}")
    source.fetch(part(progress, 0.0, 0.5))
    name, folder = cache.key(source, preparation), cache.folder(cache_folder)
    session = cache.load(name, folder)
    if session is None:
        recording = source.read(part(progress, 0.5, 0.6))
        session = prepare(recording, preparation, progress=part(progress, 0.6, 0.9))
        progress(0.9, "keeping it for next time")
        session = cache.keep(name, session, folder)
    return replace(session, notes=(*source.notes, *session.notes)) if source.notes else session


def survey_source(
    source: str | Path,
    *,
    one: "One | str | Path | None" = None,
    preparation: Preparation | None = None,
) -> Survey:
    """Say what a source holds, and what each choice of units would mean, without its spikes."""
    return find_source(source, one=one).survey(preparation or Preparation())


def find_source(source: str | Path, *, one: "One | str | Path | None" = None) -> Source:
    """Find a session where it lies; raise SourceError where it is nothing that we know."""
    if str(source) == SAMPLE:
        return AlfSource(FolderFiles(_only(sessions_below(sample_folder()), sample_folder())))
    if one is not None:
        if one == BENCH:
            return BenchSource(str(source))
        if is_release(one):
            return brain_wide_map.source(Path(str(one)), str(source))
        return _known_to(one, str(source))
    if _is_there(Path(source)):
        return _at_path(Path(source))
    raise SourceError(
        f"To open session {source} by its id, say where it is (one=..., or --one)."
        if is_eid(str(source))
        else f"There is no file or folder {shortened(source)}."
    )


def _at_path(path: Path) -> Source:
    """The session in a file or folder."""
    if is_store(path):
        raise SourceError(f"{path} is a prepared session already.")
    below = sessions_below(path)
    found = None if below else formats.find(path)
    if found is not None:
        return found
    if not is_folder(path):
        raise SourceError(f"{path} is no session that napari-mtm can read.")
    files = [] if below or holds_session(path) else formats.files_in(path)
    if files:
        return _at_path(_only(files, path))
    return AlfSource(FolderFiles(_only(below, path) if below else path))


def _known_to(one: "One | str | Path", eid: str) -> AlfSource:
    """The session that ONE knows by an id; from disk, where a server gives no answer."""
    try:
        known = open_one(one)
        files = OneFiles(known, eid)
        return AlfSource(files, failed_probes(known, files.id))
    except ServerOffline:
        folder = cache_folder(str(one)) if is_address(one) else None
        kept = None if folder is None else _downloaded(folder, eid)
        if kept is None:
            raise
    note = f"{one} did not answer, so this is the session as it was downloaded before."
    return AlfSource(kept, (note,))


def _downloaded(folder: Path, eid: str) -> OneFiles | None:
    """A session in a ONE cache, where all its spikes are there."""
    try:
        files = OneFiles(open_one(folder), eid)
    except SourceError:
        return None
    return None if any(d.object == "spikes" and used(d) for d in files.missing) else files


def is_release(one: object) -> bool:
    """Whether sessions are named in a folder with a release of the Brain-Wide Map."""
    return isinstance(one, str | Path) and brain_wide_map.is_release(Path(one))


def is_session(path: Path) -> bool:
    """Whether a path looks like a session that is not prepared yet, by a few names and bytes."""
    return holds_session(path) or formats.recognised(path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def sessions_of(source: str | Path, *, one: "One | str | Path | None" = None) -> list[str]:
    """What a source stands for: the sessions in a folder of them, or itself."""
    path = Path(source)
    if one is not None or str(source) == SAMPLE or not is_folder(path):
        return [str(source)]
    below = sessions_below(path)
    if not below and not formats.recognised(path) and not holds_session(path):
        below = formats.files_in(path)
    return [str(session) for session in below] or [str(source)]


def sample_folder() -> Path:
    """Return the ONE cache with the sample: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "sample_data"
    return shipped if shipped.is_dir() else package.parents[1] / "sample_data"


def _only(sessions: Sequence[Path], folder: Path) -> Path:
    if len(sessions) == 1:
        return sessions[0]
    if not sessions:
        raise SourceError(f"There is no session in {folder}.")
    first = ", ".join(str(s.relative_to(folder)) for s in sessions[:3])
    raise SourceError(
        f"{folder} holds {len(sessions)} sessions; name one of them, for example {first}."
    )
