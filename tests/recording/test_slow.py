"""Slow levels follow a drift, and never know the trial that is asked about."""

import numpy as np

from napari_mtm.recording.session import Session
from napari_mtm.recording.slow import PRIOR, SD, SlowLevels


def _session(counts: np.ndarray) -> Session:
    return Session.from_counts(counts, ["CA1"] * counts.shape[2], id="slow")


def test_a_level_is_the_weighed_mean_of_the_training_trials_around_over_the_mean_of_all() -> None:
    counts = np.random.default_rng(0).poisson(2.0, (30, 10, 3)).astype(np.uint8)
    train = np.array([0, 3, 4, 9, 20, 28])
    rates, roots = SlowLevels.of(_session(counts), train).at([4, 5])
    for row, trial in enumerate([4, 5]):
        for found, values in ((rates, counts.astype(float)), (roots, np.sqrt(counts))):
            means = values[train].mean(axis=1)
            total, weight = PRIOR * means.mean(axis=0), PRIOR
            for place, other in enumerate(train):
                if other != trial:
                    w = np.exp(-((other - trial) ** 2) / (2 * SD**2))
                    total, weight = total + w * means[place], weight + w
            np.testing.assert_allclose(found[row], total / weight / means.mean(axis=0), rtol=1e-3)


def test_the_trial_that_is_asked_about_is_not_looked_at() -> None:
    counts = np.random.default_rng(1).poisson(1.0, (20, 5, 2)).astype(np.uint8)
    other = counts.copy()
    other[7] = 9
    train = np.delete(np.arange(20), 7)
    one, two = (SlowLevels.of(_session(c), train).at([7]) for c in (counts, other))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_silent_unit_stays_at_its_level() -> None:
    counts = np.zeros((10, 5, 1), np.uint8)
    rates, roots = SlowLevels.of(_session(counts)).at(np.arange(10))
    assert np.all(rates == 1)
    assert np.all(roots == 1)


def test_a_unit_that_falls_silent_halfway_is_followed() -> None:
    counts = np.ones((200, 5, 1), np.uint8)
    counts[100:] = 0
    rates, _ = SlowLevels.of(_session(counts)).at([20, 180])
    assert rates[0, 0] > 1.7
    assert rates[1, 0] < 0.3
