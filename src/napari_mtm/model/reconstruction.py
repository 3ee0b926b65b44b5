"""What came back for one mask."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task
from napari_mtm.metrics import tally


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """Rates of all units for some trials under one mask, and behaviour decoded beside them.

    Attributes
    ----------
    session, mask, prompt, trials, units
        Id of the session, what was hidden, which task was asked for, which trials
        these are, and the uuids of the units.
    counts
        What was recorded (trials, bins, units).
    rates
        What the model expects, in counts per bin (trials, bins, units).
    decoded
        The session's traces, such as `wheel-speed`, and `choice` (the probability of
        right, from the past of each bin), each (trials, bins); `choice-by-trial` and
        `block` (probability that the stimulus is right), each (trials,). Without readouts
        it is empty.
    notes
        Sentences that a person should read before trusting the rates.

    """

    session: str
    mask: Mask
    prompt: Task
    trials: npt.NDArray[np.intp]
    units: tuple[str, ...]
    counts: npt.NDArray[np.uint8]
    rates: npt.NDArray[np.float32]
    decoded: Mapping[str, npt.NDArray[np.float32]]
    notes: tuple[str, ...] = ()

    def scores(self) -> "Scores":
        """Compare rates and counts where the mask is scored."""
        counted = tally(self.counts, self.rates, self.mask.scored)
        some = np.flatnonzero(self.mask.scored.any(axis=0))
        regions = np.array(self.mask.regions)
        rows = {
            region: counted.units(some[regions[some] == region])
            for region in dict.fromkeys(regions[some].tolist())
        }
        return Scores(
            bps=float(counted.mean_bits_per_spike()),
            bps_pooled=float(counted.pooled_bits_per_spike()),
            d2=float(counted.mean_d2()),
            units=pd.DataFrame(
                {
                    "uuid": [self.units[i] for i in some],
                    "region": regions[some],
                    "spikes": counted.spikes.sum(axis=0)[some],
                    "bps": counted.bits_per_spike()[some],
                    "d2": counted.d2()[some],
                }
            ),
            regions=pd.DataFrame(
                {
                    "region": list(rows),
                    "units": [part.spikes.shape[1] for part in rows.values()],
                    "bps": [float(part.mean_bits_per_spike()) for part in rows.values()],
                    "bps_pooled": [float(part.pooled_bits_per_spike()) for part in rows.values()],
                }
            ),
        )

    def __repr__(self) -> str:
        return (
            f"<Reconstruction of {len(self.trials)} trials of {self.session}: "
            f"{self.mask.describe()} hidden, prompt {self.prompt}>"
        )


@dataclass(frozen=True)
class Scores:
    """How well rates fit what was hidden, against each unit's mean over the same entries.

    `bps` is the mean over units, as published, `bps_pooled` pools their spikes; both in
    bits per spike. NaN where nothing was scored, or no spike fell there.
    """

    bps: float
    bps_pooled: float
    d2: float
    units: pd.DataFrame
    regions: pd.DataFrame

    def __repr__(self) -> str:
        return (
            f"<Scores: {self.bps_pooled:.3f} bits/spike pooled, {self.bps:.3f} mean of "
            f"{len(self.units)} units, D2 {self.d2:.3f}>"
        )
