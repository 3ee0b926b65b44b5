"""The cache: prepared sessions kept in the user's cache folder, to open at once next time.

An entry is named by what went into it: every file of the source that is read
(path, size and time of change) and the preparation. Nothing in it is worth backing up.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from napari_mtm.errors import MtmError, StoreError, in_short
from napari_mtm.files import is_regular
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.session import Session
from napari_mtm.recording.source import Source
from napari_mtm.recording.store import SUFFIX, VERSION, open_store, save_session, store_title

_READER = 3
"""Raise it when reading or preparing changes, so that old entries are not used."""


@dataclass(frozen=True)
class Entry:
    """One prepared session in the cache; `size` is bytes, `used` seconds since the epoch."""

    path: Path
    title: str
    size: int
    used: float


def folder(preferred: Path | None = None) -> Path:
    """Return the cache folder.

    That is the environment's NAPARI_MTM_CACHE, or what is preferred, or the platform's place.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("NAPARI_MTM_CACHE")
    if named:
        return Path(named)
    return preferred or user_cache_path("napari-mtm", appauthor=False)


def key(source: Source, preparation: Preparation) -> str:
    """Name of the entry for a source, whose files are here, and a preparation."""
    text = json.dumps(
        [VERSION, _READER, source.id, source.name, asdict(preparation), source.content()]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load(name: str, folder: Path) -> Session | None:
    """Open an entry; None where there is none, or where it is damaged and was removed."""
    path = folder / (name + SUFFIX)
    if not path.is_file():
        return None
    session = None
    with suppress(StoreError):
        session = open_store(path)
    if session is None:
        # After the error is gone, and with it the map of the file: Windows removes none that is
        # mapped. One that another program has open stays there.
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    with suppress(OSError):  # on a read-only disk the entry is as good
        os.utime(path)
    return session


def keep(name: str, session: Session, folder: Path) -> Session:
    """Add an entry and return the session as it is stored there, memory-mapped.

    Where it cannot be written, the session itself is returned, with a note.
    """
    path = folder / (name + SUFFIX)
    try:
        save_session(session, path)
        return open_store(path)
    except StoreError as error:
        return replace(session, notes=(*session.notes, f"Not kept for next time: {error}"))


def entries(preferred: Path | None = None) -> list[Entry]:
    """All entries, the last used first."""
    found = []
    for path in filter(is_regular, folder(preferred).glob(f"*{SUFFIX}")):
        try:
            title = store_title(path)
        except MtmError:
            title = "damaged"
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append(Entry(path, title, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda e: -e.used)


def clear(*, unused_days: float = 0.0) -> int:
    """Remove entries not used for some days; return the bytes that were freed."""
    freed = 0
    for entry in entries():
        if time.time() - entry.used >= unused_days * 86_400:
            try:
                entry.path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"Cannot remove {entry.path}: {in_short(error)}.") from None
            freed += entry.size
    return freed
