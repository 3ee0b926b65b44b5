"""Trials: which are kept, and what each was, in IBL's column names."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import SourceError

MIN_REACTION_TIME = 0.08
MAX_REACTION_TIME = 2.0
MAX_FEEDBACK_DELAY = 10.0

_NEEDED = (
    "stimOn_times",
    "choice",
    "feedback_times",
    "probabilityLeft",
    "firstMovement_times",
    "feedbackType",
)


@dataclass(frozen=True)
class Selection:
    """`keep` marks the trials to use; `excluded` counts the others, each under one reason."""

    keep: npt.NDArray[np.bool_]
    excluded: dict[str, int]


def select_trials(
    trials: pd.DataFrame, align: str, window: tuple[float, float], recorded: tuple[float, float]
) -> Selection:
    """Choose trials as the field does for the IBL task.

    Excluded are trials without a time to align to, with a missing value, without
    a choice, with a reaction time under 0.08 s or over 2 s, with feedback more
    than 10 s after the go cue, or whose window reaches beyond what was recorded.
    A trial counts under the first reason that it meets; criteria that need a
    column the table lacks are left out.
    """
    keep = np.ones(len(trials), dtype=bool)
    excluded: dict[str, int] = {}

    def drop(bad: npt.ArrayLike, reason: str) -> None:
        hit = keep & np.asarray(bad, dtype=bool)
        if hit.any():
            excluded[reason] = int(hit.sum())
            keep[hit] = False

    time = column(trials, align)
    drop(~np.isfinite(time), f"no {align}")
    for name in _NEEDED:
        if name in trials and name != align:
            drop(np.isnan(column(trials, name)), f"no {name}")
    drop(column(trials, "choice") == 0, "no choice made")
    reaction = reaction_times(trials)
    drop(reaction < MIN_REACTION_TIME, f"reaction time under {MIN_REACTION_TIME} s")
    drop(reaction > MAX_REACTION_TIME, f"reaction time over {MAX_REACTION_TIME:g} s")
    delay = _between(trials, "goCue_times", "feedback_times")
    drop(delay > MAX_FEEDBACK_DELAY, f"feedback over {MAX_FEEDBACK_DELAY:g} s after the go cue")
    outside = (time + window[0] < recorded[0]) | (time + window[1] > recorded[1])
    drop(outside, "window outside the recording")
    return Selection(keep, excluded)


def column(table: pd.DataFrame, name: str, called: str = "trials") -> npt.NDArray[np.float64]:
    """Return a column of a table as floats; all NaN where the table lacks it."""
    if name not in table:
        return np.full(len(table), np.nan)
    strange = f"{called}.{name} holds something else than numbers."
    try:
        values = np.asarray(table[name], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(strange) from None
    given = np.asarray(table[name])
    # Dates and text that can be made numbers are dates and text again once they were stored.
    plain = given.dtype.kind in "biuf" or (
        given.dtype.kind == "O" and all(v is None or isinstance(v, Real) for v in given.flat)
    )
    if values.ndim != 1 or not plain:
        raise SourceError(strange)
    return values


def reaction_times(trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    """First movement after stimulus onset, in seconds; NaN where not known."""
    return _between(trials, "stimOn_times", "firstMovement_times")


def _between(trials: pd.DataFrame, start: str, stop: str) -> npt.NDArray[np.float64]:
    """Seconds from one event to another; NaN where not known."""
    with np.errstate(over="ignore", invalid="ignore"):  # times may be anything
        return column(trials, stop) - column(trials, start)


def signed_contrast(trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Contrast from -1 (left) to 1 (right), NaN where there was no stimulus.

    A stimulus of zero contrast still has a side: it is -0.0 on the left, which
    `numpy.signbit` tells apart.
    """
    left, right = column(trials, "contrastLeft"), column(trials, "contrastRight")
    return np.where(np.isnan(right), -left, right)


def chose_right(trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    """1 where the animal chose right, 0 where left, NaN otherwise.

    IBL writes -1 for the wheel turn that answers a stimulus on the right.
    """
    choice = column(trials, "choice")
    return np.where(np.isin(choice, (-1, 1)), (choice == -1).astype(float), np.nan)


def block_favours_right(trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return 1 where the block makes right likelier, 0 left, NaN where neither."""
    left = column(trials, "probabilityLeft")
    return np.where(np.isnan(left) | (left == 0.5), np.nan, (left < 0.5).astype(float))
