"""The raster as napari sees it: an image of (trial, row, time) that is cut on demand."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.session import Session

AXES = ("trial", "unit", "time")
_BRIGHTEST = 0.98
GAMMA = 0.6
"""Predicted rates are low beside counts, which are mostly 0: the dark end is drawn wider."""
_SAMPLED_TRIALS = 20


class RasterData:
    """Counts of a session as an array (trials, rows, bins) of chosen units in a chosen order.

    Only what is looked at is read and put in order, so that a memory-mapped
    session of any size can be stepped through.
    """

    ndim = 3

    def __init__(self, counts: npt.NDArray[np.uint8], rows: npt.NDArray[np.intp]) -> None:
        self._counts = counts
        self.rows = rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Trials, rows, bins."""
        trials, bins, _ = self._counts.shape
        return trials, len(self.rows), bins

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Type of the counts."""
        return self._counts.dtype

    @property
    def size(self) -> int:
        """Number of counts."""
        trials, rows, bins = self.shape
        return trials * rows * bins

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        """Cut with up to three integers or slices."""
        trials, rows, bins = (*_as_tuple(key), *[slice(None)] * 3)[:3]
        cut = self._counts[trials][..., self.rows[rows]]
        cut = cut if cut.ndim < 2 or isinstance(rows, int | np.integer) else cut.swapaxes(-1, -2)
        return cut[..., bins]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Put everything in order at once; for saving, not for showing."""
        return np.asarray(self[:, :, :], dtype=dtype)


@dataclass(frozen=True)
class RasterStyle:
    """How a raster layer looks; `scale` maps trial, row and bin to the world.

    The time axis is in seconds from the event. Rows have no unit, so their height
    is free: it is what makes the raster fill the canvas.
    """

    name: str
    colormap: str
    contrast_limits: tuple[float, float]
    scale: tuple[float, float, float]
    translate: tuple[float, float, float]
    metadata: dict[str, Any] = field(default_factory=dict)

    def as_layer(self) -> dict[str, Any]:
        """Keywords for a napari image layer."""
        return {
            "name": self.name,
            "colormap": self.colormap,
            "contrast_limits": self.contrast_limits,
            "scale": self.scale,
            "translate": self.translate,
            "metadata": self.metadata,
            "axis_labels": AXES,
            "units": ("pixel", "pixel", "s"),
            "rgb": False,
            "interpolation2d": "nearest",
            "gamma": GAMMA,
        }


def raster_style(session: Session, n_rows: int, *, dark: bool, aspect: float) -> RasterStyle:
    """Style a raster of `n_rows` on a canvas `aspect` times as wide as it is high."""
    return RasterStyle(
        name=session.title,
        colormap="gray" if dark else "gray_r",
        contrast_limits=(0.0, brightest(session)),
        scale=(1.0, row_height(session, n_rows, aspect), session.bin_size),
        translate=(0.0, 0.0, session.window[0] + session.bin_size / 2),
        metadata={"napari_mtm": {"session": session.id}},
    )


def row_height(session: Session, n_rows: int, aspect: float) -> float:
    """Height of a row in the world, so that all rows fill the canvas at its whole width."""
    return (session.window[1] - session.window[0]) / (aspect * max(n_rows, 1))


def brightest(session: Session) -> float:
    """Count that is drawn brightest: few bins hold more, 2 at least."""
    trials = np.linspace(0, session.n_trials - 1, min(session.n_trials, _SAMPLED_TRIALS))
    sample = session.counts[trials.astype(int)]
    active = sample[sample > 0]
    return max(2.0, float(np.quantile(active, _BRIGHTEST))) if active.size else 2.0


def _as_tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)
