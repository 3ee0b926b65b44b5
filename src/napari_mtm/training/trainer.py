"""One step of training after another, shared by all processes that train together."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_mtm.errors import TrainingError
from napari_mtm.model.model import Model
from napari_mtm.recording.session import Session
from napari_mtm.training.objective import KINDS, Teacher
from napari_mtm.training.plan import batches_of, shares, trials_of
from napari_mtm.training.settings import Settings
from napari_mtm.training.world import ALONE, World

_OPTIMISER = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""

SKIPPED_IN_A_ROW = 20
"""Steps in a row without a finite gradient after which training gives up."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A session, and which of its trials are trained on.

    `validation` are those that weights are chosen by, if not the session's own for that.
    """

    session: Session
    trials: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp] | None = None


def check(model: Model, lessons: Mapping[str, Lesson]) -> None:
    """Raise TrainingError where there is nothing to train."""
    for name, lesson in lessons.items():
        if name not in model.network.sessions or not len(lesson.trials):
            raise TrainingError(f"Session {name} has no trials to train on, or no parameters.")


class Trainer:
    """Trains a model on lessons, step by step.

    Counts of the sessions that this process draws from are kept on the model's device.
    What is drawn follows from the settings' seed and `step` alone. Steps draw from
    torch's global generator, which they seed: fork it around them.

    Attributes
    ----------
    step
        Steps taken. One whose gradient is not finite changes no weights.

    """

    def __init__(
        self,
        model: Model,
        lessons: Mapping[str, Lesson],
        settings: Settings,
        *,
        trainable: Collection[str] | None = None,
        world: World = ALONE,
    ) -> None:
        self.model, self.settings, self._world = model, settings, world
        self.step = self._skipped_in_a_row = 0
        network, device = model.network, model.device
        check(model, lessons)
        self._names = list(lessons)
        here = shares(len(self._names), settings.batches)
        mine = {i for place in world.mine(settings.batches) for i in here[place]}
        self._counts = {
            i: torch.as_tensor(lessons[name].session.counts[lessons[name].trials], device=device)
            for i, name in enumerate(self._names)
            if i in mine
        }
        self._teachers = {
            i: Teacher(network, self._names[i], settings.objective) for i in self._counts
        }
        self._parameters = {
            name: parameter
            for name, parameter in network.named_parameters()
            if trainable is None or name in trainable
        }
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in self._parameters)
        self._of_sessions = {
            id(p) for name in network.sessions for p in network.own_parameters(name)
        }
        self._averages = (
            [p.detach().clone() for p in self._parameters.values()] if settings.averaging else []
        )
        self._generator = torch.Generator(device)
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(),
            lr=settings.rate,
            weight_decay=settings.decay,
            fused=device.type in ("cuda", "cpu"),
        )

    def advance(self) -> Tensor:
        """Take a step; return its mean loss by kind of mask, NaN for those not drawn.

        They are in the order of KINDS, and still on the device.
        """
        settings, network = self.settings, self.model.network
        network.train()
        batches = batches_of(
            self.step,
            n_sessions=len(self._names),
            n_batches=settings.batches,
            seed=settings.seed,
        )
        totals = torch.zeros(2, len(KINDS), device=self.model.device)
        for place in self._world.mine(len(batches)):
            batch = batches[place]
            counts = self._counts[batch.session]
            rows = trials_of(batch, len(counts), settings.batch)
            self._generator.manual_seed(batch.seed)
            torch.manual_seed(batch.seed)
            some = counts[torch.as_tensor(rows, device=counts.device)].float()
            kind = settings.objective.kind(batch.task)
            loss = self._teachers[batch.session].loss(kind, some, self._generator)
            (loss * batch.weight).backward()  # type: ignore[no-untyped-call]
            totals[:, KINDS.index(kind)] += torch.stack([loss.detach(), torch.ones_like(loss)])
        drawn = {self._names[batch.session] for batch in batches}
        self._update([totals, *self._gradients(drawn)])
        self.step += 1
        return totals[0] / totals[1]

    def _gradients(self, drawn: set[str]) -> list[Tensor]:
        """Gradients of what the step's sessions share and own, zeros where there are none.

        A session that was not drawn has none: its parameters rest.
        """
        network = self.model.network
        own = {id(p) for name in drawn for p in network.own_parameters(name)}
        found = []
        for parameter in self._parameters.values():
            if id(parameter) in self._of_sessions and id(parameter) not in own:
                parameter.grad = None
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            found.append(parameter.grad)
        return found

    def _update(self, sums: list[Tensor]) -> None:
        """Add up over processes, and move the weights where the gradient is finite."""
        self._world.add_up(sums)
        gradients = sums[1:]
        length = nn.utils.get_total_norm(gradients)
        if bool(torch.isfinite(length)):
            if self.settings.clip:
                nn.utils.clip_grads_with_norm_(
                    self._parameters.values(), self.settings.clip, length
                )
            for group in self._optimiser.param_groups:
                group["lr"] = self.settings.rate * rate_share(self.step, self.settings)
            self._optimiser.step()
            self._average()
            self._skipped_in_a_row = 0
        else:
            self._skipped_in_a_row += 1
            if self._skipped_in_a_row == SKIPPED_IN_A_ROW:
                raise TrainingError(
                    f"Training broke down at step {self.step + 1}: the loss has not been finite "
                    f"for {SKIPPED_IN_A_ROW} steps. Train again with a smaller learning rate."
                )
        self._optimiser.zero_grad()

    @torch.no_grad()
    def _average(self) -> None:
        """Let the average follow; it is short while there are few steps to average over."""
        if self._averages:
            kept = min(self.settings.averaging, (1 + self.step) / (10 + self.step))
            weights = [p.detach() for p in self._parameters.values()]
            torch._foreach_lerp_(self._averages, weights, 1 - kept)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model have the average of its weights, which is what is kept of it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def settle(self) -> None:
        """Leave the average in the model; no step must follow."""
        self._swap()
        self._averages = []

    @torch.no_grad()
    def _swap(self) -> None:
        for average, parameter in zip(self._averages, self._parameters.values(), strict=False):
            weights = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(weights)

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that training goes on from."""
        tensors = {f"weights/{k}": v for k, v in self.model.network.state_dict().items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = torch.as_tensor(value)
        for name, average in zip(self._parameters, self._averages, strict=False):
            tensors[f"average/{name}"] = average
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Go on from `state` after so many steps; raises TrainingError where it does not fit.

        Names, shapes and kinds are all compared before anything is changed: an optimiser writes
        where the shape of its state says.
        """
        wanted = self._fitting(tensors)
        differing = [
            name for name in wanted.keys() | tensors.keys() if not _alike(name, wanted, tensors)
        ]
        if differing or step > self.settings.steps:
            what = min(differing, default="its step")
            raise TrainingError(
                f"The checkpoint does not fit this run ({what}). Remove it to train from the start."
            )
        prefix = "weights/"
        weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        self.model.network.load_state_dict(weights)
        for name, average in zip(self._parameters, self._averages, strict=False):
            average.copy_(tensors[f"average/{name}"])
        for name, parameter in self._parameters.items():
            for kind in _OPTIMISER:
                value = tensors.get(f"{kind}/{name}")
                if value is not None:
                    # Only fused steps on a GPU are counted there.
                    here = value.ndim > 0 or self.model.device.type == "cuda"
                    on = parameter.device if here else torch.device("cpu")
                    self._optimiser.state[parameter][kind] = value.to(on).clone()
        self.step = step

    def _fitting(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors like those that `state` would give, by the same names.

        Parameters that no step has moved yet have no state of the optimiser.
        """
        wanted = {f"weights/{k}": v for k, v in self.model.network.state_dict().items()}
        for name, average in zip(self._parameters, self._averages, strict=False):
            wanted[f"average/{name}"] = average
        for name, parameter in self._parameters.items():
            if any(f"{kind}/{name}" in tensors for kind in _OPTIMISER):
                wanted |= {f"{kind}/{name}": parameter for kind in _OPTIMISER}
                wanted[f"step/{name}"] = torch.zeros((), dtype=torch.float32)
        return wanted


def _alike(name: str, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    if name not in one or name not in other:
        return False
    a, b = one[name], other[name]
    return a.shape == b.shape and a.dtype == b.dtype


def rate_share(step: int, settings: Settings) -> float:
    """Return the share of the learning rate that a step is taken with."""
    rising = max(settings.warm_up * settings.steps, 1)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(settings.steps - rising, 1)
    return 0.5 * (1 + math.cos(math.pi * done))
