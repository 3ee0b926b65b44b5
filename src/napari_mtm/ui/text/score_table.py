"""How well what is hidden is predicted, as a table: the model, a baseline, the oracle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.live.whole import WholeScores
from napari_mtm.metrics import Tally, tally
from napari_mtm.ui.text.numbers import number, signed
from napari_mtm.ui.text.table import table

if TYPE_CHECKING:
    from napari_mtm.ui.live import Live

_NAMES = "model", "baseline", "oracle"
NOTHING, NO_SPIKES = "nothing is scored", "no spikes there"


@dataclass(frozen=True)
class Row:
    """Scores of some trials in bits per spike, of "model", "baseline" and "oracle".

    None is still to come; what is not there has none. Where `why` says so, there are no scores.
    """

    title: str
    scores: Mapping[str, float | None]
    why: str = ""


def trial_row(live: "Live") -> Row | None:
    """Score the newest answer on the trial that it is of; None where there is no answer."""
    if live.answer is None:
        return None
    request, found = live.answer.request, live.answer.reconstruction
    session, trial, scored = request.session, request.trial, request.mask.scored
    title = f"{session.split().part_of(trial)} trial"
    score = live.scores.bps_pooled
    if math.isnan(score):
        return Row(title, {}, NO_SPIKES if scored.any() else NOTHING)
    # What the network says alone is no score of the model.
    scores: dict[str, float | None] = {"model": None if live.answer.preliminary else score}
    if request.baseline is not None:
        scores["baseline"] = None
        if live.behaviour is not None and live.behaviour.baseline is not None:
            scores["baseline"] = _pooled(tally(found.counts, live.behaviour.baseline, scored))
    if session.rates is not None:
        true = np.asarray(session.rates[[trial]])
        scores["oracle"] = _pooled(tally(found.counts, true, scored))
    return Row(title, scores)


def whole_row(whole: WholeScores | None, n_trials: int) -> Row:
    """Score what is known of so many test trials."""
    if whole is None:
        return Row("test trials", {}, "not scored yet" if n_trials else "there are none")
    title = f"{whole.n_trials} test trials"
    if not whole.done:
        title = f"test, {len(whole.trials)} of {whole.n_trials}"  # no wider than once all are
    counted = whole.tallies["model"]
    if not counted.spikes.any():
        return Row(title, {}, NO_SPIKES if counted.entries.any() else NOTHING)
    return Row(title, {name: whole.pooled(name) for name in whole.tallies})


def score_table(rows: Sequence[Row]) -> str:
    """Write rows under what they are the scores of, as rich text."""
    names = [name for name in _NAMES if any(name in row.scores for row in rows)]
    cells = [["", *names]] if names else []
    for row in rows:
        said = [row.why] if row.why else [_written(name, row.scores) for name in names]
        cells.append([row.title, *said])
    return table(cells)


def _written(name: str, scores: Mapping[str, float | None]) -> str:
    value, model = scores.get(name, math.nan), scores.get("model")
    if value is None:
        return "…"
    if math.isnan(value):
        return ""
    if name != "oracle":
        return f"<b>{signed(value)}</b>" if name == "model" else signed(value)
    if model is None or model <= 0 or value <= 0:
        return number(value)
    return f"{number(value)} ({100 * model / value:.0f}%)"


def _pooled(counted: Tally) -> float:
    return float(counted.pooled_bits_per_spike())
