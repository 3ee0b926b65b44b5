"""Where the windows of a session lie: around the trials, or side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import PreparationError
from napari_mtm.recording.preparation import DEFAULT_ALIGN, Preparation
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.session import ANY_TIME
from napari_mtm.recording.trials import column, select_trials, signed_contrast

_EDGE_SPIKES = 20
_SAME_LENGTH = 0.95
_MOST_WINDOWS = 1_000_000


@dataclass(frozen=True)
class Windows:
    """Where the windows lie: their trials and starts, and the trials left out by reason."""

    align: str
    window: tuple[float, float]
    trials: pd.DataFrame
    starts: npt.NDArray[np.floating]
    excluded: dict[str, int]


def cut_windows(
    recording: Recording, probes: Sequence[Probe], preparation: Preparation, notes: list[str]
) -> Windows:
    """Choose trials and place their windows, or adjoining ones; adds to `notes`.

    Raises PreparationError where no window is left.
    """
    trials, align = recording.trials, preparation.align
    _compare_lengths(probes, notes)
    if cuts_adjoining(trials, preparation):
        if align != ANY_TIME:
            notes.append(_why_adjoining(trials))
        return _adjoining(recording, probes, preparation)
    if trials is None:
        raise PreparationError(
            f'{recording.name} has no trials to align to {align}; use align="{ANY_TIME}".'
        )
    if align not in trials:
        raise PreparationError(
            f"{recording.name} has no trials column {align!r}. "
            f"There are: {', '.join(map(str, trials))}."
        )
    selection = select_trials(trials, align, preparation.window, recorded(probes))
    if not selection.keep.any():
        why = ", ".join(f"{n} {reason}" for reason, n in selection.excluded.items())
        raise PreparationError(
            f"None of the {len(trials)} trials of {recording.name} can be used: {why}."
            if why
            else f"The trials table of {recording.name} is empty."
        )
    kept = trials[selection.keep].reset_index(drop=True)
    if {"contrastLeft", "contrastRight"} <= set(kept):
        kept = kept.assign(signed_contrast=signed_contrast(kept))
    starts = column(kept, align) + preparation.window[0]
    return Windows(align, preparation.window, kept, starts, selection.excluded)


def cuts_adjoining(trials: pd.DataFrame | None, preparation: Preparation) -> bool:
    """Whether windows adjoin each other: as asked, or as nobody named an event that is there.

    A person who leaves the event as it is by default may open any session, trials or not.
    """
    missing = trials is None or DEFAULT_ALIGN not in trials
    return preparation.align == ANY_TIME or (preparation.align == DEFAULT_ALIGN and missing)


def recorded(probes: Sequence[Probe]) -> tuple[float, float]:
    """First and last second at which every probe was recording.

    A probe records for as long beyond its last spike as twenty more would have
    taken at its mean rate: next to nothing on a real probe. Spikes must be in order,
    as `usable` returns them.
    """
    spans = _spans(probes)
    if not spans:
        return 0.0, np.inf
    return max(first for first, _ in spans), min(last for _, last in spans)


def adjoining(probes: Sequence[Probe], preparation: Preparation) -> tuple[float, int]:
    """Say when the first of the windows that cut a whole recording begins, and how many fit.

    They end with the last spike of all probes. Spikes must be in order, as
    `usable` returns them.
    """
    first, stop = recorded(probes)
    last = max((float(p.times[-1]) for p in probes if len(p.times)), default=first)
    return first, max(0, int((min(last, stop) - first) / _length(preparation) + 1e-9))


def _why_adjoining(trials: pd.DataFrame | None) -> str:
    if trials is None:
        return "There is no trials table; the recording is cut into adjoining windows."
    columns = ", ".join(map(str, trials)) or "none"
    return (
        f"The trials table has no {DEFAULT_ALIGN}; the recording is cut into adjoining windows. "
        f"To see trials, align to one of its columns: {columns}."
    )


def _spans(probes: Sequence[Probe]) -> list[tuple[float, float]]:
    """First and last second at which each probe that has spikes was recording."""
    spans = []
    for probe in probes:
        if len(probe.times) < 2:
            continue
        first, last = float(probe.times[0]), float(probe.times[-1])
        slack = _EDGE_SPIKES * (last - first) / len(probe.times)
        spans.append((max(0.0, first - slack), last + slack))
    return spans


def _compare_lengths(probes: Sequence[Probe], notes: list[str]) -> None:
    """Note where one probe recorded for longer than another."""
    lasts = [last for _, last in _spans(probes)]
    if lasts and min(lasts) < _SAME_LENGTH * max(lasts):
        notes.append(
            f"The probes disagree on the length of the recording ({min(lasts):.0f} and "
            f"{max(lasts):.0f} s); only trials that all of them recorded are used."
        )


def _length(preparation: Preparation) -> float:
    return preparation.n_bins * preparation.bin_size


def _adjoining(recording: Recording, probes: Sequence[Probe], preparation: Preparation) -> Windows:
    """Cut the whole recording; there is no event, so time runs from each window's start."""
    length = _length(preparation)
    first, n = adjoining(probes, preparation)
    if n > _MOST_WINDOWS:
        raise PreparationError(
            f"{recording.name} has spikes until {first + n * length:g} s, too long for windows of "
            f"{length:g} s. Its last spike times are wrong, or in another unit than seconds."
        )
    if n < 1:
        raise PreparationError(
            f"{recording.name} is shorter than one window of {length:g} s; use a shorter window."
        )
    starts = first + np.arange(n) * length
    trials = pd.DataFrame({"intervals_0": starts, "intervals_1": starts + length})
    return Windows(ANY_TIME, (0.0, round(length, 9)), trials, starts, {})
