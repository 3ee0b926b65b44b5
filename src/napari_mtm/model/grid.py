"""The grid of time that a model was trained on, and which sessions it takes."""

import math
from dataclasses import dataclass, replace

from napari_mtm.errors import WeightsError
from napari_mtm.recording.session import ANY_TIME, Session

LONGEST = 500
"""Bins of a trial that our network takes at most."""


@dataclass(frozen=True)
class Grid:
    """Seconds around the alignment event, the width and number of bins, and the event."""

    window: tuple[float, float]
    bin_size: float
    bins: int
    align: str = "stimOn_times"

    @classmethod
    def of(cls, session: Session) -> "Grid":
        """Return the grid of a session."""
        start, stop = session.window
        width = float(session.bin_size)
        return cls((float(start), float(stop)), width, session.n_bins, session.align)

    def check(self, session: Session) -> None:
        """Raise WeightsError where a session is cut differently."""
        theirs = Grid.of(session)
        same = (
            self.bins == theirs.bins
            and self._as_wide(theirs)
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

    def check_width(self, session: Session) -> None:
        """Raise WeightsError where a session's bins are of another width, or too many."""
        theirs = Grid.of(session)
        if not self._as_wide(theirs):
            raise WeightsError(
                f"The model works on bins of {self.bin_size * 1e3:g} ms, but those of session "
                f"{session.title} are {theirs.bin_size * 1e3:g} ms wide. Open the session anew "
                f"with bins of {self.bin_size * 1e3:g} ms."
            )
        if theirs.bins > LONGEST:
            raise WeightsError(
                f"The model takes windows of at most {LONGEST * self.bin_size:g} s, but those of "
                f"session {session.title} are {theirs.bins * theirs.bin_size:g} s long. Open the "
                "session anew with a shorter window."
            )

    def first(self, session: Session) -> int | None:
        """Place of a session's first bin among the grid's; None where events differ, or none is."""
        if session.align != self.align or session.align == ANY_TIME:
            return None
        return round((session.window[0] - self.window[0]) / self.bin_size)

    def with_times_of(self, session: Session) -> tuple["Grid", int, int]:
        """Return a grid that covers a session too, and how many bins come before and after."""
        first = self.first(session)
        if first is None:
            return self, 0, 0
        before = max(-first, 0)
        after = max(first + session.n_bins - self.bins, 0)
        start, stop = self.window
        window = start - before * self.bin_size, stop + after * self.bin_size
        return replace(self, window=window, bins=before + self.bins + after), before, after

    def _as_wide(self, other: "Grid") -> bool:
        return math.isclose(self.bin_size, other.bin_size, rel_tol=1e-6)

    def __str__(self) -> str:
        start, stop = self.window
        return f"{self.bins} bins of {self.bin_size * 1e3:g} ms from {start:g} to {stop:g} s"
