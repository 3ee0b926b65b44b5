"""What a careful colleague would say of a recording before it is trusted."""

import numpy as np
import pandas as pd

from napari_mtm.recording.traces import Trace
from napari_mtm.recording.trials import column

_FEWEST_TURNS = 20
_LEAST_TURN = 0.1
"""Radians; the stimulus reaches the centre at about 0.3."""
_CONTRARY = 0.7


def wheel_sign(position: Trace | None, trials: pd.DataFrame | None) -> str | None:
    """Say that the wheel has the wrong sign, where it turns against most choices; else None.

    IBL's choice of -1 is a counter-clockwise turn, which is positive. In releases before 2025
    the wheel of 62 sessions was the other way round.
    """
    if position is None or trials is None or len(position.times) < 2:
        return None
    start, stop = column(trials, "stimOn_times"), column(trials, "feedback_times")
    choice = column(trials, "choice")
    first, last = position.times[0], position.times[-1]
    known = np.isin(choice, (-1, 1)) & (start >= first) & (stop > start) & (stop <= last)
    moved = np.interp(stop[known], position.times, position.values) - np.interp(
        start[known], position.times, position.values
    )
    turned = np.abs(moved) >= _LEAST_TURN
    if turned.sum() < _FEWEST_TURNS:
        return None
    contrary = float(np.mean(np.sign(moved[turned]) == choice[known][turned]))
    if contrary < _CONTRARY:
        return None
    return (
        f"The wheel turns against the choice in {contrary:.0%} of trials: its sign is probably "
        "wrong, as it was for some rigs in IBL's releases before 2025. Wheel speed is not "
        "concerned, wheel velocity is; download the session again for the corrected wheel."
    )
