"""What a server is asked, by the real ONE client, and what is made of its answers."""

import shutil

import pytest

from napari_mtm import Cancelled
from napari_mtm.errors import SourceError
from napari_mtm.progress import silent
from napari_mtm.recording.catalogue.query import Query
from napari_mtm.recording.catalogue.server import on_server
from tests.recording.alyx import EID, Fault


def days(one, query: Query) -> list[str]:
    return sorted(f.date for f in on_server(one, query, silent))


def test_all_sessions_with_probes(one, alyx):
    found = {f.date: f for f in on_server(one, Query(), silent)}
    assert sorted(found) == ["2024-02-03", "2024-03-01", "2024-03-02"]
    two = found["2024-03-01"]
    assert (two.subject, two.number, two.lab) == ("RAT", 1, "elsewhere")
    assert two.probes == ("probe00", "probe01")
    assert (two.source, two.one) == (two.eid, alyx.address)
    assert not two.on_disk
    assert (two.regions, two.good_units, two.megabytes) == (None, None, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(subject="ra"), ["2024-03-01", "2024-03-02"]),
        (Query(subject="nobody"), []),
        (Query(lab="lab"), ["2024-02-03"]),
        (Query(project="brain"), ["2024-02-03", "2024-03-01", "2024-03-02"]),
        (Query(project="autism"), []),
        (Query(region="CA1"), ["2024-02-03", "2024-03-01"]),
        (Query(first="2024-03-01", last="2024-03-01"), ["2024-03-01"]),
        (Query(last="2024-03-01"), ["2024-02-03", "2024-03-01"]),
        (Query(subject="rat", region="LP", first="2024-01-01"), ["2024-03-01"]),
        (Query(id=EID), ["2024-02-03"]),
        (Query(among=frozenset({EID})), ["2024-02-03"]),
        (Query(among=frozenset()), []),
        (Query(release=True), ["2024-02-03", "2024-03-01", "2024-03-02"]),
    ],
    ids=str,
)
def test_what_is_asked_for(one, query, expected):
    assert days(one, query) == expected


def test_by_the_id_of_a_probe(one, alyx):
    record = next(r for r in alyx.insertions() if r["name"] == "probe01")
    (found,) = on_server(one, Query(id=record["id"]), silent)
    assert found.date == "2024-03-01"


def test_the_region_that_was_asked_for_is_known(one):
    assert {f.regions for f in on_server(one, Query(region="CA1"), silent)} == {("CA1",)}


def test_a_server_that_ignores_what_it_is_asked(one, alyx):
    alyx.deaf = True
    assert days(one, Query(subject="rat", first="2024-03-02")) == ["2024-03-02"]
    assert days(one, Query(id=EID)) == ["2024-02-03"]


def test_a_long_list_of_ids_is_asked_in_pieces(one, alyx):
    many = frozenset({EID, *(f"11111111-1111-4111-8111-{k:012d}" for k in range(120))})
    assert days(one, Query(among=many)) == ["2024-02-03"]
    lengths = [len(r.query.get("django", "")) for r in alyx.requests if r.place == "/insertions"]
    assert len(lengths) >= 3
    assert max(lengths) < 2500


def test_what_was_downloaded_is_on_disk(one, alf, tmp_path):
    here = tmp_path / "downloads" / alf.relative_to(tmp_path)
    shutil.copytree(alf, here)
    (found,) = on_server(one, Query(id=EID), silent)
    assert found.on_disk
    assert found.regions == ("VISa", "CA1", "LP")
    assert found.good_units == 3
    assert (found.source, found.one) == (EID, one.alyx.base_url)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=403), r"refused \(403\)"),
        (Fault(status=500), "trouble of its own"),
        (Fault(close=True), "no answer from"),
    ],
)
def test_a_server_that_fails(one, alyx, fault, said):
    alyx.rest = fault
    with pytest.raises(SourceError, match=said):
        on_server(one, Query(), silent)


def test_looking_can_be_cancelled(one):
    def cancel(fraction: float, message: str) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        on_server(one, Query(), cancel)
