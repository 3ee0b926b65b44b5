"""The loop: batches of trials, one session each, from counts that live on the device."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.errors import MtmError
from napari_mtm.model.model import Model
from napari_mtm.model.network import Default
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session
from napari_mtm.training.objective import ALL_TASKS, Objective, Teacher
from napari_mtm.training.start import start


@dataclass(frozen=True)
class Settings:
    """How long and how fast to train.

    `warm_up` is the share of the steps in which the learning rate rises to `rate`; it
    then falls along a cosine. `clip` bounds the length of the gradient, 0 for no bound.
    """

    steps: int = 1500
    batch: int = 16
    rate: float = 2e-3
    decay: float = 0.01
    warm_up: float = 0.1
    clip: float = 1.0
    seed: int = 0
    objective: Objective = ALL_TASKS

    @classmethod
    def published(
        cls, objective: Objective | None = None, *, steps: int = 1500, rate: float = 1e-4
    ) -> "Settings":
        """Return the paper's settings: a learning rate of 1e-4, and no clipping."""
        return cls(
            steps=steps,
            rate=rate,
            warm_up=0.15,
            clip=0.0,
            objective=objective or Objective.published(),
        )


def train(
    model: Model,
    sessions: Mapping[str, tuple[Session, npt.NDArray[np.intp]]],
    settings: Settings | None = None,
    *,
    progress: Progress = silent,
) -> list[float]:
    """Train a model on some trials of sessions that it has parameters for.

    `sessions` gives a session and its training trials by id; each step draws one of
    them. Sessions that the weights were never trained on are given a start in closed
    form. Returns the loss of each step. The model is left ready to predict.
    """
    settings = settings or Settings()
    device, network = model.device, model.network
    for name, (_, trials) in sessions.items():
        if name not in network.sessions or not len(trials):
            raise MtmError(f"Session {name} has no trials to train on, or no parameters.")
    counts = {
        name: torch.as_tensor(session.counts[trials], device=device)
        for name, (session, trials) in sessions.items()
    }
    teachers = {
        name: Teacher(network, name, settings.objective, float(x.float().mean()) or 1.0)
        for name, x in counts.items()
    }
    if isinstance(network, Default):
        for name in counts.keys() - model.trained:
            start(network, name, counts[name])
    generator = torch.Generator(device).manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=settings.rate,
        weight_decay=settings.decay,
        fused=device.type == "cuda",
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(settings))
    names = list(sessions)
    losses = []
    network.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        for step in range(settings.steps):
            drawn = torch.randint(len(names), (1,), generator=generator, device=device)
            name = names[int(drawn)]
            stored = counts[name]
            rows = torch.randint(len(stored), (settings.batch,), generator=generator, device=device)
            loss = teachers[name].loss(stored[rows].float(), generator)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if settings.clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
            if step % 10 == 9:
                progress((step + 1) / settings.steps, f"training, loss {float(losses[-1]):.3f}")
    network.eval()
    model.trained |= set(names)
    return [float(value) for value in losses]


def _schedule(settings: Settings) -> Callable[[int], float]:
    rising = max(settings.warm_up * settings.steps, 1)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(settings.steps - rising, 1)
        return 0.5 * (1 + math.cos(math.pi * done))

    return share
