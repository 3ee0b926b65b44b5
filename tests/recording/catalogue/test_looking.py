"""One question for all places, with the network and without."""

import json
from pathlib import Path

import pytest

from napari_mtm import cli, open_session, search
from napari_mtm.errors import SourceError
from napari_mtm.recording.catalogue.looking import COLUMNS, look
from napari_mtm.recording.catalogue.offer import offer
from napari_mtm.recording.catalogue.query import Query
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.servers import LoginNeeded, ServerOffline, login
from tests.recording.alyx import EID, Alyx
from tests.recording.test_alf import write_tables


@pytest.fixture
def known(alyx: Alyx) -> Alyx:
    """The server, to which somebody is logged in."""
    login(alyx.address, user="someone", password="a password")
    return alyx


def test_a_table_of_a_server(known):
    table = search(one=known.address, region="CA1", date="2024-01-01:")
    assert tuple(table.columns) == COLUMNS
    assert table["subject"].tolist() == ["MOUSE", "RAT"]
    assert table["date"].tolist() == ["2024-02-03", "2024-03-01"]
    assert table["eid"][0] == EID
    assert table["probes"].tolist() == [("probe00",), ("probe00", "probe01")]
    assert not table["on_disk"].any()


def test_a_table_of_nothing_has_its_columns(known):
    table = search(one=known.address, subject="nobody")
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 0


def test_a_table_of_a_cache_and_of_a_folder(alf, tmp_path):
    by_path = search(one=tmp_path)
    write_tables(tmp_path, alf)
    by_tables = search(one=str(tmp_path))
    for table in (by_path, by_tables):
        assert table["regions"].tolist() == [("VISa", "CA1", "LP")]
        assert table["good_units"].tolist() == [3]
        assert table["on_disk"].all()
    assert by_tables["eid"][0] == EID


def test_the_sample_and_what_was_prepared_before(own_cache, alf):
    (sample,) = look("sample", Query()).sessions
    assert sample.good_units
    assert look("recent", Query()).sessions == ()
    session = open_session(alf)
    (before,) = look("recent", Query(region="CA1", subject="mouse")).sessions
    assert (before.eid, before.date, before.number) == (session.id, "2024-02-03", 2)
    assert open_session(before.source) == session
    assert look("recent", Query(region="MOp")).sessions == ()


def test_a_login_is_asked_for(alyx):
    with pytest.raises(LoginNeeded, match=r"napari-mtm login http://127\.0\.0\.1"):
        look(alyx.address, Query())


def test_a_place_that_is_none(tmp_path):
    with pytest.raises(SourceError, match="There is no folder"):
        look(tmp_path / "nowhere", Query())


def test_without_the_network_what_was_downloaded_is_listed(known, own_cache):
    session = open_session(EID, one=known.address)
    (listed,) = [f for f in look(known.address, Query()).sessions if f.on_disk]
    assert listed.eid == EID
    known.stop()
    listing = look(known.address, Query())
    assert [f.eid for f in listing.sessions] == [EID]
    assert "There is no answer from" in listing.notes[0]
    assert listing.notes[0].endswith("What was downloaded from it is listed.")
    (here,) = listing.sessions
    again = open_session(here.source, one=here.one)
    assert (again.counts == session.counts).all()


def test_without_the_network_and_without_a_download(known):
    known.stop()
    listing = look(known.address, Query())
    assert listing.sessions == ()
    assert listing.notes


# Before opening


def test_what_would_be_downloaded(known, own_cache):
    (session,) = look(known.address, Query(id=EID)).sessions
    before = offer(session)
    assert before.survey.n_trials == 12
    assert [choice.n_units for choice in before.survey.choices] == [3, 5]
    assert not [name for name in known.asked if "spikes" in name]
    files = find_source(EID, one=known.address).files
    sizes = {d.path: files.size(d) for d in files.datasets if d.object == "spikes"}
    assert before.download >= sum(sizes.values()) > 0
    assert before.fits
    open_session(EID, one=known.address)
    assert offer(session).download == 0


def test_a_prepared_session_is_all_there(own_cache, alf):
    open_session(alf)
    (session,) = look("recent", Query()).sessions
    found = offer(session)
    assert (found.survey, found.download) == (None, 0)


# The command line


def test_search_prints_a_table(known, capsys):
    assert cli.main(["search", "--one", known.address, "--region", "CA1"]) == 0
    printed = capsys.readouterr()
    first, second = printed.out.splitlines()
    assert first.startswith(EID)
    assert "MOUSE 2024-02-03 002" in first
    assert "probe00, probe01" in second
    assert "2 sessions" in printed.err


def test_search_prints_json(alf, tmp_path, capsys):
    write_tables(tmp_path, alf)
    assert cli.main(["search", "--one", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == list(COLUMNS)
    assert row["eid"] == EID
    assert row["regions"] == ["VISa", "CA1", "LP"]
    assert row["on_disk"] is True


def test_search_with_a_user_and_a_password_of_the_environment(alyx, capsys, monkeypatch):
    monkeypatch.setenv("NAPARI_MTM_ONE_PASSWORD", "a password")
    assert cli.main(["search", "--one", alyx.address, "--user", "someone", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--region", "CA11"], "is no region of the Beryl atlas"),
        (["--date", "yesterday"], "is no day"),
        (["--id", "KS014"], "is no id"),
    ],
)
def test_search_says_what_makes_no_sense(tmp_path, capsys, asked, said):
    assert cli.main(["search", "--one", str(tmp_path), *asked]) == 2
    assert said in capsys.readouterr().err


def test_search_without_a_login(alyx, capsys):
    assert cli.main(["search", "--one", alyx.address]) == 2
    printed = capsys.readouterr()
    assert "napari-mtm login" in printed.err
    assert printed.out == ""


def test_search_without_the_network_says_so(known, capsys):
    known.stop()
    assert cli.main(["search", "--one", known.address, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert "There is no answer from" in printed.err


def test_offline_is_an_error_of_its_own(known):
    known.stop()
    with pytest.raises(ServerOffline):
        open_session(EID, one=known.address)


def test_home_holds_nothing_but_what_one_keeps(known, tmp_path: Path):
    look(known.address, Query())
    home = tmp_path / "home"
    assert {p.relative_to(home).parts[0] for p in home.rglob("*") if p.is_file()} <= {
        ".one",
        "Downloads",
    }
