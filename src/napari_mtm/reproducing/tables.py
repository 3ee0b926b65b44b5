"""The tables of a study: means with intervals, and what they say of each claim."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.reproducing.arms import REFERENCES
from napari_mtm.reproducing.study import Result

_RESAMPLES = 2000

Key = tuple[str, int]
"""A session and a seed."""


@dataclass(frozen=True)
class Claim:
    """That one arm scores higher than another, by at least so many bits per spike, pooled."""

    text: str
    better: str
    worse: str
    scores: tuple[Score, ...] = SCORES
    least: float = 0.0


def of_arm(results: Iterable[Result], arm: str, score: Score) -> dict[Key, float]:
    """Pooled bits per spike of an arm, where there are any."""
    return {
        (r.session, r.seed): r.pooled[score] for r in results if r.arm == arm and score in r.pooled
    }


def pairs(
    results: Sequence[Result], x: str, y: str, score: Score
) -> dict[Key, tuple[float, float]]:
    """Scores of two arms by session and seed; references have one seed, which serves for all."""
    of_x, of_y = of_arm(results, x, score), of_arm(results, y, score)
    if x in REFERENCES:
        of_x = {key: of_x[key[0], 0] for key in of_y if (key[0], 0) in of_x}
    return {key: (value, of_y[key]) for key, value in of_x.items() if key in of_y}


def paired(results: Sequence[Result], claim: Claim, score: Score) -> dict[Key, float]:
    """By how much a claim's better arm is above the other, by session and seed."""
    both = pairs(results, claim.worse, claim.better, score)
    return {key: better - worse for key, (worse, better) in both.items()}


def by_session(values: Mapping[Key, float]) -> dict[str, float]:
    """Means over seeds."""
    found: dict[str, list[float]] = {}
    for (session, _), value in values.items():
        found.setdefault(session, []).append(value)
    return {session: float(np.mean(some)) for session, some in found.items()}


def interval(values: Mapping[Key, float]) -> tuple[float, float, float]:
    """Return the mean over sessions and a 95% interval around it.

    Sessions are resampled, and within each its seeds.
    """
    sessions: dict[str, list[float]] = {}
    for (session, _), value in values.items():
        sessions.setdefault(session, []).append(value)
    of_sessions = [np.asarray(found) for found in sessions.values()]
    mean = float(np.mean([found.mean() for found in of_sessions]))
    rng = np.random.default_rng(0)
    n = len(of_sessions)
    drawn = rng.integers(n, size=(_RESAMPLES, n))
    means = np.zeros(drawn.shape)
    for i, found in enumerate(of_sessions):
        seeds = rng.choice(found, (_RESAMPLES, n, len(found)))
        means = np.where(drawn == i, seeds.mean(axis=2), means)
    low, high = np.percentile(means.mean(axis=1), [2.5, 97.5])
    return float(low), mean, float(high)


def score_table(results: Sequence[Result], arms: Iterable[str]) -> Iterable[str]:
    """Yield the lines of a table of arms by tests."""
    yield from head("", *SCORES)
    for arm in arms:
        if any(r.arm == arm for r in results):
            cells = [with_interval(of_arm(results, arm, score)) for score in SCORES]
            yield row(arm, *cells)


def claim_table(results: Sequence[Result], claims: Iterable[Claim]) -> Iterable[str]:
    """Yield the lines of a table of claims by tests, with what is said of each.

    Of each difference stands there in how many sessions it is above 0.
    """
    yield from head("claim", *SCORES, "")
    for claim in claims:
        cells, verdicts = [], []
        for score in SCORES:
            differences = paired(results, claim, score)
            if score not in claim.scores or not differences:
                cells.append("")
                continue
            sessions = by_session(differences).values()
            above = sum(value > 0 for value in sessions)
            cells.append(f"{with_interval(differences, '+')}, {above} of {len(sessions)}")
            verdicts.append(float(np.mean(list(sessions))) >= claim.least)
        if verdicts:
            least = f" by {claim.least:g}" if claim.least else ""
            verdict = "holds" if all(verdicts) else "holds in part" if any(verdicts) else "does not"
            yield row(f"{claim.text}{least}", *cells, verdict)


def with_interval(values: Mapping[Key, float], sign: str = "") -> str:
    """Write the mean over sessions and its interval, nothing where there are no values.

    `sign` is "+" for a difference.
    """
    if not values:
        return ""
    low, mean, high = interval(values)
    return f"{mean:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def head(*cells: str) -> Iterable[str]:
    """Yield the first two lines of a table."""
    yield row(*cells)
    yield "|---" * len(cells) + "|"


def row(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"
