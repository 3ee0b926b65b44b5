"""Read the folder that Kilosort writes and Phy curates: spikes in samples, and tables of clusters.

Of params.py only the sampling rate is read, as text; it is never run.
"""

import math
import re
from functools import partial
from pathlib import Path

from napari_mtm.errors import SourceError
from napari_mtm.files import is_folder, is_regular, reading
from napari_mtm.progress import Progress
from napari_mtm.recording.formats.phy_units import ARRAYS, TABLES, units_table
from napari_mtm.recording.loading import load_numbers
from napari_mtm.recording.raw import Recording
from napari_mtm.recording.source import FileSource, path_id
from napari_mtm.recording.spikes import probes_of

_USUAL_RATE = 30_000.0
"""Samples per second of Neuropixels probes."""
_RATE = re.compile(rb"^[ \t]*sample_rate[ \t]*=[ \t]*([^#\r\n]*)", re.MULTILINE)
_LONGEST_PARAMS = 1_000_000


def find(path: Path) -> FileSource | None:
    """Return the session in a folder of Kilosort or Phy, None for anything else."""
    if not is_folder(path) or not is_regular(path / "spike_times.npy"):
        return None
    others = ("spike_clusters.npy", "spike_templates.npy", "params.py")
    if not any(is_regular(path / name) for name in others):
        return None
    arrays = [f"{name}.npy" for name in ("spike_times", "spike_clusters", *ARRAYS)]
    names = [*arrays, *(f"{name}.tsv" for name in TABLES), "params.py"]
    files = tuple(path / name for name in names if is_regular(path / name))
    id, name = path_id(path), path.resolve().name
    return FileSource(id, name, path, files, partial(_read, path, id, name))


def _read(folder: Path, id: str, name: str, progress: Progress) -> Recording:
    notes: list[str] = []
    progress(0.0, "reading spikes")
    rate = _sample_rate(folder, notes)
    samples = load_numbers(folder / "spike_times.npy", "whole")
    clusters = load_numbers(folder / "spike_clusters.npy", "whole", least=0)
    if clusters is None:
        clusters = load_numbers(folder / "spike_templates.npy", "whole", least=0)
    if samples is None or clusters is None:
        raise SourceError(
            f"{folder} has no {'spike_times' if samples is None else 'spike_clusters'}.npy; "
            "the spike sorting is not complete. Copy the folder again."
        )
    if len(samples) != len(clusters):
        raise SourceError(
            f"{folder} has {len(samples)} spike times but {len(clusters)} spike clusters; one file "
            "is cut short or from another sorting."
        )
    progress(0.7, "reading clusters")
    units = units_table(folder, id, clusters, notes)
    return Recording(
        id=id, name=name, probes=probes_of(samples / rate, clusters, units), notes=tuple(notes)
    )


def _sample_rate(folder: Path, notes: list[str]) -> float:
    """Samples per second as params.py says, or else as Neuropixels probes have it, with a note."""
    path = folder / "params.py"
    text = b""
    if is_regular(path):
        with reading(path, SourceError) as file:
            text = file.read(_LONGEST_PARAMS)
    said = _RATE.findall(text)
    if not said:
        notes.append(
            f"No params.py says how many samples there are in a second: {_USUAL_RATE:,.0f} are "
            "ASSUMED. Where that is wrong, all times are."
        )
        return _USUAL_RATE
    try:
        rate = float(said[-1])
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise SourceError(
            f"{path} must say sample_rate = a number above 0, in samples per second; what is there "
            f"is {said[-1][:40].decode(errors='replace').strip() or 'nothing'}."
        )
    return rate
