"""One session where it lies, not yet read: what all places of sessions have in common."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.files import must_be_regular
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.raw import Recording
from napari_mtm.recording.session import titled
from napari_mtm.recording.spikes import usable
from napari_mtm.recording.units import chosen
from napari_mtm.recording.windows import adjoining, cuts_adjoining

Content = list[tuple[str, int, int]]
"""Of each file that is read: its name in the source, its bytes, and its time of change in ns."""


@dataclass(frozen=True)
class Choice:
    """What one choice of units would mean: how many, and the size of their counts in MB.

    The size is None where only spikes that are still to be downloaded would tell.
    """

    units: str
    n_units: int
    counts_mb: float | None


@dataclass(frozen=True)
class Survey:
    """What a session holds, found before it is prepared.

    `n_trials` counts all trials, before any is left out; None without a trials
    table. `read_mb` is the size of the spikes to be read in MB. `choices` are empty where only
    spikes that are still to be downloaded would tell. `notes` are sentences that a person should
    read, such as what is missing.
    """

    id: str
    name: str
    simulated: bool
    probes: tuple[str, ...]
    n_trials: int | None
    read_mb: float
    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name as a person should see it; it says when the session is simulated."""
        return titled(self.name, simulated=self.simulated)


class Source(Protocol):
    """One session where it lies."""

    @property
    def id(self) -> str:
        """What the session is keyed by."""
        ...

    @property
    def name(self) -> str:
        """What a person calls the session."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this opening alone, such as that a server did not answer."""
        ...

    def fetch(self, progress: Progress = silent) -> None:
        """Have all that is read on this disk; where it is there already, nothing happens."""
        ...

    def to_download(self) -> int:
        """Bytes that `fetch` would download."""
        ...

    def content(self) -> Content:
        """Say which files are read, once they are here: it tells whether any has changed."""
        ...

    def survey(self, preparation: Preparation) -> Survey:
        """Count units and trials, and what a session of them would weigh."""
        ...

    def read(self, progress: Progress = silent) -> Recording:
        """Read the session; raise SourceError where it has no spikes or a file is damaged."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A session in a few files of one format, which are read as a whole.

    `folder` is what the names of `files` are told relative to; `reader` reads them.
    """

    id: str
    name: str
    folder: Path
    files: tuple[Path, ...]
    reader: Callable[[Progress], Recording]
    notes: tuple[str, ...] = ()

    def fetch(self, progress: Progress = silent) -> None:
        """Do nothing: the files are here."""

    def to_download(self) -> int:
        """Bytes that `fetch` would download: none."""
        return 0

    def content(self) -> Content:
        """Say which files are read."""
        found = []
        for path in sorted(self.files):
            must_be_regular(path, SourceError)
            stat = path.stat()
            name = path.relative_to(self.folder).as_posix()
            found.append((name, stat.st_size, stat.st_mtime_ns))
        return found

    def survey(self, preparation: Preparation) -> Survey:
        """Read the files and count what is in them."""
        read_mb = sum(size for _, size, _ in self.content()) / 1e6
        return surveyed(self.read(), preparation, read_mb=read_mb)

    def read(self, progress: Progress = silent) -> Recording:
        """Read the files."""
        return replace(self.reader(progress), id=self.id, name=self.name)


def path_id(path: Path) -> str:
    """What a session is keyed by that has nothing but its path."""
    return f"path-{hashlib.sha256(path.resolve().as_posix().encode()).hexdigest()[:16]}"


def surveyed(recording: Recording, preparation: Preparation, *, read_mb: float) -> Survey:
    """Say what a recording holds, once it is read."""
    units = pd.concat([probe.units for probe in recording.probes], ignore_index=True)
    trials = recording.trials
    if trials is None or cuts_adjoining(trials, preparation):
        probes = [usable(probe, []) for probe in recording.probes]
        _, n_windows = adjoining(probes, preparation)
    else:
        n_windows = len(trials)
    return Survey(
        id=recording.id,
        name=recording.name,
        simulated=recording.simulated,
        probes=tuple(probe.name for probe in recording.probes),
        n_trials=None if trials is None else len(trials),
        read_mb=read_mb,
        choices=choices(units, n_windows, preparation),
        notes=recording.notes,
    )


def choices(
    units: pd.DataFrame, n_windows: int | None, preparation: Preparation
) -> tuple[Choice, ...]:
    """What each choice of units would mean, by a table with `label` and `firing_rate`."""
    per_unit = None if n_windows is None else n_windows * preparation.n_bins / 1e6
    found = []
    which: Literal["good", "all"]
    for which in ("good", "all"):
        asked = Preparation(units=which, min_rate=preparation.min_rate)
        n = int(np.sum(chosen(units, asked)))
        found.append(Choice(which, n, None if per_unit is None else n * per_unit))
    return tuple(found)
