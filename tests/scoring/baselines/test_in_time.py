"""Smoothing keeps what it should, and cosines are orthonormal."""

import numpy as np

from napari_mtm.scoring.baselines.in_time import cosines, filtered, gaussian


def test_smoothing_is_a_weighed_mean_of_what_is_there():
    kernel = gaussian(9, 2.0)
    for t in range(9):
        weights = np.array([np.exp(-((t - s) ** 2) / 8) for s in range(9)])
        np.testing.assert_allclose(kernel[t], weights / weights.sum())


def test_cosines_are_orthonormal_from_slow_to_fast():
    waves = cosines(12)
    np.testing.assert_allclose(waves.T @ waves, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(waves[:, 0], np.sqrt(1 / 12))
    crossings = (np.diff(np.sign(waves), axis=0) != 0).sum(axis=0)
    assert crossings.tolist() == list(range(12))


def test_a_filter_acts_on_bins():
    rng = np.random.default_rng(0)
    values, kernel = rng.normal(size=(3, 5, 4)).astype(np.float32), rng.normal(size=(6, 5))
    found = filtered(values, kernel)
    assert found.dtype == np.float32
    for trial in range(3):
        np.testing.assert_allclose(found[trial], kernel @ values[trial], rtol=1e-5, atol=1e-6)
