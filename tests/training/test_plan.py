"""Plans: what each batch of a step takes."""

from collections import Counter

import numpy as np
import pytest

from napari_mtm.training.plan import Batch, batches_of, shares, trials_of


def test_a_step_draws_the_same_however_often_it_is_asked() -> None:
    first = batches_of(7, n_sessions=5, n_batches=2, seed=3)
    assert first == batches_of(7, n_sessions=5, n_batches=2, seed=3)
    assert first != batches_of(8, n_sessions=5, n_batches=2, seed=3)
    assert first != batches_of(7, n_sessions=5, n_batches=2, seed=4)


@pytest.mark.parametrize(("n_sessions", "n_batches"), [(1, 1), (5, 1), (5, 2), (3, 8), (2, 2)])
def test_sessions_count_alike(n_sessions: int, n_batches: int) -> None:
    weights: Counter[int] = Counter()
    steps = 60
    for step in range(steps):
        for batch in batches_of(step, n_sessions=n_sessions, n_batches=n_batches, seed=0):
            weights[batch.session] += batch.weight
    assert sum(weights.values()) == pytest.approx(steps)
    for session in range(n_sessions):
        assert weights[session] / steps == pytest.approx(1 / n_sessions)


@pytest.mark.parametrize("n_batches", [1, 2, 4])
def test_tasks_take_turns(n_batches: int) -> None:
    drawn = [
        batch.task
        for step in range(12)
        for batch in batches_of(step, n_sessions=3, n_batches=n_batches, seed=0)
    ]
    for start in range(0, len(drawn), 4):
        assert sorted(drawn[start : start + 4]) == [0, 1, 2, 3]
    assert drawn != sorted(drawn[:4]) * (len(drawn) // 4)


def test_a_batch_stays_in_its_share() -> None:
    held = shares(5, 2)
    assert sorted(held[0] + held[1]) == [0, 1, 2, 3, 4]
    for step in range(50):
        for share, batch in zip(
            held, batches_of(step, n_sessions=5, n_batches=2, seed=0), strict=True
        ):
            assert batch.session in share


def test_no_trial_is_drawn_twice_and_all_where_there_are_few() -> None:
    batch = Batch(0, 0, 1.0, seed=5)
    drawn = trials_of(batch, 100, 16)
    assert len(set(drawn.tolist())) == 16
    assert sorted(trials_of(batch, 3, 16).tolist()) == [0, 1, 2]
    assert np.array_equal(drawn, trials_of(batch, 100, 16))
