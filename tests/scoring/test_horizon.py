"""The horizon of forecasts: each bin's part of the whole score, and no more than is there."""

import json
import math

import numpy as np
import pytest
from scipy.stats import poisson

from napari_mtm import Mask, Session
from napari_mtm.scoring.horizon import (
    as_records,
    bits_per_spike_by_bin,
    curves,
    in_words,
    joined,
    longer,
)

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.7, (12, 30, 5)).astype(np.uint8)
RATES = RNG.gamma(3.0, 0.25, COUNTS.shape).astype(np.float32)


def recorded(bins: int = 30, bin_size: float = 0.02, start: float = -0.1) -> Session:
    counts = COUNTS[:, :bins]
    return Session.from_counts(
        counts, ["CA1"] * 5, id="ahead", bin_size=bin_size, window=(start, start + bins * bin_size)
    )


def by_hand(counts: np.ndarray, rates: np.ndarray) -> list[float]:
    """Log-likelihood above that of each unit's mean over all bins, a bin at a time."""
    mean = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape)
    gain = poisson.logpmf(counts, rates) - poisson.logpmf(counts, mean)
    spikes = counts.sum(axis=(0, 2))
    return (gain.sum(axis=(0, 2)) / spikes / np.log(2)).tolist()


def test_each_bin_by_hand_and_their_weighed_mean_is_the_whole():
    bits, spikes = bits_per_spike_by_bin(COUNTS, RATES)
    assert bits == pytest.approx(by_hand(COUNTS, RATES), rel=1e-5)
    assert spikes.tolist() == COUNTS.sum(axis=(0, 2)).tolist()
    mean = np.broadcast_to(COUNTS.mean(axis=(0, 1)), COUNTS.shape)
    gain = (poisson.logpmf(COUNTS, RATES) - poisson.logpmf(COUNTS, mean)).sum()
    whole = gain / COUNTS.sum() / np.log(2)
    assert np.average(bits, weights=spikes) == pytest.approx(whole, rel=1e-5)


def test_a_bin_without_a_spike_has_no_score_and_silent_units_cost():
    counts, rates = COUNTS.copy(), RATES.copy()
    counts[:, 3] = 0
    counts[:, :, 2] = 0
    bits, spikes = bits_per_spike_by_bin(counts, rates)
    assert np.isnan(bits).tolist() == [b == 3 for b in range(30)]
    assert spikes[3] == 0
    rates[:, :, 2] = 1e-9
    better, _ = bits_per_spike_by_bin(counts, rates)
    assert (better[spikes > 0] > bits[spikes > 0]).all()


def test_rates_that_are_not_finite_spoil_their_bin_only():
    rates = RATES.copy()
    rates[2, 4, 1] = np.nan
    bits, _ = bits_per_spike_by_bin(COUNTS, rates)
    assert np.isnan(bits).tolist() == [b == 4 for b in range(30)]


def test_both_forecasts_are_scored_where_they_are():
    session, asked = recorded(), []

    def forecast(hidden):
        asked.append(hidden)
        return RATES * 2

    test, early = curves("model", session, COUNTS, RATES, forecast)
    assert test["start"].unique() == pytest.approx([0.3])  # the window ends at 0.5 s
    assert test["seconds_ahead"].tolist() == pytest.approx(0.02 * np.arange(1, 11))
    assert test["bps_pooled"].tolist() == pytest.approx(
        by_hand(COUNTS[:, 20:], RATES[:, 20:]), rel=1e-5
    )
    assert test["spikes"].tolist() == COUNTS[:, 20:].sum(axis=(0, 2)).tolist()
    (hidden,) = asked
    assert (
        hidden.all(axis=1).tolist() == hidden.any(axis=1).tolist() == [b >= 15 for b in range(30)]
    )
    assert early["start"].unique() == pytest.approx([0.2])
    assert early["seconds_ahead"].tolist() == pytest.approx(0.02 * np.arange(1, 16))
    assert early["bps_pooled"].tolist() == pytest.approx(
        by_hand(COUNTS[:, 15:], 2 * RATES[:, 15:]), rel=1e-5
    )


@pytest.mark.parametrize(("bins", "there"), [(30, True), (21, True), (20, False), (12, False)])
def test_a_short_window_has_the_forward_test_alone(bins, there):
    session = recorded(bins)
    assert (longer(session) is not None) == there

    def never(hidden):
        raise AssertionError("this window has no longer forecast")

    if not there:
        counts, rates = COUNTS[:, :bins], RATES[:, :bins]
        (only,) = curves("model", session, counts, rates, never)
        assert len(only) == Mask.forward(session).scored.any(axis=1).sum() == 10


@pytest.fixture
def table():
    session = recorded()
    counts = COUNTS.copy()
    counts[:, 29] = 0
    return joined(
        [
            curve
            for name, factor in (("model", 1.0), ("psth", 0.5))
            for curve in curves(name, session, counts, RATES * factor, lambda _: RATES)
        ]
    )


def test_records_are_the_table_by_forecast(table):
    test, early = as_records(table)
    assert list(test) == ["start", "seconds_ahead", "spikes", "bps_pooled"]
    assert (test["start"], early["start"]) == pytest.approx((0.3, 0.2))
    assert len(test["spikes"]) == 10
    assert len(early["spikes"]) == 15
    rows = table[(table["predictor"] == "psth") & (table["start"] == test["start"])]
    assert test["bps_pooled"]["psth"][:-1] == rows["bps_pooled"].tolist()[:-1]
    assert list(early["bps_pooled"]) == ["model", "psth"]
    assert math.isnan(test["bps_pooled"]["model"][-1])
    json.dumps(as_records(table))  # no numbers of numpy's


def test_words_are_of_the_model_soon_halfway_and_at_last(table):
    test = table[(table["predictor"] == "model") & (table["start"] == 0.3)]
    values = test["bps_pooled"].to_numpy()
    words = in_words(table)
    first, second = words.split("; ")
    assert first == (
        f"from 0.3 s on {values[0]:.3f} after 0.02 s, {values[4]:.3f} after 0.1 s, nan after 0.2 s"
    )
    assert second.startswith("from 0.2 s on ")
    assert "after 0.16 s" in second
    assert "psth" not in words


def test_a_forecast_of_one_bin_is_said_once():
    session = recorded(8, bin_size=0.2, start=0.0)
    (curve, _) = curves("model", session, COUNTS[:, :8], RATES[:, :8], lambda _: RATES[:, :8])
    assert in_words(curve) == f"from 1.4 s on {curve['bps_pooled'].iloc[0]:.3f} after 0.2 s"


def test_without_forecasts_there_is_an_empty_table():
    nothing = joined()
    assert list(nothing) == ["predictor", "start", "seconds_ahead", "bps_pooled", "spikes"]
    assert as_records(nothing) == []
    assert in_words(nothing) == ""
