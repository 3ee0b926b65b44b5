"""What a model is taught: to fill in what masks drawn at random keep from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from napari_mtm.masking.sampling import DEFAULT, PUBLISHED, Layout, Recipe, draw, draw_temporal
from napari_mtm.masking.tasks import TASKS, Task
from napari_mtm.model.network import Network, encode, log_rates

Masking = Literal["all-tasks", "one-task", "temporal"]


@dataclass(frozen=True)
class Objective:
    """How masks are drawn and errors weighed.

    Attributes
    ----------
    masking
        Each batch shared among all four tasks, all of it for one of them drawn at
        random (as the paper does), or random bins of all units (its baseline).
    recipe
        How the masks of a task are drawn.
    mean
        Whether a task's loss is a mean over what it scores, in units of the session's
        mean rate, so that tasks weigh alike; else a sum, as in the paper.

    """

    masking: Masking = "all-tasks"
    recipe: Recipe = DEFAULT
    mean: bool = True

    @classmethod
    def published(cls, masking: Masking = "one-task") -> "Objective":
        """Return the paper's objective, or that of its temporal baseline."""
        return cls(masking, PUBLISHED, mean=False)


ALL_TASKS = Objective()
"""Our objective."""


class Teacher:
    """The loss of batches of one session.

    `mean_rate` is the session's mean count per bin, which the loss is measured in.
    """

    def __init__(
        self, network: Network, session: str, objective: Objective, mean_rate: float
    ) -> None:
        self.network, self.session, self.objective = network, session, objective
        self._scale = mean_rate
        device = next(network.parameters()).device
        regions: Sequence[str] = network.sessions[session].regions
        self._layout = Layout.of(regions, power=objective.recipe.region_power, device=device)

    def loss(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch of counts (B, T, N), masked anew at each call."""
        masking = self.objective.masking
        if masking == "all-tasks":
            parts = [counts[k :: len(TASKS)] for k in range(len(TASKS))]
            losses = [
                self.task_loss(task, part, generator)
                for task, part in zip(TASKS, parts, strict=True)
                if len(part)
            ]
            return torch.stack(losses).mean()
        if masking == "temporal":
            return self.task_loss(None, counts, generator)
        drawn = torch.randint(len(TASKS), (1,), generator=generator, device=generator.device)
        return self.task_loss(TASKS[int(drawn)], counts, generator)

    def task_loss(self, task: Task | None, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of one task; without a task, of random bins of all units."""
        trials, bins, _ = counts.shape
        if task is None:
            masks = draw_temporal(
                trials=trials, bins=bins, device=counts.device, generator=generator
            )
        else:
            masks = draw(
                task,
                self.objective.recipe,
                self._layout,
                trials=trials,
                bins=bins,
                generator=generator,
            )
        network = self.network
        loadings = network.loadings(self.session)
        activity = network.activity(counts)
        prompt = torch.tensor([TASKS.index(task or "neuron")], device=counts.device)
        latents = network.latents(
            encode(loadings, activity, masks.visible),
            prompt,
            self.session,
            causal=task == "causal",
        )
        rates = log_rates(loadings, latents, activity, masks.visible)
        scored = masks.scored.expand_as(rates)
        nll = ((rates.exp() - counts * rates) * scored).sum()
        if not self.objective.mean:
            return nll
        return nll / scored.sum().clamp(min=1) / self._scale
