"""Scores of the parts of what is hidden: by region and by unit, on the trial and on test trials."""

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.ui.text.numbers import number, rate, signed

if TYPE_CHECKING:
    import pandas as pd

    from napari_mtm.ui.coordinator import Coordinator, Hover


def region_scores(coordinator: "Coordinator") -> dict[str, float]:
    """Return bits per spike of each region that is scored: of the test trials, else of the trial.

    Pooled over units; regions without spikes in what is scored are left out.
    """
    live, session = coordinator.live, coordinator.session
    if session is None or not _is_scored(coordinator):
        return {}
    found = _of_trial(coordinator, "regions")
    trial = dict(zip(found["region"], found["bps_pooled"], strict=True))
    scores = {str(name): float(score) for name, score in trial.items()}
    if live.whole is not None:
        names = session.units["region"].to_numpy()
        scores = {
            name: live.whole.pooled("model", np.flatnonzero(names == name)) for name in scores
        }
    return {name: score for name, score in scores.items() if math.isfinite(score)}


def region_score_words(coordinator: "Coordinator", name: str) -> str:
    """Say how well a region is predicted, or how to hide it."""
    if coordinator.session is None or not _is_scored(coordinator):
        return "Click to hide it"
    found = _of_trial(coordinator, "regions")
    rows = found.loc[found["region"] == name, "bps_pooled"]
    if rows.empty:
        return "Click to hide it, Shift-click to hide it too"
    units = np.flatnonzero(coordinator.session.units["region"].to_numpy() == name)
    return _words(coordinator, float(rows.iloc[0]), units)


def unit_score_words(coordinator: "Coordinator", unit: int) -> tuple[str, ...]:
    """Say in a line how well a unit is predicted; nothing where it is not scored."""
    if coordinator.session is None or not _is_scored(coordinator):
        return ()
    found = _of_trial(coordinator, "units")
    rows = found.loc[found["uuid"] == str(coordinator.session.units["uuid"].iloc[unit]), "bps"]
    if rows.empty:
        return ()
    return (_words(coordinator, float(rows.iloc[0]), np.array([unit])),)


def hover_line(coordinator: "Coordinator", hover: "Hover") -> str:
    """Say when the cursor is, how many spikes are there, and what is predicted of them."""
    spikes = "1 spike" if hover.count == 1 else f"{hover.count} spikes"
    line = f"{number(hover.time)} s: {spikes}"
    session, answer = coordinator.session, coordinator.live.answer
    if session is None or answer is None or answer.request.trial != coordinator.trial:
        return line
    found = answer.reconstruction
    if found.mask.hidden[hover.bin, hover.unit]:
        predicted = found.rates[0, hover.bin, hover.unit] / session.bin_size
        line += f", {rate(predicted)} predicted"
    return line


def _is_scored(coordinator: "Coordinator") -> bool:
    """Whether there is an answer of all that the model has to say."""
    return coordinator.live.answer is not None and not coordinator.live.preliminary


def _of_trial(coordinator: "Coordinator", table: str) -> "pd.DataFrame":
    scores = coordinator.live.scores
    found: pd.DataFrame = getattr(scores, table)
    return found


def _words(coordinator: "Coordinator", trial: float, units: "np.ndarray") -> str:
    whole = coordinator.live.whole
    parts = [f"{_written(trial)} on this trial"]
    if whole is not None:
        model, oracle = whole.pooled("model", units), whole.pooled("oracle", units)
        share = f" ({number(100 * model / oracle, 0)}% of the oracle)" if oracle > 0 else ""
        parts.append(f"{_written(model)}{share} on {len(whole.trials)} test trials")
    return "bits/spike: " + ", ".join(parts)


def _written(score: float) -> str:
    return signed(score) if math.isfinite(score) else "no spikes"
