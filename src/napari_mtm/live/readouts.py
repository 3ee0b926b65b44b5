"""Readouts fitted piece by piece, so that a live request need not wait for all of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model

_CHUNK = 2


def fit_readouts_in_steps(model: "Model", session: Session) -> Iterator[None]:
    """Fit readouts of a session's behaviour on its training trials, and give them to the model.

    Those that it has are kept, and only what they do not decode is fitted.
    """
    from napari_mtm.model.readouts import fit_lacking_traces, fit_readouts

    trials = session.split().train
    parts = []
    for k in range(0, len(trials), _CHUNK):
        parts.append(model.visible_latents(session, trials[k : k + _CHUNK]))
        yield None
    latents, past = (np.concatenate(part) for part in zip(*parts, strict=True))
    known = model.readouts.get(session.id)
    model.readouts[session.id] = (
        fit_readouts(latents, past, session, trials)
        if known is None
        else fit_lacking_traces(known, latents, session, trials)
    )
    yield None


def readouts_lack(model: "Model", session: Session) -> bool:
    """Whether a model has no readouts for a session, or they decode less than they could."""
    from napari_mtm.model.readouts import targets

    model.forget_readouts_of_another_cut(session)
    known = model.readouts.get(session.id)
    return known is None or not set(targets(session, session.split().train)) <= set(known.traces)
