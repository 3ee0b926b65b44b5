"""How a recording is to be cut into a session."""

from dataclasses import dataclass
from typing import Literal

from napari_mtm.arrays import numbers
from napari_mtm.errors import PreparationError

DEFAULT_ALIGN = "stimOn_times"

MOST_BINS = 100_000
"""Bins in a window at most."""


@dataclass(frozen=True)
class Preparation:
    """How a recording is cut into a session.

    Attributes
    ----------
    units
        "good" keeps units of quality label 1, "all" keeps every cluster.
    min_rate
        Least spikes/s, over the whole recording, of a unit that is kept.
    align
        Trials column to align to, or "any-time" for adjoining windows.
    window, bin_size
        Seconds around the event, and seconds per bin; the window must be a whole
        number of bins.

    """

    units: Literal["good", "all"] = "good"
    min_rate: float = 0.0
    align: str = DEFAULT_ALIGN
    window: tuple[float, float] = (-0.5, 1.5)
    bin_size: float = 0.02

    def __post_init__(self) -> None:
        if self.units not in ("good", "all"):
            raise PreparationError(f'Units must be "good" or "all", not {self.units!r}.')
        window = numbers(self.window, "The window", PreparationError, shape=(2,), finite=True)
        start, stop = (float(t) for t in window)
        for name, what in (("min_rate", "The minimum rate"), ("bin_size", "The bin size")):
            value = numbers(
                getattr(self, name), what, PreparationError, shape=(), least=0, finite=True
            )
            object.__setattr__(self, name, float(value))
        object.__setattr__(self, "window", (start, stop))
        if not (start < stop and self.bin_size > 0):
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s in bins of {self.bin_size:g} s is empty."
            )
        bins = (stop - start) / self.bin_size
        if not bins <= MOST_BINS:
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s in bins of {self.bin_size:g} s has more than "
                f"{MOST_BINS:,} bins; use larger ones."
            )
        if round(bins) < 1 or abs(bins - round(bins)) > 1e-6 * bins:
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s is not a whole number of bins of "
                f"{self.bin_size:g} s; change one of them."
            )

    @property
    def n_bins(self) -> int:
        """Number of bins in the window."""
        return round((self.window[1] - self.window[0]) / self.bin_size)
