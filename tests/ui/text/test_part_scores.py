"""Scores by region and unit: those of the trial, and of the test trials where they are there."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mtm import Mask
from napari_mtm.live.engine import Answer, Request
from napari_mtm.live.whole import WholeScores
from napari_mtm.metrics import tally
from napari_mtm.model.reconstruction import Reconstruction
from napari_mtm.ui.coordinator import Hover
from napari_mtm.ui.text.part_scores import (
    hover_line,
    region_score_words,
    region_scores,
    unit_score_words,
)


@pytest.fixture
def masked(coordinator, sample):
    """The coordinator with an answer on its two largest regions, whose rates are half right."""
    first, second = sorted(sample.regions, key=lambda r: -r.size)[:2]
    mask = Mask.region(sample, first.name) | Mask.region(sample, second.name)
    counts = sample.counts[[0]]
    rates = (0.5 * counts + 0.5 * counts.mean(axis=1, keepdims=True) + 1e-3).astype(np.float32)
    found = Reconstruction(
        sample.id,
        mask,
        "neuron",
        np.array([0]),
        tuple(sample.units["uuid"].astype(str)),
        counts,
        rates,
        {},
    )
    coordinator.live.answer = Answer(Request(sample, mask, 0), found, 0.01)
    return SimpleNamespace(first=first, second=second, found=found, rates=rates)


def whole(sample, masked, factor=1.0):
    trials = sample.split().test[:4]
    counts = sample.counts[trials]
    mean = counts.mean(axis=(0, 1))
    model = np.where(counts > 0, mean * 3, mean * 0.8)
    return WholeScores(
        trials,
        8,
        {"model": tally(counts, model), "oracle": tally(counts, np.where(counts > 0, 1, mean))},
    )


def pooled(counts, rates, units) -> float:
    return float(tally(counts, rates).units(units).pooled_bits_per_spike())


def units_of(region) -> np.ndarray:
    return np.arange(region.units.start, region.units.stop)


def test_under_the_cursor_is_what_was_recorded_and_what_is_predicted(
    coordinator, viewer, sample, masked
):
    unit = masked.first.units.start
    other = int(np.flatnonzero(~masked.found.mask.hidden[30])[0])
    hidden = Hover(unit, 30, 0.1, 2)
    rate = masked.rates[0, 30, unit] / sample.bin_size
    words = hover_line(coordinator, hidden)
    assert words.startswith("0.10 s: 2 spikes, ")
    assert float(words.split(", ")[1].split()[0]) == pytest.approx(rate, rel=0.05)
    assert hover_line(coordinator, Hover(other, 30, 0.1, 1)) == "0.10 s: 1 spike"
    viewer.dims.set_current_step(0, 1)  # what is predicted is not of this trial
    assert hover_line(coordinator, hidden) == "0.10 s: 2 spikes"


def test_of_the_trial_until_the_test_trials_are_there(coordinator, sample, masked):
    scores = region_scores(coordinator)
    assert set(scores) == {masked.first.name, masked.second.name}
    for region in (masked.first, masked.second):
        expected = pooled(sample.counts[[0]], masked.rates, units_of(region))
        assert scores[region.name] == pytest.approx(expected)
    coordinator.live.whole = whole(sample, masked)
    scores = region_scores(coordinator)
    for region in (masked.first, masked.second):
        expected = coordinator.live.whole.tallies["model"].units(units_of(region))
        assert scores[region.name] == pytest.approx(float(expected.pooled_bits_per_spike()))


def test_words_for_a_region(coordinator, sample, masked):
    name = masked.first.name
    trial = pooled(sample.counts[[0]], masked.rates, units_of(masked.first))
    assert region_score_words(coordinator, name) == f"bits/spike: {trial:+.2f} on this trial"
    coordinator.live.whole = found = whole(sample, masked)
    model = found.pooled("model", units_of(masked.first))
    oracle = found.pooled("oracle", units_of(masked.first))
    assert region_score_words(coordinator, name).endswith(
        f"{model:+.2f} ({model / oracle:.0%} of the oracle) on 4 test trials"
    )


def test_a_region_that_is_visible_can_be_hidden(coordinator, sample, masked):
    other = next(
        r.name for r in sample.regions if r.name not in (masked.first.name, masked.second.name)
    )
    assert "Shift-click" in region_score_words(coordinator, other)


def test_words_for_a_unit(coordinator, sample, masked):
    spikes = sample.counts[0].sum(axis=0)
    inside = units_of(masked.first)
    unit = int(inside[np.argmax(spikes[inside])])
    expected = pooled(sample.counts[[0]], masked.rates, [unit])
    (line,) = unit_score_words(coordinator, unit)
    assert line == f"bits/spike: {expected:+.2f} on this trial"
    visible = next(
        u for u in range(sample.n_units) if u not in inside and u not in units_of(masked.second)
    )
    assert unit_score_words(coordinator, visible) == ()


def test_before_the_first_answer(coordinator, sample):
    assert region_scores(coordinator) == {}
    assert unit_score_words(coordinator, 0) == ()
    assert region_score_words(coordinator, sample.regions[0].name) == "Click to hide it"
