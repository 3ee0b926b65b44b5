"""Mean and slow rates."""

import numpy as np

from napari_mtm.scoring.baselines import MeanRate, SlowRate
from tests.scoring.baselines.worlds import levels, pooled


def test_the_mean_rate_is_that_of_training_trials(session):
    split = session.split()
    rates = MeanRate.fit(session, split).rates("forward", split.test)
    assert rates.dtype == np.float32
    assert rates.shape == (len(split.test), 40, 16)
    expected = session.counts[split.train].mean(axis=(0, 1))
    np.testing.assert_allclose(rates, np.broadcast_to(expected, rates.shape), rtol=1e-6)


def test_the_slow_rate_follows_the_training_trials_around(session):
    split = session.split()
    rows = np.sort(np.concatenate([split.test[:3], split.train[:3]]))
    mean = session.counts[split.train].mean(axis=(0, 1))
    fitted = SlowRate.fit(session, split)
    for rates in (fitted.rates("co-smoothing", rows), fitted.predict(session.counts[0] > 0, rows)):
        np.testing.assert_allclose(
            rates, np.repeat((levels(session, rows)[0] * mean)[:, None], 40, axis=1), rtol=1e-4
        )


def test_the_slow_rate_beats_the_mean_where_units_drift(session):
    split = session.split()
    mean, slow, off = (
        pooled(session, fitted.rates("co-smoothing", split.test), "co-smoothing", split.test)
        for fitted in (
            MeanRate.fit(session, split),
            SlowRate.fit(session, split),
            SlowRate.fit(session, split, slow_levels=False),
        )
    )
    assert slow > mean + 0.02
    assert off == mean
