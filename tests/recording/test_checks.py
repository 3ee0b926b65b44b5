"""What is said of a recording before it is trusted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mtm.recording.checks import wheel_sign
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.traces import Trace


def trials_and_wheel(signs: np.ndarray, turn: float = 0.4) -> tuple[pd.DataFrame, Trace]:
    """Trials of 2 s in which the choice is 1 and -1 in turn, and a wheel that turns by `signs`."""
    n = len(signs)
    choice = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    on = 1.0 + 2.0 * np.arange(n)
    trials = pd.DataFrame({"stimOn_times": on, "feedback_times": on + 1, "choice": choice})
    moved = np.cumsum(signs * turn)
    times = np.sort(np.concatenate([[0.0], on, on + 1, [on[-1] + 2]]))
    values = np.concatenate([[0.0], np.repeat(np.concatenate([[0.0], moved]), 2)[:-1], [moved[-1]]])
    return trials, Trace(times, values[1:])


def turns(n: int, contrary: int) -> np.ndarray:
    """Turns that follow the choice, counter-clockwise (positive) for -1, but for some."""
    choice = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    return np.where(np.arange(n) < contrary, choice, -choice)


@pytest.mark.parametrize(("contrary", "said"), [(0, None), (20, None), (40, "100%"), (34, "85%")])
def test_a_wheel_that_turns_against_the_choice(contrary, said):
    trials, wheel = trials_and_wheel(turns(40, contrary))
    note = wheel_sign(wheel, trials)
    assert (note is None) if said is None else f"in {said} of trials" in note


def test_few_or_small_turns_say_nothing():
    assert wheel_sign(*reversed(trials_and_wheel(turns(18, 18)))) is None
    assert wheel_sign(*reversed(trials_and_wheel(turns(40, 40), turn=0.05))) is None


def test_without_wheel_trials_or_choices_nothing_is_said():
    trials, wheel = trials_and_wheel(turns(40, 40))
    assert wheel_sign(None, trials) is None
    assert wheel_sign(wheel, None) is None
    assert wheel_sign(wheel, trials.drop(columns="choice")) is None
    assert wheel_sign(Trace(np.empty(0), np.empty(0)), trials) is None
    assert wheel_sign(wheel, trials.assign(feedback_times=np.nan)) is None


def test_the_note_is_on_the_session():
    recording = find_source("sample").read()
    wheel = recording.wheel_position
    flipped = replace(recording, wheel_position=Trace(wheel.times, -wheel.values))
    assert prepare(recording, Preparation()).notes == ()
    (note,) = prepare(flipped, Preparation()).notes
    assert note.startswith("The wheel turns against the choice in")
