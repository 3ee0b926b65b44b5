"""Which session and trials each batch of a step takes.

Everything here follows from a seed and the number of the step, never from how many
processes there are or what was drawn before: a run that is resumed, or shared among
other processes, goes on with the same batches.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.tasks import TASKS


@dataclass(frozen=True)
class Batch:
    """One batch: the places of its session and task, the weight of its loss, a seed of its own."""

    session: int
    task: int
    weight: float
    seed: int


def batches_of(step: int, *, n_sessions: int, n_batches: int, seed: int) -> list[Batch]:
    """Return the batches of a step.

    Each takes its own share of the sessions in turn, in an order that is shuffled for
    every round, so that a process need hold no others. They are weighed so that all
    sessions count alike; the weights of a step sum to 1. Tasks take turns likewise.
    """
    found = []
    for place, share in enumerate(shares(n_sessions, n_batches)):
        session = share[_in_turn(len(share), step, [seed, 0, place])]
        holders = 1 if n_sessions >= n_batches else len(range(share[0], n_batches, n_sessions))
        found.append(
            Batch(
                session=session,
                task=_in_turn(len(TASKS), step * n_batches + place, [seed, 1]),
                weight=len(share) / (n_sessions * holders),
                seed=int(np.random.default_rng([seed, 2, step, place]).integers(2**62)),
            )
        )
    return found


def _in_turn(n: int, k: int, seed: list[int]) -> int:
    """Return whose turn it is of n the k-th time, in rounds that are each shuffled."""
    turn, place = divmod(k, n)
    return int(np.random.default_rng([*seed, turn]).permutation(n)[place])


def shares(n_sessions: int, n_batches: int) -> list[list[int]]:
    """Return the sessions that each batch of a step draws from."""
    if n_sessions >= n_batches:
        return [list(range(place, n_sessions, n_batches)) for place in range(n_batches)]
    return [[place % n_sessions] for place in range(n_batches)]


def trials_of(batch: Batch, n_trials: int, size: int) -> npt.NDArray[np.intp]:
    """Draw the trials of a batch, none twice; all where there are fewer than `size`."""
    rng = np.random.default_rng(batch.seed)
    return rng.permutation(n_trials)[:size].astype(np.intp)
