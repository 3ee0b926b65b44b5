"""What a model is taught: to fill in what masks drawn at random keep from it."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from napari_mtm.errors import TrainingError
from napari_mtm.masking.sampling import DEFAULT, PUBLISHED, Layout, Recipe, draw, draw_temporal
from napari_mtm.masking.tasks import TASKS, Task
from napari_mtm.model.network import Network, encode, log_rates

Masking = Literal["mtm", "temporal"]
Kind = Task | Literal["temporal"]

KINDS: tuple[Kind, ...] = (*TASKS, "temporal")
"""What a batch may be masked by: a task, or random bins of all units."""


@dataclass(frozen=True)
class Objective:
    """How masks are drawn and errors weighed.

    Attributes
    ----------
    masking
        "mtm": each batch is for one of the four tasks, which take turns. "temporal", the
        paper's baseline: random bins of all units.
    recipe
        How the masks of a task are drawn.
    mean
        Whether a task's loss is a mean over what it scores, in units of the session's
        mean rate, so that tasks weigh alike; else a sum, as in the paper.

    """

    masking: Masking = "mtm"
    recipe: Recipe = DEFAULT
    mean: bool = True

    def __post_init__(self) -> None:
        if self.masking not in get_args(Masking):
            raise TrainingError(
                f"There is no masking {self.masking!r}; there are {', '.join(get_args(Masking))}."
            )

    def kind(self, turn: int) -> Kind:
        """Return what the batch is masked by whose turn among the tasks it is."""
        return "temporal" if self.masking == "temporal" else TASKS[turn]

    @classmethod
    def published(cls, masking: Masking = "mtm") -> "Objective":
        """Return the paper's objective, or that of its temporal baseline."""
        return cls(masking, PUBLISHED, mean=False)


OURS = Objective()
"""Our objective."""


class Teacher:
    """The loss of batches of one session."""

    def __init__(self, network: Network, session: str, objective: Objective) -> None:
        self.network, self.session, self.objective = network, session, objective
        units = network.sessions[session]
        self._scale = float(units.rates.mean(dtype=np.float64)) or 1.0
        device = next(network.parameters()).device
        self._layout = Layout.of(units.regions, power=objective.recipe.region_power, device=device)

    def loss(self, kind: Kind, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch under one kind of mask."""
        trials, bins, _ = counts.shape
        if kind == "temporal":
            masks = draw_temporal(
                trials=trials, bins=bins, device=counts.device, generator=generator
            )
        else:
            masks = draw(
                kind,
                self.objective.recipe,
                self._layout,
                trials=trials,
                bins=bins,
                generator=generator,
            )
        network = self.network
        loadings = network.loadings(self.session)
        activity = network.activity(counts)
        task: Task = "neuron" if kind == "temporal" else kind
        prompt = torch.tensor([TASKS.index(task)], device=counts.device)
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
