"""One unit predicted from all others, piece by piece, with the shipped model."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm import load_model
from napari_mtm.live.unit import UnitPrediction, predict_unit
from napari_mtm.scoring.held_out import held_out_rates

UNIT = 40


@pytest.fixture(scope="module")
def model():
    return load_model("sample")


@pytest.fixture(scope="module")
def trials(sample):
    return sample.split().test[:6]


def test_a_few_trials_at_a_time(model, sample, trials):
    steps = list(predict_unit(model, sample, UNIT, trials))
    assert [step.trials.tolist() for step in steps] == [trials[:4].tolist(), trials.tolist()]
    assert [step.done for step in steps] == [False, True]
    assert {step.n_trials for step in steps} == {6}
    np.testing.assert_array_equal(steps[0].rates, steps[1].rates[:4])
    np.testing.assert_array_equal(steps[1].counts, sample.counts[trials][:, :, UNIT])


def test_it_is_co_smoothing(model, sample, trials):
    *_, found = predict_unit(model, sample, UNIT, trials)
    exact = held_out_rates(model, sample, "co-smoothing", trials)
    np.testing.assert_allclose(found.rates, exact[:, :, UNIT], rtol=1e-3)


def test_what_the_unit_did_is_not_looked_at(model, sample, trials):
    counts = sample.counts.copy()
    counts[trials, :, UNIT] = 7
    *_, before = predict_unit(model, sample, UNIT, trials)
    *_, after = predict_unit(model, replace(sample, counts=counts), UNIT, trials)
    np.testing.assert_array_equal(before.rates, after.rates)


def test_bits_per_spike_as_defined(sample, trials):
    counts = sample.counts[trials][:, :, UNIT].astype(float)
    rates = np.linspace(0.05, 0.6, counts.size).reshape(counts.shape)
    found = UnitPrediction(sample, UNIT, trials, len(trials), rates.astype(np.float32))
    mean = counts.mean()
    gain = (counts * np.log(rates / mean) - rates + mean).sum()
    assert found.bits_per_spike() == pytest.approx(gain / counts.sum() / np.log(2), rel=1e-5)


def test_r2_of_averages_is_one_for_the_averages(sample):
    trials = sample.split().test
    counts = sample.counts[trials][:, :, UNIT].astype(float)
    table = sample.trials.iloc[trials].reset_index(drop=True)
    rates = np.empty_like(counts)
    for rows in table.groupby(["choice", "probabilityLeft", "feedbackType"]).groups.values():
        rates[rows] = counts[rows].mean(axis=0)
    found = UnitPrediction(sample, UNIT, trials, len(trials), rates.astype(np.float32))
    assert found.r2_psth() == pytest.approx(1)
    assert found.uuid == sample.units["uuid"][UNIT]
