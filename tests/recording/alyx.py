"""A small Alyx with a file server, on this machine, with one session; it can be told to fail.

It answers what ONE asks when a session is opened: a login, the schema, the session with its
datasets, and the files. What it cannot answer is 404.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid3

EID = "6d9a1f5e-52f3-4c0b-9c5e-1f0a6b7c8d9e"
_QUERIES = {
    "/sessions": ("id", "subject", "date_range", "number", "lab", "datasets", "django"),
    "/insertions": ("id", "session", "name", "django"),
    "/datasets": ("id", "name", "session", "exists", "django"),
    "/data-repository": ("name",),
}


@dataclass
class Alyx:
    """The server's session, and how it fails.

    Attributes
    ----------
    root, session
        The folder of labs, and the session's folder in it.
    rest, files
        How requests to the database, and for files, are answered instead: a status, "close" for
        a connection that is closed, or None as it should be.
    spoil
        What becomes of each file's content on its way, by how often it was asked for.
    asked
        How often each file was asked for.
    stop
        Lets the server be gone.

    """

    root: Path
    session: Path
    rest: int | str | None = None
    files: int | str | None = None
    spoil: Any = None
    asked: dict[str, int] = field(default_factory=dict)
    address: str = ""
    stop: Callable[[], None] = lambda: None

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """The session's datasets as the database describes them."""
        found = []
        for path in sorted(p for p in self.session.rglob("*") if p.is_file()):
            relative = path.relative_to(self.session)
            number = str(uuid3(UUID(EID), relative.as_posix()))
            stem, _, extension = path.name.rpartition(".")
            place = path.relative_to(self.root).with_name(f"{stem}.{number}.{extension}")
            content = path.read_bytes()
            found.append(
                {
                    "id": number,
                    "name": path.name,
                    "dataset_type": path.name,
                    "data_url": f"{self.address}/files/{place.as_posix()}",
                    "url": f"{self.address}/datasets/{number}",
                    "file_size": len(content),
                    "hash": hashlib.md5(content, usedforsecurity=False).hexdigest(),
                    "version": "1",
                    "collection": relative.parent.as_posix(),
                    "revision": None,
                    "default_revision": "True",
                    "qc": "NOT_SET",
                }
            )
        return found

    @property
    def record(self) -> dict[str, Any]:
        """The session as the database describes it."""
        lab, _, subject, date, number = self.session.relative_to(self.root).parts
        return {
            "id": EID,
            "url": f"{self.address}/sessions/{EID}",
            "subject": subject,
            "start_time": f"{date}T10:00:00",
            "number": int(number),
            "lab": lab,
            "projects": [],
            "task_protocol": "choice",
            "data_dataset_session_related": self.datasets,
        }

    def content(self, place: str) -> bytes | None:
        """The content of a file by its place, which holds the dataset's id."""
        folder, _, name = place.rpartition("/")
        parts = name.split(".")
        path = self.root / folder / ".".join((*parts[:-2], parts[-1]))
        if not path.is_file():
            return None
        self.asked[path.name] = self.asked.get(path.name, 0) + 1
        content = path.read_bytes()
        return content if self.spoil is None else self.spoil(content, self.asked[path.name])


@contextmanager
def serving(root: Path, session: Path) -> Iterator[Alyx]:
    """Serve a session's folder, which lies in `root` as in a ONE cache."""
    alyx = Alyx(root, session)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(alyx))
    alyx.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    alyx.stop = stop
    try:
        yield alyx
    finally:
        stop()


def _handler(alyx: Alyx) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._say({"token": "a-token"})

        def do_GET(self) -> None:
            place = unquote(urlsplit(self.path).path)
            is_file = place.startswith("/files/")
            fault = alyx.files if is_file else alyx.rest
            if fault == "close":
                self.close_connection = True
            elif fault is not None:
                self._say({"detail": "It fails."}, int(fault))
            elif is_file:
                content = alyx.content(place.removeprefix("/files/"))
                self._send(content) if content is not None else self._say({}, 404)
            else:
                answer = _answer(alyx, place)
                self._say(answer) if answer is not None else self._say({"detail": "None."}, 404)

        def _say(self, answer: object, status: int = 200) -> None:
            self._send(json.dumps(answer).encode(), status, "application/json")

        def _send(
            self, content: bytes, status: int = 200, kind: str = "application/octet-stream"
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _answer(alyx: Alyx, place: str) -> object:
    """What the database answers to a question, None where there is nothing."""
    if place == "/api/schema":
        paths = {
            path: {"get": {"parameters": [{"name": name, "in": "query"} for name in names]}}
            for path, names in _QUERIES.items()
        }
        paths |= {
            f"{path}/{{id}}": {"get": {"parameters": [{"name": "id", "in": "path"}]}}
            for path in _QUERIES
        }
        return {"openapi": "3.0.3", "paths": paths, "components": {"schemas": {}}}
    lists = {
        "/sessions": [alyx.record],
        "/datasets": [{**about, "file_records": []} for about in alyx.datasets],
        "/insertions": [],
    }
    if place in lists:
        found = lists[place]
        return {"count": len(found), "next": None, "previous": None, "results": found}
    return alyx.record if place == f"/sessions/{EID}" else None
