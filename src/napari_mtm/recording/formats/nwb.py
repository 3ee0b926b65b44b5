"""Read sessions in NWB files: spikes of sorted units, trials, and the wheel and whiskers of IBL.

The file is read with h5py alone.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_mtm.arrays import numbers
from napari_mtm.errors import SourceError
from napari_mtm.files import is_regular
from napari_mtm.progress import Progress
from napari_mtm.recording.alf import is_eid
from napari_mtm.recording.formats.hdf5 import Contents, is_hdf5, opened
from napari_mtm.recording.formats.nwb_behaviour import wheel_position, whisker
from napari_mtm.recording.formats.nwb_trials import trials_table
from napari_mtm.recording.formats.nwb_units import units_table
from napari_mtm.recording.raw import Recording
from napari_mtm.recording.source import FileSource, path_id
from napari_mtm.recording.spikes import probes_of

_EID = re.compile(r"_ses-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:_|\.)")


def find(path: Path) -> FileSource | None:
    """Return the session in an NWB file, None for any other file."""
    if not is_regular(path):
        return None
    if not is_hdf5(path):
        if path.suffix.lower() == ".nwb":
            raise SourceError(
                f"{path} is no HDF5 file, as NWB files are, or is damaged. Download it again."
            )
        return None
    with opened(path, Contents) as file:
        if file.attribute("/", "nwb_version") is None:
            return None
        id, name = _id(file, path), _name(file, path)
    return FileSource(id, name, path.parent, (path,), partial(_read, path, id, name))


def _id(file: Contents, path: Path) -> str:
    """The session's id at IBL, else what the file calls itself."""
    in_name = _EID.search(path.name)
    if in_name:
        return in_name[1]
    session = file.text("general/session_id")
    return session if is_eid(session) else file.text("identifier") or path_id(path)


def _name(file: Contents, path: Path) -> str:
    """Subject and date, or the name of the file."""
    subject, start = file.text("general/subject/subject_id"), file.text("session_start_time")
    date = re.match(r"\d{4}-\d\d-\d\d", start)
    return f"{subject} {date[0]}" if subject and date else path.stem


def _read(path: Path, id: str, name: str, progress: Progress) -> Recording:
    notes: list[str] = []
    with opened(path, Contents) as file:
        progress(0.0, "reading spikes")
        ids, times, clusters = _spikes(file, path, notes)
        progress(0.7, "reading units, trials and behaviour")
        return Recording(
            id=id,
            name=name,
            probes=probes_of(times, clusters, units_table(file, id, ids, notes)),
            trials=trials_table(file, notes),
            wheel_position=wheel_position(file, notes),
            whisker=whisker(file, notes),
            notes=tuple(notes),
        )


def _spikes(
    file: Contents, path: Path, notes: list[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating], npt.NDArray[np.integer]]:
    """Return the ids of units, and time and unit of every spike, in order of time.

    Times are kept twice at most, and units as narrowly as their ids allow: a file of 50 million
    spikes takes 1 GB.
    """
    times, index = file.values("units/spike_times"), file.values("units/spike_times_index")
    if times is None or index is None:
        raise SourceError(
            f"{path} has no units with spike times, so it is no spike-sorted session. Of a session "
            "of IBL on DANDI, they are in the file whose name has desc-processed in it."
        )
    times = numbers(times, f"units/spike_times in {path}", SourceError)
    index = numbers(
        index, f"units/spike_times_index in {path}", SourceError, kind="whole", least=0
    ).astype(np.int64)
    per_unit = np.diff(index, prepend=0).astype(np.int64)
    if (per_unit < 0).any() or per_unit.sum() != len(times):
        raise SourceError(
            f"{path} is damaged: its units/spike_times_index does not part its {len(times)} spike "
            "times among the units. Download it again."
        )
    ids = _ids(file, path, len(index), notes)
    narrow = ids.astype(np.min_scalar_type(int(ids.max(initial=0))))
    order = np.argsort(times)
    clusters = np.repeat(narrow, per_unit)[order]
    del order
    times.sort()
    return ids, times, clusters


def _ids(file: Contents, path: Path, n: int, notes: list[str]) -> npt.NDArray[np.int64]:
    """Id of each unit: the file's, or where these will not do, its place in the table."""
    found = file.values("units/id")
    if found is None:
        return np.arange(n)
    ids = numbers(found, f"units/id in {path}", SourceError, kind="whole").astype(np.int64)
    if len(ids) != n:
        raise SourceError(
            f"{path} is damaged: its units table has {len(ids)} units, but spikes of {n}. "
            "Download it again."
        )
    if len(np.unique(ids)) < n or ids.min(initial=0) < 0:
        notes.append("The units' ids are not unique, or negative; they are numbered instead.")
        return np.arange(n)
    return ids
