"""Whatever a file server does, a download goes on where it was, and ends whole or in a sentence."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from one.alf.spec import is_valid

from napari_mtm import Cancelled
from napari_mtm.errors import SourceError
from napari_mtm.progress import silent
from napari_mtm.recording import download as module
from napari_mtm.recording.alf import parse
from napari_mtm.recording.download import Remote, Web, download
from tests.conftest import ROOT
from tests.recording.alyx import Alyx, Fault, once, serving

SIZE = 300_000
NAME = "spikes.times.npy"
ID = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def content() -> bytes:
    return random.Random(1).randbytes(SIZE)


@pytest.fixture
def alyx(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alyx]:
    """A server with one file."""
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.02))
    folder = tmp_path / "served" / "lab" / "Subjects" / "MOUSE" / "2024-02-03" / "001" / "alf"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(content)
    with serving(tmp_path / "served", folder.parent) as served:
        yield served


@pytest.fixture
def remote(alyx: Alyx, tmp_path: Path, content: bytes) -> Remote:
    stem, _, extension = NAME.rpartition(".")
    place = f"/public/lab/Subjects/MOUSE/2024-02-03/001/alf/{stem}.{ID}.{extension}"
    return Remote(
        path=tmp_path / "here" / NAME,
        title=f"{NAME} of session 1",
        size=len(content),
        hash=hashlib.md5(content).hexdigest(),
        places=(Web(alyx.address + place),),
        server=alyx.address,
        needed=True,
    )


def starts(alyx: Alyx) -> list[int]:
    return [a.start for a in alyx.requests]


def only(remote: Remote, content: bytes) -> bool:
    """Whether the file is there, and nothing beside it."""
    return remote.path.read_bytes() == content and list(remote.path.parent.iterdir()) == [
        remote.path
    ]


def test_the_part_is_no_dataset(remote):
    assert parse(remote.part.name) is None
    assert not is_valid(remote.part.name)


def test_what_progress_is_told(remote, alyx, content):
    alyx.files = Fault(rate=600_000)
    told = []
    assert download([remote], lambda *report: told.append(report)) == []
    assert only(remote, content)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert told[0][1] == f"{NAME}, 1 of 1 files, 0.0 of 0.3 MB"
    fraction, words = told[len(told) // 2]
    file, number, size, speed, left = words.split(", ")
    assert (file, number) == (NAME, "1 of 1 files")
    assert size == f"{fraction * 0.3:.1f} of 0.3 MB"
    assert 0.3 < float(speed.removesuffix(" MB/s")) < 0.9
    assert left in ("0 s left", "1 s left")


@pytest.mark.parametrize("seed", range(4))
def test_a_cancelled_download_goes_on_where_it_was(remote, alyx, content, seed):
    stop_at = random.Random(seed).uniform(0.05, 0.95)

    def cancel(fraction: float, _: str) -> None:
        if fraction >= stop_at:
            raise Cancelled

    with pytest.raises(Cancelled):
        download([remote], cancel)
    (part,) = remote.path.parent.iterdir()
    kept = part.stat().st_size
    assert stop_at * SIZE <= kept <= SIZE
    assert part.read_bytes() == content[:kept]
    alyx.requests.clear()
    told = []
    download([remote], lambda fraction, _: told.append(fraction))
    assert starts(alyx) == ([kept] if kept < SIZE else [])
    assert told[0] == kept / SIZE
    assert only(remote, content)


def test_a_slow_server_can_be_left_at_once(remote, alyx):
    alyx.files = Fault(rate=20_000)
    began = time.monotonic()

    def cancel(*_: object) -> None:
        if time.monotonic() > began + 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        download([remote], cancel)
    assert time.monotonic() - began < 1.5


def test_a_connection_that_breaks_is_made_again(remote, alyx, content):
    alyx.files = lambda _, time: Fault(cut=100_000) if time < 3 else None
    download([remote], silent)
    assert starts(alyx) == [0, 100_000, 200_000]
    assert only(remote, content)


def test_a_connection_that_gives_nothing_is_given_up(remote, alyx):
    alyx.files = Fault(close=True)
    with pytest.raises(SourceError, match=f"no answer from {alyx.address}"):
        download([remote], silent)
    assert len(alyx.requests) == 3


def test_a_server_that_cannot_send_the_rest_sends_all(remote, alyx, content):
    alyx.ranges = False
    alyx.files = once(Fault(cut=100_000))
    download([remote], silent)
    assert starts(alyx) == [0, 100_000]
    assert only(remote, content)


@pytest.mark.parametrize(
    "part", [b"x" * (SIZE + 10), b"x" * SIZE, b"x" * 1000], ids=["longer", "wrong", "begun wrong"]
)
def test_a_part_that_is_of_no_use(remote, alyx, content, part):
    remote.path.parent.mkdir()
    remote.part.write_bytes(part)
    download([remote], silent)
    assert only(remote, content)


def test_a_part_of_another_version(remote, alyx, content):
    remote.path.parent.mkdir()
    other = remote.path.with_name(f".{NAME}.0123abcd.part")
    other.write_bytes(content[:5000])
    download([remote], silent)
    assert starts(alyx) == [0]
    assert only(remote, content)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(remote, alyx, content, status):
    alyx.files = once(Fault(status, {"Retry-After": "0.3"}))
    told = []
    began = time.monotonic()
    download([remote], lambda _, words: told.append(words))
    assert time.monotonic() - began >= 0.3
    assert any("waiting, as the server is busy" in words for words in told)
    assert only(remote, content)


def test_waiting_for_a_busy_server_can_be_cancelled(remote, alyx):
    alyx.files = Fault(429, {"Retry-After": "30"})
    began = time.monotonic()

    def cancel(_: float, words: str) -> None:
        if "busy" in words:
            raise Cancelled

    with pytest.raises(Cancelled):
        download([remote], cancel)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("after", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
@pytest.mark.parametrize(
    ("status", "said"), [(503, "has trouble of its own"), (429, "is too busy")]
)
def test_a_server_that_is_busy_for_long_is_left(remote, alyx, after, status, said):
    alyx.files = Fault(status, {"Retry-After": after})
    with pytest.raises(SourceError, match=rf"{said} \({status}\)\. Try again later"):
        download([remote], silent)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "refused"), (403, "refused"), (404, "not have"), (500, "trouble")]
)
def test_what_is_refused(remote, alyx, status, said):
    alyx.files = Fault(status)
    with pytest.raises(SourceError, match=rf"{said}.*\({status}\)"):
        download([remote], silent)
    assert len(alyx.requests) == 1


def test_no_room_is_said_before_anything_is_asked(remote, alyx, tmp_path):
    from dataclasses import replace

    big = replace(remote, path=tmp_path / "here" / "spikes.amps.npy", size=10**15)
    with pytest.raises(SourceError, match=r"1000000000 MB are to be downloaded, but there is room"):
        download([big], silent)
    assert list(tmp_path.glob("here/*")) == []
    assert alyx.requests == []


def test_a_disk_that_takes_no_more(remote, alyx, content):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(SourceError, match=r"Cannot write .*: File too large\. What came"):
            download([remote], silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    alyx.requests.clear()
    download([remote], silent)
    assert 0 < starts(alyx)[0] <= 100_000
    assert only(remote, content)


def test_two_at_once_download_it_once(remote, alyx, content):
    alyx.files = Fault(rate=600_000)
    threads = [threading.Thread(target=download, args=([remote], silent)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert starts(alyx) == [0]
    assert only(remote, content)


SCRIPT = """
import sys
from pathlib import Path
from napari_mtm.progress import silent
from napari_mtm.recording.download import Remote, Web, download
path, size, hash_, url = sys.argv[1:]
download([Remote(Path(path), "it", int(size), hash_, (Web(url),), "server", True)], silent)
"""


def test_a_killed_process_leaves_what_the_next_goes_on_with(remote, alyx, content):
    alyx.files = Fault(rate=100_000)
    arguments = [str(remote.path), str(remote.size), remote.hash, remote.places[0].url]
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    while not (remote.part.exists() and remote.part.stat().st_size > 20_000):
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    kept = remote.part.stat().st_size
    alyx.requests.clear()
    alyx.files = None
    download([remote], silent)
    assert starts(alyx) == [kept]
    assert only(remote, content)
