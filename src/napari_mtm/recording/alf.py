"""Where the datasets of one IBL session lie: in a folder, or in a ONE cache.

A dataset's path follows the ALF convention,
`collection/#revision#/_namespace_object.attribute.extension`.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from uuid import UUID

import pandas as pd

from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import is_regular
from napari_mtm.progress import Progress, silent

_SESSION_PATH = re.compile(
    r"(?:(?P<lab>[^/]+)/(?:Subjects/)?)?(?P<subject>[^/]+)/(?P<date>\d{4}-\d\d-\d\d)/(?P<number>\d{1,3})$"
)
_FILE = re.compile(
    r"^(?:_[A-Za-z0-9]+_)?(?P<object>\w+)\.(?P<attribute>\w+)\..*?(?P<ext>[a-z0-9]+)$"
)
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_SESSIONS = (
    "*",
    f"{_DATE}/*",
    f"*/{_DATE}/*",
    f"Subjects/*/{_DATE}/*",
    f"*/Subjects/*/{_DATE}/*",
)
"""Where sessions lie below a date, a subject, a folder of subjects, a lab, and a ONE cache."""

_EXTENSIONS = ("pqt", "npy", "csv", "safetensors")


@dataclass(frozen=True)
class Dataset:
    """One file of a session; `path` is relative to the session, with forward slashes."""

    path: str
    collection: str
    revision: str
    object: str
    attribute: str
    extension: str


class SessionFiles(Protocol):
    """The datasets of one session, wherever they lie."""

    @property
    def id(self) -> str:
        """What the session is keyed by."""
        ...

    @property
    def name(self) -> str:
        """What a person calls the session."""
        ...

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """All datasets, one revision of each."""
        ...

    @property
    def missing(self) -> tuple[Dataset, ...]:
        """Datasets that should be there, by a list or a link, but are not."""
        ...

    def fetch(self, dataset: Dataset) -> Path:
        """Return a local path of a dataset; raise SourceError where it cannot be had."""
        ...

    def fetch_all(self, datasets: Sequence[Dataset], progress: Progress = silent) -> None:
        """Have some datasets on this disk; only what lies on a server is downloaded.

        What the server turns out not to have is `missing` from then on; SourceError of spikes.
        """
        ...

    def size(self, dataset: Dataset) -> int:
        """Bytes of a dataset, 0 where they are not known."""
        ...

    def to_download(self, datasets: Iterable[Dataset]) -> int:
        """Bytes of some datasets that are still to be downloaded; 0 where all are here."""
        ...

    def verified(self, dataset: Dataset) -> Path:
        """Return a local path of a dataset that is what its source says of it, as far as it does.

        Raises SourceError where it is not.
        """
        ...


@dataclass(frozen=True)
class LocalFiles:
    """The datasets of one session in a folder on this disk."""

    id: str
    name: str
    folder: Path
    datasets: tuple[Dataset, ...]
    missing: tuple[Dataset, ...]

    def fetch(self, dataset: Dataset) -> Path:
        """Return the path of a dataset."""
        return self.folder / dataset.path

    def fetch_all(self, datasets: Sequence[Dataset], progress: Progress = silent) -> None:
        """Do nothing: the files are here."""

    def size(self, dataset: Dataset) -> int:
        """Bytes of a dataset, 0 where it is missing."""
        path = self.fetch(dataset)
        return path.stat().st_size if is_regular(path) else 0

    def to_download(self, datasets: Iterable[Dataset]) -> int:  # noqa: ARG002
        """Return 0: the files are here."""
        return 0

    def verified(self, dataset: Dataset) -> Path:
        """Return the path of a dataset; a folder says nothing of what it holds."""
        return self.fetch(dataset)


class FolderFiles(LocalFiles):
    """The datasets in an ALF session folder, or in any folder with ALF files.

    Of several revisions of a dataset, the latest counts.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceError(f"There is no folder {folder}.")
        root = folder.resolve()
        top = root / "alf"
        here: list[Dataset] = []
        missing: list[Dataset] = []
        for path in sorted((top if top.is_dir() else root).rglob("*.*.*")):
            dataset = parse(path.relative_to(root).as_posix())
            if dataset is not None and not path.is_dir():
                (here if is_regular(path) else missing).append(dataset)
        record = _session_record(root)
        super().__init__(
            id=record or f"path-{hashlib.sha256(_identity(root).encode()).hexdigest()[:16]}",
            name=session_name(root.as_posix()),
            folder=root,
            datasets=one_revision_each(here),
            missing=tuple(missing),
        )


def is_eid(text: str) -> bool:
    """Whether a text has the form of a session id of IBL's database."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def sessions_below(folder: Path) -> list[Path]:
    """ALF session folders in a ONE cache, or in a part of one, by path."""
    found = (p for places in _SESSIONS for p in folder.glob(places)) if folder.is_dir() else ()
    return sorted(
        p for p in found if _SESSION_PATH.search(p.absolute().as_posix()) and (p / "alf").is_dir()
    )


def holds_session(folder: Path) -> bool:
    """Whether a folder is a session, or holds a single one, by the names of a few of its files.

    Of a folder without sessions of ALF's form below it, only the files at its top are looked at: it
    may be any folder, of any size.
    """
    if not folder.is_dir():
        return False
    sessions = sessions_below(folder) or [folder]
    if len(sessions) > 1:
        return False
    alf = sessions[0] / "alf"
    files = alf.rglob("*.*.*") if alf.is_dir() else sessions[0].glob("*.*.*")
    datasets = (parse(file.name) for file in files)
    return any(d is not None and (d.object, d.attribute) == ("spikes", "times") for d in datasets)


def session_name(path: str) -> str:
    """Subject, date and number of a session path; the last part of any other path."""
    match = _SESSION_PATH.search(path)
    if not match:
        return PurePosixPath(path).name
    return f"{match['subject']} {match['date']} {match['number']}"


def session_parts(path: Path) -> tuple[str, str, str, int]:
    """Lab, subject, day and number of a session's folder; its last part, where it is no such."""
    match = _SESSION_PATH.search(path.absolute().as_posix())
    if not match:
        return "", path.name, "", 0
    return match["lab"] or "", match["subject"], match["date"], int(match["number"])


def parse(path: str) -> Dataset | None:
    """Take a dataset's path apart; None where it is not an ALF dataset."""
    *folders, file = path.split("/")
    match = _FILE.match(file)
    if not match or match["ext"] not in _EXTENSIONS:
        return None
    revisions = [f.strip("#") for f in folders if f.startswith("#") and f.endswith("#")]
    collection = "/".join(f for f in folders if not f.startswith("#"))
    return Dataset(
        path=path,
        collection=collection,
        revision=revisions[-1] if revisions else "",
        object=match["object"],
        attribute=match["attribute"],
        extension=match["ext"],
    )


def find(
    datasets: Iterable[Dataset], object: str, attribute: str, collection: str | None = None
) -> Dataset | None:
    """Find a dataset by its parts, the shortest collection first where none is named."""
    found = [
        d
        for d in datasets
        if d.object == object
        and d.attribute == attribute
        and (collection is None or d.collection == collection)
    ]
    return min(
        found,
        key=lambda d: (len(d.collection), _EXTENSIONS.index(d.extension), d.path),
        default=None,
    )


def one_revision_each(
    datasets: Iterable[Dataset], defaults: Iterable[str] = ()
) -> tuple[Dataset, ...]:
    """Keep one revision of each dataset: a default by its path, else the latest."""
    preferred = set(defaults)
    chosen: dict[tuple[str, str], Dataset] = {}
    for dataset in datasets:
        key = (dataset.collection, PurePosixPath(dataset.path).name)
        rank = (dataset.path in preferred, dataset.revision)
        other = chosen.get(key)
        if other is None or rank > (other.path in preferred, other.revision):
            chosen[key] = dataset
    return tuple(chosen.values())


def _identity(root: Path) -> str:
    """What names a session folder on any machine, if it has the form of one."""
    match = _SESSION_PATH.search(root.as_posix())
    return "/".join(match.groups(default="")) if match else root.as_posix()


def _session_record(root: Path) -> str | None:
    """The session's id in the ONE cache that a folder lies in, if it lies in one."""
    match = _SESSION_PATH.search(root.as_posix())
    table = next((p / "sessions.pqt" for p in root.parents if (p / "sessions.pqt").is_file()), None)
    if not match or table is None:
        return None
    try:
        sessions = pd.read_parquet(table)
        same = (
            (sessions["subject"] == match["subject"])
            & (sessions["date"].astype(str) == match["date"])
            & (sessions["number"].astype(int) == int(match["number"]))
            & (sessions["lab"].isin([match["lab"], ""]))
        )
        ids = sessions["id"] if "id" in sessions else sessions.index.to_series()
        found = [str(i) for i in ids[same]]
    except Exception as error:  # noqa: BLE001  a damaged table may raise anything
        # By another id, models would no longer know the session.
        raise SourceError(
            f"{table} is damaged ({in_short(error)}), so that the session's id is not to be had. "
            "Download it again, or move it away to open the folder by its path."
        ) from None
    return found[0] if len(found) == 1 else None
