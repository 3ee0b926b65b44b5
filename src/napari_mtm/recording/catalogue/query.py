"""What sessions are looked for by, and what is known of one before it is opened."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches

from napari_mtm.errors import SourceError
from napari_mtm.recording.alf import is_eid
from napari_mtm.recording.regions import OUTSIDE, beryl_names

_RANGE = re.compile(r"([^:]*):?([^:]*)")


@dataclass(frozen=True)
class Query:
    """What sessions are looked for by; what is empty is not asked.

    Attributes
    ----------
    subject, lab, project
        Parts of their names, in capitals or small letters.
    region
        Beryl acronym of a region that a probe passes.
    first, last
        Days as YYYY-MM-DD, both included.
    id
        Id of a session, or of a probe's insertion.
    among
        Ids of the only sessions that are meant; None for any.
    release
        Whether only sessions of the Brain-Wide Map are meant.

    """

    subject: str = ""
    lab: str = ""
    project: str = ""
    region: str = ""
    first: str = ""
    last: str = ""
    id: str = ""
    among: frozenset[str] | None = None
    release: bool = False

    def __post_init__(self) -> None:
        for name in ("subject", "lab", "project", "region", "first", "last", "id"):
            object.__setattr__(self, name, getattr(self, name).strip())
        object.__setattr__(self, "region", _region(self.region))
        for day in (self.first, self.last):
            _check_day(day)
        if self.first and self.last and self.first > self.last:
            raise SourceError(f"There is no day from {self.first} to {self.last}.")
        if self.id and not is_eid(self.id):
            raise SourceError(f"{self.id} is no id: those of sessions and probes are UUIDs.")
        object.__setattr__(self, "id", self.id.lower())

    def between(self, days: str) -> "Query":
        """Return the query for some days: "2020-01-01:2020-12-31", either end left out, or one."""
        match = _RANGE.fullmatch(days.strip())
        if match is None:
            raise SourceError(f"{days!r} is no range of days; write 2020-01-01:2020-12-31.")
        first, last = match.groups()
        return replace(self, first=first, last=last if ":" in days else first)


@dataclass(frozen=True)
class Found:
    """A session that a place has.

    Attributes
    ----------
    eid, subject, date, number, lab
        Its id, and what it is called by; the day is YYYY-MM-DD.
    source, one
        What `open_session` takes to open it.
    probes
        Names of its probes.
    regions
        Beryl names that its probes pass, in the order of the atlas; None where that is not known
        before it is downloaded.
    good_units
        Units of quality label 1 on all probes; None where not known.
    on_disk
        Whether its spikes are on this disk.
    megabytes
        Size of the files that are read; None where not known.

    """

    eid: str
    subject: str
    date: str
    number: int
    lab: str
    source: str
    one: str | None
    probes: tuple[str, ...] = ()
    regions: tuple[str, ...] | None = None
    good_units: int | None = None
    on_disk: bool = False
    megabytes: float | None = None

    @property
    def name(self) -> str:
        """What a person calls the session."""
        return f"{self.subject} {self.date} {self.number:03d}" if self.date else self.subject


def named_as_asked(query: Query, found: Found, projects: Iterable[str] = ()) -> bool:
    """Whether a session's id and names are those that a query asks for.

    An id may also be that of a probe, which only a place can tell; it is not looked at here.
    """
    return (
        (query.among is None or found.eid in query.among)
        and query.subject.lower() in found.subject.lower()
        and query.lab.lower() in found.lab.lower()
        and (not query.project or any(query.project.lower() in p.lower() for p in projects))
        and (not query.first or found.date >= query.first)
        and (not query.last or (found.date != "" and found.date <= query.last))
    )


def passes_region(query: Query, found: Found) -> bool:
    """Whether a probe is known to pass the region that a query asks for."""
    return not query.region or query.region in (found.regions or ())


def _region(name: str) -> str:
    """Beryl's own spelling of a region, however it is written."""
    if not name:
        return ""
    known = {region.lower(): region for region in beryl_names() if region not in OUTSIDE}
    if name.lower() in known:
        return known[name.lower()]
    close = get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    like = f" Did you mean {', '.join(known[c] for c in close)}?" if close else ""
    raise SourceError(f"{name!r} is no region of the Beryl atlas, such as CA1 or VISa.{like}")


def _check_day(day: str) -> None:
    try:
        correct = not day or date.fromisoformat(day).isoformat() == day
    except ValueError:
        correct = False
    if not correct:
        raise SourceError(f"{day!r} is no day; write it as 2020-12-31.")
