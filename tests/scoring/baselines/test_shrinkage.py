"""The level of what is visible, drawn to the usual one."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm.scoring.baselines import Shrinkage, forward_bins
from tests.scoring.baselines.worlds import planted, pooled, scored, swapped


@pytest.fixture(scope="module")
def fitted(session) -> Shrinkage:
    return Shrinkage.fit(session, session.split())


def test_a_level_lies_between_the_windows_and_the_usual_one(session, fitted):
    rows, cut = session.split().test, 40 - forward_bins(session)
    usual, rates = fitted.usual.rates(rows), fitted.rates("forward", rows)
    for i, row in enumerate(rows):
        for unit in range(16):
            spikes = session.counts[row, :cut, unit].sum()
            expected = usual[i, :cut, unit].sum()
            prior = fitted.prior[unit]
            level = (prior + spikes) / (prior + expected)
            np.testing.assert_allclose(
                rates[i, cut:, unit], usual[i, cut:, unit] * level, rtol=1e-4
            )
    np.testing.assert_array_equal(rates[:, :cut], usual[:, :cut])


def test_levels_that_last_are_followed_and_chance_is_not():
    lasting = planted(n_trials=300, n_bins=20)
    rng = np.random.default_rng(3)
    chance = replace(lasting, counts=rng.poisson(0.5, lasting.counts.shape).astype(np.uint8))
    priors = [
        np.median(Shrinkage.fit(s, s.split(), slow_levels=False).prior) for s in (lasting, chance)
    ]
    assert priors[0] < 30
    assert priors[1] > 100


def test_forecasts_beat_usual_rates(session, fitted):
    rows = session.split().test
    found, usual = (
        pooled(session, rates, "forward", rows)
        for rates in (fitted.rates("forward", rows), fitted.usual.rates(rows))
    )
    assert found > usual + 0.02


def test_a_unit_that_is_hidden_altogether_has_usual_rates(session, fitted):
    rows = session.split().test
    hidden = np.zeros(session.counts.shape[1:], dtype=bool)
    hidden[:, 3] = True
    np.testing.assert_allclose(fitted.predict(hidden, rows), fitted.usual.rates(rows), rtol=1e-5)


def test_the_future_is_not_looked_at(session, fitted):
    rows, mask = session.split().test, scored(session, "forward")
    before = fitted.rates("forward", rows)
    after = replace(fitted, session=swapped(session, mask)).rates("forward", rows)
    np.testing.assert_array_equal(after, before)
