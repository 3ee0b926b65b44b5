"""The grid of time that a model was trained on."""

import math
from dataclasses import dataclass

from napari_mtm.errors import WeightsError
from napari_mtm.recording.session import Session


@dataclass(frozen=True)
class Grid:
    """Seconds around the alignment event, and the width and number of bins."""

    window: tuple[float, float]
    bin_size: float
    bins: int

    @classmethod
    def of(cls, session: Session) -> "Grid":
        """Return the grid of a session."""
        start, stop = session.window
        return cls((float(start), float(stop)), float(session.bin_size), session.n_bins)

    def check(self, session: Session) -> None:
        """Raise WeightsError where a session is binned differently."""
        theirs = Grid.of(session)
        same = (
            self.bins == theirs.bins
            and math.isclose(self.bin_size, theirs.bin_size, rel_tol=1e-6)
            and all(
                math.isclose(*pair, abs_tol=1e-6)
                for pair in zip(self.window, theirs.window, strict=True)
            )
        )
        if not same:
            raise WeightsError(
                f"The model was trained on {self}, but session {session.title} is cut into "
                f"{theirs}. Open the session with the model's window and bin size."
            )

    def __str__(self) -> str:
        start, stop = self.window
        return f"{self.bins} bins of {self.bin_size * 1e3:g} ms from {start:g} to {stop:g} s"
