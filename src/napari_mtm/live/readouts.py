"""Readouts fitted piece by piece, so that a live request need not wait for all of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model

_CHUNK = 2


def fit_readouts_in_steps(model: "Model", session: Session) -> Iterator[None]:
    """Fit readouts of a session's behaviour on its training trials, and give them to the model."""
    from napari_mtm.model.readouts import fit_readouts

    trials = session.split().train
    parts = []
    for k in range(0, len(trials), _CHUNK):
        parts.append(model.visible_latents(session, trials[k : k + _CHUNK]))
        yield None
    latents, past = (np.concatenate(part) for part in zip(*parts, strict=True))
    model.readouts[session.id] = fit_readouts(latents, past, session, trials)
    yield None
