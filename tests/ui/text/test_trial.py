"""Trials in words, and their events on the raster's clock."""

import numpy as np
import pytest

from napari_mtm import Session
from napari_mtm.ui.text.trial import axis_title, trial_events, trial_summary
from tests.conftest import trials


def session(**columns) -> Session:
    return Session.from_counts(np.zeros((4, 100, 1)), ["CA1"], trials=trials(4).assign(**columns))


def test_a_trial_in_words():
    assert trial_summary(session(), 2).splitlines() == [
        "stimulus right, contrast 100%",
        "chose right, correct",
        "first movement after 200 ms",
        "no prior (50:50 block)",
    ]
    assert "chose left, wrong" in trial_summary(session(), 3)


@pytest.mark.parametrize(
    ("probability", "words"), [(0.8, "left block (80% left)"), (0.2, "right block (80% right)")]
)
def test_blocks_in_words(probability, words):
    assert words in trial_summary(session(probabilityLeft=probability), 0)


def test_what_is_not_known_is_left_out():
    bare = Session.from_counts(np.zeros((1, 1, 1)), ["CA1"])
    assert trial_summary(bare, 0) == ""
    assert trial_events(bare, 0) == []
    assert axis_title(bare) == "time (s)"


def test_events_are_timed_from_the_one_that_aligns():
    events = {e.name: e.time for e in trial_events(session(), 1)}
    assert events == pytest.approx({"stimulus": 0.0, "movement": 0.2, "reward": 0.301})
    assert axis_title(session()) == "time from stimulus (s)"


def test_a_wrong_choice_ends_in_an_error_and_events_outside_are_left_out():
    late = session(firstMovement_times=trials(4)["stimOn_times"] + 1.6)
    assert [e.name for e in trial_events(late, 0)] == ["stimulus", "error"]


def test_windows_without_trials():
    times = np.linspace(0, 10, 100)
    cut = Session.from_spikes(times, np.zeros(100, int), window=(0, 2))
    assert trial_summary(cut, 1) == "2.00 to 4.00 s of the recording"
    assert trial_events(cut, 1) == []
    assert axis_title(cut) == "time in window (s)"
