"""Logging in with the real client: nothing is asked on stdin, and nothing is given away."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from one import params

from napari_mtm.errors import SourceError
from napari_mtm.recording import servers
from napari_mtm.recording.servers import (
    LoginNeeded,
    ServerOffline,
    cache_folder,
    connect,
    is_address,
    login,
)
from tests.conftest import ROOT
from tests.recording.alyx import EID, Alyx, Fault, serving


@pytest.fixture
def alyx(alf: Path, tmp_path: Path, one_home: Path) -> Iterator[Alyx]:
    with serving(tmp_path, alf, users={"someone": "a password", "other": "their password"}) as s:
        yield s


@pytest.mark.parametrize(
    ("text", "true"),
    [
        (servers.OPENALYX, True),
        ("http://127.0.0.1:8000", True),
        ("/data/ONE", False),
        ("openalyx.internationalbrainlab.org", False),
        (Path("/data"), False),
        (None, False),
    ],
)
def test_what_is_an_address(text, true):
    assert is_address(text) is true


def test_a_login_is_kept_and_used(alyx, one_home):
    assert cache_folder(alyx.address) is None
    assert login(alyx.address, user="someone", password="a password") == "someone"
    one = connect(alyx.address)
    assert one.alyx.user == "someone"
    assert [s["id"] for s in one.alyx.rest("sessions", "list")] == [EID]
    assert connect(f"{alyx.address}/") is one
    (kept,) = [p for p in (one_home / ".one").iterdir() if p.name != ".caches"]
    assert json.loads(kept.read_text())["TOKEN"] == {"someone": {"token": "token-of-someone"}}
    assert "a password" not in kept.read_text()
    host = alyx.address.removeprefix("http://").replace(":", "_")
    assert cache_folder(alyx.address) == one_home / "Downloads" / "ONE" / host
    assert one.cache_dir == cache_folder(alyx.address)


def test_a_token_says_whose_it_is(alyx, one_home):
    assert login(alyx.address, token="token-of-other") == "other"
    assert connect(alyx.address).alyx.user == "other"
    assert login(alyx.address, user="someone", password="a password") == "someone"
    assert connect(alyx.address, user="other").alyx.user == "other"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"user": "someone"},
        {"user": "someone", "password": "not a password"},
        {"user": "nobody", "password": "a password"},
        {"password": "a password"},
        {"token": "token-of-nobody"},
    ],
    ids=str,
)
def test_who_is_not_let_in_is_told_where_to_log_in(alyx, one_home, given):
    with pytest.raises(LoginNeeded) as told:
        connect(alyx.address, **given)
    said = str(told.value)
    assert f"`napari-mtm login {alyx.address}`" in said
    assert f"{alyx.address}/signup" in said
    assert not any(given.get(secret, "?") in said for secret in ("password", "token"))


def test_a_login_that_is_accepted_no_more(alyx, one_home):
    login(alyx.address, user="someone", password="a password")
    alyx.expired = True
    with pytest.raises(LoginNeeded, match="does not accept this login any more"):
        connect(alyx.address)
    alyx.expired = False
    assert connect(alyx.address).alyx.user == "someone"


@pytest.mark.parametrize(
    "secret",
    ["two\nlines", "b" * 20000, "ümlaut\u2603"],
    ids=["lines", "long", "letters"],
)
def test_what_can_be_no_token(alyx, one_home, secret):
    with pytest.raises(SourceError) as told:
        connect(alyx.address, token=secret)
    assert secret[:8] not in str(told.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://example.org", "in the clear"),
        ("http://10.0.0.1:8000", "in the clear"),
        ("https://", "no address of a server"),
        ("https://host:port", "no address of a server"),
        ("https://a\0b", "no address of a server"),
        ("ftp://example.org", "no address of a server"),
        ("https://me:secret@example.org", "Leave user and password out"),
    ],
)
def test_addresses_that_are_refused_before_anything_is_sent(address, said, one_home):
    with pytest.raises(SourceError, match=said) as told:
        connect(address, user="someone", password="a password")
    assert "secret" not in str(told.value)
    assert list(one_home.iterdir()) == []


def test_a_server_that_is_gone(alyx, one_home):
    login(alyx.address, user="someone", password="a password")
    alyx.stop()
    for given in ({}, {"user": "someone", "password": "a password"}, {"token": "token-of-other"}):
        with pytest.raises(ServerOffline, match=r"no answer from .* open what is on disk"):
            connect(alyx.address, **given)
    kept = params.get(client=alyx.address, silent=True)
    assert kept.TOKEN == {"someone": {"token": "token-of-someone"}}


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault(500), SourceError, r"trouble of its own \(500\)"),
        (Fault(404), SourceError, r"no Alyx server \(404\)"),
        (Fault(close=True), ServerOffline, "no answer"),
        (Fault(200), SourceError, "could not be asked"),
    ],
    ids=str,
)
def test_servers_that_fail_at_the_login(alyx, one_home, fault, error, said):
    alyx.rest = lambda place, _: fault if place == "/auth-token" or fault.close else None
    with pytest.raises(error, match=said):
        login(alyx.address, user="someone", password="a password")


def test_files_of_one_that_are_damaged(alyx, one_home):
    login(alyx.address, user="someone", password="a password")
    (kept,) = [p for p in (one_home / ".one").iterdir() if p.name != ".caches"]
    kept.write_text('{"TOKEN": [1')
    with pytest.raises(SourceError, match="is damaged"):
        connect(alyx.address)
    (one_home / ".one" / ".caches").write_text("[]")
    assert cache_folder(alyx.address) is None
    with pytest.raises(LoginNeeded):
        connect(alyx.address)


SCRIPT = """
import sys
from napari_mtm import open_session, MtmError
try:
    session = open_session(sys.argv[1], one=sys.argv[2])
    print(session.n_units, session.n_trials, list(session.notes))
except MtmError as error:
    print(type(error).__name__, error)
"""


def run(alyx: Alyx, one_home: Path, **environment: str) -> str:
    """Open the session in a process of its own, whose stdin is closed."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, EID, alyx.address],
        env={
            "HOME": str(one_home),
            "PATH": "",
            "PYTHONPATH": f"{ROOT / 'src'}",
            "NAPARI_MTM_CACHE": str(one_home.parent / "prepared"),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Traceback" not in done.stderr
    assert "a password" not in done.stdout + done.stderr
    return done.stdout.strip()


def test_what_is_written_into_a_new_home(alyx, one_home, alf):
    assert run(alyx, one_home).startswith("LoginNeeded")
    assert list(one_home.iterdir()) == []
    known = {"NAPARI_MTM_ONE_USER": "someone", "NAPARI_MTM_ONE_PASSWORD": "a password"}
    assert run(alyx, one_home, **known) == "3 12 []"
    host = alyx.address.removeprefix("http://").replace(":", "_")
    downloads = Path("Downloads") / "ONE" / host
    written = {p.relative_to(one_home) for p in one_home.rglob("*") if p.is_file()}
    own = {p for p in written if p.is_relative_to(downloads)}
    assert written - own == {Path(".one/.caches"), Path(f".one/.{host}")}
    session = downloads / alf.relative_to(alf.parents[4])
    files = {session / p.relative_to(alf) for p in alf.rglob("*") if p.is_file()}
    unread = {p for p in files if "mlapdv" in p.name}
    tables = {downloads / "sessions.pqt", downloads / "datasets.pqt"}
    rest = {p for p in own if p.parent == downloads / ".rest"}
    assert own == (files - unread) | tables | rest
    alyx.requests.clear()
    assert run(alyx, one_home) == "3 12 []"
    assert {a.place for a in alyx.requests} == {"/me"}
    alyx.stop()
    assert "did not answer" in run(alyx, one_home)
    assert {p.relative_to(one_home) for p in one_home.rglob("*") if p.is_file()} == written
