"""Sessions on this disk: in a ONE cache, in a folder of them, or one alone."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_mtm.errors import MtmError
from napari_mtm.progress import Progress
from napari_mtm.recording.alf import FolderFiles, SessionFiles, find, session_parts, sessions_below
from napari_mtm.recording.catalogue.query import Found, Query, named_as_asked, passes_region
from napari_mtm.recording.formats import brain_wide_map
from napari_mtm.recording.one_files import OneFiles, open_one, sessions_in
from napari_mtm.recording.reading import used, whole_sortings
from napari_mtm.recording.regions import OUTSIDE, locate, region_order

_RELEASE = "brainwide"
"""Part of the names of the projects that the Brain-Wide Map was recorded in."""


def in_cache(folder: Path, query: Query, progress: Progress) -> list[Found]:
    """Sessions of a ONE cache that have spikes by its tables, on disk or not."""
    one = open_one(folder)
    found = []
    sessions = [s for s in sessions_in(one) if query.id in ("", s.eid)]
    for k, session in enumerate(sessions):
        progress(k / len(sessions), f"looking at {session.subject} {session.date}")
        named = Found(
            eid=session.eid,
            subject=session.subject,
            date=session.date,
            number=session.number,
            lab=session.lab,
            source=session.eid,
            one=str(folder),
        )
        release = not query.release or any(_RELEASE in p for p in session.projects)
        if release and named_as_asked(query, named, session.projects):
            found.append(_looked_at(named, OneFiles(one, session.eid)))
    return [f for f in found if f.probes and passes_region(query, f)]


def in_folder(folder: Path, query: Query, progress: Progress) -> list[Found]:
    """Sessions in a folder of ALF folders, or the folder itself where it is one."""
    found = []
    paths = sessions_below(folder) or [folder]
    for k, path in enumerate(paths):
        progress(k / len(paths), f"looking at {path.name}")
        files = FolderFiles(path)
        lab, subject, date, number = session_parts(path)
        named = Found(
            eid=files.id,
            subject=subject,
            date=date,
            number=number,
            lab=lab,
            source=str(path),
            one=None,
        )
        # A folder tells no projects.
        asked = named_as_asked(query, named) and query.id in ("", files.id) and not query.release
        if asked:
            found.append(_looked_at(named, files))
    return [f for f in found if f.probes and passes_region(query, f)]


def in_release(folder: Path, query: Query) -> list[Found]:
    """Sessions of a release of the Brain-Wide Map, by its tables."""
    found = [
        Found(
            eid=str(row["eid"]),
            subject=str(row["subject"]),
            date=str(row["date"]),
            number=int(row["number"]),
            lab=str(row["lab"]),
            source=str(row["eid"]),
            one=str(folder),
            probes=row["probes"],
            regions=row["regions"] or None,
            good_units=int(row["good_units"]),
            on_disk=row["megabytes"] > 0,
            megabytes=float(row["megabytes"]),
        )
        for row in brain_wide_map.sessions(folder).to_dict("records")
    ]
    return [
        f
        for f in found
        if named_as_asked(query, f, [_RELEASE])
        and query.id in ("", f.eid)
        and passes_region(query, f)
    ]


def downloaded(named: Found, folder: Path) -> Found:
    """Return a session with what its files tell, where they are in a folder of a ONE cache."""
    return _looked_at(named, FolderFiles(folder)) if (folder / "alf").is_dir() else named


def _looked_at(named: Found, files: SessionFiles) -> Found:
    """Return a session with what its list of files tells, and the small ones that are here."""
    every = whole_sortings([*files.datasets, *files.missing])
    here = whole_sortings(files.datasets)
    sizes = [files.size(d) for d in (*files.datasets, *files.missing) if used(d)]
    on_disk = bool(every) and here.keys() == every.keys()
    return replace(
        named,
        probes=tuple(every),
        regions=_regions(files) if on_disk else None,
        good_units=_good_units(files, here.values()) if on_disk else None,
        on_disk=on_disk,
        megabytes=sum(sizes) / 1e6 if all(sizes) else None,
    )


def _regions(files: SessionFiles) -> tuple[str, ...] | None:
    """Beryl names that the channels of a session lie in, None where nothing says it."""
    ids: set[float] = set()
    for dataset in files.datasets:
        if dataset.attribute == "brainLocationIds_ccf_2017":
            try:
                found = np.load(files.fetch(dataset), mmap_mode="r")
                ids.update(np.unique(np.asarray(found, dtype=np.float64)).tolist())
            except (MtmError, OSError, ValueError, TypeError, EOFError):
                continue  # what is wrong with it is said when the session is opened
    names = set(locate(np.array(sorted(ids)))[1]) - set(OUTSIDE) if ids else set()
    order = sorted(names, key=lambda name: int(region_order([name])[0]))
    return tuple(order) or None


def _good_units(files: SessionFiles, collections: Iterable[str]) -> int | None:
    """Units of quality label 1 in some sortings, None where one does not say it."""
    total = 0
    for labels in _labels(files, collections):
        if labels is None:
            return None
        total += int((pd.to_numeric(labels, errors="coerce") >= 1).sum())
    return total


def _labels(files: SessionFiles, collections: Iterable[str]) -> Iterator[Any]:
    for collection in collections:
        metrics = find(files.datasets, "clusters", "metrics", collection)
        if metrics is None or metrics.extension != "pqt":
            yield None
            continue
        try:
            yield pd.read_parquet(files.fetch(metrics), columns=["label"])["label"]
        except Exception:  # noqa: BLE001  a damaged table may raise anything; opening says what
            yield None
