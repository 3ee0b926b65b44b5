"""Words for masks and scores."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from napari_mtm import Mask
from napari_mtm.live.whole import WholeScores
from napari_mtm.metrics import tally
from napari_mtm.ui.mask_text import (
    mask_words,
    scored_region,
    trial_score_words,
    whole_score_words,
)


def region(sample):
    return max(sample.regions, key=lambda r: r.size)


def test_each_task_is_named_with_its_prompt(sample):
    name = region(sample).name
    masks = {
        "whole region": Mask.region(sample, name),
        "within region": Mask.within_region(sample, name),
        "co-smoothing": Mask.neurons(sample, [0, 5]),
        "forward prediction": Mask.forward(sample),
    }
    for task, mask in masks.items():
        assert f"Task: {task}. Prompt: {task}." in mask_words(mask, None)
        assert mask.describe() in mask_words(mask, None)


def test_a_prompt_by_hand(sample):
    words = mask_words(Mask.forward(sample), "neuron")
    assert "Task: forward prediction. Prompt: co-smoothing, chosen by hand." in words


def test_none_of_the_tasks_says_which_prompt_stands_in(sample):
    hidden = np.zeros((sample.n_bins, sample.n_units), bool)
    hidden[10:20, 3:9] = True
    mask = Mask.from_array(sample, hidden)
    assert "None of the four tasks" in mask_words(mask, None)
    assert "Prompt: co-smoothing, the nearest." in mask_words(mask, None)
    assert "Prompt: whole region, chosen by hand." in mask_words(mask, "inter-region")


def test_nothing_everything_and_nothing_scored(sample):
    nothing = Mask.nothing(sample)
    assert mask_words(nothing, None).startswith("Nothing is hidden.")
    assert "sees nothing" in mask_words(~nothing, None)
    hidden = np.zeros(sample.n_units, bool)
    hidden[:4] = True
    unscored = Mask.from_array(sample, hidden, np.zeros(sample.n_units, bool))
    assert "Nothing of it is scored" in mask_words(unscored, None)


def test_the_region_that_a_mask_is_about(sample):
    name = region(sample).name
    assert scored_region(Mask.region(sample, name)) == name
    assert scored_region(Mask.within_region(sample, name)) == name
    assert scored_region(Mask.forward(sample)) is None
    assert scored_region(Mask.nothing(sample)) is None


def answer(mask):
    return SimpleNamespace(request=SimpleNamespace(mask=mask))


def test_the_score_of_a_trial(sample):
    forward = answer(Mask.forward(sample))

    def words(score, baseline, answer=forward):
        return trial_score_words(answer, "test", score, baseline, "PSTH")

    assert words(0.456, 0.1) == "This test trial: +0.46 bits/spike, PSTH +0.10"
    assert words(-0.2, math.nan) == "This test trial: −0.20 bits/spike"
    assert words(0.456, None) == "This test trial: +0.46 bits/spike, PSTH …"
    assert "no spikes" in words(math.nan, math.nan)
    nothing = answer(Mask.nothing(sample))
    assert "nothing is scored" in words(math.nan, math.nan, nothing)


def test_the_score_of_all_trials(sample):
    trials = sample.split().test[:3]
    counts = sample.counts[trials]
    rates = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape) * 1.0
    better = np.where(counts > 0, rates * 2, rates * 0.5)
    tallies = {"model": tally(counts, better), "baseline": tally(counts, rates)}
    whole = WholeScores(trials, 6, tallies)
    score = float(tallies["model"].pooled_bits_per_spike())
    text = whole_score_words(whole, "PSTH")
    assert text.startswith(f"3 of 6 test trials: {score:+.2f} bits/spike, PSTH ")
    done = WholeScores(trials, 3, {**tallies, "oracle": tallies["model"]})
    assert whole_score_words(done, "PSTH").startswith("3 test trials: ")
    assert whole_score_words(done, "PSTH").endswith(f"100% of the oracle's {score:.2f}")
    assert whole_score_words(None, "PSTH") == "Test trials: not scored yet."


@pytest.mark.parametrize("done", [1, 2])
def test_without_spikes(sample, done):
    counts = np.zeros((done, sample.n_bins, sample.n_units), np.uint8)
    whole = WholeScores(np.arange(done), 2, {"model": tally(counts, counts + 0.1)})
    assert "no spikes in what is scored" in whole_score_words(whole, "PSTH")
