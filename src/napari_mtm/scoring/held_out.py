"""The paper's four tests: what a model expects of entries that it never saw.

    co-smoothing   each unit, from all others
    forward        the last 200 ms of all units, from what came before
    intra-region   each unit, from the others of its region
    inter-region   each region, from all others

The exact tests of units take one pass per unit and trial. What goes into a pass is a sum
over visible units, so that leaving one out is a subtraction, and only that unit's column
of rates is worked out.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASK_OF_SCORE, TASKS, Score, Task
from napari_mtm.model.model import Model
from napari_mtm.model.network import decode, encode
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session

QUICK_GROUPS = 20
"""Passes of the quick mode: each holds out about 5% of the units at once."""

VARIANTS = 32
"""Passes at a time, on a CPU, that leave a unit out."""
_TRIALS = 64


def scored_entries(session: Session, score: Score) -> npt.NDArray[np.bool_]:
    """Which entries (bins, units) a test scores."""
    if score == "forward":
        return Mask.forward(session).scored
    return np.ones((session.n_bins, session.n_units), dtype=bool)


def held_out_rates(
    model: Model,
    session: Session,
    score: Score,
    trials: npt.NDArray[np.intp],
    *,
    quick: bool = False,
    slow_levels: bool = True,
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return rates (trials, bins, units), in counts per bin, each entry predicted unseen.

    Entries that the test does not score are filled, but mean nothing. With `quick`,
    tests of units hold out disjoint random groups of units at once instead of one. Without
    `slow_levels` the model takes each unit's level to be the same on all trials.
    """
    shown = _Shown(model, session, session.counts[trials], trials if slow_levels else None)
    progress(0.0, score)
    if score == "forward":
        log_rates = shown.predict(Mask.forward(session).hidden, "causal")
    elif score == "inter-region":
        log_rates = _by_region(shown, progress)
    elif quick:
        with model.evaluating():
            log_rates = _by_group(shown, score, progress)
    else:
        with model.evaluating():
            log_rates = _by_unit(shown, score, progress)
    progress(1.0, score)
    return np.exp(log_rates)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What a model is shown: trials of a session; `trials` is None where it is not told which."""

    model: Model
    session: Session
    counts: npt.NDArray[np.uint8]
    trials: npt.NDArray[np.intp] | None

    def predict(self, hidden: npt.NDArray[np.bool_], task: Task) -> npt.NDArray[np.float32]:
        """Return log rates under a mask."""
        return self.model.predict(
            self.counts, hidden, task=task, session=self.session, trials=self.trials
        )

    def some(self, chosen: slice) -> "_Shown":
        """Return some of the trials."""
        which = None if self.trials is None else self.trials[chosen]
        return replace(self, counts=self.counts[chosen], trials=which)


def _parts(session: Session, score: Score) -> list[slice]:
    """Units that are visible together: all, or those of each region."""
    if score == "intra-region":
        return [region.units for region in session.regions]
    return [slice(0, session.n_units)]


def _by_region(shown: _Shown, progress: Progress) -> npt.NDArray[np.float32]:
    session = shown.session
    out = np.empty(shown.counts.shape, np.float32)
    for region in session.regions:
        progress(region.units.start / session.n_units, f"predicting {region.name}")
        rates = shown.predict(Mask.region(session, region.name).hidden, "inter-region")
        out[:, :, region.units] = rates[:, :, region.units]
    return out


def _by_group(shown: _Shown, score: Score, progress: Progress) -> npt.NDArray[np.float32]:
    """Hold out disjoint random groups: of all units, or of each region's."""
    session = shown.session
    task = TASK_OF_SCORE[score]
    rng = np.random.default_rng(0)
    out = np.empty(shown.counts.shape, np.float32)
    done = 0
    for together in _parts(session, score):
        units = np.arange(session.n_units)[together]
        groups = np.array_split(rng.permutation(units), min(QUICK_GROUPS, len(units)))
        passes = _LeaveOut(shown, together, task) if len(groups) > 1 else None
        for group in groups:
            progress(done / session.n_units, f"{score}, quick")
            if passes:
                out[:, :, group] = passes.log_rates_of(group)
            else:
                out[:, :, group] = _alone(shown, task)[:, :, group]
            done += len(group)
    return out


def _alone(shown: _Shown, task: Task) -> npt.NDArray[np.float32]:
    """Hide everything: of a sum of one, a subtraction would leave rounding that tells of it."""
    return shown.predict(np.ones(shown.counts.shape[1:], dtype=bool), task)


def _by_unit(shown: _Shown, score: Score, progress: Progress) -> npt.NDArray[np.float32]:
    """Leave each unit out in turn, from all units or from those of its region."""
    out = np.empty(shown.counts.shape, np.float32)
    parts = _parts(shown.session, score)
    jobs = [(start, units) for start in range(0, len(out), _TRIALS) for units in parts]
    task = TASK_OF_SCORE[score]
    for i, (start, units) in enumerate(jobs):
        chunk = shown.some(slice(start, start + _TRIALS))
        report = part(progress, i / len(jobs), (i + 1) / len(jobs))
        if units.stop - units.start > 1:
            rates = _LeaveOut(chunk, units, task).log_rates(report)
        else:
            rates = _alone(chunk, task)[:, :, units]
            report(1.0, f"{task}: a unit on its own")
        out[start : start + _TRIALS, :, units] = rates
    return out


class _LeaveOut:
    """Passes in which only some units are visible, less one or a few of them each time."""

    def __init__(self, shown: _Shown, part: slice, task: Task) -> None:
        self._model, self._key = shown.model, shown.model.attach(shown.session)
        self._counts, self._trials = shown.counts, shown.trials
        self._part, self._task = part, task
        self._prepare()

    def _prepare(self) -> None:
        """Sum what all the units say, on the device where the model is."""
        model, device = self._model, self._model.device
        self._device = device
        self._loadings = loadings = model.loadings(self._key)
        self._given = torch.as_tensor(self._counts, device=device)
        self._activity = model.network.activity(self._given)
        units = torch.arange(self._counts.shape[2], device=device)
        self._units = units[self._part]
        self._inside = torch.isin(units, self._units)
        self._inputs = encode(loadings, self._activity, self._inside.view(1, 1, -1))
        self._prompt = torch.tensor([TASKS.index(self._task)], device=device)

    def log_rates(self, progress: Progress) -> npt.NDArray[np.float32]:
        """Return log rates (trials, bins, units) of the visible units, each left out."""
        n_trials, n_bins, _ = self._counts.shape
        out = torch.empty(len(self._units), n_trials, n_bins)
        heard = torch.ones(len(self._units), n_trials, dtype=torch.bool)
        if self._loadings.present is None:
            # To this network a silent unit is as good as hidden: one pass serves all.
            heard = torch.as_tensor(self._counts[:, :, self._part].any(axis=1).T)
            out[:] = self._all_visible().permute(2, 0, 1)
        pairs = heard.nonzero()
        done = 0
        run = self._model.batches(VARIANTS).run
        for rates in run(len(pairs), lambda part: self._variants(pairs[part])):
            unit, trial = pairs[done : done + len(rates)].T
            out[unit, trial] = rates.cpu()
            done += len(rates)
            progress(done / len(pairs), f"{self._task}: leaving out one unit at a time")
        # What a linear expert expects of a visible unit does not look at that unit.
        return self._blended(out.permute(1, 2, 0), self._inside, self._units).numpy()

    def _blended(
        self, rates: Tensor, visible: Tensor, units: Tensor, *, hidden_only: bool = False
    ) -> Tensor:
        """Put log rates (trials, bins, units) of some units together with a linear expert's."""
        model, given = self._model, self._given
        if not model.has_experts:
            return rates
        whole = torch.zeros(given.shape, device=self._device)
        whole[:, :, units] = rates.to(self._device)
        found = model.blended(
            self._key,
            self._task,
            given,
            visible.view(1, 1, -1),
            whole,
            self._trials,
            hidden_only=hidden_only,
        )
        return found[:, :, units].cpu()

    def log_rates_of(self, group: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return log rates (trials, bins, group) of some units, left out together."""

        def work(trials: slice) -> Tensor:
            self._follow()
            loadings, units = self._loadings, torch.as_tensor(group, device=self._device)
            said = self._activity[trials][:, :, units]
            inputs = self._inputs[trials] - said @ loadings.read[units]
            if loadings.present is not None:
                inputs -= loadings.present[units].sum(dim=0)
            return F.linear(
                self._latents(inputs), loadings.write[units], loadings.bias[units]
            ).cpu()

        run = self._model.batches(VARIANTS).run
        found = torch.cat(list(run(len(self._counts), work)))
        some = torch.as_tensor(group, device=self._device)
        visible = self._inside.clone()
        visible[some] = False
        return self._blended(found, visible, some, hidden_only=True).numpy()

    def _all_visible(self) -> Tensor:
        def work(part: slice) -> Tensor:
            self._follow()
            latents = self._latents(self._inputs[part])
            return decode(self._loadings, latents)[:, :, self._units].cpu()

        return torch.cat(list(self._model.batches(VARIANTS).run(len(self._counts), work)))

    def _variants(self, pairs: Tensor) -> Tensor:
        """Return log rates (pairs, bins) of pairs of a unit and a trial."""
        self._follow()
        place, trial = pairs.to(self._device).T
        unit = self._units[place]
        loadings = self._loadings
        said = self._activity[trial, :, unit][..., None]
        inputs = torch.addcmul(self._inputs[trial], said, loadings.read[unit][:, None], value=-1)
        if loadings.present is not None:
            inputs -= loadings.present[unit][:, None]
        rates = torch.bmm(self._latents(inputs), loadings.write[unit][..., None])[..., 0]
        return rates + loadings.bias[unit][:, None]

    def _follow(self) -> None:
        """Prepare again where the model ran out of memory and moved."""
        if self._device != self._model.device:
            self._prepare()

    def _latents(self, inputs: Tensor) -> Tensor:
        return self._model.network.latents(inputs, self._prompt, self._key, causal=False)
