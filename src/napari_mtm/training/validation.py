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
from napari_mtm.model.model import Model
from napari_mtm.recording.session import Session

TRIALS = 64
"""Masked trials that each task is validated on, shared among the sessions."""

_RECIPE = Recipe(units=(0.1, 0.1), region_power=1.0)


@dataclass(frozen=True, eq=False)
class Exam:
    """What one session's validation trials are asked.

    Attributes
    ----------
    session
        Id of the session.
    counts
        (trials, bins, units) uint8; a trial may be there more than once.
    hidden, scored
        By task, bool (trials, bins, units).
    null
        Counts per bin (units,) that any answer is compared with: means of the training
        trials.

    """

    session: str
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
        counts = session.counts[np.resize(trials, size)]
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
        return cls(session.id, counts, hidden, scored, null)

    def bits_per_spike(self, model: Model) -> dict[Task, float]:
        """Score a model, pooled over units; NaN where nothing that is scored fired."""
        return {task: self._score(model, task) for task in TASKS}

    def _score(self, model: Model, task: Task) -> float:
        rates = model.predict(self.counts, self.hidden[task], task=task, session=self.session)
        null = np.log(np.maximum(self.null, FLOOR))
        scored = self.scored[task]
        with np.errstate(over="ignore", invalid="ignore"):  # of broken weights
            gain = self.counts * (rates - null) - (np.exp(rates) - self.null)
        spikes = float(self.counts.sum(where=scored, dtype=np.float64))
        found = float(gain.sum(where=scored, dtype=np.float64))
        return found / (spikes * math.log(2)) if spikes else math.nan


def validate(model: Model, exams: list[Exam]) -> dict[Task, float]:
    """Return bits per spike by task, the mean over sessions; tasks without a score are left out."""
    found = [exam.bits_per_spike(model) for exam in exams]
    scores: dict[Task, float] = {}
    for task in TASKS:
        values = [score[task] for score in found if math.isfinite(score[task])]
        if values:
            scores[task] = sum(values) / len(values)
    return scores
