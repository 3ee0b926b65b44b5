"""Reduced-rank regression: refitted by hand, it is the same; it finds what is planted."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm.scoring.baselines import SCORES, ConditionPsth, MeanRate, ReducedRank, RidgeAr
from tests.scoring.baselines.worlds import levels, planted, pooled, scored, swapped

SIMULTANEOUS = ("co-smoothing", "intra-region", "inter-region")


def smoothing(n_bins: int, sd: float = 1.0) -> np.ndarray:
    """A Gaussian in time that is reflected at the ends, (bins, bins)."""
    bins, kernel = np.arange(n_bins), np.zeros((n_bins, n_bins))
    for image in range(-5, 6):
        for place in (2 * image * n_bins + bins, 2 * image * n_bins - 1 - bins):
            kernel += np.exp(-0.5 * ((bins[:, None] - place) / sd) ** 2)
    return kernel / kernel.sum(axis=1, keepdims=True)


def rows_of(session, regression, trials):
    """Features of units and what is regressed, (trials, bins, ...), worked out anew."""
    usual = regression.usual
    rate, root = (level[:, None] for level in levels(session, trials))
    counts = session.counts[trials].astype(float)
    deviations = np.sqrt(counts) - usual.roots * root
    smooth = np.einsum("st,itn->isn", smoothing(session.n_bins), deviations)
    means = np.broadcast_to(deviations.mean(axis=1, keepdims=True), smooth.shape)
    spread = np.sqrt(usual.average / usual.mean)
    changes = (counts - usual.average * rate) / spread
    return np.concatenate([smooth, means], axis=-1), changes


def left_out(session, score: str, unit: int) -> np.ndarray:
    regions = session.units["region"].to_numpy()
    own = np.arange(16) == unit
    if score == "co-smoothing":
        return own
    return own | (regions != regions[unit]) if score == "intra-region" else regions == regions[unit]


@pytest.mark.parametrize("score", SIMULTANEOUS)
def test_each_unit_refitted_by_hand_has_the_same_weights(session, regression, score):
    """By rows, without what the test hides, with one of the penalties half a decade apart.

    No region has more units than the least rank that is tried across regions.
    """
    features, changes = rows_of(session, regression, session.split().train)
    features, changes = features.reshape(-1, 32), changes.reshape(-1, 16)
    scale = (features**2).mean(axis=0) ** -0.25
    scaled = features * scale
    fitted = regression.couplings.of_score[score].weights
    for unit in range(16):
        kept = np.flatnonzero(~np.tile(left_out(session, score, unit), 2))
        some = scaled[:, kept]
        gram, distances = some.T @ some, []
        for level in range(-6, 7):
            penalty = 10 ** (level / 2) * np.mean((scaled**2).sum(axis=0)) * np.eye(len(kept))
            weights = np.zeros(32)
            weights[kept] = scale[kept] * np.linalg.solve(gram + penalty, some.T @ changes[:, unit])
            distances.append(np.abs(weights - fitted[:, unit]).max())
        if not len(kept):
            assert not fitted[:, unit].any()
            continue
        assert min(distances) < 5e-3 * np.abs(fitted[:, unit]).max()
        assert sorted(distances)[1] > 5 * min(distances)
        if score == "co-smoothing":
            assert int(np.argmin(distances)) - 6 == regression.couplings.levels[unit]


@pytest.mark.parametrize("score", SIMULTANEOUS)
def test_a_rate_is_the_usual_one_and_what_the_others_say(session, regression, score):
    rows, usual = session.split().test, regression.usual
    coupling = regression.couplings.of_score[score]
    rate, root = (level[:, None] for level in levels(session, rows))
    deviations = np.sqrt(session.counts[rows].astype(float)) - usual.roots * root
    smooth = np.einsum("st,itn->isn", coupling.kernel, deviations)
    means = coupling.constant * deviations.mean(axis=1, keepdims=True)
    change = smooth @ coupling.weights[:16] + means @ coupling.weights[16:]
    expected = usual.average * rate + change * np.sqrt(usual.average / usual.mean)
    expected = np.maximum(expected, coupling.floor * usual.mean)
    np.testing.assert_allclose(regression.rates(score, rows), expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("score", SIMULTANEOUS)
def test_gains_are_the_best_on_validation_trials(session, regression, score):
    """However slow, middle and fast parts of the prediction are scaled, the error grows."""
    rows = session.split().validation
    features, changes = rows_of(session, regression, rows)
    coupling = regression.couplings.of_score[score]
    deviations = np.linalg.solve(smoothing(40), features[..., :16])
    predicted = np.einsum("st,itn->isn", coupling.kernel, deviations) @ coupling.weights[:16]
    predicted += coupling.constant * features[..., 16:] @ coupling.weights[16:]
    waves = np.cos(np.pi * (np.arange(40)[:, None] + 0.5) * np.arange(40) / 40)
    waves /= np.linalg.norm(waves, axis=0)

    def error(gain: float, part: slice) -> float:
        gains = np.ones(40)
        gains[part] = gain
        scaled = np.einsum("st,itn->isn", waves * gains @ waves.T, predicted)
        return float((((changes - scaled) ** 2) / regression.usual.mean).sum())

    for part in (slice(0, 1), slice(0, 40), slice(1, 40)):
        best = error(1.0, part)
        assert error(0.97, part) > best - 1e-6 * best
        assert error(1.03, part) > best - 1e-6 * best


def test_forecasts_add_the_past_of_others_to_the_own(session, regression):
    rows = session.split().test
    own = RidgeAr.fit(session, session.split())
    np.testing.assert_array_equal(own.past.weights, regression.forecast.own.weights)
    none = replace(regression.forecast, weights=np.zeros_like(regression.forecast.weights))
    alone = replace(regression, forecast=replace(none, floor=own.floor))
    np.testing.assert_allclose(alone.rates("forward", rows), own.rates("forward", rows), rtol=1e-5)


@pytest.mark.parametrize("score", SCORES)
def test_visible_counts_do_change_predictions(session, regression, score):
    rows = session.split().test
    mask = ~scored(session, score) if score == "forward" else scored(session, score)
    after = replace(regression, session=swapped(session, mask)).rates(score, rows)
    entries = scored(session, score) & (session.units["region"] != "DG").to_numpy()
    changed = (after != regression.rates(score, rows))[:, entries]
    assert changed.mean() > 0.5


def test_within_a_region_other_regions_change_nothing(session, regression):
    rows = session.split().test
    before = regression.rates("intra-region", rows)
    for region in session.regions:
        mask = np.ones(session.counts.shape[1:], dtype=bool)
        mask[:, region.units] = False
        after = replace(regression, session=swapped(session, mask)).rates("intra-region", rows)
        np.testing.assert_array_equal(after[:, ~mask], before[:, ~mask])


def test_predicting_a_mask_of_a_test_is_the_test(session, regression):
    rows = session.split().test
    mask = np.zeros(session.counts.shape[1:], dtype=bool)
    mask[:, 4] = True
    exact = regression.rates("co-smoothing", rows)
    found = regression.predict(mask, rows)
    np.testing.assert_allclose(found[:, :, 4], exact[:, :, 4], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(regression.predict(mask & False, rows), exact, rtol=1e-3)
    late = scored(session, "forward")
    np.testing.assert_allclose(
        regression.predict(late, rows)[:, late],
        regression.rates("forward", rows)[:, late],
        rtol=1e-4,
    )


def test_a_visible_unit_is_predicted_from_the_others(session, regression):
    rows = session.split().test
    hidden = np.zeros(session.counts.shape[1:], dtype=bool)
    hidden[:, 0] = True
    unit = np.zeros_like(hidden)
    unit[:, 7] = True
    before = regression.predict(hidden, rows)
    after = replace(regression, session=swapped(session, unit)).predict(hidden, rows)
    np.testing.assert_array_equal(after[:, :, 7], before[:, :, 7])
    assert (after[:, :, 0] != before[:, :, 0]).any()


@pytest.mark.parametrize("drift", [0.0, 0.5])
@pytest.mark.parametrize("score", SCORES)
def test_planted_structure_is_found(score, drift):
    session = planted(drift=drift)
    split = session.split()
    regression = ReducedRank.fit(session, split)
    found = pooled(session, regression.rates(score, split.test), score, split.test)
    for simpler in (MeanRate, ConditionPsth):
        rates = simpler.fit(session, split).rates(score, split.test)
        assert found > pooled(session, rates, score, split.test) + 0.02
    assert found < pooled(session, session.rates[split.test], score, split.test)


def test_a_unit_alone_in_its_region_gets_usual_rates(session, regression):
    alone = (session.units["region"] == "DG").to_numpy()
    rates = regression.rates("intra-region", np.arange(3))[:, :, alone]
    expected = regression.usual.rates(np.arange(3))[:, :, alone]
    np.testing.assert_allclose(rates, np.maximum(expected, rates.min()), rtol=1e-5)
