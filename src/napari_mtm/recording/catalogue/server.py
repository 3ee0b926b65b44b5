"""Sessions that an Alyx server has."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtm.errors import MtmError, SourceError
from napari_mtm.progress import Progress
from napari_mtm.recording.catalogue.disk import downloaded
from napari_mtm.recording.catalogue.query import Found, Query, named_as_asked
from napari_mtm.recording.one_files import asking

if TYPE_CHECKING:
    from one.api import One

_TAG = "Brainwidemap"
"""What the server calls the release of the Brain-Wide Map."""
_IDS = 50
"""Ids in one question: an address must not grow too long."""


def on_server(one: "One", query: Query, progress: Progress) -> list[Found]:
    """Sessions with probes that a server has, by one row for each of their probes.

    What a server does not filter by is filtered here. It does not tell regions: they are known of
    sessions that were downloaded, and of the region that was asked for.
    """
    address = str(one.alyx.base_url)
    probes: dict[str, list[str]] = {}
    named: dict[str, Found] = {}
    for record in _insertions(one, query, progress):
        about, eid = record["session_info"], str(record["session"])
        if query.id not in ("", eid, str(record["id"])):
            continue
        session = Found(
            eid=eid,
            subject=str(about["subject"]),
            date=str(about["start_time"])[:10],
            number=int(about["number"]),
            lab=str(about["lab"]),
            source=eid,
            one=address,
        )
        if named_as_asked(query, session, [str(p) for p in about.get("projects") or ()]):
            named[eid] = session
            probes.setdefault(eid, []).append(str(record["name"]))
    return [_known(one, session, probes[eid], query) for eid, session in named.items()]


def _known(one: "One", session: Found, probes: Sequence[str], query: Query) -> Found:
    """Return a session with what its files on this disk tell, or else the server."""
    folder = _folder(one, session)
    try:
        here = downloaded(session, folder)
    except MtmError:  # said when it is opened
        here = session
    if here.on_disk:
        return here
    regions = (query.region,) if query.region else None
    return replace(session, probes=tuple(sorted(set(probes))), regions=regions)


def _folder(one: "One", session: Found) -> Path:
    """Where ONE keeps what is downloaded of a session."""
    number = f"{session.number:03d}"
    return Path(one.cache_dir, session.lab, "Subjects", session.subject, session.date, number)


def _insertions(one: "One", query: Query, progress: Progress) -> Iterator[dict[str, Any]]:
    """Insertions that a server finds, page by page."""
    asked = _questions(query)
    for k, question in enumerate(asked):
        progress(k / len(asked), "asking the server")
        with asking(one):
            answer = one.alyx.rest("insertions", "list", **question)
            total = len(answer)
        for i in range(total):
            with asking(one):
                record = answer[i]
            progress((k + i / total) / len(asked), f"{i + 1} of {total} probes")
            try:
                yield {**record, "session_info": dict(record["session_info"])}
            except (KeyError, TypeError, ValueError):
                raise SourceError(
                    f"{one.alyx.base_url} answers with something else than insertions of probes."
                ) from None


def _questions(query: Query) -> list[dict[str, str]]:
    """What a server is asked: one question, or several where there are many ids."""
    django = [
        f"{field},{text}"
        for field, text in (
            ("session__subject__nickname__icontains", query.subject),
            ("session__lab__name__icontains", query.lab),
            ("session__projects__name__icontains", query.project),
            ("session__start_time__date__gte", query.first),
            ("session__start_time__date__lte", query.last),
        )
        if text
    ]
    common = {}
    if query.region:
        common["atlas_acronym"] = query.region
    if query.release:
        common["tag"] = _TAG
    if query.id:
        return [
            {**common, "session": query.id},
            {**common, "django": ",".join([*django, f"id,{query.id}"])},
        ]
    if query.among is None:
        return [{**common, "django": ",".join(django)} if django else common]
    ids = sorted(query.among)
    chunks = [ids[k : k + _IDS] for k in range(0, len(ids), _IDS)]
    return [
        {**common, "django": ",".join([*django, f"session__in,[{','.join(map(repr, chunk))}]"])}
        for chunk in chunks
    ]
