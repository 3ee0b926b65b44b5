"""What a decoded choice knows beyond the stimulus, which alone tells most choices."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.recording.trials import chose_right, column

Floats = npt.NDArray[np.float64]


def within_contrasts(trials: pd.DataFrame, right: npt.NDArray[np.floating]) -> float:
    """Return how often, of two trials with equal contrasts, the one chosen right is told from it.

    `right` are decoded probabilities of right, (trials,). Chance is 0.5; NaN where no contrast
    was answered both ways, or none are known.
    """
    chosen = chose_right(trials)
    given = [column(trials, f"contrast{side}") for side in ("Left", "Right")]
    known = np.isfinite(given).any(axis=0)
    chosen = np.where(known, chosen, np.nan)
    # A missing contrast beside one that is known is none; which side none is on does not show.
    sides = np.nan_to_num(given)
    pairs, told = 0, 0.0
    for contrasts in np.unique(sides, axis=1).T:
        same = (sides[0] == contrasts[0]) & (sides[1] == contrasts[1])
        yes, no = right[same & (chosen == 1)], right[same & (chosen == 0)]
        difference = yes[:, None] - no
        pairs += difference.size
        told += (difference > 0).sum() + 0.5 * (difference == 0).sum()
    return float(told / pairs) if pairs else float("nan")


def on_errors(trials: pd.DataFrame, right: npt.NDArray[np.floating]) -> float:
    """Return the accuracy in trials in which the choice was wrong; NaN where there is none.

    There, whoever only knows the stimulus is never right.
    """
    chosen = chose_right(trials)
    wrong = (column(trials, "feedbackType") == -1) & np.isfinite(chosen)
    if not wrong.any():
        return float("nan")
    return float(((right[wrong] > 0.5) == (chosen[wrong] == 1)).mean())
