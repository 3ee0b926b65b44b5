"""Fano factors and ceilings: by hand, over all ways of halving, and of spikes that are known."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.recording.session import ANY_TIME
from napari_mtm.scoring.reliability import (
    ceilings,
    fano_factors,
    reliability,
    reliability_lines,
    with_reliability,
)
from tests.conftest import trials


def known(rates: np.ndarray, n_trials: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Poisson counts of rates (conditions, bins, units), and the condition of each trial."""
    labels = np.arange(n_trials) % len(rates)
    return np.random.default_rng(seed).poisson(rates[labels]).astype(np.uint8), labels


# Fano factors


def test_variance_over_mean_of_windows_by_hand():
    counts = np.array([[1, 0, 2, 2, 9], [0, 1, 0, 0, 9], [3, 0, 1, 1, 9]], np.uint8)[..., None]
    # Windows of two bins hold 1, 1, 3 and 4, 0, 2; their variances are 4/3 and 4, means 5/3 and 2.
    assert fano_factors(counts, 2) == pytest.approx([(4 / 3 + 4) / (5 / 3 + 2)])
    # Longer than the trial: 14, 10 and 14, whose variance is 16/3 and mean 38/3.
    assert fano_factors(counts, 50) == pytest.approx([(16 / 3) / (38 / 3)])


def test_poisson_regular_and_drifting_units_are_told_apart():
    rng = np.random.default_rng(0)
    course = 0.1 + 0.6 * np.sin(np.linspace(0, 3, 50))[:, None]
    drift = np.where(np.arange(400) < 200, 0.2, 1.8)[:, None, None]
    poisson = rng.poisson(np.broadcast_to(course, (400, 50, 1)))
    regular = rng.binomial(1, np.broadcast_to(course, (400, 50, 1)))
    drifting = rng.poisson(course * drift)
    found = fano_factors(np.concatenate([poisson, regular, drifting], axis=2).astype(np.uint8), 5)
    # Of Bernoulli counts the variance is p(1 - p); the drift adds 0.64 times the squared mean.
    window = course.reshape(10, 5).sum(axis=1)
    assert found[0] == pytest.approx(1.0, abs=0.06)
    assert found[1] == pytest.approx((course * (1 - course)).sum() / course.sum(), abs=0.06)
    assert found[2] == pytest.approx(1 + 0.64 * (window**2).sum() / window.sum(), rel=0.1)


def test_silence_and_a_single_trial_have_no_fano_factor():
    counts = np.random.default_rng(0).poisson(1.0, (6, 10, 2)).astype(np.uint8)
    counts[..., 1] = 0
    assert np.isnan(fano_factors(counts, 5)).tolist() == [False, True]
    assert np.isnan(fano_factors(counts[:1], 5)).all()


# Ceilings


def by_halving(counts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Covariance of halves averaged over all ways of halving, over the variance of the whole."""
    inside = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    ways = [list(combinations(some, len(some) // 2)) for some in inside]

    def averages(chosen) -> np.ndarray:
        return np.concatenate([counts[list(some)].mean(axis=0) for some in chosen])

    covariances = []
    for firsts in product(*ways):
        others = [np.setdiff1d(some, half) for some, half in zip(inside, firsts, strict=True)]
        one, other = averages(firsts), averages(others)
        covariances.append(((one - one.mean(axis=0)) * (other - other.mean(axis=0))).mean(axis=0))
    whole = averages(inside)
    return np.clip(np.mean(covariances, axis=0) / whole.var(axis=0), 0, 1)


def test_a_ceiling_is_what_all_ways_of_halving_the_conditions_agree_on():
    rates = np.random.default_rng(1).gamma(2.0, 1.0, (3, 4, 5))
    counts, _ = known(rates[[0, 0, 0, 0, 1, 1, 1, 1, 2, 2]], 10)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    expected = by_halving(counts.astype(float), labels)
    assert ((expected > 0.1) & (expected < 1)).sum() >= 3
    np.testing.assert_allclose(ceilings(counts, labels), expected, atol=1e-12)


def test_with_many_trials_it_is_the_corrected_correlation_of_halves():
    rates = np.random.default_rng(2).gamma(4.0, 0.05, (4, 60, 30))
    counts, labels = known(rates, 200)
    correlations = np.zeros(30)
    rng = np.random.default_rng(3)
    for _ in range(40):
        halves = [[], []]
        for c in range(4):
            some = rng.permutation(np.flatnonzero(labels == c))
            halves[0].append(counts[some[::2]].mean(axis=0))
            halves[1].append(counts[some[1::2]].mean(axis=0))
        one, other = (np.concatenate(half) for half in halves)
        correlations += [np.corrcoef(one[:, u], other[:, u])[0, 1] / 40 for u in range(30)]
    expected = 2 * correlations / (1 + correlations)
    found = ceilings(counts, labels)
    np.testing.assert_allclose(found, expected, atol=0.03)
    # What is known beforehand: the variance of rates over that and the noise of 50 trials.
    varies = rates.var(axis=(0, 1))
    truth = (varies / (varies + rates.mean(axis=(0, 1)) / 50)).mean()
    assert found.mean() == pytest.approx(truth, abs=0.03)
    assert 0.5 < truth < 0.8


def test_whoever_knows_the_true_averages_reaches_it_and_chance_does_not():
    rates = np.random.default_rng(4).gamma(4.0, 0.05, (4, 60, 40))
    counts, labels = known(rates, 120)
    averages = np.stack([counts[labels == c].mean(axis=0) for c in range(4)])
    residual = ((averages - rates) ** 2).sum(axis=(0, 1))
    r2 = 1 - residual / ((averages - averages.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1))
    assert ceilings(counts, labels).mean() == pytest.approx(r2.mean(), abs=0.02)
    flat, labels = known(np.full((4, 60, 40), 0.2), 120)
    assert np.quantile(ceilings(flat, labels), 0.95) < 0.2


def test_a_trial_alone_in_its_condition_is_left_out():
    counts, labels = known(np.random.default_rng(5).gamma(2.0, 0.5, (3, 10, 4)), 30)
    more = np.concatenate([counts, np.full((1, 10, 4), 9, np.uint8)])
    np.testing.assert_array_equal(ceilings(more, np.append(labels, 3)), ceilings(counts, labels))
    assert np.isnan(ceilings(counts[:3], labels[:3])).all()


def test_units_that_never_vary_have_no_ceiling():
    counts, labels = known(np.random.default_rng(6).gamma(2.0, 0.5, (3, 10, 3)), 30)
    counts[..., 0], counts[..., 1] = 0, 3
    assert np.isnan(ceilings(counts, labels)).tolist() == [True, True, False]


# Of sessions


@pytest.fixture
def session() -> Session:
    counts = np.random.default_rng(7).poisson(0.5, (70, 23, 6))
    counts[::2, :8, 2] += 2
    return Session.from_counts(counts, ["CA1"] * 6, trials=trials(70), id="known")


def test_a_session_is_counted_over_100_ms_and_by_block_choice_and_reward(session):
    fano, ceiling = reliability(session)
    assert session.bin_size == 0.02
    np.testing.assert_array_equal(fano, fano_factors(session.counts, 5))
    table = session.trials
    names = [n for n in ("probabilityLeft", "choice", "feedbackType") if n in table]
    labels = table.groupby(names).ngroup().to_numpy()
    assert len(np.unique(labels)) > 2
    np.testing.assert_allclose(ceiling, ceilings(session.counts, labels))


def test_some_units_are_as_all(session):
    whole = reliability(session)
    for found, every in zip(reliability(session, [4, 2]), whole, strict=True):
        np.testing.assert_allclose(found, every[[4, 2]])
    units = with_reliability(session)
    assert units["uuid"].tolist() == session.units["uuid"].tolist()
    np.testing.assert_array_equal(units["fano"], whole[0])
    np.testing.assert_array_equal(units["ceiling"], whole[1])


def test_units_that_can_hardly_be_predicted_are_counted():
    units = pd.DataFrame({"fano": [0.7, 0.99, 1.0, np.nan], "ceiling": [0.5, 0.1, 0.09, np.nan]})
    assert reliability_lines(units) == [
        "2 units vary less than Poisson spikes (Fano factor below 1)",
        "1 units repeat little by condition (ceiling below 0.1)",
    ]
    assert reliability_lines(units.iloc[3:]) == []


def test_windows_at_any_time_repeat_nothing(session):
    fano, ceiling = reliability(replace(session, align=ANY_TIME))
    assert np.isfinite(fano).all()
    assert np.isnan(ceiling).all()


def test_a_session_is_taken_in_pieces(session, monkeypatch):
    whole = reliability(session)
    monkeypatch.setattr("napari_mtm.scoring.reliability._CHUNK", 7)
    for found, every in zip(reliability(session), whole, strict=True):
        np.testing.assert_allclose(found, every, rtol=1e-12)
