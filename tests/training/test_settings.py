"""Settings are whole and sensible when they are made, whoever makes them."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm.errors import MaskError, TrainingError
from napari_mtm.masking.sampling import Recipe
from napari_mtm.training.objective import Objective
from napari_mtm.training.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("steps", -1, "0 or more"),
        ("steps", 1.5, "whole numbers"),
        ("steps", 10**12, "at most"),
        ("steps", "many", "text"),
        ("batch", 0, "1 or more"),
        ("batches", 0, "1 or more"),
        ("batches", 1_000_000_000, "at most 10000"),
        ("rate", 1e30, "at most 1"),
        ("rate", np.nan, "finite"),
        ("rate", -1e-3, "0 or more"),
        ("decay", np.inf, "at most 1|finite"),
        ("warm_up", 2, "at most 1"),
        ("clip", -1, "0 or more"),
        ("averaging", 2, "at most 1"),
        ("averaging", 1.0, "at most 1"),
        ("seed", -1, "0 or more"),
        ("seed", 10**30, "whole|at most|numbers"),
        ("check_every", -5, "0 or more"),
        ("patience", None, "whole numbers"),
        ("batch", [4, 4], "of shape"),
    ],
)
def test_settings_that_make_no_sense(name, value, said):
    with pytest.raises(TrainingError, match=f"The setting {name} must be .*({said})"):
        replace(Settings(), **{name: value})


def test_numbers_of_any_kind_become_pythons_own():
    settings = Settings(steps=np.float32(40), rate=np.float64(1e-3), seed=np.int8(3))
    assert (settings.steps, settings.seed) == (40, 3)
    assert [type(v) for v in (settings.steps, settings.rate, settings.seed)] == [int, float, int]
    assert settings == Settings(steps=40, rate=1e-3, seed=3)


def test_an_objective_that_there_is_not():
    with pytest.raises(TrainingError, match="no masking 'random'; there are mtm, temporal"):
        Objective(masking="random")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"units": (0.5, 0.1)}, "must not end before it begins"),
        ({"units": (0.5, 1.5)}, "at most 1"),
        ({"bins": 0.5}, "of shape"),
        ({"future": -1}, "0 or more"),
        ({"ahead": 0}, "1 or more"),
        ({"region_power": np.nan}, "finite"),
    ],
)
def test_masks_that_cannot_be_drawn(recipe, said):
    with pytest.raises(MaskError, match=said):
        Recipe(**recipe)
