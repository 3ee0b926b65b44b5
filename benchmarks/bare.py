"""A network's pass over one trial, without anything around it: what is live is measured against."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.masking.tasks import TASKS, Task
from napari_mtm.model.model import Model
from napari_mtm.model.network import encode, log_rates
from napari_mtm.recording.session import Session

Forward: TypeAlias = Callable[[int, npt.NDArray[np.bool_], Task], npt.NDArray[np.float32]]
"""Log rates (1, bins, units) of a trial under what is hidden (bins, units), for a prompt."""


def bare_forward(model: Model, session: Session) -> Forward:
    """Return the pass of a model over a trial of a session: numbers in, numbers out."""
    key = model.attach(session)
    loadings, network, device = model.loadings(key), model.network.eval(), model.device

    def forward(trial: int, hidden: npt.NDArray[np.bool_], prompt: Task) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            counts = torch.as_tensor(np.array(session.counts[[trial]]), device=device)
            visible = torch.as_tensor(~hidden[None], device=device)
            activity = network.activity(counts)
            latents = network.latents(
                encode(loadings, activity, visible),
                torch.tensor([TASKS.index(prompt)], device=device),
                key,
                causal=prompt == "causal",
            )
            found: npt.NDArray[np.float32] = (
                log_rates(loadings, latents, activity, visible).cpu().numpy()
            )
        return found

    return forward
