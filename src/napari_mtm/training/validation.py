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
from napari_mtm.model.network import Default
from napari_mtm.recording.session import Session

TRIALS = 64
"""Masked trials that each task is validated on, shared among the sessions."""

_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_FEWEST = 8
"""Validation trials from which it can be told how much of the latents should count."""

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

    def bits_per_spike(self, model: Model) -> dict[Task, float]:
        """Score a model, pooled over units; NaN where nothing that is scored fired."""
        return {task: self._score(model, task) for task in TASKS}

    def best_share(self, model: Model, task: Task) -> float:
        """Return how much of the latents should count: log rates are linear in it."""
        shares = model.network.shares if isinstance(model.network, Default) else {}
        kept = shares.pop(self.session, None)
        whole = self._log_rates(model, task)
        shares[self.session] = torch.zeros(len(TASKS))
        nothing = self._log_rates(model, task)
        del shares[self.session]
        if kept is not None:
            shares[self.session] = kept
        scores = [self._gain(nothing + share * (whole - nothing), task) for share in _SHARES]
        return _SHARES[int(np.nanargmax(scores))] if np.isfinite(scores).any() else 1.0

    def _score(self, model: Model, task: Task) -> float:
        return self._gain(self._log_rates(model, task), task)

    def _log_rates(self, model: Model, task: Task) -> npt.NDArray[np.float32]:
        return model.predict(
            self.counts, self.hidden[task], task=task, session=self.session, trials=self.trials
        )

    def _gain(self, rates: npt.NDArray[np.float32], task: Task) -> float:
        null = np.log(np.maximum(self.null, FLOOR))
        scored = self.scored[task]
        with np.errstate(over="ignore", invalid="ignore"):  # of broken weights
            gain = self.counts * (rates - null) - (np.exp(rates) - self.null)
        spikes = float(self.counts.sum(where=scored, dtype=np.float64))
        found = float(gain.sum(where=scored, dtype=np.float64))
        return found / (spikes * math.log(2)) if spikes else math.nan


def calibrate(model: Model, exams: list[Exam]) -> None:
    """Let as much of the latents of each session count as its validation trials speak for.

    That guards against what was learnt by heart of a small session. Sessions with few
    validation trials are left as they are, and so are networks without linear experts.
    """
    if not model.has_experts or not isinstance(model.network, Default):
        return
    for exam in exams:
        if len(np.unique(exam.trials)) >= _FEWEST:
            shares = [exam.best_share(model, task) for task in TASKS]
            model.network.shares[exam.session] = torch.tensor(shares)


def validate(model: Model, exams: list[Exam]) -> dict[Task, float]:
    """Return bits per spike by task, the mean over sessions; tasks without a score are left out."""
    found = [exam.bits_per_spike(model) for exam in exams]
    scores: dict[Task, float] = {}
    for task in TASKS:
        values = [score[task] for score in found if math.isfinite(score[task])]
        if values:
            scores[task] = sum(values) / len(values)
    return scores
