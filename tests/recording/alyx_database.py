"""The sessions, insertions and datasets of the small Alyx, as its database describes them.

They are made of the session folders below a folder of labs. Questions are filtered as Alyx does, by
the fields and the `django` queries that the tests ask.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from uuid import UUID, uuid3

import numpy as np

EID = "6d9a1f5e-52f3-4c0b-9c5e-1f0a6b7c8d9e"
"""The id of a server's first session."""

REPOSITORY = "aws_lab"

Record = dict[str, Any]
Test = Callable[[Record, str], bool]


@dataclass
class Database:
    """What a server knows.

    Attributes
    ----------
    root
        The folder of labs.
    folders
        The sessions' folders in it; the first has the id `EID`.
    projects, protocol
        Of all sessions.
    default_revision
        Of datasets in several revisions, which is the default; the latest where there is no such.
    unlisted, lost
        Names of datasets that are not listed, and that are listed but on no server.
    qc
        Quality of probes, by name.
    aws
        Whether files lie on S3 too.
    address
        Of the server.

    """

    root: Path
    folders: Sequence[Path]
    projects: Sequence[str] = ("brainwide",)
    protocol: str = "_iblrig_tasks_ephysChoiceWorld"
    default_revision: str | None = None
    unlisted: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    qc: dict[str, str] = field(default_factory=dict)
    aws: bool = False
    address: str = ""

    @cached_property
    def ids(self) -> dict[str, Path]:
        """Folders of sessions by id."""
        first, *others = self.folders
        return {EID: first} | {str(uuid3(UUID(EID), str(folder))): folder for folder in others}

    def session(self, eid: str) -> Record:
        """A session as lists hold it."""
        lab, _, subject, date, number = self.ids[eid].relative_to(self.root).parts
        return {
            "id": eid,
            "url": f"{self.address}/sessions/{eid}",
            "subject": subject,
            "start_time": f"{date}T10:00:00",
            "number": int(number),
            "lab": lab,
            "projects": list(self.projects),
            "task_protocol": self.protocol,
        }

    def sessions(self) -> list[Record]:
        """All sessions, the newest first, with what filters look at."""
        found = [
            {
                **self.session(eid),
                "datasets": [d["name"] for d in self.datasets(eid)],
                "regions": sorted({r for i in self._insertions(eid) for r in i["regions"]}),
            }
            for eid in self.ids
        ]
        return sorted(found, key=lambda s: s["start_time"], reverse=True)

    def whole_session(self, eid: str) -> Record:
        """A session with its datasets."""
        return {**self.session(eid), "data_dataset_session_related": self.datasets(eid)}

    def insertions(self) -> list[Record]:
        """All insertions, with what filters look at."""
        return [insertion for eid in self.ids for insertion in self._insertions(eid)]

    def _insertions(self, eid: str) -> list[Record]:
        about = {k: v for k, v in self.session(eid).items() if k != "url"}
        return [
            {
                "id": str(uuid3(UUID(eid), probe.name)),
                "name": probe.name,
                "model": "3B2",
                "serial": "1",
                "json": {"qc": self.qc.get(probe.name, "NOT_SET")},
                "session": eid,
                "session_info": about,
                "datasets": [file.name for file in _files(probe)],
                "regions": _regions(probe),
            }
            for probe in sorted((self.ids[eid] / "alf").glob("probe*"))
        ]

    def datasets(self, eid: str) -> list[Record]:
        """A session's datasets as its record holds them."""
        folder = self.ids[eid]
        files = [f for f in _files(folder) if f.name not in self.unlisted]
        revisions: dict[tuple[str, str], list[str]] = {}
        for file in files:
            collection, revision = _place(file.relative_to(folder))
            revisions.setdefault((collection, file.name), []).append(revision)
        found = []
        for file in files:
            relative = file.relative_to(folder)
            collection, revision = _place(relative)
            others = revisions[collection, file.name]
            default = self.default_revision if self.default_revision in others else max(others)
            number = str(uuid3(UUID(eid), relative.as_posix()))
            size, hash_ = _sum(file, file.stat().st_mtime_ns)
            found.append(
                {
                    "id": number,
                    "name": file.name,
                    "dataset_type": file.name,
                    "data_url": f"{self.address}/public/{self._key(file, number)}",
                    "url": f"{self.address}/datasets/{number}",
                    "file_size": size,
                    "hash": hash_,
                    "version": "1",
                    "collection": collection,
                    "revision": revision or None,
                    "default_revision": str(revision == default),
                    "qc": "NOT_SET",
                }
            )
        return found

    def stored(self) -> list[Record]:
        """All datasets, with where their files lie."""
        found = []
        for eid in self.ids:
            for dataset in self.datasets(eid):
                key = dataset["data_url"].partition("/public/")[2]
                lab, _, inside = key.partition("/Subjects/")
                here = {
                    "data_repository": "flatiron_lab",
                    "data_repository_path": f"/public/{lab}/Subjects/",
                    "relative_path": _without_id(inside),
                    "data_url": dataset["data_url"],
                    "exists": True,
                }
                there = {
                    **here,
                    "data_repository": REPOSITORY,
                    "data_repository_path": f"data/{lab}/Subjects/",
                    "data_url": None,
                }
                found.append(
                    {
                        **dataset,
                        "session": f"{self.address}/sessions/{eid}",
                        "default_dataset": dataset["default_revision"] == "True",
                        "file_records": [here, there] if self.aws else [here],
                    }
                )
        return found

    def path(self, key: str) -> Path | None:
        """The file of a key that holds a dataset's id."""
        path = self.root / _without_id(key)
        return path if path.is_file() and path.name not in self.lost else None

    def _key(self, file: Path, number: str) -> str:
        stem, _, extension = file.name.rpartition(".")
        named = file.relative_to(self.root).with_name(f"{stem}.{number}.{extension}")
        return named.as_posix()


def ask(place: str, records: Iterable[Record], query: dict[str, str]) -> list[Record]:
    """The records of a list that a query asks for; KeyError for what it knows nothing of."""
    tests = _TESTS[place]
    found = list(records)
    for name, value in query.items():
        if name == "django":
            for key, wanted in _pairs(value):
                found = [r for r in found if _holds(r, key, wanted)]
        elif name not in ("limit", "offset", "exists"):
            found = [r for r in found if tests[name](r, value)]
    return [{k: v for k, v in r.items() if k != "regions"} for r in found]


def _within(record: Record, name: str) -> str:
    return str(record.get("session_info", record)[name]).lower()


def _date(record: Record, first: str, last: str) -> bool:
    return first <= _within(record, "start_time")[:10] <= last


_COMMON: dict[str, Test] = {
    "id": lambda r, v: r["id"] in v.split(","),
    "lab": lambda r, v: v.lower() in _within(r, "lab"),
    "task_protocol": lambda r, v: v.lower() in _within(r, "task_protocol"),
    "project": lambda r, v: v.lower() in _within(r, "projects"),
    "projects": lambda r, v: v.lower() in _within(r, "projects"),
    "datasets": lambda r, v: set(v.split(",")) <= set(r["datasets"]),
    "atlas_acronym": lambda r, v: v in r["regions"],
}
_TESTS: dict[str, dict[str, Test]] = {
    "/sessions": {
        **_COMMON,
        "subject": lambda r, v: v.lower() in _within(r, "subject"),
        "number": lambda r, v: r["number"] == int(v),
        "date_range": lambda r, v: _date(r, *v.split(",")),
    },
    "/insertions": {
        **_COMMON,
        "session": lambda r, v: r["session"] == v,
        "subject": lambda r, v: v.lower() == _within(r, "subject"),
        "name": lambda r, v: r["name"].lower() == v.lower(),
        "date": lambda r, v: _date(r, v, v),
        "experiment_number": lambda r, v: r["session_info"]["number"] == int(v),
        "tag": lambda r, v: v == "Brainwidemap" and "brainwide" in _within(r, "projects"),
    },
    "/datasets": {
        "id": lambda r, v: r["id"] == v,
        "name": lambda r, v: r["name"] == v,
        "session": lambda r, v: r["session"].endswith(v),
    },
}
FIELDS = {place: [*tests, "django", "limit", "offset"] for place, tests in _TESTS.items()} | {
    "/data-repository": ["name"]
}
FIELDS["/datasets"].append("exists")
"""What each list can be asked."""

_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda value, wanted: value == wanted,
    "iexact": lambda value, wanted: value.lower() == wanted.lower(),
    "contains": lambda value, wanted: wanted in value,
    "icontains": lambda value, wanted: wanted.lower() in value.lower(),
    "startswith": lambda value, wanted: value.startswith(wanted),
    "in": lambda value, wanted: value in re.findall(r"[\w.:-]+", wanted),
    "gte": lambda value, wanted: value >= wanted,
    "lte": lambda value, wanted: value <= wanted,
}


def _pairs(django: str) -> list[tuple[str, str]]:
    """The fields and values of a `django` query, whose lists stand in brackets."""
    parts = re.findall(r"(?:\[[^\]]*\]|\([^)]*\)|[^,\[(])+", django)
    return list(zip(parts[::2], parts[1::2], strict=True))


def _holds(record: Record, key: str, wanted: str) -> bool:
    *path, last = key.split("__")
    operator = last if last in _OPERATORS else "exact"
    if operator != last or last == "exact":
        path = [part for part in (*path, last) if part != "exact"]
    if path and path[0] == "session" and "session_info" in record:
        record, path = record["session_info"], path[1:]
    field_ = {"pk": "id", "session": "id"}.get(path[0] if path else "pk", path[0] if path else "")
    value = record["id" if field_ == "pk" else field_]
    values = value if isinstance(value, list) else [value]
    if "date" in path:
        values = [str(v)[:10] for v in values]
    return any(_OPERATORS[operator](str(v), wanted) for v in values)


def _place(relative: Path) -> tuple[str, str]:
    """Collection and revision of a dataset."""
    folders = relative.parent.parts
    revisions = [f.strip("#") for f in folders if f.startswith("#")]
    return "/".join(f for f in folders if not f.startswith("#")), (revisions or [""])[-1]


def _without_id(key: str) -> str:
    folder, _, name = key.rpartition("/")
    parts = name.split(".")
    return f"{folder}/{'.'.join((*parts[:-2], parts[-1]))}"


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


@cache
def _sum(file: Path, _changed: int) -> tuple[int, str]:
    content = file.read_bytes()
    return len(content), hashlib.md5(content, usedforsecurity=False).hexdigest()


@cache
def _regions(probe: Path) -> list[str]:
    """Acronyms of the regions that a probe has channels in, and of those around them."""
    from iblatlas.regions import BrainRegions

    regions, found = BrainRegions(), set()
    for file in probe.rglob("channels.brainLocationIds_ccf_2017.npy"):
        for number in np.unique(np.abs(np.load(file))):
            found.update(regions.ancestors(int(number))["acronym"])
    return sorted(found)
