"""How a recording is to be cut into a session."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_mtm.errors import PreparationError

DEFAULT_ALIGN = "stimOn_times"


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
        start, stop = (float(t) for t in self.window)
        object.__setattr__(self, "window", (start, stop))
        if self.units not in ("good", "all"):
            raise PreparationError(f'Units must be "good" or "all", not {self.units!r}.')
        if not self.min_rate >= 0:
            raise PreparationError(f"The minimum rate must be 0 or more, not {self.min_rate}.")
        if not (np.isfinite([start, stop]).all() and start < stop and self.bin_size > 0):
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s in bins of {self.bin_size:g} s is empty."
            )
        bins = (stop - start) / self.bin_size
        if round(bins) < 1 or abs(bins - round(bins)) > 1e-6 * bins:
            raise PreparationError(
                f"A window of {start:g} to {stop:g} s is not a whole number of bins of "
                f"{self.bin_size:g} s; change one of them."
            )

    @property
    def n_bins(self) -> int:
        """Number of bins in the window."""
        return round((self.window[1] - self.window[0]) / self.bin_size)
