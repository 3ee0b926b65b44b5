"""What a fine-tuning gained on the test trials, before and after, beside the baselines."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from napari_mtm.errors import MtmError, TrainingError
from napari_mtm.masking.tasks import SCORES
from napari_mtm.model.model import Model
from napari_mtm.model.weights import load_model
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session
from napari_mtm.records import read, write
from napari_mtm.scoring.decoding import decode_behaviour, score_decoded
from napari_mtm.scoring.evaluate import evaluate
from napari_mtm.training.run import COMPARISON, Run

BEFORE, AFTER, GAIN, CHANCE = "before", "after", "gain", "chance"
_RESAMPLES = 300


class Interval(BaseModel):
    """A score, and the bounds of 95% of resampled sets of trials; None where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, low: float = math.nan, high: float = math.nan) -> "Interval":
        """Make one of numbers of which NaN are none."""
        return cls(value=_known(value), low=_known(low), high=_known(high))


class Comparison(BaseModel):
    """Scores of a run's weights on test trials.

    Attributes
    ----------
    trials
        How many test trials.
    started
        Whether "before" is what training started with, since the weights before that are not
        to be found.
    tasks
        By test: pooled bits per spike of "before", "after", each baseline and the oracle
        where there is one, and the "gain" of "after" over "before". Units are held out in
        groups.
    readouts
        By what is decoded: R² or accuracy "before" and "after", and the "chance" of the latter.

    """

    model_config = ConfigDict(extra="forbid")

    trials: int
    started: bool
    tasks: dict[str, dict[str, Interval]]
    readouts: dict[str, dict[str, Interval]]

    def value(self, task: str, predictor: str) -> float:
        """Return a score, NaN where there is none."""
        found = self.tasks.get(task, {}).get(predictor)
        return math.nan if found is None or found.value is None else found.value


def compare(run: Run, session: Session, model: Model, *, progress: Progress = silent) -> Comparison:
    """Score a run's best weights, `model`, on test trials beside what they were trained from."""
    before, started = _before(run, model)
    scores = evaluate(
        model,
        session,
        others={BEFORE: before},
        quick=True,
        progress=part(progress, 0.0, 0.9),
    )
    tasks: dict[str, dict[str, Interval]] = {}
    for row in scores.summary().to_dict("records"):
        name = AFTER if row["predictor"] == "model" else str(row["predictor"])
        found = Interval.of(row["bps_pooled"], row["bps_pooled_low"], row["bps_pooled_high"])
        tasks.setdefault(str(row["task"]), {})[name] = found
    for task in SCORES:
        low, value, high = scores.gain(task, "model", BEFORE)
        tasks[task][GAIN] = Interval.of(value, low, high)
    progress(0.95, "decoding behaviour")
    readouts: dict[str, dict[str, Interval]] = {}
    for name, which in ((BEFORE, before), (AFTER, model)):
        for behaviour, (score, chance) in _readouts(which, session, scores.trials).items():
            readouts.setdefault(behaviour, {})[name] = score
            if chance is not None:
                readouts[behaviour][CHANCE] = chance
    return Comparison(trials=len(scores.trials), started=started, tasks=tasks, readouts=readouts)


def save_comparison(run: Run, comparison: Comparison) -> None:
    """Keep a comparison in the folder of its run."""
    write(run.folder / COMPARISON, comparison)


def comparison_of(run: Run) -> Comparison | None:
    """Return the comparison that is kept of a run, if there is one that can be read."""
    try:
        return read(Comparison, run.folder / COMPARISON, TrainingError)
    except TrainingError:
        return None


def _before(run: Run, model: Model) -> tuple[Model, bool]:
    """Return what the run was trained from, and whether that is only what it started with."""
    if run.about.weights is not None:
        try:
            return load_model(run.about.weights, device=model.device), False
        except MtmError:
            pass
    return run.model("start", device=model.device), True


def _readouts(
    model: Model, session: Session, trials: npt.NDArray[np.intp]
) -> dict[str, tuple[Interval, Interval | None]]:
    """Score what a model decodes, over resampled trials, and the chance where there is one."""
    decoded = decode_behaviour(model, session, session.split(), trials)
    whole = score_decoded(session, trials, decoded)
    draw = np.random.default_rng(0)
    resampled = [
        _score_of(session, trials, decoded, draw.integers(len(trials), size=len(trials)))
        for _ in range(_RESAMPLES)
    ]
    found = {}
    for name, score in whole.items():
        kind = "r2" if "r2" in score else "accuracy"
        values = np.array([some[name][kind] for some in resampled if name in some])
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (math.nan, math.nan)
        chance = Interval.of(score["chance"]) if "chance" in score else None
        found[name] = Interval.of(score[kind], float(low), float(high)), chance
    return found


def _score_of(
    session: Session,
    trials: npt.NDArray[np.intp],
    decoded: Mapping[str, npt.NDArray[np.floating]],
    chosen: npt.NDArray[np.intp],
) -> dict[str, dict[str, float]]:
    some = {name: values[chosen] for name, values in decoded.items()}
    return score_decoded(session, trials[chosen], some)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
