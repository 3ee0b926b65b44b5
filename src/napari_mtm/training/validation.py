"""Validation: bits per spike on masks that are drawn once and then stay the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.sampling import Layout, Recipe, draw
from napari_mtm.masking.tasks import TASKS, Task
from napari_mtm.metrics import FLOOR
from napari_mtm.model.model import UNTOLD, Blend, Model
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session

TRIALS = 64
"""Masked trials that each task is validated on, shared among the sessions."""

_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_DRIFTS = (0.0, 0.5, 1.0)
_FEWEST = 8
"""Validation trials from which it can be told how much of the linear expert should count."""

_RECIPE = Recipe(units=(0.1, 0.1), region_power=1.0)


@dataclass(frozen=True, eq=False)
class Exam:
    """What one session's validation trials are asked.

    Attributes
    ----------
    session
        Id of the session.
    trials, counts
        Which trials, and (trials, bins, units) uint8; a trial may be there more than once.
    hidden, scored
        By task, bool (trials, bins, units).
    null
        Counts per bin (units,) that any answer is compared with: means of the training
        trials.

    """

    session: str
    trials: npt.NDArray[np.intp]
    counts: npt.NDArray[np.uint8]
    hidden: Mapping[Task, npt.NDArray[np.bool_]]
    scored: Mapping[Task, npt.NDArray[np.bool_]]
    null: npt.NDArray[np.float32]

    @classmethod
    def of(
        cls,
        session: Session,
        trials: npt.NDArray[np.intp],
        null: npt.NDArray[np.float32],
        *,
        size: int = TRIALS,
    ) -> "Exam":
        """Draw the masks of a session's validation trials, the same at every call.

        A tenth of the units is hidden, or of those of a region; a whole region; or the
        end of the trial, as the tests have it.
        """
        chosen = np.resize(trials, size)
        counts = session.counts[chosen]
        layout = Layout.of(list(map(str, session.units["region"])), power=_RECIPE.region_power)
        generator = torch.Generator().manual_seed(0)
        hidden: dict[Task, npt.NDArray[np.bool_]] = {}
        scored: dict[Task, npt.NDArray[np.bool_]] = {}
        for task in TASKS:
            if task == "causal":
                mask = Mask.forward(session)
                hidden[task] = np.broadcast_to(mask.hidden, counts.shape)
                scored[task] = np.broadcast_to(mask.scored, counts.shape)
                continue
            drawn = draw(
                task,
                _RECIPE,
                layout,
                trials=len(counts),
                bins=session.n_bins,
                generator=generator,
            )
            hidden[task] = np.broadcast_to(~drawn.visible.numpy(), counts.shape)
            scored[task] = np.broadcast_to(drawn.scored.numpy(), counts.shape)
        return cls(session.id, chosen, counts, hidden, scored, null)

    def bits_per_spike(self, model: Model, progress: Progress = silent) -> dict[Task, float]:
        """Score a model, pooled over units; NaN where nothing that is scored fired."""
        found = {}
        for i, task in enumerate(TASKS):
            progress(i / len(TASKS), f"validating the start: {task}")
            found[task] = self._score(model, task)
        return found

    def best_blend(self, model: Model, task: Task) -> tuple[float, float]:
        """Return the shares of a session's linear expert and of drift that score best."""
        scored = self.scored[task]
        network, drifts, expert = (
            np.broadcast_to(part, scored.shape)[scored]
            for part in model.apart(
                self.counts,
                self.hidden[task],
                task=task,
                session=self.session,
                trials=self.trials,
            )
        )
        counts, null = self.counts[scored], np.broadcast_to(self.null, scored.shape)[scored]
        scores = {}
        for share in _SHARES:
            for drift in _DRIFTS:
                rates = (1 - share) * (network + drift * drifts) + share * expert
                score = _gain(counts, rates, null)
                if math.isfinite(score):
                    scores[share, drift] = score
        return max(scores, key=scores.__getitem__, default=UNTOLD.at(task))

    def _score(self, model: Model, task: Task) -> float:
        scored = self.scored[task]
        null = np.broadcast_to(self.null, scored.shape)[scored]
        return _gain(self.counts[scored], self._log_rates(model, task)[scored], null)

    def _log_rates(self, model: Model, task: Task) -> npt.NDArray[np.float32]:
        return model.predict(
            self.counts, self.hidden[task], task=task, session=self.session, trials=self.trials
        )


def _gain(
    counts: npt.NDArray[np.uint8], rates: npt.NDArray[np.float32], null: npt.NDArray[np.float32]
) -> float:
    """Return bits per spike of log rates above null rates; NaN where nothing fired."""
    with np.errstate(over="ignore", invalid="ignore"):  # of broken weights
        gain = counts * (rates - np.log(np.maximum(null, FLOOR))) - (np.exp(rates) - null)
    spikes = float(counts.sum(dtype=np.float64))
    return float(gain.sum(dtype=np.float64)) / (spikes * math.log(2)) if spikes else math.nan


def calibrate(model: Model, exams: list[Exam], progress: Progress = silent) -> None:
    """Let as much of each session's linear expert count as its validation trials speak for.

    Sessions with few of them are left as they are, and so are networks without experts.
    """
    if not model.has_experts:
        return
    for i, exam in enumerate(exams):
        if len(np.unique(exam.trials)) >= _FEWEST:
            best = {}
            for k, task in enumerate(TASKS):
                done = (i + k / len(TASKS)) / len(exams)
                progress(done, f"how much the linear expert counts: {task}")
                best[task] = exam.best_blend(model, task)
            model.blends[exam.session] = Blend.of(best)


def validate(model: Model, exams: list[Exam], progress: Progress = silent) -> dict[Task, float]:
    """Return bits per spike by task, the mean over sessions; tasks without a score are left out."""
    found = [
        exam.bits_per_spike(model, part(progress, i / len(exams), (i + 1) / len(exams)))
        for i, exam in enumerate(exams)
    ]
    scores: dict[Task, float] = {}
    for task in TASKS:
        values = [score[task] for score in found if math.isfinite(score[task])]
        if values:
            scores[task] = sum(values) / len(values)
    return scores
