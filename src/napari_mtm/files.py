"""The one rule for files: which are read, and what may be replaced on disk.

Only regular files are read: a device or a pipe in a file's place may never end. Only a new or
a regular file is written, beside its place first and then in it, so that nobody ever sees half
a file; a link stays, and the file that it leads to is replaced.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from napari_mtm.errors import MtmError, StoreError, in_short

_UNFINISHED = ".unfinished-"
_ATTEMPTS = 20
_PAUSE = 0.05
_IN_USE = (5, 32, 1224)
"""What Windows calls it where a program has the file open: it can be replaced once none has."""


def is_regular(path: Path) -> bool:
    """Whether there is a regular file at a path, or at the end of a link; False for any other."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a name with a null character
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path, or at the end of a link; False for any other."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def must_be_regular(path: Path, error: type[MtmError]) -> None:
    """Raise `error`, with a sentence, where there is no regular file at a path."""
    reason = _why_not_readable(path)
    if reason:
        raise error(f"Cannot read {shortened(path)}: {reason}.")


@contextmanager
def reading(path: Path, error: type[MtmError]) -> Iterator[BinaryIO]:
    """Open a regular file to read bytes from; raise `error` where that cannot be done."""
    must_be_regular(path, error)
    try:
        with path.open("rb") as file:
            yield file
    except OSError as problem:
        raise error(f"Cannot read {path}: {problem.strerror or problem}.") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path` that takes its place when all was written.

    Raises StoreError, and leaves what was at `path`, where that fails, or where something else
    than a regular file is there.
    """
    target, permissions = _to_replace(path)
    temporary = target.with_name(f"{_partial(target, os.getpid())}{token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if permissions is not None:
            temporary.chmod(permissions)
        _put(temporary, target)
    except OSError as problem:
        raise _not_written(path, problem) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _put(temporary: Path, target: Path) -> None:
    """Rename a file; on Windows try for a second, as who reads the old one keeps it in place."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            temporary.replace(target)
            return
        except OSError as problem:
            if getattr(problem, "winerror", None) not in _IN_USE:
                raise
            if not left:
                raise _not_written(
                    target, ValueError("it may not be written, or another program has it open")
                ) from None
            time.sleep(_PAUSE)


def remove_partial(path: Path, process: int) -> None:
    """Remove what a process that was killed had written for `path`."""
    target = Path(os.path.realpath(path))
    for file in target.parent.iterdir():
        if file.name.startswith(_partial(target, process)):
            file.unlink(missing_ok=True)


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` that takes its place when all went well.

    `path` must be missing or an empty folder, and is left so where anything goes wrong; what an
    earlier process that was killed had left beside it is removed. Raises StoreError where it is
    none, where another process is filling it, or where writing fails.
    """
    from filelock import FileLock, Timeout

    target = _to_fill(path)
    lock = FileLock(_lock_of(target))
    try:
        new_folder(target.parent)
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(f"Another process is writing {path}. Name another folder.") from None
    except OSError as problem:
        raise StoreError(f"Cannot write to {target.parent}: {in_short(problem)}.") from None
    unfinished = target.with_name(f".{target.name}{_UNFINISHED}{token_hex(4)}")
    try:
        for left in target.parent.iterdir():
            if left.name.startswith(f".{target.name}{_UNFINISHED}"):
                shutil.rmtree(left, ignore_errors=True)
        unfinished.mkdir()
        yield unfinished
        if target.exists():
            target.rmdir()
        unfinished.replace(target)
    except OSError as problem:
        reason = problem.strerror or problem
        raise StoreError(f"Writing {path} failed: {reason}. Nothing was kept.") from None
    finally:
        remove_unfinished(unfinished)
        lock.release()


def remove_unfinished(folder: Path) -> None:
    """Remove a folder that `filling` gave, and what keeps others from it; for who is cut off."""
    gone = folder.with_name(f"{folder.name}.{token_hex(4)}")
    with suppress(OSError):  # another name first: who writes there yet finds it no more
        folder.rename(gone)
    for left in (gone, folder):
        for _ in range(_ATTEMPTS):  # a file that was just being made may come yet
            shutil.rmtree(left, ignore_errors=True)
            if not left.exists():
                break
    name = folder.name.rpartition(_UNFINISHED)[0].removeprefix(".")
    with suppress(OSError):  # on Windows it stays while it is held, and does no harm
        _lock_of(folder.with_name(name)).unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Let one process, and one thread, at a time do something under a lock file.

    `waiting` is called again and again while another does it; what it raises ends the wait. The
    file is gone afterwards. Raises OSError where it cannot be made.
    """
    from filelock import FileLock, Timeout

    held = FileLock(lock)
    while True:
        try:
            held.acquire(timeout=0)
            break
        except Timeout:
            waiting()
    try:
        yield
    finally:
        with suppress(OSError):  # whoever waits notices that the file is another
            lock.unlink(missing_ok=True)
        held.release()


def new_folder(path: Path) -> Path:
    """Make a folder, and those above it, unless it is there; raise StoreError if it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise StoreError(f"{shortened(path)} cannot be a folder: {reason}.") from None
    return path


def shortened(path: object) -> str:
    """Return a path as a sentence can hold it: printable, and not longer than a line or two."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 200 else f"{text[:100]}…{text[-60:]}"


def _why_not_readable(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as problem:
        return problem.strerror or str(problem)
    except ValueError:
        return "its name holds a null character"
    if stat.S_ISREG(mode):
        return ""
    return "it is a folder" if stat.S_ISDIR(mode) else "it is a device or a pipe, not a file"


def _to_replace(path: Path) -> tuple[Path, int | None]:
    """Return the file at the end of links, and its permissions, None where there is none yet."""
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target, None
    except (OSError, ValueError) as problem:  # ValueError: a name with a null character
        raise _not_written(path, problem) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise StoreError(f"Cannot write {shortened(path)}: it is {what}. Name a new file.")
    return target, stat.S_IMODE(mode)


def _not_written(path: Path, problem: Exception) -> StoreError:
    reason = getattr(problem, "strerror", None) or problem
    return StoreError(f"Cannot write {shortened(path)}: {reason}. Nothing was changed.")


def _to_fill(path: Path) -> Path:
    """Return the folder at the end of links; raise StoreError unless it is missing or empty."""
    try:
        target = Path(os.path.realpath(path))
        empty = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    except (OSError, ValueError) as problem:
        raise _not_written(path, problem) from None
    if not empty:
        raise StoreError(f"{path} exists and is not empty; name a new folder.")
    return target


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _partial(target: Path, process: int) -> str:
    """How the name begins of a file that a process writes beside `target`."""
    return f".{target.name}-{process}-"
