"""Linear experts that were fitted in this process, so that none is fitted twice.

One that was fitted is kept for as long as the counts of its session are in memory.
"""

import weakref
from collections.abc import Hashable

import numpy as np
import torch

from napari_mtm.model.expert import Expert, Trials
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session

_fitted: dict[int, dict[Hashable, Expert]] = {}


def known_expert(session: Session, trials: Trials, device: torch.device) -> Expert | None:
    """Return the expert of a session that was fitted on these trials on a device, if one was."""
    return _fitted.get(id(session.counts), {}).get(_key(session, trials, device))


def expert_of(
    session: Session, trials: Trials, device: torch.device, progress: Progress = silent
) -> Expert:
    """Return the expert of a session on some trials, fitted if it was not yet."""
    found = known_expert(session, trials, device)
    if found is None:
        found = Expert.fit(session, trials, device=device, progress=progress)
        counts = session.counts
        if id(counts) not in _fitted:
            _fitted[id(counts)] = {}
            weakref.finalize(counts, _fitted.pop, id(counts), None)
        _fitted[id(counts)][_key(session, trials, device)] = found
    return found


def _key(session: Session, trials: Trials, device: torch.device) -> Hashable:
    """What an expert follows from beside the counts."""
    regions = tuple(map(str, session.units["region"]))
    return np.unique(trials).tobytes(), str(device), regions, session.bin_size
