"""Trials are kept as the field keeps them, and each that is not is counted once."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm.errors import SourceError
from napari_mtm.recording.trials import chose_right, select_trials, signed_contrast
from tests.conftest import trials

WHOLE = (0.0, 1000.0)
WINDOW = (-0.5, 1.5)


def test_good_trials_are_kept():
    selection = select_trials(trials(12), "stimOn_times", WINDOW, WHOLE)
    assert selection.keep.all()
    assert selection.excluded == {}


@pytest.mark.parametrize(
    ("column", "change", "reason"),
    [
        ("stimOn_times", lambda v: np.nan, "no stimOn_times"),
        ("choice", lambda v: np.nan, "no choice"),
        ("feedback_times", lambda v: np.nan, "no feedback_times"),
        ("probabilityLeft", lambda v: np.nan, "no probabilityLeft"),
        ("firstMovement_times", lambda v: np.nan, "no firstMovement_times"),
        ("feedbackType", lambda v: np.nan, "no feedbackType"),
        ("choice", lambda v: 0.0, "no choice made"),
        ("firstMovement_times", lambda v: v - 0.2 + 0.0799, "reaction time under 0.08 s"),
        ("firstMovement_times", lambda v: v - 0.2 + 2.001, "reaction time over 2 s"),
        ("goCue_times", lambda v: v - 10, "feedback over 10 s after the go cue"),
    ],
)
def test_each_reason(column, change, reason):
    table = trials(6)
    table.loc[2, column] = change(table.loc[2, column])
    selection = select_trials(table, "stimOn_times", WINDOW, WHOLE)
    assert selection.keep.tolist() == [True, True, False, True, True, True]
    assert selection.excluded == {reason: 1}


def test_a_trial_counts_under_one_reason():
    table = trials(4)
    table.loc[1, ["choice", "stimOn_times", "feedback_times"]] = np.nan
    table.loc[3, "choice"] = 0
    selection = select_trials(table, "stimOn_times", WINDOW, WHOLE)
    assert sum(selection.excluded.values()) == 2
    assert (~selection.keep).sum() == 2


def test_windows_must_lie_in_the_recording():
    table = trials(4)  # stimuli at 2, 6.5, 11 and 15.5 s
    selection = select_trials(table, "stimOn_times", WINDOW, (1.6, 16.0))
    assert selection.keep.tolist() == [False, True, True, False]
    assert selection.excluded == {"window outside the recording": 2}


def test_criteria_without_their_column_are_left_out():
    table = trials(4)[["stimOn_times", "choice"]]
    assert select_trials(table, "stimOn_times", WINDOW, WHOLE).keep.all()


@pytest.mark.parametrize(
    "choice",
    [
        ["left", "right"],
        ["1", "-1"],
        [b"1", b"-1"],
        [1.0, "1"],
        pd.Categorical(["1", "-1"]),
        pd.to_datetime([1, -1]),
        pd.to_timedelta([1, -1]),
    ],
)
def test_words_in_place_of_numbers_are_named(choice):
    table = trials(2).assign(choice=choice)
    with pytest.raises(SourceError, match=r"trials.choice holds something else than numbers"):
        select_trials(table, "stimOn_times", WINDOW, WHOLE)


def test_contrast_keeps_its_side():
    table = trials(4)
    table.loc[0, "contrastRight"] = 0.0
    table.loc[1, "contrastLeft"] = 0.0
    contrast = signed_contrast(table)
    np.testing.assert_array_equal(contrast, [0.0, 0.0, 1.0, -0.25])
    assert np.signbit(contrast).tolist() == [False, True, False, True]


def test_right_is_minus_one_in_ibl():
    table = trials(4)
    table.loc[3, "choice"] = 0
    np.testing.assert_array_equal(chose_right(table), [1, 0, 1, np.nan])


def test_real_choices_have_the_sign_that_we_read(real_data):
    import pandas as pd

    for file in (real_data / "ibllib_trials_test").glob("*.csv"):
        table = pd.read_csv(file)
        answered = table[table["choice"] != 0]
        right = answered["contrastRight"].notna()
        correct = answered["feedbackType"] == 1
        np.testing.assert_array_equal(chose_right(answered) == 1, right == correct)
