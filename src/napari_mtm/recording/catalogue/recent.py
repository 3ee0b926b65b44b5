"""Sessions that were prepared before and are kept in the cache, the last used first."""

from pathlib import Path

from napari_mtm.errors import MtmError
from napari_mtm.recording import cache
from napari_mtm.recording.catalogue.query import Found, Query, named_as_asked, passes_region
from napari_mtm.recording.naming import Named, parts_of_name
from napari_mtm.recording.regions import OUTSIDE
from napari_mtm.recording.store import open_store


def recent(query: Query, folder: Path | None = None) -> list[Found]:
    """Sessions in the cache; each is opened as it was prepared."""
    found = []
    for entry in cache.entries(folder):
        try:
            session = open_store(entry.path)
        except MtmError:
            continue  # it is made again when it is needed
        named = parts_of_name(session.name) or Named(session.name, "", 0)
        names = [r.name for r in session.regions if r.name not in OUTSIDE]
        known = Found(
            eid=session.id,
            subject=named.subject,
            date=named.date,
            number=named.number,
            lab="",
            source=str(entry.path),
            one=None,
            probes=tuple(sorted(set(session.units["probe"]))),
            regions=tuple(names) or None,
            good_units=int((session.units["label"] >= 1).sum()),
            on_disk=True,
            megabytes=entry.size / 1e6,
        )
        asked = named_as_asked(query, known) and query.id in ("", known.eid)
        if asked and passes_region(query, known) and not query.release:
            found.append(known)
    return found
