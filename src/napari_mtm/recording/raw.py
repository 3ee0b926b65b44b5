"""What a source found: a recording on its own clock, not yet cut into windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.recording.traces import Trace

UNIT_COLUMNS = ("uuid", "region", "acronym", "depth", "label", "firing_rate")
"""Columns of `Probe.units`, whose index is the cluster id."""


class Truth(Protocol):
    """The rates that made simulated spikes."""

    def rates(self, edges: npt.NDArray[np.float64], uuids: list[str]) -> npt.NDArray[np.float32]:
        """Return expected counts (windows, bins, units) between `edges` (windows, bins + 1)."""
        ...


@dataclass(frozen=True)
class Probe:
    """The spikes of one probe and a table of its units.

    `times` are seconds on the session's clock; `clusters` are the ids that index
    `units`, whose columns are `UNIT_COLUMNS`: `region` is the Beryl name,
    `acronym` the finest label, `depth` micrometres from the tip, `label` IBL's
    quality (1 is good), `firing_rate` spikes/s. Unknown numbers are NaN, unknown
    places `regions.UNKNOWN`.
    """

    name: str
    times: npt.NDArray[np.floating]
    clusters: npt.NDArray[np.integer]
    units: pd.DataFrame


@dataclass(frozen=True)
class Recording:
    """One session as its source holds it.

    `traces` are further behaviour by name, such as "lick-rate"; `notes` are sentences a
    person should read.
    """

    id: str
    name: str
    probes: tuple[Probe, ...]
    trials: pd.DataFrame | None = None
    wheel_position: Trace | None = None
    whisker: Trace | None = None
    traces: Mapping[str, Trace] = field(default_factory=dict)
    truth: Truth | None = None
    simulated: bool = False
    notes: tuple[str, ...] = ()
