"""What hiding costs: how well behaviour is decoded with the mask and without, in words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.session import Session
from napari_mtm.ui.text.behaviour import shown, words
from napari_mtm.ui.text.numbers import number, signed
from napari_mtm.ui.text.table import table

if TYPE_CHECKING:
    from napari_mtm.live.whole import WholeScores


@dataclass(frozen=True)
class Cost:
    """How well something is decoded with nothing hidden, with the mask, and by chance.

    Of a choice the share that is right; by chance that of the commoner side. Of a trace
    R²; by chance that of its mean course over the training trials, which asks no neuron.
    """

    name: str
    visible: float
    masked: float
    chance: float


def costs(session: Session, whole: "WholeScores") -> list[Cost]:
    """Score choices and traces over trials that are done, what is known of them."""
    from napari_mtm.scoring.decoding import score_decoded

    visible, masked, chance = (
        score_decoded(session, whole.trials, decoded)
        for decoded in (whole.visible, whole.masked, _mean_courses(session, len(whole.trials)))
    )
    found = []
    for name in ("choice", *shown(session.traces)):
        if name in visible and name in masked:
            measure = "accuracy" if name == "choice" else "r2"
            by_chance = visible[name]["chance"] if name == "choice" else chance[name]["r2"]
            found.append(Cost(name, visible[name][measure], masked[name][measure], by_chance))
    return found


def _mean_courses(session: Session, n_trials: int) -> dict[str, npt.NDArray[np.float64]]:
    """Mean of each trace over the training trials in which it is known, for every trial."""
    courses = {}
    for name, trace in session.behaviour.items():
        known = trace[session.split().train]
        known = known[np.isfinite(known).all(axis=1)]
        course = known.mean(axis=0, dtype=np.float64) if len(known) else np.zeros(session.n_bins)
        courses[name] = np.broadcast_to(course, (n_trials, session.n_bins))
    return courses


def cost_words(session: Session, whole: "WholeScores") -> str:
    """Say in a few lines, as rich text, what hiding costs."""
    from napari_mtm.model.readouts import decodable

    found = costs(session, whole)
    n, total = len(whole.trials), whole.n_trials
    trials = f"{total} test trials" if whole.done else f"{n} of {total} test trials"
    if not found:
        why = (
            "there are no readouts for this session yet"
            if decodable(session, session.split().train)
            else "too few training trials have a choice or a trace"
        )
        return f"{trials}: behaviour is not decoded, {why}."
    rows = [("", "all seen → mask", "", "chance"), *map(_cost_row, found)]
    return f"<b>{trials}</b>{table(rows)}"


def _cost_row(cost: Cost) -> tuple[str, ...]:
    drop = cost.visible - cost.masked
    if cost.name == "choice":
        change = f"{cost.visible:.0%} → {cost.masked:.0%}"
        rest = (f"{signed(-100 * drop, 0)} points", f"{cost.chance:.0%}")
    else:
        change = f"{number(cost.visible)} → {number(cost.masked)}"
        rest = (signed(-drop), number(cost.chance))
    return words(cost.name).score, change, *rest
