"""Sessions of BrainWideBench: those that were downloaded, and any other by its id."""

from napari_mtm.errors import MtmError
from napari_mtm.recording.bench import BENCH, BenchSource, downloaded
from napari_mtm.recording.catalogue.query import Found, Query, named_as_asked

UNLISTED = (
    "BrainWideBench has no list of its sessions: give the id of one. Here are those on this disk."
)


def in_bench(query: Query) -> list[Found]:
    """The session of an id, which the server is asked for; without one, those on this disk."""
    if query.id:
        return [_found(BenchSource(query.id))]
    found = [_found(BenchSource(path.stem)) for path in downloaded()]
    return [f for f in found if named_as_asked(query, f) and not query.region]


def _found(source: BenchSource) -> Found:
    try:
        subject, _, date = source.name.rpartition(" ")
    except MtmError:  # said when it is opened
        subject, date = "", source.id
    size = source.path.stat().st_size if source.is_here else source.to_download()
    return Found(
        eid=source.id,
        subject=subject or date,
        date=date if subject else "",
        number=0,
        lab="",
        source=source.id,
        one=BENCH,
        on_disk=source.is_here,
        megabytes=size / 1e6,
    )
