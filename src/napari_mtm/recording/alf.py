"""Where the datasets of one IBL session lie: in a folder, or in a ONE cache.

A dataset's path follows the ALF convention,
`collection/#revision#/_namespace_object.attribute.extension`.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import pandas as pd

from napari_mtm.errors import SourceError

if TYPE_CHECKING:
    from one.api import One

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

    def fetch(self, dataset: Dataset) -> Path:
        """Return a local path of a dataset; raise SourceError where it cannot be had."""
        ...


class FolderFiles:
    """The datasets in an ALF session folder, or in any folder with ALF files.

    Of several revisions of a dataset, the latest counts.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder.resolve()
        if not self._root.is_dir():
            raise SourceError(f"There is no folder {folder}.")
        top = self._root / "alf"
        found = sorted((top if top.is_dir() else self._root).rglob("*.*.*"))
        paths = (p.relative_to(self._root).as_posix() for p in found if p.is_file())
        self.datasets = _one_revision_each(parse(path) for path in paths)
        record = _session_record(self._root)
        self.id = (
            record or f"path-{hashlib.sha256(_identity(self._root).encode()).hexdigest()[:16]}"
        )
        self.name = session_name(self._root.as_posix())

    def fetch(self, dataset: Dataset) -> Path:
        """Return the path of a dataset."""
        return self._root / dataset.path


class OneFiles:
    """The datasets of one session as ONE knows them; of several revisions, ONE's default.

    A ONE that is offline lists more than was downloaded; only what is there counts.
    """

    def __init__(self, one: "One", eid: str) -> None:
        self._one = one
        try:
            found = one.to_eid(eid.lower())
        except ValueError:  # a UUID, but of no kind that ids are made of
            found = None
        path = one.eid2path(found) if found else None
        if path is None:
            raise SourceError(f"Session {eid} is not in the ONE cache {one.cache_dir}.")
        self.id = str(found)
        self.name = session_name(Path(path).as_posix())
        table = one.list_datasets(found, details=True)
        if one.offline:
            table = table[[(Path(path) / p).is_file() for p in table["rel_path"]]]
        self._sizes: dict[str, Any] = dict(zip(table["rel_path"], table["file_size"], strict=True))
        defaults = (
            set(table.loc[table["default_revision"].astype(bool), "rel_path"])
            if "default_revision" in table
            else set()
        )
        self.datasets = _one_revision_each((parse(p) for p in sorted(self._sizes)), defaults)

    def fetch(self, dataset: Dataset) -> Path:
        """Return the local path of a dataset; ONE downloads it where it can."""
        from one.alf.exceptions import ALFError

        try:
            path = Path(
                self._one.load_dataset(self.id, dataset.path, download_only=True, check_hash=False)
            )
        except ALFError:
            raise SourceError(
                f"ONE lists {dataset.path} for session {self.id}, but the file is not there. "
                "Download the session again."
            ) from None
        expected = self._sizes[dataset.path]
        if not pd.isna(expected) and int(expected) and path.stat().st_size != int(expected):
            raise SourceError(
                f"{path} has {path.stat().st_size} bytes where ONE's tables say {int(expected)}; "
                "it is cut short or changed. Download it again."
            )
        return path


def open_one(one: "One | str | Path") -> "One":
    """Return `one`, or a ONE in local mode on the cache folder that it names.

    Such a ONE asks nothing, needs no network and writes nothing outside the folder.
    """
    if not isinstance(one, str | Path):
        return one
    if not Path(one).is_dir():
        raise SourceError(f"There is no ONE cache folder {one}.")
    from one.api import One

    return One(cache_dir=one)


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


def session_name(path: str) -> str:
    """Subject, date and number of a session path; the last part of any other path."""
    match = _SESSION_PATH.search(path)
    if not match:
        return PurePosixPath(path).name
    return f"{match['subject']} {match['date']} {match['number']}"


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


def _one_revision_each(
    datasets: Iterable[Dataset | None], defaults: Iterable[str] = ()
) -> tuple[Dataset, ...]:
    preferred = set(defaults)
    chosen: dict[tuple[str, str], Dataset] = {}
    for dataset in datasets:
        if dataset is None:
            continue
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
    except (OSError, ValueError):
        return None  # the folder itself is whole; only its id is not to be had
    if not {"lab", "subject", "date", "number"} <= set(sessions):
        return None
    same = (
        (sessions["subject"] == match["subject"])
        & (sessions["date"].astype(str) == match["date"])
        & (sessions["number"].astype(int) == int(match["number"]))
        & (sessions["lab"].isin([match["lab"], ""]))
    )
    ids = sessions["id"] if "id" in sessions else sessions.index.to_series()
    return str(ids[same].iloc[0]) if same.sum() == 1 else None
