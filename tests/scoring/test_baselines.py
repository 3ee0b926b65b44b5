"""Baselines: right sums, nothing hidden seen, structure found, odd sessions survived."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.errors import Cancelled
from napari_mtm.masking.mask import Mask
from napari_mtm.metrics import conditions, tally
from napari_mtm.scoring.baselines import (
    BASELINES,
    SCORES,
    ConditionPsth,
    MeanRate,
    ReducedRank,
    _each,
    _Ridge,
    forward_bins,
)
from tests.conftest import trials

REGIONS = ["VISa"] * 5 + ["CA1"] * 6 + ["DG"] + ["LP"] * 4


def planted(n_trials: int = 60, n_bins: int = 40, regions=REGIONS, seed: int = 0) -> Session:
    """Two slow latents that all units follow, and a PSTH."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n_trials, n_bins, 2))
    latents = np.zeros_like(steps)
    for t in range(1, n_bins):
        latents[:, t] = 0.97 * latents[:, t - 1] + 0.25 * steps[:, t]
    loadings = rng.normal(size=(2, len(regions)))
    rhythm = 0.5 * np.sin(np.arange(n_bins) / 6)[:, None]
    rates = 0.4 * np.exp(np.clip(0.7 * latents @ loadings + rhythm, -3, 2.5))
    counts = rng.poisson(rates)
    return Session.from_counts(
        counts, regions, trials=trials(n_trials), rates=rates, id=f"planted-{seed}"
    )


@pytest.fixture(scope="module")
def session() -> Session:
    return planted()


@pytest.fixture(scope="module")
def regression(session) -> ReducedRank:
    return ReducedRank.fit(session, session.split())


def scored(session: Session, score: str) -> np.ndarray:
    entries = np.ones(session.counts.shape[1:], dtype=bool)
    if score == "forward":
        entries[: -forward_bins(session)] = False
    return entries


def pooled(session: Session, rates: np.ndarray, score: str, rows: np.ndarray) -> float:
    sums = tally(session.counts[rows], rates, scored(session, score))
    return float(sums.pooled_bits_per_spike())


def hidings(session: Session, score: str) -> list[np.ndarray]:
    """What the test hides at once, (bins, units), each with its own scored units."""
    n_bins, n_units = session.counts.shape[1:]
    if score == "forward":
        return [scored(session, score)]
    masks = []
    for region in session.regions:
        if score == "inter-region":
            mask = np.zeros((n_bins, n_units), dtype=bool)
            mask[:, region.units] = True
            masks.append(mask)
            continue
        for unit in range(region.units.start, region.units.stop):
            mask = np.zeros((n_bins, n_units), dtype=bool)
            mask[:, unit] = True
            masks.append(mask)
    return masks


def swapped(session: Session, mask: np.ndarray) -> Session:
    """The session with other counts where the mask is."""
    other = np.random.default_rng(9).integers(0, 30, session.counts.shape).astype(np.uint8)
    return replace(session, counts=np.where(mask, other, session.counts))


def ridge_data(n_units: int = 6, width: int = 2):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(300, n_units * width)).astype(np.float32)
    features *= np.repeat(rng.uniform(0.2, 2.0, n_units), width).astype(np.float32)
    targets = rng.normal(size=(300, n_units)).astype(np.float32) + features[:, ::width]
    mean = rng.uniform(0.05, 2.0, n_units)
    return features, targets, mean, _Ridge.accumulate([(features, targets)], width, mean)


def test_leaving_out_by_downdate_is_leaving_out():
    *_, mean, ridge = ridge_data()
    groups = [*_each(np.arange(3)), (np.array([3, 4]), np.array([3, 4]))]
    weights = ridge.weights(1, groups)
    for targets, left_out in groups:
        others = np.setdiff1d(np.arange(len(mean)), left_out)
        direct = ridge.of(others).weights(1, [(targets, left_out)])
        np.testing.assert_allclose(weights[:, targets], direct[:, targets], atol=1e-6)
        for unit in left_out:
            assert not weights[2 * unit : 2 * unit + 2, targets].any()
    assert not weights[:, 5].any()


def test_ridge_is_the_textbook_solution():
    features, targets, mean, ridge = ridge_data()
    scaled = features / (features**2).mean(axis=0) ** 0.25
    gram = scaled.T.astype(float) @ scaled
    steps = np.round(np.log10(mean.mean() / mean))
    everything = np.arange(len(mean))
    weights = ridge.weights(-2, [(everything, everything[:0])])
    for unit in everything:
        penalty = 10 ** ((-2 + steps[unit]) / 2) * np.trace(gram) / len(gram)
        solved = np.linalg.solve(
            gram + penalty * np.eye(len(gram)), scaled.T.astype(float) @ targets[:, unit]
        )
        fitted = features @ weights[:, unit]
        np.testing.assert_allclose(fitted, scaled @ solved, atol=1e-4)


def test_a_rank_holds_the_fitted_values_to_that_many_directions():
    features, _, mean, ridge = ridge_data()
    group = [(np.arange(len(mean)), np.arange(0))]
    full = ridge.weights(0, group)
    assert np.linalg.matrix_rank(features @ full, tol=1e-3) == 6
    assert np.linalg.matrix_rank(features @ ridge.weights(0, group, 2), tol=1e-3) == 2
    np.testing.assert_allclose(ridge.weights(0, group, 6), full, atol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_hidden_counts_change_no_prediction(session, regression, score):
    rows = session.split().test
    before = regression.rates(score, rows)
    for mask in hidings(session, score):
        after = replace(regression, session=swapped(session, mask)).rates(score, rows)
        np.testing.assert_array_equal(after[:, mask], before[:, mask])


def test_within_a_region_other_regions_change_nothing(session, regression):
    rows = session.split().test
    before = regression.rates("intra-region", rows)
    for region in session.regions:
        mask = np.ones(session.counts.shape[1:], dtype=bool)
        mask[:, region.units] = False
        after = replace(regression, session=swapped(session, mask)).rates("intra-region", rows)
        np.testing.assert_array_equal(after[:, ~mask], before[:, ~mask])


@pytest.mark.parametrize("score", SCORES)
def test_visible_counts_do_change_predictions(session, regression, score):
    rows = session.split().test
    mask = ~scored(session, score) if score == "forward" else scored(session, score)
    after = replace(regression, session=swapped(session, mask)).rates(score, rows)
    entries = scored(session, score) & (session.units["region"] != "DG").to_numpy()
    changed = (after != regression.rates(score, rows))[:, entries]
    assert changed.mean() > 0.5


def test_any_mask_hides_what_it_hides(session, regression):
    rows = session.split().test
    rng = np.random.default_rng(5)
    block = np.zeros(session.counts.shape[1:], dtype=bool)
    block[10:25, 3:9] = True
    gap = np.zeros_like(block)
    gap[18:33] = True
    for mask in (block, gap, block | gap, rng.random(block.shape) < 0.3, np.ones_like(block)):
        before = regression.predict(mask, rows)
        after = replace(regression, session=swapped(session, mask)).predict(mask, rows)
        np.testing.assert_array_equal(after, before)
        assert (before > 0).all()


def test_predicting_a_mask_of_a_test_is_the_test(session, regression):
    rows = session.split().test
    mask = np.zeros(session.counts.shape[1:], dtype=bool)
    mask[:, 4] = True
    exact = regression.rates("co-smoothing", rows)
    found = regression.predict(mask, rows)
    np.testing.assert_allclose(found[:, :, 4], exact[:, :, 4], rtol=1e-4)
    np.testing.assert_allclose(regression.predict(mask & False, rows), exact, rtol=1e-4)
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


@pytest.mark.parametrize("score", SCORES)
def test_planted_structure_is_found(session, regression, score):
    split = session.split()
    found = pooled(session, regression.rates(score, split.test), score, split.test)
    for simpler in (MeanRate, ConditionPsth):
        rates = simpler.fit(session, split).rates(score, split.test)
        assert found > pooled(session, rates, score, split.test) + 0.02
    assert found < pooled(session, session.rates[split.test], score, split.test)


def test_strengths_on_the_sample(sample):
    split = sample.split()
    predictors = {b.name: b.fit(sample, split) for b in BASELINES}
    for score in SCORES:
        mean, psth, regression = (
            pooled(sample, p.rates(score, split.test), score, split.test)
            for p in predictors.values()
        )
        assert mean < 0.01
        assert psth > mean + 0.1
        assert regression > psth + 0.1


def test_the_mean_rate_is_that_of_training_trials(session):
    split = session.split()
    rates = MeanRate.fit(session, split).rates("forward", split.test)
    assert rates.dtype == np.float32
    assert rates.shape == (len(split.test), 40, 16)
    expected = session.counts[split.train].mean(axis=(0, 1))
    np.testing.assert_allclose(rates, np.broadcast_to(expected, rates.shape), rtol=1e-6)


def test_averages_by_condition_tell_conditions_apart():
    session = planted(n_trials=90)
    table = session.trials
    counts = session.counts.copy()
    counts[(table["choice"] == 1).to_numpy(), 15:25, 0] += 4
    session = replace(session, counts=counts)
    fitted = ConditionPsth.fit(session, session.split())
    assert fitted.averages.shape[0] == len(set(conditions(table)))
    bump = fitted.rates("co-smoothing", np.arange(90))[:, 20, 0]
    chose = (table["choice"] == 1).to_numpy()
    assert bump[chose].min() > bump[~chose].max() + 1


def test_a_condition_without_training_trials_gets_the_average_of_all():
    session = planted()
    split = session.split()
    table = session.trials.copy()
    table.loc[split.test[0], "probabilityLeft"] = 0.8
    session = replace(session, trials=table)
    fitted = ConditionPsth.fit(session, split)
    found = fitted.rates("forward", split.test[:1])[0]
    np.testing.assert_allclose(found, fitted.overall, rtol=1e-5)


def silenced(session: Session, units: list[int]) -> Session:
    counts = session.counts.copy()
    counts[:, :, units] = 0
    return replace(session, counts=counts)


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(planted(regions=["CA1"] * 6), id="one region"),
        pytest.param(planted(regions=["CA1"]), id="one unit"),
        pytest.param(planted(regions=["CA1", "LP", "DG"]), id="regions of one unit"),
        pytest.param(silenced(planted(), [0, 3, 15]), id="silent units"),
        pytest.param(silenced(planted(), list(range(16))), id="silence"),
        pytest.param(planted(n_trials=3), id="three trials"),
        pytest.param(planted(n_trials=2), id="no validation trials"),
        pytest.param(planted(n_bins=5), id="shorter than what forward prediction hides"),
        pytest.param(planted(n_bins=12), id="little past"),
        pytest.param(replace(planted(), trials=pd.DataFrame(index=range(60))), id="no conditions"),
    ],
)
@pytest.mark.parametrize("baseline", BASELINES)
def test_odd_sessions_have_rates_everywhere(baseline, session):
    rows = np.arange(min(session.n_trials, 4))
    fitted = baseline.fit(session, session.split())
    hidden = np.zeros(session.counts.shape[1:], dtype=bool)
    hidden[2:4, 0] = True
    for rates in (*(fitted.rates(s, rows) for s in SCORES), fitted.predict(hidden, rows)):
        assert rates.dtype == np.float32
        assert rates.shape == (len(rows), *hidden.shape)
        assert np.isfinite(rates).all()
        assert (rates > 0).all()


def test_a_unit_alone_in_its_region_gets_its_average(session, regression):
    alone = (session.units["region"] == "DG").to_numpy()
    rates = regression.rates("intra-region", np.arange(3))[:, :, alone]
    expected = np.broadcast_to(regression.average[:, alone], rates.shape)
    np.testing.assert_allclose(rates, np.maximum(expected, rates.min()), rtol=1e-5)


@pytest.mark.parametrize("bin_size", [0.005, 0.02, 0.03, 0.15])
def test_forward_prediction_hides_what_the_mask_of_it_hides(bin_size):
    session = Session.from_counts(np.zeros((2, 40, 3)), ["CA1"] * 3, bin_size=bin_size)
    np.testing.assert_array_equal(scored(session, "forward"), Mask.forward(session).hidden)


def test_fitting_reports_and_can_be_stopped(session):
    seen = []
    ReducedRank.fit(session, session.split(), lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction: float, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        ReducedRank.fit(session, session.split(), stop)
