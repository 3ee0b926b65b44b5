"""All animals share one brain whose areas hear each other."""

import numpy as np
import pytest

from napari_mtm.recording.simulation.areas import AREAS, REPEATED_SITE
from napari_mtm.recording.simulation.behaviour import simulate_behaviour
from napari_mtm.recording.simulation.brain import CLASSES, LATENTS, shared_brain


@pytest.fixture(scope="module")
def brain():
    return shared_brain(REPEATED_SITE)


@pytest.fixture(scope="module")
def latents(brain):
    rng = np.random.default_rng(2)
    return brain.latents(simulate_behaviour(200, rng).inputs, rng)


def test_it_is_one_brain(brain):
    shared_brain.cache_clear()
    again = shared_brain(REPEATED_SITE)
    for name in ("own", "heard", "driven", "classes", "scale"):
        np.testing.assert_array_equal(getattr(again, name), getattr(brain, name))


def test_an_area_is_the_same_whichever_others_are_simulated(brain):
    alone = shared_brain(("DG",))
    k = REPEATED_SITE.index("DG")
    mine = slice(k * LATENTS, (k + 1) * LATENTS)
    np.testing.assert_array_equal(alone.own, brain.own[mine, mine])
    np.testing.assert_array_equal(alone.driven, brain.driven[:, mine])
    np.testing.assert_array_equal(alone.classes[0], brain.classes[k])
    assert alone.classes.shape == (1, CLASSES, LATENTS)


def test_latents_have_about_unit_variance_and_stay_bounded(latents):
    assert np.isfinite(latents).all()
    np.testing.assert_allclose(latents.std(axis=0), 1.0, atol=0.35)
    assert np.abs(latents).max() < 12


@pytest.mark.parametrize("areas", [tuple(AREAS), ("VISa",), ("MRN", "LP")])
def test_any_choice_of_areas_is_stable(areas):
    rng = np.random.default_rng(0)
    latents = shared_brain(areas).latents(simulate_behaviour(40, rng).inputs, rng)
    assert latents.shape[1] == len(areas) * LATENTS
    assert np.abs(latents).max() < 15


def test_stretches_of_time_join_without_a_seam(latents):
    from napari_mtm.recording.simulation.brain import _SEGMENT

    steps = np.abs(np.diff(latents, axis=0)).max(axis=1)
    assert steps[_SEGMENT - 1 :: _SEGMENT].mean() < 1.3 * steps.mean()


def test_areas_hear_each_other(brain, latents):
    """Part of what an area does follows from the past of the others beyond the task's drives."""
    rng = np.random.default_rng(4)
    inputs = simulate_behaviour(150, rng).inputs
    one, other = (brain.latents(inputs, np.random.default_rng(k)) for k in (1, 2))
    noise = one - other  # the task cancels; what is left is noise and what areas send each other
    half = len(noise) // 2
    for k in range(len(REPEATED_SITE)):
        mine = slice(k * LATENTS, (k + 1) * LATENTS)
        target = noise[:, mine]
        rest = np.delete(noise, np.arange(mine.start, mine.stop), axis=1)
        past = np.hstack([np.roll(rest, lag, axis=0) for lag in (5, 20, 50)])
        weights = np.linalg.lstsq(past[:half], target[:half], rcond=None)[0]
        error = ((target[half:] - past[half:] @ weights) ** 2).sum()
        assert 1 - error / (target[half:] ** 2).sum() > 0.1
