"""What readouts are fitted on and judged by: trials as a model sees them, masked in every way."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.masking.assorted import assorted_masks
from napari_mtm.masking.mask import Mask
from napari_mtm.model.readouts import Examples
from napari_mtm.model.regression import Trials
from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model


def examples_in_steps(
    model: "Model", session: Session, trials: Trials, *, size: int = 16
) -> Iterator[Examples]:
    """Yield trials with nothing hidden, and each once more under some mask, a few at a time."""
    directions = model.directions(session)
    for mask, some in _shown(session, trials):
        for k in range(0, len(some), size):
            part = some[k : k + size]
            yield Examples(model.seen(session, part, mask, directions=directions), part)


def judging_trials(session: Session, trials: Trials) -> Trials:
    """Return the validation trials of a session, as far as they are not among some trials."""
    return np.setdiff1d(session.split().validation, trials)


def _shown(session: Session, trials: Trials) -> Iterator[tuple[Mask, Trials]]:
    yield Mask.nothing(session), trials
    masks = assorted_masks(session)
    for k, mask in enumerate(masks):
        yield mask, trials[k :: len(masks)]
