"""What all baselines have in common."""

from typing import ClassVar, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Score
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split

Counts: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Rates: TypeAlias = npt.NDArray[np.float32]
Hidden: TypeAlias = npt.NDArray[np.bool_]
Trials: TypeAlias = npt.NDArray[np.intp]
Units: TypeAlias = npt.NDArray[np.intp]


class Baseline(Protocol):
    """A fitted predictor of one session."""

    name: ClassVar[str]

    @classmethod
    def fit(
        cls,
        session: Session,
        split: Split,
        progress: Progress = silent,
        slow_levels: bool = True,
    ) -> Self:
        """Fit on the training trials, choosing on the validation trials.

        With `slow_levels` each unit's rates follow its level in the training trials around the
        one that is predicted, that one excluded.
        """

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Predict every entry as the test has it: each from what the test leaves visible.

        In "forward" only the last `forward_bins` are predictions of the test.
        """

    def predict(self, hidden: Hidden, trials: Trials) -> Rates:
        """Predict every entry from the entries that `hidden` (bins, units) leaves visible.

        A visible unit is predicted from the other visible units.
        """


def forward_bins(session: Session) -> int:
    """How many bins at the end of a trial forward prediction hides."""
    return int(Mask.forward(session).hidden.any(axis=1).sum())


def mean_rates(session: Session, trials: Trials) -> Floats:
    """Mean counts per bin; a unit without a spike is taken to have had half a one."""
    entries = len(trials) * session.n_bins
    spikes = session.counts[trials].sum(axis=(0, 1), dtype=np.float64)
    return np.asarray(np.maximum(spikes, 0.5) / entries)
