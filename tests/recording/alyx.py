"""A small Alyx with its file server and S3, on this machine; it can be told to fail.

It answers what ONE asks: logins, the schema, sessions, insertions and datasets with their filters
and pages, and files by HTTP and from S3, whole or from a byte on. What it cannot answer is 404.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from tests.recording.alyx_database import EID, FIELDS, Database, ask

__all__ = ["EID", "Alyx", "Asked", "Fault", "once", "serving"]

BUCKET = "small-public"


@dataclass(frozen=True)
class Fault:
    """How an answer differs from what it should be.

    Attributes
    ----------
    status, headers
        Answered instead; 0 for the answer as it is.
    close
        Whether the connection ends without an answer.
    cut
        After how many bytes of content the connection ends.
    rate
        How many bytes are sent in a second.
    change
        What becomes of the content of a file.

    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False
    cut: int | None = None
    rate: float | None = None
    change: Callable[[bytes], bytes] | None = None


Faults: TypeAlias = Fault | Callable[[str, int], Fault | None] | None
"""How all answers fail, or which: by the name that is asked for, and how often it was till now."""


def once(fault: Fault) -> Callable[[str, int], Fault | None]:
    """A fault of the first answer for each name."""
    return lambda _, time: fault if time == 1 else None


@dataclass(frozen=True)
class Asked:
    """A request: its kind, what it was for, its query, the first byte asked for, and who asks."""

    method: str
    place: str
    query: dict[str, str]
    start: int = 0
    login: str | None = None

    @property
    def name(self) -> str:
        """Of a file, without the id in it."""
        *parts, _, extension = ("", *self.place.rpartition("/")[2].split("."))
        return ".".join((*parts[1:], extension))


@dataclass
class Alyx(Database):
    """A server.

    Attributes
    ----------
    users
        Passwords by user; a token is `token-of-` and the user's name.
    expired
        Whether no token is accepted any more.
    rest, files
        How answers of the database, and of files, fail.
    ranges
        Whether files can be asked for from a byte on.
    page
        How many records a list holds at most, unless more are asked for.
    requests
        All that it was asked.
    stop
        Lets the server be gone.

    """

    users: dict[str, str] = field(default_factory=lambda: {"someone": "a password"})
    expired: bool = False
    rest: Faults = None
    files: Faults = None
    ranges: bool = True
    page: int = 250
    requests: list[Asked] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None

    @property
    def asked(self) -> dict[str, int]:
        """How often each file was asked for."""
        names = [a.name for a in self.requests if _is_file(a.place)]
        return {name: names.count(name) for name in names}

    @property
    def settings(self) -> dict[str, str]:
        """The environment in which S3 is this server."""
        return {"AWS_ENDPOINT_URL_S3": self.address, "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def serving(root: Path, *folders: Path, **about: Any) -> Iterator[Alyx]:
    """Serve sessions' folders, which lie in `root` as in a ONE cache."""
    alyx = Alyx(root, folders, **about)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"alyx": alyx}))
    alyx.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
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


def _is_file(place: str) -> bool:
    return place.startswith(("/public/", f"/{BUCKET}/"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    alyx: Alyx
    fault: Fault | None = None

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # who asked has gone
            super().handle()

    def do_POST(self) -> None:
        asked = self._heard()
        length = int(self.headers.get("Content-Length", 0))
        form = parse_qs(self.rfile.read(length).decode())
        user, password = (form.get(k, [""])[0] for k in ("username", "password"))
        if self._fails(asked):
            return
        if asked.place != "/auth-token":
            self._say({"detail": "Not found."}, 404)
        elif self.alyx.users.get(user, "") != password or not password:
            words = "Unable to log in with provided credentials."
            self._say({"non_field_errors": [words]}, 400)
        else:
            self._say({"token": f"token-of-{user}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = self._heard()
        if self._fails(asked):
            return
        if _is_file(asked.place):
            self._send_file(asked)
            return
        user = self.headers.get("Authorization", "").removeprefix("Token token-of-")
        if self.alyx.expired or user not in self.alyx.users:
            self._say({"detail": "Invalid token."}, 403)
            return
        try:
            answer = {"username": user} if asked.place == "/me" else _answer(self.alyx, asked)
        except (KeyError, ValueError):
            self._say({"detail": "There is no such field."}, 400)
            return
        self._say(*((answer,) if answer is not None else ({"detail": "Not found."}, 404)))

    def _heard(self) -> Asked:
        parts = urlsplit(self.path)
        start = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
        asked = Asked(
            self.command,
            unquote(parts.path),
            dict(parse_qsl(parts.query)),
            int(start),
            self.headers.get("Authorization"),
        )
        self.alyx.requests.append(asked)
        faults = self.alyx.files if _is_file(asked.place) else self.alyx.rest
        times = sum(a.place == asked.place for a in self.alyx.requests)
        name = asked.name if _is_file(asked.place) else asked.place
        self.fault = faults(name, times) if callable(faults) else faults
        return asked

    def _fails(self, asked: Asked) -> bool:
        """Whether something else was answered."""
        fault = self.fault
        if fault is not None and fault.close:
            self.close_connection = True
        elif fault is not None and fault.status:
            self._say({"detail": "It fails."}, fault.status, fault.headers)
        else:
            return False
        return True

    def _send_file(self, asked: Asked) -> None:
        key = asked.place.removeprefix(f"/{BUCKET}/data/").removeprefix("/public/")
        path = self.alyx.path(key)
        if path is None:
            self._say({"detail": "Not found."}, 404)
            return
        content = path.read_bytes()
        if self.fault is not None and self.fault.change is not None:
            content = self.fault.change(content)
        start = asked.start if self.alyx.ranges else 0
        if start >= len(content) > 0:
            self._say({}, 416)
            return
        headers = {"Accept-Ranges": "bytes", "ETag": '"one"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        kind = "application/octet-stream"
        self._send(content[start:], 206 if start else 200, kind, headers)

    def _say(
        self, answer: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self._send(json.dumps(answer).encode(), status, "application/json", headers or {})

    def _send(self, content: bytes, status: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        fault = self.fault or Fault()
        if fault.cut is not None and fault.cut < len(content):
            content, self.close_connection = content[: fault.cut], True
        step = len(content) if fault.rate is None else max(1, int(fault.rate / 50))
        for at in range(0, len(content), step or 1):
            self.wfile.write(content[at : at + step])
            if fault.rate is not None:
                time.sleep(step / fault.rate)


def _answer(alyx: Alyx, asked: Asked) -> object:
    """What the database answers to a question, None where there is nothing."""
    folder, _, name = asked.place[1:].partition("/")
    if asked.place == "/api/schema":
        return _schema()
    if folder == "data-repository":
        return {"name": name, "json": {"bucket_name": BUCKET}} if alyx.aws else None
    if asked.place.startswith("/sessions/"):
        return alyx.whole_session(name) if name in alyx.ids else None
    lists: dict[str, Callable[[], Sequence[dict[str, Any]]]] = {
        "/sessions": alyx.sessions,
        "/insertions": alyx.insertions,
        "/datasets": alyx.stored,
    }
    if folder == "insertions" and name:
        return next((i for i in alyx.insertions() if i["id"] == name), None)
    if asked.place not in lists:
        return None
    return _page(alyx, asked, ask(asked.place, lists[asked.place](), asked.query))


def _page(alyx: Alyx, asked: Asked, found: Sequence[object]) -> dict[str, object]:
    limit = int(asked.query.get("limit", alyx.page))
    start = int(asked.query.get("offset", 0))
    query = {**asked.query, "limit": limit, "offset": start + limit}
    more = f"{alyx.address}{asked.place}?{urlencode(query)}"
    return {
        "count": len(found),
        "next": more if start + limit < len(found) else None,
        "previous": None,
        "results": found[start : start + limit],
    }


def _schema() -> dict[str, object]:
    paths = {}
    for place, fields in FIELDS.items():
        asked = [{"name": name, "in": "query"} for name in fields]
        paths[place] = {"get": {"parameters": asked}}
        paths[f"{place}/{{id}}"] = {"get": {"parameters": [{"name": "id", "in": "path"}]}}
    return {"openapi": "3.0.3", "paths": paths, "components": {"schemas": {}}}
