"""The small Alyx answers the real client as Alyx does."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from one.api import OneAlyx

from tests.conftest import write_alf
from tests.recording.alyx import EID, Alyx, serving


@pytest.fixture
def alyx(alf: Path, tmp_path: Path) -> Iterator[Alyx]:
    """A server with three sessions of two animals in two labs."""
    other = tmp_path / "elsewhere" / "Subjects" / "RAT"
    for day in ("2024-03-01", "2024-03-02"):
        write_alf(other / day / "001")
    (ids,) = (other / "2024-03-02" / "001").rglob("channels.brainLocationIds_ccf_2017.npy")
    np.save(ids, np.full(10, 776))
    folders = alf, other / "2024-03-01" / "001", other / "2024-03-02" / "001"
    with serving(tmp_path, *folders, page=2) as served:
        yield served


@pytest.fixture
def one(alyx: Alyx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OneAlyx:
    monkeypatch.setenv("HOME", str(tmp_path))
    return OneAlyx(
        base_url=alyx.address,
        username="someone",
        password="a password",
        silent=True,
        cache_dir=tmp_path / "downloads",
        cache_rest=None,
    )


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ({}, ["2024-03-02", "2024-03-01", "2024-02-03"]),
        ({"subject": "rat"}, ["2024-03-02", "2024-03-01"]),
        ({"lab": "lab"}, ["2024-02-03"]),
        ({"date_range": "2024-02-01,2024-03-01"}, ["2024-03-01", "2024-02-03"]),
        ({"number": 2}, ["2024-02-03"]),
        (
            {"project": "brain", "task_protocol": "ephys"},
            ["2024-03-02", "2024-03-01", "2024-02-03"],
        ),
        ({"project": "other"}, []),
        ({"datasets": "spikes.times.npy,_ibl_trials.table.pqt"}, [..., ..., ...]),
        ({"datasets": "nothing.of_this.npy"}, []),
        ({"atlas_acronym": "HPF"}, ["2024-03-01", "2024-02-03"]),
        ({"django": "subject__icontains,RA,number,1"}, ["2024-03-02", "2024-03-01"]),
        ({"django": f"id__in,['{EID}']"}, ["2024-02-03"]),
        ({"id": EID}, ["2024-02-03"]),
    ],
    ids=str,
)
def test_sessions_by_what_they_are(one, query, days):
    found = [s["start_time"][:10] for s in one.alyx.rest("sessions", "list", **query)]
    assert len(found) == len(days)
    assert days[:1] == [...] or found == days


def test_pages(one, alyx):
    found = one.alyx.rest("sessions", "list")
    assert len(found) == 3
    assert sum(a.place == "/sessions" for a in alyx.requests) == 1
    assert found[2]["subject"] == "MOUSE"
    assert [a.query.get("offset") for a in alyx.requests if a.place == "/sessions"] == [None, "2"]


@pytest.mark.parametrize(
    ("query", "n"),
    [
        ({}, 3),
        ({"atlas_acronym": "CA1"}, 2),
        ({"atlas_acronym": "LP", "subject": "RAT"}, 1),
        ({"session": EID}, 1),
        ({"lab": "elsewhere", "project": "brainwide", "name": "probe00"}, 2),
        ({"django": "session__subject__icontains,mou"}, 1),
    ],
    ids=str,
)
def test_insertions_by_what_they_are(one, query, n):
    found = list(one.alyx.rest("insertions", "list", **query))
    assert len(found) == n
    assert {"id", "name", "session", "session_info"} <= found[0].keys()


def test_ids_of_probes(one):
    ((probe,), (name,)) = one.eid2pid(EID)
    assert name == "probe00"
    assert tuple(map(str, one.pid2eid(probe))) == (EID, "probe00")
