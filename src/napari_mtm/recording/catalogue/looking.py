"""Look for sessions in any place: a server, a ONE cache, a release, a folder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.files import is_folder, is_regular, shortened
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.bench import BENCH
from napari_mtm.recording.catalogue.bench import UNLISTED, in_bench
from napari_mtm.recording.catalogue.disk import in_cache, in_folder, in_release
from napari_mtm.recording.catalogue.places import RECENT
from napari_mtm.recording.catalogue.query import Found, Query
from napari_mtm.recording.catalogue.recent import recent
from napari_mtm.recording.catalogue.server import on_server
from napari_mtm.recording.opening import SAMPLE, is_release, sample_folder
from napari_mtm.recording.servers import (
    PASSWORD,
    ServerOffline,
    cache_folder,
    connect,
    connect_as_known,
    is_address,
)

if TYPE_CHECKING:
    from one.api import One

COLUMNS = (
    "eid",
    "subject",
    "date",
    "number",
    "lab",
    "probes",
    "regions",
    "on_disk",
    "megabytes",
    "good_units",
)
"""Columns of `search`."""


@dataclass(frozen=True)
class Listing:
    """What was found in a place, by subject and day; `notes` say what a person should know."""

    sessions: tuple[Found, ...]
    notes: tuple[str, ...] = ()


def look(
    place: "str | Path | One",
    query: Query,
    progress: Progress = silent,
    *,
    user: str | None = None,
    prepared: Path | None = None,
) -> Listing:
    """Look for sessions in a place.

    Parameters
    ----------
    place
        "recent" for what was prepared before, "sample", "brain-wide-bench"; the address of an
        Alyx server; the folder
        of a ONE cache, of a release of the Brain-Wide Map or of sessions; or a ONE.
    query
        What is looked for.
    progress
        May raise `Cancelled`.
    user
        Who logs in to a server, with the password in NAPARI_MTM_ONE_PASSWORD; else the login that
        ONE keeps is used.
    prepared
        Where prepared sessions are kept, if not in the usual place.

    A server that does not answer is said to, and what was downloaded from it is listed. Raises
    SourceError where the place is none, or LoginNeeded where it asks for a login.

    """
    notes: tuple[str, ...] = ()
    if place == RECENT:
        found = recent(query, prepared)
    elif place == SAMPLE:
        found = in_cache(sample_folder(), query, progress)
    elif place == BENCH:
        found, notes = in_bench(query), () if query.id else (UNLISTED,)
    elif is_address(place):
        try:
            found = on_server(_connected(str(place), user), query, progress)
        except ServerOffline as error:
            found = _offline(str(place), query, progress)
            notes = (f"{error.what} What was downloaded from it is listed.",)
    elif isinstance(place, str | Path):
        found = _in_folder(Path(place), query, progress)
    elif place.offline:
        found = in_cache(Path(place.cache_dir), query, progress)
    else:
        found = on_server(place, query, progress)
    ordered = sorted(found, key=lambda f: (f.subject.lower(), f.date, f.number, f.eid))
    return Listing(tuple(ordered), notes)


def search(
    *,
    one: "str | Path | One",
    region: str | None = None,
    subject: str | None = None,
    lab: str | None = None,
    project: str | None = None,
    date: str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Look for sessions, and return a table with a row for each.

    Columns are `COLUMNS`: `probes` and `regions` are tuples of names (regions None where they
    are not known before the download), `on_disk` says whether the spikes are here, `megabytes`
    is the size of what is read, and `good_units` their number; NaN where not known.

    Parameters
    ----------
    one
        Where: the address of an Alyx server, a folder, or a ONE.
    region
        Beryl acronym of a region that a probe passes.
    subject, lab, project
        Parts of their names.
    date
        A day, or a range of days as "2020-01-01:2020-12-31", of which either end may be left out.
    progress
        Called with the fraction done and a few words; it may raise `Cancelled`.

    """
    query = Query(subject=subject or "", lab=lab or "", project=project or "", region=region or "")
    listing = look(one, query.between(date or ""), progress or silent)
    rows = [{name: getattr(f, name) for name in COLUMNS} for f in listing.sessions]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _in_folder(folder: Path, query: Query, progress: Progress) -> list[Found]:
    if not is_folder(folder):
        raise SourceError(f"There is no folder {shortened(folder)}.")
    if is_regular(folder / "sessions.pqt") and is_regular(folder / "datasets.pqt"):
        return in_cache(folder, query, progress)
    if is_release(folder):
        return in_release(folder, query)
    return in_folder(folder, query, progress)


def _connected(address: str, user: str | None) -> "One":
    """Connect as somebody, with the password in the environment where no login is kept."""
    if user is None:
        return connect_as_known(address)
    password = os.environ.get(PASSWORD) or None
    return connect(address, user=user, password=password)


def _offline(address: str, query: Query, progress: Progress) -> list[Found]:
    """Sessions of a server that were downloaded."""
    folder = cache_folder(address)
    if folder is None or not is_folder(folder):
        return []
    return [f for f in _in_folder(folder, query, progress) if f.on_disk]
