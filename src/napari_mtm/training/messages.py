"""What a training in a process of its own, and whoever started it, tell each other.

Each message is a line of JSON.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from napari_mtm.training.loop import Report
from napari_mtm.training.pace import Pace
from napari_mtm.training.run import Scope
from napari_mtm.training.settings import Settings

Work: TypeAlias = Literal["fine-tune", "compare", "measure"]


@dataclass(frozen=True)
class Assignment:
    """What another process is to do.

    Attributes
    ----------
    session
        A prepared store.
    weights
        What to begin with: a file, the name of shipped weights, or "new" for a new model.
        Unread where `out` holds a run: that one goes on.
    out
        Folder of the run. Nothing is written there to `measure`.
    work
        "fine-tune" trains, then compares before and after on the test trials; "compare" does
        only the latter, of a run that is there; "measure" tries how long it would take.
    scope, settings
        As for `finetune`.
    device
        Where to train; None for the GPU where there is one.
    threads
        Of the CPU, None for as many as torch takes.
    nice
        Whether others come first.

    """

    session: Path
    weights: str
    out: Path
    scope: Scope | Literal["auto"] = "auto"
    settings: Settings | None = None
    device: str | None = None
    threads: int | None = 1
    nice: bool = True
    work: Work = "fine-tune"


@dataclass(frozen=True)
class Preparing:
    """What comes before the first step: the share that is done, and what it is."""

    fraction: float
    message: str


@dataclass(frozen=True)
class Comparing:
    """The best weights are there; they are scored on the test trials."""

    fraction: float
    message: str


@dataclass(frozen=True)
class Measured:
    """How long a fine-tuning takes here, and on which device."""

    pace: Pace
    device: str


@dataclass(frozen=True)
class Paused:
    """Nothing is done until it is told to go on."""


@dataclass(frozen=True)
class Ended:
    """It ended, and how.

    "finished" and "stopped" leave the best weights with readouts, "cancelled" leaves nothing
    of a run that it began. After "failed" and "killed" the run can be resumed if there is one.
    """

    how: Literal["finished", "stopped", "cancelled", "failed", "killed"]
    message: str = ""


News: TypeAlias = Preparing | Report | Comparing | Measured | Paused | Ended
Order: TypeAlias = Literal["pause", "go on", "stop", "cancel", "leave"] | int
"""A number is that of threads to go on with."""

_NEWS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind)
    for kind in (Preparing, Report, Comparing, Measured, Paused, Ended)
}
_ASSIGNMENT = TypeAdapter(Assignment)


def line_of(said: News | Assignment | Order) -> bytes:
    """Write a message as a line."""
    if isinstance(said, str | int):
        return json.dumps(said).encode() + b"\n"
    if isinstance(said, Assignment):
        return _ASSIGNMENT.dump_json(said) + b"\n"
    return json.dumps({type(said).__name__: asdict(said)}).encode() + b"\n"


def news_of(line: bytes) -> News:
    """Read news that `line_of` wrote."""
    ((name, value),) = json.loads(line).items()
    found: News = _NEWS[name].validate_python(value)
    return found


def assignment_of(line: bytes) -> Assignment:
    """Read an assignment that `line_of` wrote."""
    return _ASSIGNMENT.validate_json(line)
