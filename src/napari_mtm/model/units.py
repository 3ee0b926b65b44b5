"""What a network must know of the units of a session."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.session import Session


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one session, in its order.

    Attributes
    ----------
    session
        Id of the session.
    ids, regions
        A uuid and a region name per unit.
    rates, roots
        Mean of the counts per bin, and of their square roots, over the training trials.
    first
        Place of the session's first bin among the bins whose time a network knows; None where
        it is not known when they are.

    """

    session: str
    ids: tuple[str, ...]
    regions: tuple[str, ...]
    rates: npt.NDArray[np.float32]
    roots: npt.NDArray[np.float32]
    first: int | None = 0

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, session: Session, first: int | None = 0) -> "Units":
        """Describe the units of a session; rates are those of its training trials."""
        trials = session.split().train if session.n_trials else np.arange(0)
        rates, roots = mean_activity(session.counts, trials)
        return cls(
            session=session.id,
            ids=tuple(map(str, session.units["uuid"])),
            regions=tuple(map(str, session.units["region"])),
            rates=rates,
            roots=roots,
            first=first,
        )

    @classmethod
    def unnamed(cls, session: str, n: int) -> "Units":
        """Return n units of which nothing is known."""
        ids = tuple(f"{session}/{i}" for i in range(n))
        ones = np.ones(n, np.float32)
        return cls(session, ids, ("",) * n, ones, ones)

    def named(self, session: str) -> "Units":
        """Return the same units under another session's name."""
        return replace(self, session=session)


def mean_activity(
    counts: npt.NDArray[np.uint8], trials: Sequence[int] | npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean count and mean square root of the count, per unit, over some trials."""
    n_bins, n_units = counts.shape[1:]
    sums = np.zeros((2, n_units))
    for start in range(0, len(trials), 64):
        part = counts[trials[start : start + 64]].astype(np.float32)
        sums += [part.sum(axis=(0, 1)), np.sqrt(part).sum(axis=(0, 1))]
    sums /= max(len(trials) * n_bins, 1)
    return sums[0].astype(np.float32), sums[1].astype(np.float32)
