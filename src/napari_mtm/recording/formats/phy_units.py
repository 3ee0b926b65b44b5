"""The clusters of a folder of Kilosort or Phy: quality, depth and place."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_mtm.errors import SourceError
from napari_mtm.files import is_regular, reading
from napari_mtm.recording.loading import load_numbers
from napari_mtm.recording.regions import UNKNOWN, to_beryl
from napari_mtm.recording.spikes import spikes_per_cluster
from napari_mtm.recording.unit_columns import Columns, acronyms_in, depths_in, labels_in

TABLES = ("cluster_group", "cluster_KSLabel", "cluster_info")
ARRAYS = ("spike_templates", "spike_positions", "templates", "templates_ind", "channel_positions")
"""Names of the files that are read here."""


def units_table(
    folder: Path, id: str, clusters: npt.NDArray[Any], notes: list[str]
) -> pd.DataFrame:
    """Return the table of units that `probes_of` takes, of the clusters that fired."""
    ids = spikes_per_cluster(clusters).index.to_numpy()
    columns = _columns(folder, ids, notes)
    acronyms = acronyms_in(columns) or [UNKNOWN] * len(ids)
    depth, label = _depths(folder, columns, clusters, ids, notes), _labels(columns)
    return pd.DataFrame(
        {
            "uuid": [f"{id}/{i}" for i in ids],
            "region": to_beryl(acronyms),
            "acronym": acronyms,
            "depth": np.nan if depth is None else depth,
            "label": np.nan if label is None else label,
            "probe": "",
        },
        index=ids,
    )


def _labels(columns: Columns) -> npt.NDArray[np.float64] | None:
    """Quality by a person's group, else by Kilosort's label."""
    person, sorter = (
        labels_in({n: columns[n]}) if n in columns else None for n in ("group", "KSLabel")
    )
    if person is None or sorter is None:
        return sorter if person is None else person
    return np.where(np.isnan(person), sorter, person)


def _columns(folder: Path, ids: npt.NDArray[np.int64], notes: list[str]) -> Columns:
    """What the tables say of some clusters; of columns with one name, the first counts."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in TABLES:
        path = folder / f"{name}.tsv"
        if is_regular(path):
            for column, texts in _table(path, notes).items():
                columns.setdefault(column, _as_numbers([texts.get(int(i), "") for i in ids]))
    return columns


def _table(path: Path, notes: list[str]) -> dict[str, dict[int, str]]:
    """Columns of a table: a text by cluster. A table that makes no sense has none, and a note."""
    with reading(path, SourceError) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        try:
            rows = [list(map(str.strip, row)) for row in csv.reader(text, delimiter="\t") if row]
        except csv.Error as error:
            raise SourceError(f"{path} is damaged ({error}). Copy it again.") from None
    header, *rows = rows or [[]]
    key = next((header.index(name) for name in ("cluster_id", "id") if name in header), None)
    if key is None:
        notes.append(f"{path.name} has no column cluster_id and is left out.")
        return {}
    clusters = [row[key] if key < len(row) else "" for row in rows]
    if not all(re.fullmatch(r"\d{1,18}", c) for c in clusters) or len({*clusters}) < len(clusters):
        notes.append(f"{path.name} does not name each cluster once, by its number; it is left out.")
        return {}
    columns = [k for k in range(len(header)) if k != key]
    if path.stem == "cluster_group" and len(columns) == 1:  # Kilosort calls it by another name
        header[columns[0]] = "group"
    return {
        header[k]: {int(c): row[k] for c, row in zip(clusters, rows, strict=True) if k < len(row)}
        for k in columns
    }


def _as_numbers(texts: list[str]) -> npt.NDArray[Any]:
    """Numbers, NaN where there is no text, or texts if any of them is no number."""
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts, dtype=object)


def _depths(
    folder: Path,
    columns: Columns,
    clusters: npt.NDArray[Any],
    ids: npt.NDArray[np.int64],
    notes: list[str],
) -> npt.NDArray[np.float64] | None:
    """Depth of each cluster: from the table, else the median of its spikes' depths."""
    listed = depths_in(columns)
    if listed is not None:
        return listed
    per_spike = _template_depths(folder, clusters)
    if per_spike is None:
        positions = load_numbers(folder / "spike_positions.npy", ndim=2)
        per_spike = None if positions is None or positions.shape[1] < 2 else positions[:, 1]
    if per_spike is None:
        return None
    if len(per_spike) != len(clusters):
        notes.append(
            f"There are {len(per_spike)} templates or positions of spikes for {len(clusters)} "
            "spikes, so depths are not known."
        )
        return None
    known = pd.Series(np.where(np.isfinite(per_spike), per_spike, np.nan))
    return np.array(known.groupby(clusters).median().reindex(ids), dtype=np.float64)


def _template_depths(folder: Path, clusters: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Depth of each spike, by the channel on which its template is largest."""
    positions = load_numbers(folder / "channel_positions.npy", ndim=2)
    templates = load_numbers(folder / "templates.npy", ndim=3)
    if positions is None or templates is None or positions.shape[1] < 2 or not templates.size:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # values may be anything
        largest = np.argmax(np.nan_to_num(np.ptp(templates, axis=1)), axis=1)
    channels = load_numbers(folder / "templates_ind.npy", "whole", ndim=2)
    if channels is not None and channels.shape == (templates.shape[0], templates.shape[2]):
        largest = channels[np.arange(len(largest)), largest]
    used = load_numbers(folder / "spike_templates.npy", "whole")
    return _at(_at(positions[:, 1], largest), clusters if used is None else used)


def _at(values: npt.NDArray[Any], places: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Values at some places, NaN where there is no such place."""
    found = (places >= 0) & (places < len(values))
    return np.where(found, values[np.where(found, places, 0)], np.nan)
