"""Forecasts from the own past."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm.scoring.baselines import RidgeAr, Shrinkage, forward_bins
from napari_mtm.scoring.baselines.own_past import cuts
from tests.scoring.baselines.worlds import levels, planted, pooled, scored, swapped

WINDOWS = (3, 10, 30, 10_000)


@pytest.fixture(scope="module")
def fitted(session) -> RidgeAr:
    return RidgeAr.fit(session, session.split())


def past_of(deviations: np.ndarray, cut: int) -> np.ndarray:
    """Means over windows before a cut, (windows, trials, units), by slicing."""
    return np.stack([deviations[:, max(cut - w, 0) : cut].mean(axis=1) for w in WINDOWS])


def parts(session, fitted, rows):
    """Deviations and changes of some trials, worked out anew."""
    usual = fitted.usual
    rate, root = (level[:, None] for level in levels(session, rows))
    counts = session.counts[rows].astype(float)
    spread = np.sqrt(usual.average / usual.mean)
    return np.sqrt(counts) - usual.roots * root, (counts - usual.average * rate) / spread


def test_weights_are_those_of_a_ridge_regression_of_each_unit(session, fitted):
    """By rows, one unit after another, with one of the penalties that are tried."""
    ahead = forward_bins(session)
    deviations, changes = parts(session, fitted, session.split().train)
    for unit in range(16):
        past = np.concatenate([past_of(deviations, cut)[..., unit].T for cut in cuts(session)])
        future = np.concatenate(
            [changes[:, cut : cut + ahead, unit].mean(axis=1) for cut in cuts(session)]
        )
        gram = past.T @ past
        distances = []
        for level in range(-4, 5):
            penalty = 10 ** (level / 2) * np.trace(gram) / 4 * np.eye(4)
            weights = np.linalg.solve(gram + penalty, past.T @ future)
            distances.append(np.abs(weights - fitted.past.weights[:, unit]).max())
        assert min(distances) < 2e-3 * np.abs(fitted.past.weights[:, unit]).max()
        assert sorted(distances)[1] > 10 * min(distances)


def test_a_forecast_is_usual_rates_and_the_weighed_past(session, fitted):
    rows, cut = session.split().test, 40 - forward_bins(session)
    deviations, _ = parts(session, fitted, rows)
    change = (past_of(deviations, cut) * fitted.past.weights[:, None]).sum(axis=0)
    usual = fitted.usual
    level = levels(session, rows)[0][:, None]
    spread = np.sqrt(usual.average[cut:] / usual.mean)
    expected = usual.average[cut:] * level + change[:, None] * spread
    expected = np.maximum(expected, fitted.floor * usual.mean)
    found = fitted.rates("forward", rows)
    np.testing.assert_allclose(found[:, cut:], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found[:, :cut], usual.rates(rows)[:, :cut])


def test_forecasts_beat_levels_and_usual_rates(session, fitted):
    rows = session.split().test
    shrinkage = Shrinkage.fit(session, session.split())
    found, level, usual = (
        pooled(session, rates, "forward", rows)
        for rates in (
            fitted.rates("forward", rows),
            shrinkage.rates("forward", rows),
            fitted.usual.rates(rows),
        )
    )
    assert found > level + 0.01 > usual + 0.02


def test_each_unit_is_forecast_from_where_it_is_hidden(session, fitted):
    rows, ahead = session.split().test, forward_bins(session)
    usual = fitted.usual.rates(rows)
    hidden = np.zeros(session.counts.shape[1:], dtype=bool)
    hidden[20:26, 2] = True  # a gap
    hidden[12:, 5] = True  # longer than forecasts go
    hidden[2:9, 6] = True  # too early
    found = fitted.predict(hidden, rows)
    moved = (found != usual).any(axis=0)
    expected = np.zeros_like(hidden)
    expected[20:26, 2] = True
    expected[12 : 12 + ahead, 5] = True
    np.testing.assert_array_equal(moved, expected)
    alone = np.zeros_like(hidden)
    alone[20:, 2] = True
    np.testing.assert_array_equal(fitted.predict(alone, rows)[:, 20:26, 2], found[:, 20:26, 2])


def test_the_past_of_others_and_the_future_change_nothing(session, fitted):
    rows = session.split().test
    mask = scored(session, "forward")
    mask[:, 1:] = True
    before = fitted.rates("forward", rows)
    after = replace(fitted, session=swapped(session, mask)).rates("forward", rows)
    np.testing.assert_array_equal(after[..., 0], before[..., 0])
    assert (after[:, -1, 1:] != before[:, -1, 1:]).any()


def test_forecasts_are_learned_from_many_places_but_not_from_too_many():
    assert cuts(planted(n_bins=40)) == [5, 10, 15, 20, 25, 30]
    assert cuts(planted(n_bins=20)) == [5, 10]
    assert cuts(planted(n_bins=8)) == [4]  # half of what is no longer than a forecast
    long = cuts(planted(n_trials=2, n_bins=500, regions=["CA1"]))
    assert long[-1] == 490
    assert 15 <= len(long) <= 21
