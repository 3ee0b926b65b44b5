"""Averages around the event by what the trials were: choice, block, reward."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.recording.trials import block_favours_right, chose_right, column

SMOOTHED_BINS = 3
"""How many bins `averages` smooths over."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """Trials of one condition, as ascending positions in the table they came from."""

    name: str
    trials: npt.NDArray[np.intp]


def groupings(trials: pd.DataFrame) -> Mapping[str, tuple[Group, ...]]:
    """Group trials by "choice", by "block" and by "reward".

    Conditions without a trial are left out, and so are groupings that the table does not
    know. A trial whose value is missing is in no group.
    """
    right, reward = chose_right(trials), column(trials, "feedbackType")
    block = block_favours_right(trials)
    found = {
        "choice": _groups({"left": right == 0, "right": right == 1}),
        "block": _groups(
            {
                "left": block == 0,
                "50:50": column(trials, "probabilityLeft") == 0.5,
                "right": block == 1,
            }
        ),
        "reward": _groups({"reward": reward == 1, "error": reward == -1}),
    }
    return {name: groups for name, groups in found.items() if groups}


def by_group(groups: Sequence[Group], n_trials: int) -> npt.NDArray[np.intp]:
    """Order trials by group, then as they came; those that are in no group come last."""
    inside = [group.trials for group in groups]
    rest = np.setdiff1d(np.arange(n_trials), np.concatenate([[], *inside]))
    return np.concatenate([*inside, rest]).astype(np.intp)


def averages(values: npt.ArrayLike, groups: Sequence[Group]) -> Floats:
    """Average `values` (trials, bins) over each group and smooth: (groups, bins)."""
    each = np.asarray(values, dtype=np.float64)
    means = [each[group.trials].mean(axis=0) for group in groups]
    return smooth(np.array(means).reshape(len(groups), each.shape[1]))


def smooth(rows: npt.ArrayLike, width: int = SMOOTHED_BINS) -> Floats:
    """Average each entry with its neighbours of the row, `width` bins in all.

    `width` is odd. At either end there are fewer neighbours.
    """
    values = np.atleast_2d(np.asarray(rows, dtype=np.float64))
    half = width // 2
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    place = np.arange(values.shape[1])
    first = np.maximum(place - half, 0)
    after = np.minimum(place + half + 1, len(place))
    return np.asarray((sums[:, after] - sums[:, first]) / (after - first))


def _groups(members: Mapping[str, npt.NDArray[np.bool_]]) -> tuple[Group, ...]:
    return tuple(
        Group(name, np.flatnonzero(is_in)) for name, is_in in members.items() if is_in.any()
    )
