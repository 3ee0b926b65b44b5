"""The sessions that are open in one viewer, and what a person did in each: plain data.

One of them is shown at most; the others wait as they were left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.painting import History
from napari_mtm.masking.tasks import Task
from napari_mtm.recording.session import Session
from napari_mtm.ui.preferences import Preferences

if TYPE_CHECKING:
    from napari_mtm.ui.finetune.before_after import Which
    from napari_mtm.ui.finetune.course import Course, Phase
    from napari_mtm.ui.live import Weights


@dataclass(frozen=True, eq=False)
class Look:
    """How a raster was shown.

    Attributes
    ----------
    order, positions
        The order of the rows, and the orders of units that were worked out, by name.
    shown, rows
        Regions that were shown, and the units of the rows, from top to bottom.
    trial, selection, time
        The trial, the units that were selected, the time cursor in seconds from the event.
    limits
        Counts per bin that were drawn darkest and brightest.

    """

    order: str
    positions: Mapping[str, npt.NDArray[np.intp]]
    shown: frozenset[str]
    rows: npt.NDArray[np.intp]
    trial: int
    selection: tuple[int, ...]
    time: float
    limits: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Painted:
    """What was hidden and how it was edited; `visible` is whether the mask was drawn."""

    history: History
    prompt: Task | None
    everywhere: bool
    visible: bool


@dataclass(frozen=True, eq=False)
class Asked:
    """The model that was asked.

    Attributes
    ----------
    weights
        The model.
    chosen
        The model that a person chose, empty for none.
    preferred
        What was set when a model was loaded.

    """

    weights: "Weights"
    chosen: str
    preferred: Preferences


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came of a fine-tuning, with the weights before and after it."""

    course: "Course"
    phase: "Phase"
    weights: "Mapping[Which, Weights]"


@dataclass(eq=False)
class Opened:
    """A session that is open in a viewer.

    Attributes
    ----------
    session
        The session, as it was opened last.
    look, painted, asked
        How it was left; None until it was left once, `asked` also without a model.
    tuned
        What came of a fine-tuning on it, to be seen when it is shown.
    pins
        Uuids of units whose cards are pinned.

    """

    session: Session
    look: Look | None = None
    painted: Painted | None = None
    asked: Asked | None = None
    tuned: Tuned | None = None
    pins: tuple[str, ...] = ()


def same(one: Session, other: Session) -> bool:
    """Whether two sessions have one id and were prepared alike; their data are not compared."""
    return one is other or (
        (one.id, one.window, one.bin_size, one.align, one.counts.shape)
        == (other.id, other.window, other.bin_size, other.align, other.counts.shape)
        and one.units["uuid"].equals(other.units["uuid"])
    )


def find(opened: Sequence[Opened], session: Session) -> Opened | None:
    """Return what is open of a session."""
    return next((one for one in opened if same(one.session, session)), None)


def neighbour(opened: Sequence[Opened], one: Opened) -> Opened | None:
    """Return what is shown once one of them is closed: the next, or else the one before."""
    place = opened.index(one)
    others = (*opened[place + 1 :], *reversed(opened[:place]))
    return next(iter(others), None)
