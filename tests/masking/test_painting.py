"""What was hidden by hand: in one trial or all, what it means, and undo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtm import Mask, Session
from napari_mtm.masking.painting import PREDICTED, TAKEN, VISIBLE, History, Painting, labels_of

REGIONS = ("CA1", "CA1", "CA1", "VISa", "LP")
N_TRIALS, N_BINS, N_UNITS = 6, 12, len(REGIONS)
SESSION = Session.from_counts(np.ones((N_TRIALS, N_BINS, N_UNITS)), REGIONS, id="painted")
NAMES = SESSION.units["region"].to_numpy()
LONE = int(np.flatnonzero(NAMES == "LP")[0])
"""The only unit of its region."""

NOTHING = Painting.nothing(SESSION)
ALL = None


def entries(bins, units) -> np.ndarray:
    where = np.zeros((N_BINS, N_UNITS), bool)
    where[bins, units] = True
    return where


def filled(label: int) -> np.ndarray:
    return np.full((N_BINS, N_UNITS), label, np.uint8)


def painted(painting: Painting, label: int, bins, units, trial=ALL, asked=None) -> Painting:
    return painting.changed(entries(bins, units), filled(label), trial, asked)


def hidden(painting: Painting, trial: int) -> np.ndarray:
    return painting.mask(SESSION, trial).hidden


# Labels and masks


def test_nothing_is_hidden_at_first():
    for trial in range(N_TRIALS):
        mask = NOTHING.mask(SESSION, trial)
        assert not mask.hidden.any()
        assert not mask.scored.any()
        assert mask.task is None


def test_labels_say_what_is_predicted_and_what_is_taken():
    painting = painted(NOTHING, PREDICTED, slice(2, 5), 0)
    painting = painted(painting, TAKEN, slice(4, 7), 0)
    mask = painting.mask(SESSION, 0)
    np.testing.assert_array_equal(np.flatnonzero(mask.hidden[:, 0]), [2, 3, 4, 5, 6])
    np.testing.assert_array_equal(np.flatnonzero(mask.scored[:, 0]), [2, 3])
    assert not mask.hidden[:, 1:].any()


@pytest.mark.parametrize(
    "mask",
    [
        Mask.nothing(SESSION),
        Mask.region(SESSION, "CA1"),
        Mask.neurons(SESSION, [LONE]),
        Mask.within_region(SESSION, "CA1", [1]),
        Mask.forward(SESSION, -0.35),
        ~Mask.nothing(SESSION),
    ],
    ids=repr,
)
def test_a_mask_is_the_same_mask_as_labels(mask):
    for trial in (0, N_TRIALS - 1):
        assert Painting.of(mask).mask(SESSION, trial) == mask
    again = Painting.nothing(SESSION).replaced(Painting.of(mask), 2)
    assert again.mask(SESSION, 2) == mask
    assert again.mask(SESSION, 3) == Mask.nothing(SESSION)


def test_labels_of_a_mask():
    labels = labels_of(Mask.within_region(SESSION, "CA1", [1]))
    assert labels.dtype == np.uint8
    expected = np.where(NAMES == "CA1", VISIBLE, TAKEN)
    expected[1] = PREDICTED
    np.testing.assert_array_equal(labels, np.broadcast_to(expected, labels.shape))


# One trial, all trials


def test_painting_all_trials_keeps_what_one_trial_has_of_its_own():
    painting = painted(NOTHING, PREDICTED, slice(0, 4), 0, trial=2)
    painting = painted(painting, TAKEN, slice(0, 4), 1)
    for trial in range(N_TRIALS):
        labels = painting.labels(trial)
        assert (labels[:4, 1] == TAKEN).all()
        assert (labels[:4, 0] == (PREDICTED if trial == 2 else VISIBLE)).all()
        assert (labels != VISIBLE).sum() == (8 if trial == 2 else 4)


def test_painting_all_trials_wins_where_both_painted():
    painting = painted(NOTHING, PREDICTED, slice(0, 6), 0, trial=2)
    painting = painted(painting, VISIBLE, slice(3, 9), 0)
    np.testing.assert_array_equal(np.flatnonzero(hidden(painting, 2)[:, 0]), [0, 1, 2])
    painting = painted(painting, TAKEN, slice(0, 1), 0)
    assert painting.labels(2)[0, 0] == painting.labels(0)[0, 0] == TAKEN


def test_painting_one_trial_begins_with_what_all_have():
    painting = painted(NOTHING, PREDICTED, slice(0, 4), 0)
    painting = painted(painting, VISIBLE, slice(2, 4), 0, trial=5)
    assert hidden(painting, 5)[:, 0].sum() == 2
    assert all(hidden(painting, k)[:, 0].sum() == 4 for k in range(5))


def test_replacing_one_trial_leaves_the_others():
    painting = Painting.of(Mask.region(SESSION, "CA1"))
    painting = painting.replaced(Painting.of(Mask.region(SESSION, "LP")), 1)
    assert painting.mask(SESSION, 1) == Mask.region(SESSION, "LP")
    assert painting.mask(SESSION, 0) == Mask.region(SESSION, "CA1")


def test_replacing_all_forgets_what_trials_have_of_their_own():
    painting = painted(NOTHING, PREDICTED, slice(0, 4), 0, trial=2)
    painting = painting.replaced(Painting.of(Mask.region(SESSION, "LP")), ALL)
    assert all(painting.mask(SESSION, k) == Mask.region(SESSION, "LP") for k in range(N_TRIALS))


def test_inverting():
    painting = painted(NOTHING, PREDICTED, slice(0, 4), 0)
    painting = painted(painting, TAKEN, slice(0, 4), 1, trial=3)
    for trial, n_hidden in ((0, 4), (3, 8)):
        inverse = painting.inverted(ALL).mask(SESSION, trial)
        np.testing.assert_array_equal(inverse.hidden, ~hidden(painting, trial))
        np.testing.assert_array_equal(inverse.scored, inverse.hidden)
        assert inverse.hidden.sum() == N_BINS * N_UNITS - n_hidden
    one = painting.inverted(0)
    np.testing.assert_array_equal(hidden(one, 0), ~hidden(painting, 0))
    for trial in range(1, N_TRIALS):
        np.testing.assert_array_equal(hidden(one, trial), hidden(painting, trial))


def test_nothing_is_changed_in_place():
    before = painted(NOTHING, PREDICTED, slice(0, 4), 0, trial=2)
    kept = before.labels(2).copy(), before.labels(0).copy()
    painted(before, TAKEN, slice(0, 9), slice(None))
    painted(before, TAKEN, slice(0, 9), slice(None), trial=2)
    before.inverted(ALL)
    before.inverted(2)
    before.replaced(NOTHING, 2)
    np.testing.assert_array_equal(before.labels(2), kept[0])
    np.testing.assert_array_equal(before.labels(0), kept[1])
    assert not NOTHING.common.any()


trials_or_all = st.one_of(st.none(), st.integers(0, N_TRIALS - 1))
places = st.tuples(
    st.integers(0, N_BINS), st.integers(0, N_BINS), st.integers(0, N_UNITS - 1), st.integers(0, 2)
)
edits = st.lists(
    st.tuples(st.sampled_from(["paint", "invert", "clear"]), trials_or_all, places), max_size=12
)


@given(edits)
def test_every_trial_is_what_a_plain_array_would_be(steps):
    painting, history = NOTHING, History(NOTHING)
    plain = np.zeros((N_TRIALS, N_BINS, N_UNITS), np.uint8)
    stages = [plain.copy()]
    for kind, trial, (start, stop, unit, label) in steps:
        part = plain if trial is None else plain[trial : trial + 1]
        if kind == "paint":
            part[:, start:stop, unit] = label
            painting = painted(painting, label, slice(start, stop), unit, trial)
        elif kind == "invert":
            part[:] = np.where(part == VISIBLE, PREDICTED, VISIBLE)
            painting = painting.inverted(trial)
        else:
            part[:] = VISIBLE
            painting = painting.replaced(NOTHING, trial)
        if history.push(painting):
            stages.append(plain.copy())
        np.testing.assert_array_equal(stages[-1], plain)  # what was not pushed changed nothing
    for stage in reversed(stages):
        for trial in range(N_TRIALS):
            np.testing.assert_array_equal(history.now.labels(trial), stage[trial])
        history.undo()
    assert not history.can_undo


# What is meant


def test_the_task_that_was_meant_is_kept():
    for mask, task in (
        (Mask.region(SESSION, "LP"), "inter-region"),
        (Mask.neurons(SESSION, LONE), "neuron"),
    ):
        assert Painting.of(mask).mask(SESSION, 0).task == task
        assert NOTHING.replaced(Painting.of(mask), ALL).mask(SESSION, 4).task == task


def test_what_was_meant_is_kept_trial_by_trial():
    painting = NOTHING.replaced(Painting.of(Mask.neurons(SESSION, LONE)), 1)
    painting = painting.replaced(Painting.of(Mask.region(SESSION, "LP")), 2)
    assert painting.mask(SESSION, 1).task == "neuron"
    assert painting.mask(SESSION, 2).task == "inter-region"
    assert painting.mask(SESSION, 0).task is None
    painting = painted(painting, PREDICTED, slice(None), 0, trial=1)
    painting = painted(painting, VISIBLE, slice(None), 0, trial=1)
    assert painting.mask(SESSION, 1).task == "inter-region"  # what it is most likely
    assert painting.mask(SESSION, 2).task == "inter-region"


def test_a_change_can_say_what_it_means():
    for trial in (ALL, 3):
        asked = painted(NOTHING, PREDICTED, slice(None), LONE, trial, asked="neuron")
        assert asked.mask(SESSION, 3).task == "neuron"
        plain = painted(NOTHING, PREDICTED, slice(None), LONE, trial)
        assert plain.mask(SESSION, 3).task == "inter-region"


def test_a_change_of_all_trials_means_the_same_in_those_with_labels_of_their_own():
    painting = painted(NOTHING, PREDICTED, slice(0, 1), 0, trial=3)
    painting = painted(painting, VISIBLE, slice(0, 1), 0)
    painting = painted(painting, PREDICTED, slice(None), LONE, asked="neuron")
    assert painting.mask(SESSION, 3).task == painting.mask(SESSION, 0).task == "neuron"


def test_what_was_meant_is_forgotten_once_something_else_is_hidden_too():
    painting = Painting.of(Mask.neurons(SESSION, LONE))
    painting = painted(painting, PREDICTED, slice(0, 3), 0)
    painting = painted(painting, VISIBLE, slice(0, 3), 0)
    assert painting.mask(SESSION, 0).task == "inter-region"


def test_what_was_meant_never_overrules_what_is_hidden():
    painting = painted(NOTHING, PREDICTED, slice(0, 3), 0, asked="neuron")
    assert painting.mask(SESSION, 0).task is None


# Sameness


def test_a_change_that_changes_no_label_is_none():
    painting = Painting.of(Mask.region(SESSION, "LP"))
    for trial in (ALL, 0):
        assert painted(painting, PREDICTED, slice(None), LONE, trial).same_as(painting)
        assert painted(painting, VISIBLE, slice(None), 0, trial).same_as(painting)
    assert painted(painting, PREDICTED, slice(None), LONE).mask(SESSION, 0).task == "inter-region"


def test_a_trial_of_its_own_that_is_like_the_others_is_no_difference():
    cleared = NOTHING.replaced(NOTHING, 2)
    assert cleared.same_as(NOTHING)
    assert NOTHING.same_as(cleared)


@pytest.mark.parametrize("trial", [ALL, 2])
def test_differences_that_count(trial):
    painting = painted(NOTHING, PREDICTED, slice(0, 3), 0)
    others = (
        painted(painting, PREDICTED, slice(3, 4), 0, trial),
        painted(painting, TAKEN, slice(0, 1), 0, trial),
        painting.replaced(NOTHING, trial),
    )
    for other in others:
        assert not painting.same_as(other)
        assert not other.same_as(painting)


@pytest.mark.parametrize("trial", [ALL, 2])
def test_meaning_something_else_counts(trial):
    region = NOTHING.replaced(Painting.of(Mask.region(SESSION, "LP")), trial)
    unit = NOTHING.replaced(Painting.of(Mask.neurons(SESSION, LONE)), trial)
    assert not region.same_as(unit)
    assert not unit.same_as(region)


# Undo


def test_undo_and_redo_go_through_everything_in_order():
    stages = [NOTHING]
    stages.append(painted(stages[-1], PREDICTED, slice(0, 3), 0))
    stages.append(painted(stages[-1], TAKEN, slice(5, 9), 1, trial=2))
    stages.append(stages[-1].inverted(ALL))
    stages.append(stages[-1].replaced(Painting.of(Mask.region(SESSION, "LP")), 4))
    stages.append(stages[-1].replaced(NOTHING, ALL))
    history = History(NOTHING)
    assert not history.undo()
    assert not history.redo()
    assert all(history.push(stage) for stage in stages[1:])
    for stage in reversed(stages[:-1]):
        assert history.can_undo
        assert history.undo()
        assert history.now is stage
    assert not history.can_undo
    assert not history.undo()
    for stage in stages[1:]:
        assert history.can_redo
        assert history.redo()
        assert history.now is stage
    assert not history.can_redo
    assert not history.redo()


def test_what_was_undone_is_gone_after_another_edit():
    history = History(NOTHING)
    history.push(painted(NOTHING, PREDICTED, slice(0, 3), 0))
    history.undo()
    other = painted(NOTHING, TAKEN, slice(0, 3), 1)
    history.push(other)
    assert not history.can_redo
    history.undo()
    history.redo()
    assert history.now is other


def test_an_edit_that_changes_nothing_is_no_step_and_keeps_what_can_be_redone():
    history = History(NOTHING)
    history.push(painted(NOTHING, PREDICTED, slice(0, 3), 0))
    history.undo()
    assert not history.push(Painting.nothing(SESSION))
    assert not history.push(NOTHING.replaced(NOTHING, 1))
    assert not history.can_undo
    assert history.can_redo


def test_two_hundred_steps_can_be_undone():
    history = History(NOTHING)
    stages = [NOTHING]
    for k in range(250):
        where = entries(k % N_BINS, k // N_BINS % N_UNITS)
        label = filled([PREDICTED, TAKEN][k // (N_BINS * N_UNITS) % 2])
        stages.append(stages[-1].changed(where, label, [ALL, 1][k % 2]))
        assert history.push(stages[-1])
    undone = 0
    while history.undo():
        undone += 1
        assert history.now is stages[-1 - undone]
    assert undone == 200
    redone = 0
    while history.redo():
        redone += 1
    assert redone == 200
    assert history.now is stages[-1]
