"""Whatever a server or the tables of a cache do, a session opens whole or a sentence says why."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from one import params
from one.api import ONE

from napari_mtm import MtmError, Session, open_session
from napari_mtm.errors import SourceError
from napari_mtm.recording.one_files import open_one
from tests.recording.alyx import EID, Alyx, Fault, once, serving
from tests.recording.test_alf import write_tables


@pytest.fixture
def alyx(alf: Path, tmp_path: Path) -> Iterator[Alyx]:
    """A server with the small session."""
    with serving(tmp_path, alf) as served:
        yield served


@pytest.fixture
def one(alyx: Alyx, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> ONE:
    """A ONE that asks the server, with an empty cache folder and home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    params.setup(client=alyx.address, silent=True)
    found = params.get(client=alyx.address, silent=True)
    params.save(found.set("HTTP_DATA_SERVER", f"{alyx.address}/public"), alyx.address)
    ONE.cache_clear()
    return ONE(
        base_url=alyx.address,
        username="someone",
        password="a password",
        silent=True,
        cache_dir=tmp_path / "downloads",
        cache_rest=None,
    )


def same(session: Session, alf: Path) -> bool:
    here = open_session(alf)
    return np.array_equal(session.counts, here.counts) and session.units.equals(here.units)


def downloaded(tmp_path: Path, name: str) -> list[Path]:
    return list((tmp_path / "downloads").rglob(name))


def test_a_session_of_a_server(one, alyx, alf):
    session = open_session(EID, one=one)
    assert session.id == EID
    assert session.notes == ()
    assert same(session, alf)
    assert set(alyx.asked.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (401, r"refused \(401\)\. Log in"),
        (403, r"refused \(403\)\. Log in, or ask for access"),
        (404, r"does not have what was asked for \(404\)"),
        (500, r"has trouble of its own \(500\)\. Try again later"),
        ("close", "There is no answer from .* Check the network"),
    ],
)
@pytest.mark.parametrize("where", ["rest", "files"])
def test_what_a_server_refuses_is_said_in_a_sentence(one, alyx, alf, where, fault, said):
    setattr(alyx, where, Fault(close=True) if fault == "close" else Fault(fault))
    with pytest.raises(SourceError, match=said) as told:
        open_session(EID, one=one)
    assert alyx.address in str(told.value)
    assert "\n" not in str(told.value)
    setattr(alyx, where, None)
    assert same(open_session(EID, one=one), alf)


def test_a_server_that_is_gone(one, alyx):
    alyx.stop()
    with pytest.raises(SourceError, match="There is no answer from"):
        open_session(EID, one=one)


def test_a_session_that_a_server_does_not_know(one):
    with pytest.raises(MtmError, match=r"404|is not in"):
        open_session("11111111-1111-4111-8111-111111111111", one=one)


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("change", [flipped, lambda c: c[:-8], lambda c: b"x" * len(c)])
def test_a_file_with_wrong_bytes_is_fetched_once_more(one, alyx, alf, change):
    alyx.files = once(Fault(change=change))
    assert same(open_session(EID, one=one), alf)
    assert set(alyx.asked.values()) == {2}


@pytest.mark.parametrize("change", [flipped, lambda c: c[:-8]])
def test_a_file_that_stays_wrong_is_removed(one, alyx, alf, tmp_path, change):
    alyx.files = Fault(change=change)
    with pytest.raises(
        SourceError, match=r"also when it was fetched again\. It was removed"
    ) as told:
        open_session(EID, one=one)
    name = str(told.value).split(" of session")[0].split("/")[-1]
    assert alyx.asked[name] == 2
    assert downloaded(tmp_path, name) == []
    alyx.files = None
    assert same(open_session(EID, one=one), alf)


def test_wrong_bytes_that_are_on_disk_already_are_fetched_again(one, alyx, alf, tmp_path):
    open_session(EID, one=one)
    (path,) = downloaded(tmp_path, "spikes.times.npy")
    path.write_bytes(flipped(path.read_bytes()))
    assert same(open_session(EID, one=one), alf)
    assert alyx.asked["spikes.times.npy"] == 2


# The tables of a cache on disk


@pytest.fixture
def cache(alf: Path, tmp_path: Path) -> Path:
    write_tables(tmp_path, alf)
    return tmp_path


@pytest.mark.parametrize("table", ["sessions.pqt", "datasets.pqt"])
def test_tables_that_are_not_there(cache, table):
    (cache / table).unlink()
    with pytest.raises(SourceError, match=f"is no ONE cache: it has no {table}"):
        open_session(EID, one=cache)


@pytest.mark.parametrize("table", ["sessions.pqt", "datasets.pqt"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_tables_that_are_cut_short(cache, table, share):
    content = (cache / table).read_bytes()
    (cache / table).write_bytes(content[: int(share * len(content))])
    with pytest.raises(SourceError, match=r"ONE tables in .* are damaged \(.*\)\. Download them"):
        open_session(EID, one=cache)


def edit(path: Path, change) -> None:
    """Change a table and keep what ONE wrote beside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata
    arrow = pa.Table.from_pandas(change(pd.read_parquet(path)))
    kept = {**arrow.schema.metadata, b"one_metadata": metadata[b"one_metadata"]}
    pq.write_table(arrow.replace_schema_metadata(kept), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[:0], "lists no datasets of session"),
        (lambda t: t.drop(columns="rel_path"), "damaged|lists no datasets"),
        (lambda t: t.assign(rel_path="../../elsewhere/spikes.times.npy"), "which is no dataset"),
        (lambda t: t.assign(rel_path="/etc/spikes.times.npy"), "which is no dataset"),
        (lambda t: t.assign(rel_path=5), "damaged|which is no dataset"),
        (lambda t: t.assign(file_size="many"), "damaged"),
    ],
    ids=range(6),
)
def test_tables_of_datasets_that_make_no_sense(cache, change, said):
    edit(cache / "datasets.pqt", change)
    with pytest.raises(SourceError, match=said):
        open_session(EID, one=cache)


def test_a_probe_that_was_downloaded_in_part(alf, cache, own_cache):
    sorting = alf / "alf" / "probe00" / "pykilosort"
    other = alf / "alf" / "probe01" / "pykilosort"
    shutil.copytree(sorting, other)
    pd.DataFrame({"uuids": [f"other-{k}" for k in range(5)]}).to_csv(
        other / "clusters.uuids.csv", index=False
    )
    write_tables(cache, alf)
    assert open_session(EID, one=cache).units["probe"].nunique() == 2
    (other / "spikes.times.npy").unlink()
    with pytest.raises(SourceError, match=r"no spikes\.times in alf/probe01"):
        open_session(EID, one=cache)
    shutil.rmtree(other)
    session = open_session(EID, one=cache)
    assert "Probe probe01 has no spikes here, so its units are left out." in session.notes


def test_a_place_that_no_cache_can_be():
    for place in ("/nowhere", "null\0character", "long" * 2000):
        with pytest.raises(SourceError, match="There is no ONE cache folder"):
            open_one(place)
