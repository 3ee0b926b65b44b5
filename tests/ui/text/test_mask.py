"""Words for masks and scores."""

import numpy as np

from napari_mtm import Mask
from napari_mtm.ui.text.mask import mask_words, scored_region


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
