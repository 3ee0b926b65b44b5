"""Slow levels of units as the baselines use them: 1 where they are switched off."""

import numpy as np

from napari_mtm.recording.session import Session, Split
from napari_mtm.recording.slow import SlowLevels
from napari_mtm.scoring.baselines.baseline import Rates, Trials


def levels_of(session: Session, split: Split, slow_levels: bool) -> SlowLevels | None:
    """Return the slow levels of the training trials, or None."""
    return SlowLevels.of(session, split.train) if slow_levels else None


def rate_levels(levels: SlowLevels | None, trials: Trials) -> Rates:
    """Levels of rates, (trials, 1, units); (1, 1, 1) without any."""
    return _of(levels, trials, 0)


def root_levels(levels: SlowLevels | None, trials: Trials) -> Rates:
    """Levels of square roots of counts, (trials, 1, units); (1, 1, 1) without any."""
    return _of(levels, trials, 1)


def _of(levels: SlowLevels | None, trials: Trials, which: int) -> Rates:
    if levels is None:
        return np.ones((1, 1, 1), dtype=np.float32)
    return levels.at(trials)[which].astype(np.float32)[:, None]
