"""Smoothing and cosines, along the bins of a trial."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from napari_mtm.scoring.baselines.baseline import Floats

_Float = TypeVar("_Float", np.float32, np.float64)


def gaussian(n_bins: int, sd: float) -> Floats:
    """Return what smooths in time, (bins, bins); at the ends the average is of what is there."""
    bins = np.arange(n_bins)
    kernel = np.exp(-0.5 * ((bins[:, None] - bins) / sd) ** 2)
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True))


def cosines(n_bins: int) -> Floats:
    """Return cosines, orthonormal, from the constant to the fastest, (bins, cosines)."""
    bins = np.arange(n_bins)
    waves = np.cos(np.pi * (bins[:, None] + 0.5) * bins / n_bins) * np.sqrt(2 / n_bins)
    waves[:, 0] /= np.sqrt(2)
    return np.asarray(waves)


def filtered(values: npt.NDArray[_Float], kernel: Floats) -> npt.NDArray[_Float]:
    """Multiply (some, bins, units) in time with a kernel, (bins out, bins)."""
    some, n_bins, n_units = values.shape
    # One product, for a product per trial is slow where threads must wait for a core.
    columns = values.transpose(1, 0, 2).reshape(n_bins, -1)
    product = kernel.astype(values.dtype) @ columns
    return np.reshape(product, (len(kernel), some, n_units)).transpose(1, 0, 2)
