"""Files of further behaviour as IBL publishes them, beside those that `write_alf` writes."""

from pathlib import Path

import numpy as np
import pandas as pd

FRAMES = np.arange(0, 60, 1 / 60)
"""Times of the left camera, as `write_alf` writes them."""
RIGHT_FRAMES = np.arange(0, 60, 1 / 150)
LICKS = np.sort(np.random.default_rng(8).uniform(1, 58, 200))
PUPIL = 30 + 5 * np.sin(FRAMES)
UNSURE = (FRAMES > 10) & (FRAMES < 11)
"""When the left paw is not seen well."""


def write_extra(folder: Path, *, right: bool = True, features: bool = True) -> None:
    """Write licks, pupil and paws of a session; without `right` by the left camera alone.

    In the left camera `paw_r`, the animal's left paw, runs to and fro along a line, at
    50 |cos t| pixels/s; `paw_l` goes on at 20. In the right one `paw_r`, the right paw, goes at 70.
    Without `features` the pupil is what four points around it say.
    """
    alf = folder / "alf"
    np.save(alf / "licks.times.npy", LICKS)
    along = 10 * np.sin(FRAMES)
    pose = {
        **_point("paw_r", 3 * along, 4 * along, np.where(UNSURE, 0.85, 0.95)),
        **_point("paw_l", 20 * FRAMES, 0 * FRAMES, 1 + 0 * FRAMES),
    }
    pd.DataFrame(pose).to_parquet(alf / "_ibl_leftCamera.lightningPose.pqt")
    if features:
        noise = 0.1 * np.random.default_rng(9).normal(size=len(FRAMES))
        pupil = {"pupilDiameter_raw": PUPIL + noise, "pupilDiameter_smooth": PUPIL}
        pd.DataFrame(pupil).to_parquet(alf / "_ibl_leftCamera.features.pqt")
    else:
        pd.DataFrame(_pupil_points()).to_parquet(alf / "_ibl_leftCamera.dlc.pqt")
    if right:
        # The first ten frames were timed but not kept.
        times = np.concatenate([np.arange(-10, 0) / 150, RIGHT_FRAMES])
        np.save(alf / "_ibl_rightCamera.times.npy", times)
        moving = _point("paw_r", 70 * RIGHT_FRAMES, 0 * RIGHT_FRAMES, 1 + 0 * RIGHT_FRAMES)
        pd.DataFrame(moving).to_parquet(alf / "_ibl_rightCamera.dlc.pqt")


def _point(name: str, x: np.ndarray, y: np.ndarray, likelihood: np.ndarray) -> dict:
    return {f"{name}_x": x, f"{name}_y": y, f"{name}_likelihood": likelihood}


def _pupil_points() -> dict:
    sure, found = 1 + 0 * FRAMES, {}
    for name, x, y in (("top", 0, -1), ("bottom", 0, 1), ("left", -1, 0), ("right", 1, 0)):
        at = 500 + x * PUPIL / 2, 400 + y * PUPIL / 2
        found.update(_point(f"pupil_{name}_r", *at, sure))
    return found
