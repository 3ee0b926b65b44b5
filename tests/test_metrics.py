"""Scores: equal to the published ones, to sums done by hand, and resampled as they should be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtm.metrics import FLOOR, Tally, bootstrap, conditions, r2_psth, r2_trial, tally

STATISTICS = {
    "bps": Tally.mean_bits_per_spike,
    "bps_pooled": Tally.pooled_bits_per_spike,
    "d2": Tally.mean_d2,
}


def made(n_trials: int = 30, n_bins: int = 20, n_units: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    rates = rng.gamma(2.0, 0.2, (n_trials, n_bins, n_units))
    return rng.poisson(rates).astype(np.uint8), rates


@pytest.fixture
def published(reference):
    with np.load(reference / "published_metrics.npz") as file:
        return dict(file)


def test_bits_per_spike_are_the_published_ones(published):
    counts, rates = published["counts"], published["rates"]
    last = np.zeros(counts.shape[1:], dtype=bool)
    last[-10:] = True
    for scored, name in ((None, "bits_per_spike"), (last, "bits_per_spike_last10")):
        found = tally(counts, rates, scored).bits_per_spike()
        np.testing.assert_allclose(found, published[name], rtol=1e-6, atol=1e-6)


def test_r2_are_the_published_ones(published):
    counts, rates = published["counts"], published["rates"]
    block, choice, reward = published["conditions"].T
    table = pd.DataFrame({"probabilityLeft": block, "choice": choice, "feedbackType": reward})
    for found, name in (
        (r2_psth(counts, rates, conditions(table)), "r2_psth"),
        (r2_trial(counts, rates), "r2_trial"),
    ):
        np.testing.assert_allclose(found, published[name], rtol=1e-6, atol=1e-6)


def test_scores_of_one_unit_by_hand():
    counts = np.array([[0, 2], [1, 1]]).reshape(2, 2, 1)
    rates = np.array([[0.5, 1.5], [1.0, 0.5]]).reshape(2, 2, 1)
    model = 0.5 + (1.5 - 2 * np.log(1.5)) + 1.0 + (0.5 - np.log(0.5))
    null = 4.0  # the mean count is 1, whose logarithm is 0
    saturated = 0 + (2 - 2 * np.log(2)) + 1 + 1
    sums = tally(counts, rates)
    assert sums.bits_per_spike() == pytest.approx([(null - model) / (4 * np.log(2))])
    assert sums.pooled_bits_per_spike() == pytest.approx(sums.bits_per_spike()[0])
    assert sums.d2() == pytest.approx([1 - (model - saturated) / (null - saturated)])
    assert r2_trial(counts, rates) == pytest.approx([1 - (0.25 + 0.25 + 0 + 0.25) / 2])
    # By condition the averages are (0, 2) and (1, 1) if told apart, (0.5, 1.5) if not.
    assert r2_psth(counts, rates, [0, 0]) == pytest.approx([1 - (0.25**2 + 0.5**2) / 0.5])
    assert r2_psth(counts, rates, [4, 9]) == pytest.approx(r2_trial(counts, rates))


def test_scores_above_levels_by_hand():
    counts = np.array([[0, 1], [3, 4]]).reshape(2, 2, 1)
    rates = np.array([[0.5, 0.5], [3.0, 2.0]]).reshape(2, 2, 1)
    model = 0.5 + (0.5 - np.log(0.5)) + (3 - 3 * np.log(3)) + (2 - 4 * np.log(2))
    # Levels of 1 and 3, over two bins each, make 8: the 8 spikes are met with rates 1 and 3.
    null = 1 + 1 + (3 - 3 * np.log(3)) + (3 - 4 * np.log(3))
    sums = tally(counts, rates).above(np.array([[1.0], [3.0]]))
    assert sums.bits_per_spike() == pytest.approx([(null - model) / (8 * np.log(2))])
    assert sums.pooled_bits_per_spike() == pytest.approx(sums.bits_per_spike()[0])


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_levels_that_never_change_are_the_usual_null_whatever_their_size(scale):
    sums = tally(*made())
    above = sums.above(np.full((30, 5), scale))
    for score in (Tally.bits_per_spike, *STATISTICS.values()):
        np.testing.assert_allclose(score(above), score(sums), atol=1e-12)


def test_only_what_is_above_levels_counts_and_never_more_than_usual():
    rng = np.random.default_rng(5)
    drift = rng.gamma(4.0, 0.25, (60, 1, 4))
    within = rng.gamma(4.0, 0.25, (60, 25, 4))
    rates = 0.6 * drift * within
    counts = rng.poisson(rates)
    levels = drift[:, 0].copy()
    levels[:, 3] = rng.gamma(1.0, 1.0, 60)  # says nothing of this unit
    drifting = tally(counts, np.broadcast_to(0.6 * drift, counts.shape))
    usual, above = drifting.bits_per_spike(), drifting.above(levels).bits_per_spike()
    assert (usual > 0.1).all()
    assert np.abs(above[:3]).max() < 0.01
    assert above[3] == pytest.approx(usual[3])
    knowing = tally(counts, rates)
    gained = knowing.bits_per_spike() - usual
    assert knowing.above(levels).bits_per_spike()[:3] == pytest.approx(gained[:3] + above[:3])
    for weights in (None, rng.multinomial(60, np.full(60, 1 / 60), size=50)):
        for some in (drifting, knowing):
            high = some.bits_per_spike(weights)
            assert (some.above(levels).bits_per_spike(weights) <= high + 1e-12).all()


def test_levels_go_with_their_units_and_trials():
    counts, rates = made(n_trials=6)
    levels = np.random.default_rng(2).gamma(4.0, 0.25, (6, 5))
    sums = tally(counts, rates).above(levels)
    some = tally(counts[:, :, [3, 1]], rates[:, :, [3, 1]]).above(levels[:, [3, 1]])
    np.testing.assert_allclose(sums.units([3, 1]).bits_per_spike(), some.bits_per_spike())
    weights = [2, 0, 1, 1, 0, 2]
    repeated = tally(np.repeat(counts, weights, axis=0), np.repeat(rates, weights, axis=0))
    expected = repeated.above(np.repeat(levels, weights, axis=0)).bits_per_spike()
    np.testing.assert_allclose(sums.bits_per_spike(weights), expected, atol=1e-12)


def test_entries_that_are_not_scored_have_no_part_in_levels():
    counts, rates = made()
    scored = np.random.default_rng(3).random((30, 1, 5)) < 0.7
    scored = np.broadcast_to(scored, counts.shape)
    levels = np.random.default_rng(2).gamma(4.0, 0.25, (30, 5))
    found = tally(counts, rates, scored).above(levels).bits_per_spike()
    for unit in range(5):
        kept = scored[:, 0, unit]
        alone = tally(counts[kept][:, :, [unit]], rates[kept][:, :, [unit]])
        expected = alone.above(levels[kept][:, [unit]]).bits_per_spike()
        assert found[unit] == pytest.approx(expected[0])
    nothing = tally(counts, rates, np.zeros(counts.shape, bool)).above(levels)
    assert np.isnan(nothing.bits_per_spike()).all()


def test_pooling_weighs_units_by_their_spikes():
    counts, rates = made()
    sums = tally(counts, rates)
    each, spikes = sums.bits_per_spike(), counts.sum(axis=(0, 1))
    assert sums.mean_bits_per_spike() == pytest.approx(each.mean())
    assert sums.pooled_bits_per_spike() == pytest.approx(np.average(each, weights=spikes))


def test_anchors_of_d2():
    counts, _ = made()
    mean = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape)
    np.testing.assert_allclose(tally(counts, mean).d2(), 0, atol=1e-12)
    np.testing.assert_allclose(tally(counts, mean).bits_per_spike(), 0, atol=1e-12)
    # A rate of 0 where no spike came is floored, and no longer quite right.
    np.testing.assert_allclose(tally(counts, counts).d2(), 1, atol=1e-6)


def test_only_scored_entries_count():
    counts, rates = made()
    scored = np.random.default_rng(3).random(counts.shape) < 0.4
    spoilt = np.where(scored, rates, np.nan)
    sums = tally(counts, spoilt, scored)
    np.testing.assert_array_equal(sums.entries, scored.sum(axis=1))
    for unit in range(counts.shape[2]):
        kept = scored[:, :, unit]
        alone = tally(counts[kept][:, None, [unit]], rates[kept][:, None, [unit]])
        assert sums.bits_per_spike()[unit] == pytest.approx(alone.bits_per_spike()[0])
        assert sums.d2()[unit] == pytest.approx(alone.d2()[0])
    by_bin = scored[0]
    whole = np.broadcast_to(by_bin, counts.shape)
    for one, other in zip(
        vars(tally(counts, rates, by_bin)).values(),
        vars(tally(counts, rates, whole)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_silent_and_constant_units_have_no_score_and_spoil_no_mean():
    counts, rates = made()
    counts[:, :, 1] = 0
    counts[:, :, 2] = 3
    sums = tally(counts, rates)
    assert np.isnan(sums.bits_per_spike()).tolist() == [False, True, False, False, False]
    assert np.isnan(sums.d2()).tolist() == [False, True, True, False, False]
    assert np.isfinite([score(sums) for score in STATISTICS.values()]).all()
    # The mass that the model gives a silent unit costs it all the same.
    silent = tally(counts, np.where(np.arange(5) == 1, FLOOR, rates))
    assert silent.pooled_bits_per_spike() > sums.pooled_bits_per_spike()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rates_that_are_not_finite_give_nan_without_a_warning(value):
    counts, rates = made()
    one = rates.copy()
    one[3, 4, 0] = value
    assert np.isnan(tally(counts, one).bits_per_spike()).tolist() == [True] + [False] * 4
    sums = tally(counts, np.full_like(rates, value))
    for name, score in STATISTICS.items():
        assert np.isnan(score(sums))
        assert np.isnan(bootstrap(sums, name, n=10)).all()
    assert np.isnan(r2_trial(counts, np.full_like(rates, np.nan))).all()
    assert np.isnan(r2_psth(counts, np.full_like(rates, np.nan), np.zeros(30))).all()


def test_nothing_to_score():
    counts, rates = made()
    sums = tally(counts, rates, np.zeros(counts.shape[1:], dtype=bool))
    assert np.isnan([score(sums) for score in STATISTICS.values()]).all()
    empty = tally(counts[:0], rates[:0])
    assert empty.spikes.shape == (0, 5)
    assert np.isnan(empty.bits_per_spike()).all()


def test_a_tally_does_not_depend_on_its_chunks(monkeypatch):
    counts, rates = made()
    whole, r2 = tally(counts, rates), r2_trial(counts, rates)
    monkeypatch.setattr("napari_mtm.metrics._CHUNK_ENTRIES", 250)
    for one, other in zip(vars(whole).values(), vars(tally(counts, rates)).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(r2_trial(counts, rates), r2)
    assert np.isfinite(bootstrap(whole, "bps", n=20)).all()


def test_units_can_be_chosen_by_index_and_mask():
    counts, rates = made()
    sums = tally(counts, rates)
    expected = tally(counts[:, :, [1, 3]], rates[:, :, [1, 3]])
    for selection in ([1, 3], [False, True, False, True, False]):
        np.testing.assert_allclose(
            sums.units(selection).bits_per_spike(), expected.bits_per_spike()
        )


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
def test_whole_weights_are_repeated_trials(weights):
    counts, rates = made(n_trials=6)
    sums = tally(counts, rates)
    repeated = tally(np.repeat(counts, weights, axis=0), np.repeat(rates, weights, axis=0))
    for score in (Tally.bits_per_spike, Tally.d2, *STATISTICS.values()):
        np.testing.assert_allclose(score(sums, weights), score(repeated), atol=1e-9)


def test_weights_of_one_change_nothing_and_many_weights_give_many_scores():
    counts, rates = made()
    sums = tally(counts, rates)
    ones = np.ones((4, 30))
    for score in (Tally.bits_per_spike, Tally.d2, *STATISTICS.values()):
        np.testing.assert_allclose(score(sums, ones), [score(sums)] * 4, atol=1e-12)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_an_interval_holds_the_score_shrinks_with_trials_and_is_reproducible(statistic):
    wide, narrow = (tally(*made(n_trials=n)) for n in (30, 480))
    intervals = [bootstrap(sums, statistic, n=300) for sums in (wide, narrow)]
    for sums, (low, high) in zip((wide, narrow), intervals, strict=True):
        assert low < STATISTICS[statistic](sums) < high
    widths = [high - low for low, high in intervals]
    assert widths[1] < 0.5 * widths[0]
    assert bootstrap(wide, statistic, n=300) == intervals[0]
    assert bootstrap(wide, statistic, n=300, seed=1) != intervals[0]
    low, high = bootstrap(wide, statistic, n=300, level=0.5)
    assert intervals[0][0] < low < high < intervals[0][1]


def test_r2_of_counts_that_do_not_vary():
    counts = np.full((4, 3, 2), 2)
    rates = np.stack([np.full((4, 3), 2.0), np.full((4, 3), 1.5)], axis=-1)
    np.testing.assert_array_equal(r2_trial(counts, rates), [1, 0])
    np.testing.assert_array_equal(r2_psth(counts, rates, [0, 1, 0, 1]), [1, 0])


def test_conditions_are_combinations_of_block_choice_and_reward():
    table = pd.DataFrame(
        {
            "probabilityLeft": [0.5, 0.5, 0.2, 0.5, 0.5, 0.5],
            "choice": [1.0, -1.0, 1.0, 1.0, np.nan, np.nan],
            "feedbackType": [1.0, 1.0, 1.0, 1.0, -1.0, -1.0],
        }
    )
    labels = conditions(table)
    assert labels[0] == labels[3]
    assert labels[4] == labels[5]
    assert sorted(set(labels)) == [0, 1, 2, 3]
    without = conditions(table.drop(columns="choice"))
    assert without[0] == without[1] == without[3]
    assert conditions(pd.DataFrame(index=range(3))).tolist() == [0, 0, 0]


def test_shapes_that_disagree():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) and \(2, 3, 5\)"):
        tally(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)))
