"""Readouts fitted piece by piece, so that a live request need not wait for all of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model

_CHUNK = 2


def fit_readouts_in_steps(model: "Model", session: Session) -> Iterator[None]:
    """Fit readouts of a session's behaviour on its training trials, and give them to the model.

    Those that it has are kept, and only what they do not decode is fitted.
    """
    from napari_mtm.model.examples import examples_in_steps, judging_trials
    from napari_mtm.model.readouts import Examples, fit_in_steps, fit_lacking_traces

    trials = session.split().train
    found = []
    for some in (trials, judging_trials(session, trials)):
        parts = []
        for part in examples_in_steps(model, session, some, size=_CHUNK):
            parts.append(part)
            yield None
        found.append(Examples.joined(parts) if parts else None)
    fitted_on, judged_on = found
    assert fitted_on is not None  # a session has a training trial
    readouts = model.readouts.get(session.id)
    if readouts is None:
        for so_far in fit_in_steps(fitted_on, judged_on, session, model.directions(session)):
            readouts = so_far
            yield None
    else:
        readouts = fit_lacking_traces(readouts, fitted_on, judged_on, session)
    assert readouts is not None  # there is a first step
    model.readouts[session.id] = readouts
    yield None


def readouts_lack(model: "Model", session: Session) -> bool:
    """Whether a model has no readouts for a session, or they decode less than they could."""
    from napari_mtm.model.readouts import targets

    model.forget_readouts_of_another_cut(session)
    known = model.readouts.get(session.id)
    return known is None or not set(targets(session, session.split().train)) <= set(known.traces)
