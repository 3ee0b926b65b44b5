"""A session of BrainWideBench is fetched by its id, and goes on where it was cut off."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from napari_mtm import Cancelled, open_session, search
from napari_mtm.errors import SourceError
from napari_mtm.recording.bench import BENCH, BenchSource
from napari_mtm.recording.catalogue.looking import look
from napari_mtm.recording.catalogue.offer import offer
from napari_mtm.recording.catalogue.query import Query
from napari_mtm.recording.opening import find_source
from tests.recording.formats.bench_files import EID, write_bench

OTHER = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    """The sample as a file of the benchmark."""
    return write_bench(find_source("sample").read(), tmp_path_factory.mktemp("bench"))


@pytest.fixture
def published(bench: Path, tmp_path: Path, own_cache, monkeypatch) -> Iterator[list[str]]:
    """The file of a session on a server; gives what the server was asked for, in order."""
    content, asked = bench.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(head=True)

        def do_GET(self) -> None:
            self._answer(head=False)

        def _answer(self, *, head: bool) -> None:
            range_ = self.headers.get("Range", "")
            asked.append(f"{self.command} {self.path} {range_}".strip())
            if self.path != f"/eval/{EID}.h5":
                self.send_error(404)
                return
            start = int(range_.removeprefix("bytes=").rstrip("-")) if range_ else 0
            self.send_response(206 if range_ else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if range_:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.end_headers()
            if not head:
                self.wfile.write(content[start:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("NAPARI_MTM_BENCH_ADDRESS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NAPARI_MTM_BENCH_FOLDER", str(tmp_path / "kept"))
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def gets(asked: list[str]) -> list[str]:
    return [line for line in asked if line.startswith("GET")]


def test_a_session_is_fetched_once(published, bench, tmp_path):
    session = open_session(EID, one=BENCH)
    assert session.id == EID
    assert np.array_equal(session.counts, open_session(bench).counts)
    assert (tmp_path / "kept" / f"{EID}.h5").read_bytes() == bench.read_bytes()
    n = len(published)
    assert open_session(EID.upper(), one=BENCH) == session
    assert len(published) == n


def test_a_download_that_was_cancelled_goes_on_where_it_was(published, bench):
    def cancel(fraction: float, message: str) -> None:
        if fraction > 0.05:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        BenchSource(EID).fetch(cancel)
    left = BenchSource(EID).to_download()
    size = bench.stat().st_size
    assert 0 < left < size
    source = BenchSource(EID)
    source.fetch()
    assert gets(published)[-1].endswith(f"bytes={size - left}-")
    assert source.path.read_bytes() == bench.read_bytes()
    assert source.to_download() == 0


def test_what_it_would_take_is_said_before(published, bench):
    (found,) = look(BENCH, Query(id=EID)).sessions
    assert not found.on_disk
    before = offer(found)
    assert (before.survey, before.download) == (None, bench.stat().st_size)
    open_session(EID, one=BENCH)
    after = offer(found)
    assert after.download == 0
    assert after.survey.n_trials
    assert gets(published) == [f"GET /eval/{EID}.h5"]


def test_those_on_disk_are_listed(published):
    assert len(search(one=BENCH)) == 0
    open_session(EID, one=BENCH)
    listing = look(BENCH, Query())
    assert [f.eid for f in listing.sessions] == [EID]
    assert "give the id of one" in listing.notes[0]


@pytest.mark.parametrize(
    ("eid", "said"),
    [(OTHER, f"no session {OTHER} at http://127"), ("KS014", "KS014 is no id of a session")],
)
def test_a_session_that_is_not_published(published, eid, said):
    with pytest.raises(SourceError, match=said):
        open_session(eid, one=BENCH)


def test_without_the_network(published, monkeypatch):
    open_session(EID, one=BENCH)
    monkeypatch.setenv("NAPARI_MTM_BENCH_ADDRESS", "http://127.0.0.1:9")
    assert open_session(EID, one=BENCH).id == EID
    with pytest.raises(SourceError, match="There is no answer from http://127"):
        open_session(OTHER, one=BENCH)


def test_an_address_without_tls_is_refused(published, monkeypatch):
    monkeypatch.setenv("NAPARI_MTM_BENCH_ADDRESS", "http://example.org/files")
    with pytest.raises(SourceError, match="no https:// address"):
        open_session(OTHER, one=BENCH)
