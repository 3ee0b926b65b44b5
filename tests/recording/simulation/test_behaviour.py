"""Simulated mice behave like mice in the IBL task."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm.recording.simulation.behaviour import DRIVES, simulate_behaviour
from napari_mtm.recording.simulation.truth import STEP


@pytest.fixture(scope="module")
def behaviour():
    return simulate_behaviour(800, np.random.default_rng(5))


def responses(table: pd.DataFrame) -> pd.Series:
    return (table["response_times"] - table["stimOn_times"]).dropna()


def test_events_follow_each_other(behaviour):
    table = behaviour.trials
    order = ["intervals_0", "stimOn_times", "firstMovement_times", "response_times"]
    order += ["feedback_times", "stimOff_times", "intervals_1"]
    moved = table["choice"] != 0
    times = table.loc[moved, order].to_numpy()
    assert (np.diff(times, axis=1) > 0).all()
    gaps = table["intervals_0"].to_numpy()[1:] - table["intervals_1"].to_numpy()[:-1]
    assert (gaps > -1e-6).all()


def test_times_are_no_finer_than_real_clocks(behaviour):
    """So that the last digits of what was drawn, which differ between machines, do not show."""
    pd.testing.assert_frame_equal(behaviour.trials, behaviour.trials.round(4), check_exact=True)
    np.testing.assert_array_equal(behaviour.camera_times, behaviour.camera_times.round(6))


def test_feedback_follows_choice_and_side(behaviour):
    table = behaviour.trials
    right = table["contrastRight"].notna()
    assert (right != table["contrastLeft"].notna()).all()
    chose_right = table["choice"] == -1
    np.testing.assert_array_equal(
        table["feedbackType"] == 1, (chose_right == right) & (table["choice"] != 0)
    )


def test_blocks_bias_the_sides_and_the_choices(behaviour):
    table = behaviour.trials
    assert set(table["probabilityLeft"]) == {0.2, 0.5, 0.8}
    weak = table[table[["contrastLeft", "contrastRight"]].min(axis=1) < 0.1]
    left_block = weak["probabilityLeft"] == 0.8
    assert (weak["choice"] == 1)[left_block].mean() > (weak["choice"] == 1)[
        ~left_block
    ].mean() + 0.2
    assert table.loc[table["probabilityLeft"] == 0.8, "contrastLeft"].notna().mean() > 0.7


def test_response_times_and_choices_look_like_real_ones(behaviour, real_data):
    """Within the range over the real sessions of a trained mouse."""
    files = sorted((real_data / "ibllib_trials_test").glob("*.csv"))
    real = [t for t in map(pd.read_csv, files) if (t["task_protocol"] == "biased").all()]
    for quantile in (0.25, 0.5, 0.75):
        observed = [responses(t).quantile(quantile) for t in real]
        assert 0.9 * min(observed) < responses(behaviour.trials).quantile(quantile) < max(observed)
    for contrast in (0.0, 0.0625, 0.125, 0.25, 1.0):
        correct = [
            (t["feedbackType"] > 0)[t["contrastLeft"].fillna(t["contrastRight"]) == contrast].mean()
            for t in [*real, behaviour.trials]
        ]
        assert min(correct[:-1]) - 0.12 < correct[-1] < max(correct[:-1]) + 0.06


def test_the_wheel_turns_the_way_that_was_chosen(behaviour):
    table = behaviour.trials[behaviour.trials["choice"] != 0]
    before, after = (
        np.interp(table[column], behaviour.wheel_times, behaviour.wheel_position)
        for column in ("firstMovement_times", "response_times")
    )
    turned = after - before
    # IBL: a choice of -1 is a counter-clockwise turn, which is positive.
    assert (np.sign(turned) == -table["choice"]).mean() > 0.99
    assert np.median(np.abs(turned)) == pytest.approx(0.3, abs=0.02)


def test_the_wheel_is_quiet_before_the_stimulus(behaviour):
    on = behaviour.trials["stimOn_times"]
    before, at = (
        np.interp(t, behaviour.wheel_times, behaviour.wheel_position) for t in (on - 0.2, on)
    )
    assert np.median(np.abs(at - before)) < 0.01


def test_whiskers_move_with_the_wheel(behaviour):
    speed = behaviour.inputs[:, DRIVES.index("wheel speed")]
    frames = (behaviour.camera_times / STEP).astype(int)
    moving = speed[frames] > 0.1
    assert behaviour.motion_energy[moving].mean() > 1.5 * behaviour.motion_energy[~moving].mean()
    assert (behaviour.motion_energy > 0).all()


def test_the_decision_is_there_before_the_movement(behaviour):
    table = behaviour.trials[
        behaviour.trials["firstMovement_times"] - behaviour.trials["stimOn_times"] > 0.25
    ]
    decision = behaviour.inputs[:, DRIVES.index("decision")]
    at = (table["firstMovement_times"] / STEP).astype(int).to_numpy() - 3
    assert (np.sign(decision[at]) == -table["choice"]).mean() > 0.8


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_trials(n):
    behaviour = simulate_behaviour(n, np.random.default_rng(0))
    assert len(behaviour.trials) == n
    assert np.isfinite(behaviour.inputs).all()
