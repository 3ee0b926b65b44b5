"""What is known of a choice beyond the stimulus."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm.scoring.beyond_stimulus import on_errors, within_contrasts


def table(left, right, chose_right, feedback=None) -> pd.DataFrame:
    made = {"contrastLeft": left, "contrastRight": right}
    made["choice"] = [-1.0 if r == 1 else 1.0 if r == 0 else 0.0 for r in chose_right]
    if feedback is not None:
        made["feedbackType"] = feedback
    return pd.DataFrame(made)


def test_pairs_of_equal_contrasts_by_hand():
    """One pair is told, one not, one is level; pairs of other contrasts do not count."""
    trials = table([0.5, 0.5, 0.5, 1, 1, 0], [np.nan] * 3 + [0, 0, 0], [1, 0, 0, 1, 0, 1])
    found = within_contrasts(trials, np.array([0.6, 0.2, 0.9, 0.3, 0.3, 0.99]))
    assert found == pytest.approx((1 + 0 + 0.5) / 3)


def test_who_knows_the_stimulus_alone_is_at_chance():
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 400)
    chosen = np.where(rng.random(400) < 0.8, side, 1 - side)
    trials = table(np.where(side, 0, 0.5), np.where(side, 0.5, 0), chosen)
    assert within_contrasts(trials, side * 0.9) == 0.5
    assert within_contrasts(trials, chosen * 0.9) == 1


def test_both_sides_make_a_contrast_and_none_is_one_too():
    """Where only one side were looked at, the first two trials would be a pair."""
    trials = table([0.5, 0.5, np.nan, 0.0], [0.25, 1.0, 0.0, np.nan], [1, 0, 1, 0])
    assert within_contrasts(trials, np.array([0.1, 0.9, 0.8, 0.3])) == 1


@pytest.mark.parametrize("chosen", [[1, 1, 1], [1, np.nan, np.nan]])
def test_without_a_pair_nothing_is_known(chosen):
    assert np.isnan(within_contrasts(table([1.0] * 3, [0.0] * 3, chosen), np.ones(3)))


def test_without_contrasts_nothing_is_known():
    trials = table([np.nan] * 2, [np.nan] * 2, [1, 0])
    assert np.isnan(within_contrasts(trials, np.array([0.9, 0.1])))
    assert np.isnan(within_contrasts(trials[["choice"]], np.array([0.9, 0.1])))


def test_only_errors_count():
    trials = table([1] * 5, [0] * 5, [0, 1, 1, 0, np.nan], [1, -1, -1, -1, -1])
    assert on_errors(trials, np.array([0.9, 0.8, 0.3, 0.1, 0.5])) == pytest.approx(2 / 3)


def test_without_errors_nothing_is_known():
    assert np.isnan(on_errors(table([1.0], [0.0], [0], [1]), np.zeros(1)))
    assert np.isnan(on_errors(table([1.0], [0.0], [1]), np.zeros(1)))
