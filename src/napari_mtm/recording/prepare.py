"""From a recording to a session."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import PreparationError
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.binning import Binned, bin_edges, bin_spikes
from napari_mtm.recording.checks import wheel_sign
from napari_mtm.recording.memory import memory
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.session import Session
from napari_mtm.recording.spikes import usable
from napari_mtm.recording.traces import (
    Trace,
    bin_average,
    bin_further,
    wheel_velocity,
)
from napari_mtm.recording.units import choose_units
from napari_mtm.recording.windows import cut_windows


def prepare(
    recording: Recording, preparation: Preparation, *, progress: Progress = silent
) -> Session:
    """Cut a recording into windows and bin it.

    Raises PreparationError where no unit or no trial is left, SourceError where
    spike times are damaged.
    """
    notes = list(recording.notes)
    probes = [usable(probe, notes) for probe in recording.probes]
    units = choose_units(recording, probes, preparation, notes)
    cut = cut_windows(recording, probes, preparation, notes)
    _must_fit(recording, len(cut.starts), preparation.n_bins, len(units))
    edges = bin_edges(cut.starts, preparation.n_bins, preparation.bin_size)

    binned = _bin_probes(probes, units, edges, part(progress, 0.0, 0.8))
    progress(0.8, "reading behaviour")
    if binned.saturated:
        notes.append(
            f"{binned.saturated} counts were above 255 and are stored as 255; use smaller bins."
        )
    behaviour = _behaviour(recording, edges, notes)
    sign = wheel_sign(recording.wheel_position, recording.trials)
    if sign:
        notes.append(sign)
    progress(0.9, "finding true rates" if recording.truth else "putting it together")
    truth = recording.truth
    return Session(
        id=recording.id,
        name=recording.name,
        counts=binned.counts,
        units=units,
        trials=cut.trials,
        behaviour=behaviour,
        window=cut.window,
        bin_size=preparation.bin_size,
        align=cut.align,
        rates=truth.rates(edges, units["uuid"].tolist()) if truth else None,
        simulated=recording.simulated,
        excluded=cut.excluded,
        saturated=binned.saturated,
        notes=tuple(notes),
    )


def _must_fit(recording: Recording, n_windows: int, n_bins: int, n_units: int) -> None:
    """Raise PreparationError where counts would need more memory than this machine has."""
    size = n_windows * n_bins * n_units
    if size > memory():
        raise PreparationError(
            f"{recording.name} cut into {n_windows:,} windows of {n_bins:,} bins and {n_units:,} "
            f"units would take {size / 1e9:.0f} GB. Use larger bins, or fewer units."
        )


def _bin_probes(
    probes: Sequence[Probe], units: pd.DataFrame, edges: np.ndarray, progress: Progress
) -> Binned:
    """Count the spikes of each probe into the columns of its units."""
    counts = np.zeros((len(edges), edges.shape[1] - 1, len(units)), dtype=np.uint8)
    saturated = 0
    for k, probe in enumerate(probes):
        mine = np.flatnonzero(units["probe"].to_numpy() == probe.name)
        ids = units["cluster"].to_numpy()[mine]
        share = part(progress, k / len(probes), (k + 1) / len(probes))
        binned = bin_spikes(probe.times, probe.clusters, edges, ids, progress=share)
        if len(probes) == 1:
            return binned
        counts[:, :, mine] = binned.counts
        saturated += binned.saturated
    return Binned(counts, saturated)


def _behaviour(
    recording: Recording, edges: np.ndarray, notes: list[str]
) -> dict[str, npt.NDArray[np.float32]]:
    nothing = Trace(np.empty(0), np.empty(0))
    position = recording.wheel_position or nothing
    whisker = recording.whisker or nothing
    velocity = wheel_velocity(position, edges)
    speed = replace(velocity, values=np.abs(velocity.values))
    behaviour = {
        "wheel-velocity": bin_average(velocity, edges),
        "wheel-speed": bin_average(speed, edges),
        **bin_further({"whisker-motion-energy": whisker, **recording.traces}, edges),
    }
    for what, name, samples in (
        ("wheel trace", "wheel-velocity", position),
        ("whisker motion energy", "whisker-motion-energy", whisker),
    ):
        if len(samples.times) == 0:
            notes.append(f"There is no {what}.")
        elif np.isnan(behaviour[name]).all():
            notes.append(
                f"There is no {what} in any window: its samples lie between "
                f"{samples.times[0]:g} and {samples.times[-1]:g} s, the windows between "
                f"{edges.min():g} and {edges.max():g} s. Its times may be from another clock, "
                "or not in seconds."
            )
    return behaviour
