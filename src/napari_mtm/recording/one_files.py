"""The datasets of one session as ONE knows them: in a ONE cache, or on a server.

What ONE raises, from damaged tables to a server that does not answer, becomes a SourceError.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_mtm.errors import MtmError, SourceError, in_short
from napari_mtm.files import is_folder, is_regular, shortened
from napari_mtm.progress import Progress
from napari_mtm.recording.alf import Dataset, one_revision_each, parse, session_name

if TYPE_CHECKING:
    from one.api import One

_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class _Listed:
    """What ONE's tables say of a file: its size in bytes and MD5 hash, where they do."""

    size: int | None
    hash: str
    default: bool


class OneFiles:
    """The datasets of one session as ONE knows them; of several revisions, ONE's default.

    A ONE that is offline lists more than was downloaded: that is `missing`.
    """

    def __init__(self, one: "One", eid: str) -> None:
        self._one = one
        with asking(one):
            found, path = _find(one, eid)
            if found is None or path is None:
                raise SourceError(f"Session {shortened(eid)} is not in {_place(one)}.")
            self.id = found
            self._folder = Path(path)
            self.name = session_name(self._folder.as_posix())
            table = one.list_datasets(found, details=True)
            self._listed = _listed(table, one, found)
        datasets = [parsed for path in sorted(self._listed) if (parsed := parse(path)) is not None]
        here = [d for d in datasets if not one.offline or is_regular(self._folder / d.path)]
        defaults = [path for path, about in self._listed.items() if about.default]
        self.datasets = one_revision_each(here, defaults)
        self.missing = tuple(d for d in datasets if d not in here)

    def fetch(self, dataset: Dataset) -> Path:
        """Return the local path of a dataset; ONE downloads it where it can."""
        path, about = self._folder / dataset.path, self._listed[dataset.path]
        if is_regular(path) and about.size in (None, path.stat().st_size):
            return path
        path = self._download(dataset)
        if not self._one.offline:
            return self._as_listed(path, dataset)
        raise SourceError(
            f"{path} {self._differs(path, dataset)}; it is cut short or changed. Download it again."
        )

    def fetch_all(self, datasets: Sequence[Dataset], progress: Progress) -> None:
        """Download the datasets that are not here."""
        for k, dataset in enumerate(datasets):
            progress(k / len(datasets), f"downloading {PurePosixPath(dataset.path).name}")
            self.fetch(dataset)

    def size(self, dataset: Dataset) -> int | None:
        """Bytes of a dataset as ONE's tables say, None where they do not."""
        return self._listed[dataset.path].size

    def verified(self, dataset: Dataset) -> Path:
        """Return the local path of a dataset; from a server, one that has the hash of the tables.

        The tables of a cache on disk may be older than its files, so their hashes say nothing.
        """
        path = self.fetch(dataset)
        return path if self._one.offline else self._as_listed(path, dataset)

    def _as_listed(self, path: Path, dataset: Dataset) -> Path:
        """Return a path whose file is as the server says; one that is not is fetched once more.

        One that is wrong again is removed: it would keep the session from opening.
        """
        if not self._differs(path, dataset):
            return path
        path.unlink(missing_ok=True)
        path = self._download(dataset)
        differs = self._differs(path, dataset)
        if not differs:
            return path
        path.unlink(missing_ok=True)
        raise SourceError(
            f"{dataset.path} of session {self.id} {differs}, also when it was fetched again. It "
            f"was removed; {_place(self._one)} does not send what it lists, so try again later."
        )

    def _differs(self, path: Path, dataset: Dataset) -> str:
        """Say in which way a file is not as ONE's tables say, nothing where it is."""
        about, size = self._listed[dataset.path], path.stat().st_size
        if about.size not in (None, size):
            return f"has {size} bytes where ONE's tables say {about.size}"
        if about.hash and _md5(path) != about.hash:
            return "has another content than ONE's tables say, by its hash"
        return ""

    def _download(self, dataset: Dataset) -> Path:
        from one.alf.exceptions import ALFError

        with asking(self._one):
            try:
                found = self._one.load_dataset(
                    self.id, dataset.path, download_only=True, check_hash=False
                )
            except ALFError:
                found = None
        if found is None or not is_regular(Path(found)):
            raise SourceError(
                f"ONE lists {dataset.path} for session {self.id}, but the file is not there. "
                "Download the session again."
            )
        return Path(found)


def open_one(one: "One | str | Path") -> "One":
    """Return `one`, or a ONE in local mode on the cache folder that it names.

    Such a ONE asks nothing, needs no network and writes nothing outside the folder.
    """
    if not isinstance(one, str | Path):
        return one
    folder = Path(one)
    if not is_folder(folder):
        raise SourceError(f"There is no ONE cache folder {shortened(one)}.")
    tables = folder / "sessions.pqt", folder / "datasets.pqt"
    missing = [table.name for table in tables if not is_regular(table)]
    if missing:
        raise SourceError(
            f"{folder} is no ONE cache: it has no {missing[0]}. A session folder in it can be "
            "opened by its path."
        )
    from one.api import One

    try:
        return One(cache_dir=folder)
    except Exception as error:  # noqa: BLE001  damaged tables may raise anything
        raise SourceError(_of_tables(folder, error)) from None


@dataclass(frozen=True)
class Named:
    """A session as ONE's tables name it; the day is YYYY-MM-DD."""

    eid: str
    subject: str
    date: str
    number: int
    lab: str
    projects: tuple[str, ...]


def sessions_in(one: "One") -> list[Named]:
    """All sessions in the tables of a ONE that is offline."""
    with asking(one):
        eids, records = one.search(details=True)
        return [
            Named(
                eid=str(eid),
                subject=str(record["subject"]),
                date=str(record["date"]),
                number=int(record["number"]),
                lab=str(record["lab"]),
                projects=tuple(str(record.get("projects", "")).split(",")),
            )
            for eid, record in zip(eids, records, strict=True)
        ]


def _find(one: "One", eid: str) -> tuple[str | None, Path | None]:
    """Return id and folder of a session; None where ONE does not know it."""
    try:
        found = one.to_eid(eid.lower())
    except ValueError:  # a UUID, but of no kind that ids are made of
        if not one.offline:
            raise
        found = None
    path = one.eid2path(found) if found else None
    return (None, None) if path is None else (str(found), Path(path))


def _listed(table: Any, one: "One", eid: str) -> dict[str, _Listed]:
    """What the table of a session's datasets says, by path relative to the session."""
    if not isinstance(table, pd.DataFrame) or len(table) == 0 or "rel_path" not in table:
        raise SourceError(
            f"{_place(one)} lists no datasets of session {eid}. Download the session again."
        )
    listed = {}
    for row in table.to_dict("records"):
        path = row["rel_path"]
        if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
            raise SourceError(f"{_place(one)} lists {shortened(path)!r}, which is no dataset.")
        size, hash_ = row.get("file_size"), str(row.get("hash")).lower()
        listed[path] = _Listed(
            size=None if pd.isna(size) or int(size) <= 0 else int(size),
            hash=hash_ if _MD5.fullmatch(hash_) else "",
            default=str(row.get("default_revision")) == "True",
        )
    return listed


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def asking(one: "One") -> Iterator[None]:
    """Say in a sentence what went wrong while ONE was asked."""
    try:
        yield
    except MtmError:
        raise
    except Exception as error:  # noqa: BLE001  servers, networks and damaged tables raise anything
        raise SourceError(_of_server(one, error)) from None


def _of_server(one: "One", error: Exception) -> str:
    place = _place(one)
    if one.offline:
        return _of_tables(Path(one.cache_dir), error)
    code = _code(error)
    if code in (401, 403):
        return f"{place} refused ({code}). Log in, or ask for access to this session."
    if code is not None and code >= 500:
        return f"{place} has trouble of its own ({code}). Try again later."
    if code is not None:
        return f"{place} does not have what was asked for ({code})."
    if isinstance(error, OSError | HTTPException):
        return (
            f"There is no answer from {place} ({in_short(error)}). Check the network, or open "
            "what is on disk: name the folder of the ONE cache."
        )
    return f"{place} could not be asked: {in_short(error)}."


def _of_tables(folder: Path, error: Exception) -> str:
    return f"The ONE tables in {folder} are damaged ({in_short(error)}). Download them again."


def _code(error: Exception) -> int | None:
    """Return the HTTP status of an error of urllib or requests, if it has one."""
    response = getattr(error, "response", None)
    code = getattr(error, "code", getattr(response, "status_code", None))
    return code if isinstance(code, int) else None


def _place(one: "One") -> str:
    """What a person calls the place that a ONE asks."""
    if one.offline:
        return f"the ONE cache {one.cache_dir}"
    alyx = getattr(one, "alyx", None)
    return str(getattr(alyx, "base_url", None) or "the server")
