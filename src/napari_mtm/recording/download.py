"""Download files, so that what was cut off goes on where it was.

A file is written to a part beside its place, named by the content that it should have. It takes its
place when it is whole: of the right size and hash. One process writes it at a time.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import alone, is_regular
from napari_mtm.progress import Progress
from napari_mtm.recording.servers import trouble

PAUSES = (0.2, 1.0, 3.0)
"""Seconds before a server that gives nothing is asked again."""

_LONGEST_WAIT = 60.0
"""Seconds in all that a busy server is waited for."""

PATIENCE = (10, 20)
"""Seconds for a server to be reached, and to send something."""

_TICK = 0.1
"""Seconds between reports while nothing comes."""

_SMALLEST, _LARGEST = 1 << 13, 1 << 20
"""Bytes read at once."""


@dataclass(frozen=True)
class Answer:
    """What a server sends of a file: from a byte on, of so many in all where it says so."""

    start: int
    total: int | None
    read: Callable[[int], bytes]
    close: Callable[[], object]


Place = Callable[[int], Answer]
"""Where a file lies: asked for what comes from a byte on. Raises Refused, or anything at all."""


@dataclass(frozen=True)
class Remote:
    """A file to download.

    Attributes
    ----------
    path
        Where it is to lie.
    title
        What it is called in a sentence.
    size, hash
        Its bytes and MD5 hash, as far as they are known.
    places
        Where it can be had, the best first.
    server
        Which server a person knows it from.
    needed
        Whether nothing is of use without it.

    """

    path: Path
    title: str
    size: int | None
    hash: str
    places: tuple[Place, ...]
    server: str
    needed: bool

    @property
    def part(self) -> Path:
        """Where it is written until it is whole."""
        version = self.hash[:8] or str(self.size)
        return self.path.with_name(f".{self.path.name}.{version}.part")


class Refused(Exception):
    """A server answered with a status, and perhaps for how many seconds to wait."""

    def __init__(self, status: int, after: str | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.code, self.after = status, _seconds(after)


class _Cut(Exception):
    """A connection ended, or never came to be."""


class _Otherwise(Exception):
    """A server has another file than it lists."""


def differs(path: Path, size: int | None, hash_: str) -> str:
    """Say in which way a file is not as it is listed, nothing where it is."""
    found = path.stat().st_size
    if size not in (None, found):
        return _of_size(found, size)
    if hash_ and md5(path) != hash_:
        return "has another content than ONE's tables say, by its hash"
    return ""


def md5(path: Path) -> str:
    """MD5 hash of a file, as Alyx lists it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def bytes_left(path: Path, part: Path, size: int | None) -> int:
    """How many bytes of a file are still to be downloaded."""
    if is_regular(path) and size in (None, path.stat().st_size):
        return 0
    return max((size or 0) - _length(part), 0)


def download(files: Sequence[Remote], progress: Progress) -> list[Remote]:
    """Download files one after the other; return those that are not to be had, if not needed.

    `progress` may raise at any time: what came till then is kept, and the next call goes on from
    it. Raises SourceError where a file cannot be had, stays wrong, or finds no room.
    """
    pace = _Pace(files, progress)
    _must_have_room(files)
    lost = []
    for k, file in enumerate(files):
        pace.begin(k)
        try:
            _download(file, pace)
        except Refused as refused:
            if refused.code != 404 or file.needed:
                raise trouble(file.server, refused) from None
            lost.append(file)
    return lost


class _Pace:
    """Tells how far a download of several files is, how fast, and how long it will take."""

    def __init__(self, files: Sequence[Remote], progress: Progress) -> None:
        self._files, self._progress = files, progress
        self._total = sum(file.size or 0 for file in files)
        self._before = 0
        self._came = 0
        self._began: float | None = None
        self._number = 0

    def begin(self, number: int) -> None:
        self._before = sum(file.size or 0 for file in self._files[:number])
        self._number = number
        self.tell()

    def connected(self) -> None:
        """Begin to measure how fast it is."""
        self._began = self._began or time.monotonic()

    def add(self, size: int) -> None:
        self._came += size
        self.tell()

    def tell(self, more: str = "") -> None:
        file = self._files[self._number]
        done = min(self._before + _length(file.part), self._total)
        now = time.monotonic()
        speed = self._came / max(now - (self._began or now), 1e-3)
        words = [
            file.path.name,
            f"{self._number + 1} of {len(self._files)} files",
            f"{_megabytes(done)} of {_megabytes(self._total)} MB",
        ]
        if speed > 0:
            words.append(f"{speed / 1e6:.1f} MB/s")
            words.append(f"{(self._total - done) / speed:.0f} s left")
        if more:
            words.append(more)
        self._progress(done / self._total if self._total else 0.0, ", ".join(words))

    def wait(self, seconds: float, why: str) -> None:
        """Let some time go by, in which the work can be cancelled."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.tell(why)
            time.sleep(min(left, _TICK))


def _download(file: Remote, pace: _Pace) -> None:
    """Have a file in its place, whole; a wrong one is fetched once more from its start."""
    if not file.places:
        raise Refused(404)
    with _disk(file):
        file.path.parent.mkdir(parents=True, exist_ok=True)

    def waiting() -> None:
        pace.wait(_TICK, "waiting for another program that downloads it")

    with _disk(file), alone(file.part.with_suffix(".lock"), waiting):
        if is_regular(file.path) and not differs(file.path, file.size, file.hash):
            return  # another process was faster
        for left in file.path.parent.glob(f".{file.path.name}.*.part"):
            if left != file.part:  # of another version
                left.unlink(missing_ok=True)
        wrong = ""
        for _ in range(2):
            try:
                _fill(file, pace)
                wrong = differs(file.part, file.size, file.hash)
            except _Otherwise as problem:
                wrong = str(problem)
            if not wrong:
                file.part.replace(file.path)
                return
            file.part.unlink(missing_ok=True)
        file.path.unlink(missing_ok=True)
        raise SourceError(
            f"{file.title} {wrong}, also when it was fetched again. It was removed; "
            f"{file.server} does not send what it lists, so try again later."
        )


def _fill(file: Remote, pace: _Pace) -> None:
    """Have all bytes of a file in its part, from the first place that has them."""
    for place in file.places[:-1]:
        try:
            return _fill_from(place, file, pace, pauses=())
        except (Refused, _Cut):
            continue
    try:
        return _fill_from(file.places[-1], file, pace, pauses=PAUSES)
    except _Cut as cut:
        raise trouble(file.server, ConnectionError(str(cut))) from None


def _fill_from(place: Place, file: Remote, pace: _Pace, pauses: Sequence[float]) -> None:
    """Have all bytes of a file in its part; go on where a connection ended midway."""
    fruitless, waited = 0, 0.0
    while True:
        before = _length(file.part)
        try:
            if _receive(place, file, pace):
                return
            raise _Cut("the connection ended midway")
        except _Cut:
            fruitless = fruitless + 1 if _length(file.part) <= before else 0
            if fruitless > len(pauses):
                raise
            pace.wait(pauses[fruitless - 1] if fruitless else 0.0, "connecting again")
        except Refused as refused:
            if refused.code == 416 and before:  # the part is of another file
                file.part.unlink(missing_ok=True)
                continue
            if refused.code not in (429, 503) or not pauses:
                raise
            pause = pauses[-1] if refused.after is None else refused.after
            waited += max(pause, _TICK)
            if waited > _LONGEST_WAIT:
                raise
            pace.wait(pause, "waiting, as the server is busy")


def _receive(place: Place, file: Remote, pace: _Pace) -> bool:
    """Append what a server sends to a file's part; return whether that is all of it."""
    if file.size is not None and _length(file.part) > file.size:
        file.part.unlink()
    at = _length(file.part)
    if at and at == file.size:
        return True
    with _network():
        answer = place(at)
    pace.connected()
    try:
        size = file.size if answer.total is None else answer.total
        if file.size not in (None, size):
            raise _Otherwise(_of_size(size or 0, file.size))
        if answer.start not in (0, at):
            raise _Cut("another part of the file was sent than was asked for")
        with file.part.open("ab" if answer.start == at else "wb", 0) as part:
            for block in _blocks(answer):
                part.write(block)
                pace.add(len(block))
    finally:
        answer.close()
    return size is None or _length(file.part) == size


def _blocks(answer: Answer) -> Iterator[bytes]:
    """What a server sends, in blocks that each take about a tenth of a second."""
    amount = _SMALLEST
    while True:
        began = time.monotonic()
        with _network():
            block = answer.read(amount)
        if not block:
            return
        yield block
        took = time.monotonic() - began
        amount = min(2 * amount, _LARGEST) if took < _TICK else max(amount // 2, _SMALLEST // 8)


@contextmanager
def _network() -> Iterator[None]:
    """Let whatever a network raises be a connection that ended."""
    try:
        yield
    except (Refused, _Cut):
        raise
    except Exception as error:  # noqa: BLE001  networks and their libraries raise anything
        raise _Cut(in_short(error)) from None


@contextmanager
def _disk(file: Remote) -> Iterator[None]:
    """Say in a sentence that something cannot be written."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or in_short(problem)
        raise SourceError(
            f"Cannot write {file.path}: {reason}. What came till then is kept; mend this and open "
            "the session again."
        ) from None


def _must_have_room(files: Sequence[Remote]) -> None:
    """Raise SourceError where what is to come does not fit on the disk."""
    left = sum(bytes_left(file.path, file.part, file.size) for file in files)
    if not left:
        return
    folder = next(p for p in files[0].path.parents if p.exists())
    free = shutil.disk_usage(folder).free
    if left > free:
        raise SourceError(
            f"{_megabytes(left)} MB are to be downloaded, but there is room for "
            f"{_megabytes(free)} MB only in {folder}. Free some, and open the session again."
        )


# Places


@dataclass(frozen=True)
class Web:
    """A file on a web server, and who may have it where it asks."""

    url: str
    login: tuple[str, str] | None = field(default=None, repr=False)

    def __call__(self, start: int) -> Answer:
        """Ask for what comes from a byte on."""
        import requests

        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        parts = urlsplit(self.url, allow_fragments=False)  # a # stands around a revision
        url = parts._replace(path=quote(parts.path, safe="/%")).geturl()
        response = requests.get(
            url, headers=headers, auth=self.login, stream=True, timeout=PATIENCE
        )
        if response.status_code not in (200, 206):
            response.close()
            raise Refused(response.status_code, response.headers.get("Retry-After"))
        return _answer(response.status_code, response.headers, response.raw.read, response.close)


@dataclass
class Bucket:
    """A bucket of S3; once it gave no answer, it is not asked any more."""

    client: Any
    name: str
    gone: bool = False

    def place(self, key: str) -> Place:
        """Where the file of a key lies."""

        def ask(start: int) -> Answer:
            return self._ask(key, start)

        return ask

    def _ask(self, key: str, start: int) -> Answer:
        from botocore.exceptions import ClientError

        if self.gone:
            raise _Cut("S3 gave no answer before")
        range_ = {"Range": f"bytes={start}-"} if start else {}
        try:
            found = self.client.get_object(Bucket=self.name, Key=key, **range_)
        except ClientError as error:
            about = error.response.get("ResponseMetadata", {})
            after = about.get("HTTPHeaders", {}).get("retry-after")
            raise Refused(int(about.get("HTTPStatusCode", 400)), after) from None
        except Exception:
            self.gone = True
            raise
        about = found["ResponseMetadata"]
        headers = {
            "Content-Length": about["HTTPHeaders"].get("content-length"),
            "Content-Range": about["HTTPHeaders"].get("content-range"),
        }
        body = found["Body"]
        return _answer(about["HTTPStatusCode"], headers, body.read, body.close)


def bucket(alyx: Any) -> Bucket:
    """Return the bucket that a database names, asked as ONE asks it; raises anything."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from one.remote.aws import get_aws_access_keys

    keys, name = get_aws_access_keys(alyx)
    public = "public" in name.casefold() and not keys["aws_access_key_id"]
    config = Config(
        signature_version=UNSIGNED if public else None,
        connect_timeout=PATIENCE[0],
        read_timeout=PATIENCE[1],
        retries={"total_max_attempts": 1},  # it is asked again here, where it can be cancelled
    )
    return Bucket(boto3.Session(**keys).client("s3", config=config), name)


def _answer(
    status: int, headers: Any, read: Callable[[int], bytes], close: Callable[[], object]
) -> Answer:
    length = headers.get("Content-Length")
    if status != 206:
        return Answer(0, int(length) if length else None, read, close)
    span, _, total = str(headers["Content-Range"]).removeprefix("bytes ").partition("/")
    start = int(span.partition("-")[0])
    return Answer(start, int(total) if total.isdigit() else None, read, close)


def _seconds(after: str | None) -> float | None:
    """What a server means by `Retry-After`: seconds, or a date."""
    if after is None:
        return None
    with suppress(ValueError):
        return max(float(after), 0.0)
    with suppress(ValueError, TypeError):
        return max(parsedate_to_datetime(after).timestamp() - time.time(), 0.0)
    return None


def _of_size(found: int, listed: int | None) -> str:
    return f"has {found} bytes where ONE's tables say {listed}"


def _length(path: Path) -> int:
    return path.stat().st_size if is_regular(path) else 0


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}" if size < 10e6 else f"{size / 1e6:.0f}"
