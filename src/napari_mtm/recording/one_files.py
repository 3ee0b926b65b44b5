"""The datasets of one session as ONE knows them: in a ONE cache, or on a server.

What ONE raises, from damaged tables to a server that does not answer, becomes a SourceError.
"""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pandas as pd

from napari_mtm.errors import MtmError, SourceError, in_short
from napari_mtm.files import alone, is_folder, is_regular, replacing, shortened
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.alf import Dataset, LocalFiles, one_revision_each, parse, session_name
from napari_mtm.recording.download import Bucket, Place, Remote, Web, bucket, bytes_left, download
from napari_mtm.recording.download import differs as _differs
from napari_mtm.recording.servers import (
    connect_as_known,
    is_address,
    may_hear_secrets,
    trouble,
)

if TYPE_CHECKING:
    from one.api import One

_MD5 = re.compile(r"[0-9a-f]{32}")

_FAILED = ("FAIL", "CRITICAL")
"""What Alyx says of a probe that should not be used."""

_AT_ONCE = 100
"""Datasets that a server is asked about in one question."""


@dataclass(frozen=True)
class _Listed:
    """What ONE's tables say of a file: its id, size in bytes and MD5 hash, where they do."""

    id: str
    size: int | None
    hash: str
    default: bool


class OneFiles:
    """The datasets of one session as ONE knows them; of several revisions, ONE's default.

    An eid may name another one, `EID@2024-05-06`: that, or the last before it. A ONE that is
    offline lists more than was downloaded: that is `missing`. So is what a server lists and turns
    out not to have, once it was asked for.
    """

    def __init__(self, one: "One", eid: str) -> None:
        self._one = one
        eid, _, revision = eid.partition("@")
        with asking(one):
            found = _id(one, eid)
            known = None if found is None else _known(one, found)
        if known is None:
            raise SourceError(f"Session {shortened(eid)} is not in {_place(one)}.")
        self._known = known
        self.id = known.id
        self._folder = _inside(known.folder, one)
        self.name = session_name(self._folder.as_posix())
        with asking(one):
            self._listed = _listed(known.datasets, one, known.id)
        datasets = [parsed for path in sorted(self._listed) if (parsed := parse(path)) is not None]
        datasets = [d for d in datasets if not revision or d.revision <= revision]
        here = [d for d in datasets if not one.offline or is_regular(self._folder / d.path)]
        defaults = [p for p, about in self._listed.items() if about.default and not revision]
        self.datasets = one_revision_each(here, defaults)
        names = {_name(d) for d in here}
        chosen = one_revision_each(datasets, defaults)
        self.missing = tuple(d for d in chosen if _name(d) not in names)
        self._sound: set[str] = set()  # what was compared with its hash already

    def size(self, dataset: Dataset) -> int:
        """Bytes of a dataset, 0 where they are not known."""
        path = self._folder / dataset.path
        return path.stat().st_size if is_regular(path) else self._listed[dataset.path].size or 0

    def to_download(self, datasets: Iterable[Dataset]) -> int:
        """Bytes of some datasets that are still to be downloaded."""
        if self._one.offline:
            return 0
        remote = (self._remote(d, ()) for d in datasets)
        return sum(bytes_left(file.path, file.part, file.size) for file in remote)

    def fetch(self, dataset: Dataset) -> Path:
        """Return the local path of a dataset, which is downloaded where that can be done."""
        path, about = self._folder / dataset.path, self._listed[dataset.path]
        if is_regular(path) and about.size in (None, path.stat().st_size):
            return path
        if not self._one.offline:
            self._download([dataset], silent)
        if not is_regular(path):
            raise SourceError(
                f"ONE lists {dataset.path} for session {self.id}, but the file is not there. "
                "Download the session again."
            )
        wrong = _differs(path, about.size, "")
        if wrong:
            raise SourceError(f"{path} {wrong}; it is cut short or changed. Download it again.")
        return path

    def fetch_all(self, datasets: Sequence[Dataset], progress: Progress = silent) -> None:
        """Download the datasets that are not here, spikes last, and let ONE note the session."""
        if self._one.offline:
            for dataset in datasets:
                self.fetch(dataset)
            return
        away = [d for d in datasets if self._is_away(d)]
        # A session whose spikes are here has all else that is to be had.
        self._download(sorted(away, key=lambda d: (d.object == "spikes", d.path)), progress)
        if away or not _is_noted(self._one, self.id):
            _note(self._one, self._known)

    def verified(self, dataset: Dataset) -> Path:
        """Return the local path of a dataset; from a server, one that has the hash of the tables.

        The tables of a cache on disk may be older than its files, so their hashes say nothing.
        """
        path, about = self.fetch(dataset), self._listed[dataset.path]
        if self._one.offline or dataset.path in self._sound:
            return path
        if _differs(path, about.size, about.hash):
            path.unlink(missing_ok=True)
            self._download([dataset], silent)
            path = self.fetch(dataset)
        self._sound.add(dataset.path)
        return path

    def downloaded(self, datasets: Iterable[Dataset]) -> LocalFiles:
        """Return the session as it lies here, some datasets of it compared with their hashes."""
        for dataset in datasets:
            self.verified(dataset)
        return LocalFiles(self.id, self.name, self._folder, self.datasets, self.missing)

    def _is_away(self, dataset: Dataset) -> bool:
        path, size = self._folder / dataset.path, self._listed[dataset.path].size
        return not is_regular(path) or size not in (None, path.stat().st_size)

    def _download(self, datasets: Sequence[Dataset], progress: Progress) -> None:
        """Download datasets; what the server turns out not to have is missing from then on."""
        if not datasets:
            return
        progress(0.0, f"asking {_place(self._one)} where the files are")
        with asking(self._one):
            places = _places(self._one, [self._listed[d.path].id for d in datasets])
        files = [self._remote(d, places[self._listed[d.path].id]) for d in datasets]
        lost = {file.path for file in download(files, progress)}
        self._sound |= {d.path for d in datasets}
        gone = [d for d in datasets if self._folder / d.path in lost]
        self.datasets = tuple(d for d in self.datasets if d not in gone)
        self.missing = (*self.missing, *gone)

    def _remote(self, dataset: Dataset, places: tuple[Place, ...]) -> Remote:
        about = self._listed[dataset.path]
        return Remote(
            path=self._folder / dataset.path,
            title=f"{dataset.path} of session {self.id}",
            size=about.size,
            hash=about.hash,
            places=places,
            server=_place(self._one),
            needed=dataset.object == "spikes",
        )


def _name(dataset: Dataset) -> tuple[str, str]:
    """What is the same of all revisions of a dataset."""
    return dataset.collection, PurePosixPath(dataset.path).name


def open_one(one: "One | str | Path") -> "One":
    """Return `one`, or a ONE for the server or the cache folder that it names.

    One for a server asks as who is logged in; see `servers`. One for a folder asks nothing, needs
    no network and writes nothing outside the folder.
    """
    if not isinstance(one, str | Path):
        return one
    if is_address(one):
        return connect_as_known(str(one))
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


def failed_probes(one: Any, eid: str) -> tuple[str, ...]:
    """Say which probes of a session failed their quality control, as far as a server says it."""
    if one.offline:
        return ()
    notes = []
    with suppress(Exception):  # nothing depends on it
        for record in one.alyx.rest("insertions", "list", session=eid):
            qc = str((record.get("json") or {}).get("qc")).upper()
            if str(record["session"]) == eid and qc in _FAILED:
                notes.append(
                    f"Probe {record['name']} failed its quality control ({qc.lower()}); "
                    f'session.drop_probes("{record["name"]}") leaves its units out.'
                )
    return tuple(sorted(notes))


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


def _places(one: Any, ids: Sequence[str]) -> dict[str, tuple[Place, ...]]:
    """Where the files of some datasets lie, by the datasets' ids: on S3, then on the web."""
    found: dict[str, tuple[Place, ...]] = dict.fromkeys(ids, ())
    try:
        s3: Bucket | None = bucket(one.alyx)
    except Exception:  # noqa: BLE001  without S3 there is the web
        s3 = None
    for first in range(0, len(ids), _AT_ONCE):
        asked = ids[first : first + _AT_ONCE]
        for record in one.alyx.rest("datasets", "list", exists=True, django=f"id__in,{asked}"):
            id_ = str(record["url"])[-36:]
            if id_ in found:
                found[id_] = _places_of(one, id_, record["file_records"], s3)
    return found


def _places_of(one: Any, id_: str, records: Sequence[Any], s3: Bucket | None) -> tuple[Place, ...]:
    from one.alf.path import add_uuid_string

    clouds: list[Place] = []
    webs: list[Web] = []
    for record in records:
        if not record["exists"]:
            continue
        url = record["data_url"]
        if s3 is not None and str(record["data_repository"]).startswith("aws"):
            path = PurePosixPath(record["data_repository_path"], record["relative_path"])
            clouds.append(s3.place(add_uuid_string(path, id_).as_posix()))
        elif is_address(url):
            webs.append(Web(url, _login_of(one, url)))
    webs.sort(key=lambda web: web.login is None)
    return (*clouds[:1], *webs[:1])


def _login_of(one: Any, url: str) -> tuple[str, str] | None:
    """Who asks for files, as ONE's parameters say of their server; nobody elsewhere."""
    from one import params

    par = params.get(client=one.alyx.base_url, silent=True)
    user, password = par.HTTP_DATA_SERVER_LOGIN, par.HTTP_DATA_SERVER_PWD
    theirs = url.startswith(f"{par.HTTP_DATA_SERVER.rstrip('/')}/") and may_hear_secrets(url)
    return (user, password) if theirs and user and password else None


def _is_noted(one: "One", eid: str) -> bool:
    """Whether the tables in ONE's cache folder hold a session."""
    import pyarrow.parquet as pq

    with suppress(Exception):  # no table, or a damaged one
        ids = pq.read_table(Path(one.cache_dir) / "sessions.pqt", columns=["id"])["id"]
        return eid in ids.to_pylist()
    return False


def _note(one: "One", known: "_Known") -> None:
    """Write a session into ONE's tables in its cache folder, in place of what they said of it.

    Nobody sees half a table. Where they cannot be written, the session opens all the same, but not
    without the server.
    """
    from iblutil.io import parquet
    from one.alf.cache import cast_index_object, load_tables, merge_tables

    folder = Path(one.cache_dir)
    with suppress(Exception), alone(folder / ".napari-mtm.lock", partial(time.sleep, 0.1)):
        tables = load_tables(folder)
        of_session = tables["datasets"].index.get_level_values("eid") == UUID(known.id)
        tables["datasets"] = tables["datasets"][~of_session]
        merge_tables(tables, sessions=known.record, datasets=known.datasets, origin=_place(one))
        for name in ("sessions", "datasets"):
            about = dict(tables["_meta"]["raw"][name])
            about["origin"] = sorted(about["origin"])
            about["date_modified"] = datetime.now().isoformat(sep=" ", timespec="minutes")
            with replacing(folder / f"{name}.pqt") as file:
                parquet.save(file, cast_index_object(tables[name].copy(), str), about)


@dataclass(frozen=True)
class _Known:
    """What ONE knows of a session: its folder, and its records as they stand in ONE's tables."""

    id: str
    folder: Path
    record: Any
    datasets: Any


def _id(one: "One", eid: str) -> str | None:
    try:
        found = one.to_eid(eid.lower())
    except ValueError:  # a UUID, but of no kind that ids are made of
        if not one.offline:
            raise
        return None
    return None if found is None else str(found)


def _known(one: Any, eid: str) -> _Known | None:
    """What ONE knows of a session; None where it does not know it."""
    from one.converters import ses2records, session_record2path

    if one.offline:
        path = one.eid2path(eid)
        if path is None:
            return None
        return _Known(eid, Path(path), None, one.list_datasets(eid, details=True))
    record, datasets = ses2records(one.alyx.rest("sessions", "read", id=eid))
    return _Known(eid, Path(session_record2path(record, one.cache_dir)), record, datasets)


def _inside(folder: Path, one: "One") -> Path:
    """Return a session's folder; raise SourceError where it is not in ONE's cache folder."""
    if not folder.is_relative_to(Path(one.cache_dir)) or ".." in folder.parts:
        raise SourceError(f"{_place(one)} lists a session in {shortened(folder)}; it cannot be.")
    return folder


def _listed(table: Any, one: "One", eid: str) -> dict[str, _Listed]:
    """What the table of a session's datasets says, by path relative to the session."""
    if not isinstance(table, pd.DataFrame) or len(table) == 0 or "rel_path" not in table:
        raise SourceError(
            f"{_place(one)} lists no datasets of session {eid}. Download the session again."
        )
    listed = {}
    ids = table.index.get_level_values(-1)
    for number, row in zip(ids, table.to_dict("records"), strict=True):
        path = row["rel_path"]
        if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
            raise SourceError(f"{_place(one)} lists {shortened(path)!r}, which is no dataset.")
        size, hash_ = row.get("file_size"), str(row.get("hash")).lower()
        listed[path] = _Listed(
            id=str(number),
            size=None if pd.isna(size) or int(size) <= 0 else int(size),
            hash=hash_ if _MD5.fullmatch(hash_) else "",
            default=str(row.get("default_revision")) == "True",
        )
    return listed


@contextmanager
def asking(one: "One") -> Iterator[None]:
    """Say in a sentence what went wrong while ONE was asked."""
    try:
        yield
    except MtmError:
        raise
    except Exception as error:  # noqa: BLE001  servers, networks and damaged tables raise anything
        if one.offline:
            raise SourceError(_of_tables(Path(one.cache_dir), error)) from None
        alyx = getattr(one, "alyx", None)
        logged_in = bool(getattr(alyx, "is_logged_in", True))
        raise trouble(_place(one), error, logged_in=logged_in) from None


def _of_tables(folder: Path, error: Exception) -> str:
    return f"The ONE tables in {folder} are damaged ({in_short(error)}). Download them again."


def _place(one: "One") -> str:
    """What a person calls the place that a ONE asks."""
    if one.offline:
        return f"the ONE cache {one.cache_dir}"
    alyx = getattr(one, "alyx", None)
    return str(getattr(alyx, "base_url", None) or "the server")
