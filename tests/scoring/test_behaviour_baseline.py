"""Behaviour that counts carry is decoded from them, without a model."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mtm import Session
from napari_mtm.recording.session import Split
from napari_mtm.scoring.behaviour_baseline import decode_by_ridge
from napari_mtm.scoring.decoding import beside_ridge, score_decoded
from tests.conftest import trials

N, BINS = 120, 16
SPLIT = Split(np.arange(0, 80), np.arange(80, 90), np.arange(90, N))


def session(lag: int = 0) -> Session:
    """Counts that follow a wheel some bins later, and a choice."""
    rng = np.random.default_rng(0)
    table = trials(N).assign(choice=rng.choice([-1.0, 1.0], N))
    speed = np.abs(np.cumsum(rng.normal(size=(N, BINS)), axis=1))
    rates = np.full((N, BINS, 30), 0.5)
    rates[..., :20] += np.roll(speed, lag, axis=1)[..., None] * rng.uniform(0.5, 1, 20)
    rates[(table["choice"] == -1).to_numpy(), :, 20:] += 2
    counts = np.minimum(rng.poisson(rates), 255)
    return Session.from_counts(
        counts, ["CA1"] * 30, trials=table, behaviour={"wheel-speed": speed}, bin_size=0.02
    )


@pytest.mark.parametrize("lag", [0, 3])
def test_what_counts_carry_is_decoded(lag):
    made = session(lag)
    found = score_decoded(made, SPLIT.test, decode_by_ridge(made, SPLIT, SPLIT.test))
    assert found["wheel-speed"]["r2"] > 0.6
    assert found["choice"]["accuracy"] > 0.95


def test_test_trials_train_nothing():
    made = session()
    before = decode_by_ridge(made, SPLIT, SPLIT.test)
    speed, table = made.behaviour["wheel-speed"].copy(), made.trials.copy()
    speed[SPLIT.test] += 9
    table.loc[SPLIT.test, "choice"] *= -1
    changed = replace(made, behaviour={"wheel-speed": speed}, trials=table)
    after = decode_by_ridge(changed, SPLIT, SPLIT.test)
    assert before.keys() == after.keys() == {"wheel-speed", "choice-by-trial"}
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


def test_scores_stand_beside_those_of_a_model():
    made = session()
    found = beside_ridge(
        {"choice": {"accuracy": 0.6, "chance": 0.5}, "block": {"accuracy": 0.7}},
        made,
        SPLIT,
        SPLIT.test,
    )
    assert found["choice"].keys() == {"accuracy", "chance", "ridge_accuracy"}
    assert found["choice"]["accuracy"] == 0.6
    assert found["choice"]["ridge_accuracy"] > 0.95
    assert found["block"] == {"accuracy": 0.7}


def test_a_session_without_behaviour():
    made = session()
    bare = replace(made, behaviour={}, trials=made.trials.assign(choice=np.nan))
    assert decode_by_ridge(bare, SPLIT, SPLIT.test) == {}
