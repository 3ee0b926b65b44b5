"""What came of opening a damaged file, and whether that is as it must be."""

import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from napari_mtm.errors import MtmError
from tests.faults.mutating.targets import Inconsistent, Look

Outcome = Literal["refused", "equal", "consistent", "failure"]

_PACKAGE = f"{Path(sys.modules['napari_mtm'].__file__ or '').parent}/"
_MOST_LINES, _MOST_SENTENCES, _MOST_CHARACTERS = 3, 3, 600
_SENTENCE_ENDS = re.compile(r"[.!?](?=\s|$)")


class TooLong(BaseException):
    """Opening took longer than it may; no handler of errors catches it."""


@dataclass(frozen=True)
class Failure:
    """What is not as it must be: what kind of thing, where in the package, and all of it."""

    kind: str
    place: str
    message: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException, kind: str = "") -> "Failure":
        lines = str(error).strip().splitlines() or [""]
        return cls(
            kind or type(error).__name__,
            _place(error),
            "".join(c if c.isprintable() else repr(c)[1:-1] for c in lines[0][:160]),
            "".join(traceback.format_exception(error, limit=-40))[-12_000:],
        )


@dataclass(frozen=True)
class Verdict:
    """What came of one look."""

    look: str
    outcome: Outcome
    failure: Failure | None = None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooLong in the block after some seconds, as soon as Python is asked."""

    def stop(*_: object) -> None:
        raise TooLong(f"after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(
    name: str, look: Look, folder: Path, expected: Any, *, sealed: bool, seconds: float
) -> Verdict:
    """Look at what is in a folder, and say what came of it."""
    unheard: list[BaseException] = []
    try:
        with _listening(unheard), at_most(seconds):
            found = look(folder)
    except MtmError as error:
        wrong = wrong_with(str(error).replace(str(folder), ""))
        failure = Failure.of(error, f"refused in bad words: {wrong}") if wrong else None
        return Verdict(name, "failure" if wrong else "refused", failure)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is what we look for
        return Verdict(name, "failure", Failure.of(error))
    if unheard:
        return Verdict(name, "failure", Failure.of(unheard[0]))
    if found == expected:
        return Verdict(name, "equal")
    if sealed:
        failure = Failure("opened with other data", "", f"in spite of checksums, by look {name!r}")
        return Verdict(name, "failure", failure)
    return Verdict(name, "consistent")


def of_all(verdicts: list[Verdict]) -> Outcome:
    """Return what came of a mutant: the first of a failure, a refusal, other data, the same."""
    order: tuple[Outcome, ...] = ("failure", "refused", "consistent", "equal")
    return min((verdict.outcome for verdict in verdicts), key=order.index)


def wrong_with(text: str) -> str:
    """Say what keeps a text from being one to three sentences that a person can read."""
    found: Mapping[str, bool] = {
        "empty": not text.strip(),
        "a traceback": "Traceback" in text,
        "an address in memory": " at 0x" in text,
        "too many lines": len(text.strip().splitlines()) > _MOST_LINES,
        "too many sentences": len(_SENTENCE_ENDS.findall(text)) > _MOST_SENTENCES,
        "too long": len(text) > _MOST_CHARACTERS,
        "not printable": not text.replace("\n", "").isprintable(),
    }
    return next((what for what, holds in found.items() if holds), "")


@contextmanager
def _listening(unheard: list[BaseException]) -> Iterator[None]:
    """Make warnings errors, and hear what nobody can catch."""
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda args: unheard.append(args.exc_value or Inconsistent("unheard"))
    threading.excepthook = lambda args: unheard.append(args.exc_value or Inconsistent("unheard"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks


def _place(error: BaseException) -> str:
    """Return the innermost place in the package that an error came through."""
    cause: BaseException | None = error
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
        if ours:
            file = ours[-1].filename.removeprefix(_PACKAGE)
            return f"{file}:{ours[-1].lineno} {ours[-1].name}"
        cause = cause.__cause__ or cause.__context__
    return ""


def place_of_dead(trace: str) -> str:
    """Return the innermost place in the package in what a process wrote as it died."""
    found = re.search(rf'File "{re.escape(_PACKAGE)}([^"]+)", line (\d+) in (\w+)', trace)
    return f"{found[1]}:{found[2]} {found[3]}" if found else ""
