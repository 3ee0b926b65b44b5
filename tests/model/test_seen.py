"""Weights say which trials they have seen, and where nobody knows they say that."""

import numpy as np
import pytest

from napari_mtm.model.model import Model
from napari_mtm.model.seen import remember, seen
from napari_mtm.model.weights import load_model, save_model
from tests.model.small import small_model, small_session

SESSION = small_session(11)


@pytest.fixture
def model() -> Model:
    """A model that was trained on no session yet."""
    model = small_model("default", SESSION)
    model.trained = set()
    return model


def marked(model: Model) -> list[int]:
    found = seen(model, SESSION)
    assert found is not None
    assert found.shape == (11,)
    return np.flatnonzero(found).tolist()


def test_a_session_that_weights_do_not_know_has_no_trials_seen(model):
    assert marked(model) == []


def test_trials_add_up_and_are_saved_with_the_weights(model, tmp_path):
    remember(model, SESSION, np.array([0, 9, 10]))
    model.trained.add(SESSION.id)
    remember(model, SESSION, np.array([4, 9]))
    assert marked(model) == [0, 4, 9, 10]
    save_model(model, tmp_path / "m")
    assert marked(load_model(tmp_path / "m", device="cpu")) == [0, 4, 9, 10]


def test_sessions_are_kept_apart(model):
    other = small_session(11, seed=1)
    remember(model, SESSION, np.array([1]))
    remember(model, other, np.array([2]))
    assert marked(model) == [1]


def test_what_was_not_written_down_stays_unknown(model):
    model.trained.add(SESSION.id)
    assert seen(model, SESSION) is None
    remember(model, SESSION, np.array([1]))
    assert seen(model, SESSION) is None


def test_a_session_of_other_trials_is_unknown_and_stays_so(model):
    remember(model, SESSION, np.array([1]))
    model.trained.add(SESSION.id)
    fewer = SESSION.select(trials=np.arange(8))
    assert seen(model, fewer) is None
    remember(model, fewer, np.array([1]))
    assert seen(model, fewer) is None
    assert seen(model, SESSION) is None


@pytest.mark.parametrize(
    "record",
    [
        {"seen": 3},
        {"seen": {SESSION.id: "ff"}},
        {"seen": {SESSION.id: {"trials": 11}}},
        {"seen": {SESSION.id: {"trials": 11, "bits": 3}}},
        {"seen": {SESSION.id: {"trials": 11, "bits": "xy"}}},
        {"seen": {SESSION.id: {"trials": "11", "bits": "ffff"}}},
        {"seen": {SESSION.id: {"trials": 11, "bits": "ff"}}},
    ],
)
def test_a_record_that_is_nonsense_says_nothing(model, record):
    model.trained.add(SESSION.id)
    model.record = record
    assert seen(model, SESSION) is None
