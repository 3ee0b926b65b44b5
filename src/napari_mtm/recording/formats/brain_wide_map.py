"""Sessions in a release of the Brain-Wide Map as a folder: `bwm_ephys` 1.2.

That is tables of all sessions, and a folder of spikes for each probe, in the form
"ibl_ai_agent_spike_shard_v2"; good units alone. Wheel and whiskers come from a release of
`bwm_behavior` 2.0 that lies beside it.
"""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_mtm.arrays import numbers
from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import is_folder, is_regular, must_be_regular, shortened
from napari_mtm.progress import Progress
from napari_mtm.recording.formats.behaviour_release import behaviour_of, read_behaviour
from napari_mtm.recording.formats.labels import named_places
from napari_mtm.recording.formats.shards import SPIKE_FILES, read_spikes
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.regions import region_order
from napari_mtm.recording.source import FileSource
from napari_mtm.recording.spikes import called
from napari_mtm.recording.trials import column

_INSERTIONS = "metadata/insertions.parquet"
_UNITS = "metadata/units.parquet"
_TRIALS = "metadata/trials.parquet"
_CLUSTERS = "clusters.pqt"
_ID = re.compile(r"[0-9A-Za-z-]+")
_ABOUT = ["pid", "eid", "subject", "date", "session_number", "lab", "probe_name"]
_KEYS = ["eid", "trial_id", "subject", "date", "session_number", "lab"]
"""Columns of trials that say of which session they are."""


def is_release(folder: Path) -> bool:
    """Whether a folder is a release, by the names of a few files."""
    return all(is_regular(folder / name) for name in (_INSERTIONS, _UNITS)) and is_folder(
        folder / "spikes"
    )


def sessions(folder: Path) -> pd.DataFrame:
    """Table of the sessions of a release, without reading spikes.

    Columns are eid, subject, date, number, lab, `probes` (names), `regions` (Beryl names along the
    Allen graph), `good_units` and `megabytes` of spikes.
    """
    insertions = _insertions(folder)
    units = _table(folder / _UNITS, ["eid", "beryl_acronym"])
    units["eid"] = units["eid"].astype(str)
    good = units.groupby("eid").size()
    named = units[[isinstance(name, str) for name in units["beryl_acronym"]]]
    regions = {eid: _in_order(names) for eid, names in named.groupby("eid")["beryl_acronym"]}
    rows = []
    for eid, probes in insertions.groupby("eid", sort=False):
        first = probes.iloc[0]
        rows.append(
            {
                "eid": eid,
                "subject": first["subject"],
                "date": first["date"],
                "number": first["session_number"],
                "lab": first["lab"],
                "probes": tuple(probes["probe_name"]),
                "regions": regions.get(eid, ()),
                "good_units": int(good.get(eid, 0)),
                "megabytes": sum(_spike_bytes(folder, pid) for pid in probes["pid"]) / 1e6,
            }
        )
    return pd.DataFrame(rows)


def find(path: Path) -> FileSource | None:
    """Return the session of a release that has one alone, None where a path is no release.

    Raises SourceError where the release has several.
    """
    if not is_release(path):
        return None
    eids = list(dict.fromkeys(_insertions(path)["eid"]))
    if len(eids) != 1:
        raise SourceError(
            f"{path} holds {len(eids)} sessions; name one of them by its id, and the folder with "
            f"one=... or --one, for example {', '.join(eids[:3])}."
        )
    return source(path, eids[0])


def source(folder: Path, eid: str) -> FileSource:
    """Return a session of a release; raise SourceError where there is none of this id."""
    folder, eid = folder.absolute(), eid.lower()
    insertions = _insertions(folder)
    probes = insertions[insertions["eid"].str.lower() == eid]
    if probes.empty:
        raise SourceError(f"Session {shortened(eid)} is not in the release in {folder}.")
    first = probes.iloc[0]
    behaviour = behaviour_of(folder, eid)
    there = [folder / "spikes" / pid for pid in probes["pid"]]
    files = [
        folder / _INSERTIONS,
        folder / _UNITS,
        *(path for path in (folder / _TRIALS, folder / _CLUSTERS) if is_regular(path)),
        *(probe / name for probe in there if is_folder(probe) for name in SPIKE_FILES),
        *([] if behaviour is None else [behaviour]),
    ]
    return FileSource(
        id=eid,
        name=f"{first['subject']} {first['date']} {first['session_number']:03d}",
        folder=Path(os.path.commonpath([folder, behaviour or folder])),
        files=tuple(files),
        reader=partial(_read, folder, probes, behaviour),
    )


def _read(
    folder: Path, insertions: pd.DataFrame, behaviour: Path | None, progress: Progress
) -> Recording:
    """Read a session; `source` says its id and name."""
    notes: list[str] = []
    pids = list(insertions["pid"])
    units = _of_probes(folder / _UNITS, ["pid", "cluster_id"], pids)
    uuids = _uuids(folder, pids)
    if not uuids:
        notes.append(
            "The release does not hold the uuids of its units, so that models of the session from "
            "elsewhere do not know them."
        )
    probes = []
    for k, (pid, name) in enumerate(zip(pids, insertions["probe_name"], strict=True)):
        progress(k / (len(pids) + 1), f"reading {name}")
        probe = _probe(folder, pid, name, units, uuids)
        if probe is None:
            notes.append(f"{called(name)} has no spikes here, so its units are left out.")
        else:
            probes.append(probe)
    if not probes:
        raise SourceError(f"The session has no spikes in {folder / 'spikes'}; download it again.")
    progress(len(pids) / (len(pids) + 1), "reading trials and behaviour")
    wheel, whisker = (None, None) if behaviour is None else read_behaviour(behaviour, notes)
    return Recording(
        id="",
        name="",
        probes=tuple(probes),
        trials=_trials(folder / _TRIALS, str(insertions["eid"].iloc[0])),
        wheel_position=wheel,
        whisker=whisker,
        notes=tuple(notes),
    )


def _probe(
    folder: Path, pid: str, name: str, units: pd.DataFrame, uuids: dict[tuple[str, int], str]
) -> Probe | None:
    """Return a probe, None where it has no spikes."""
    place = folder / "spikes" / pid
    if not is_folder(place):
        return None
    times, clusters, number = read_spikes(place)
    ids = number.index[number > 0].to_numpy()
    if len(ids) == 0:
        return None
    mine = units[units["pid"] == pid].set_index("cluster_id")
    table = _unit_table(mine.reindex(ids), folder / _UNITS)
    table["uuid"] = [uuids.get((pid, i)) or f"{pid}/{i}" for i in ids.tolist()]
    duration = times[-1] - times[0]
    mean = number[number > 0] / duration if duration > 0 else 0.0 * number[number > 0]
    table["firing_rate"] = table["firing_rate"].fillna(mean)
    return Probe(name, times, clusters, table)


def _unit_table(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Table of units without their uuids, of what the release says of them."""
    found = {
        what: column(rows, what, str(path))
        for what in ("label", "depths", "axial_um", "firing_rate")
    }
    finite = {what: np.where(np.isfinite(v), v, np.nan) for what, v in found.items()}
    acronym, region = named_places(*(_texts(rows, what) for what in ("acronym", "beryl_acronym")))
    rate, depth = finite["firing_rate"], finite["depths"]
    return pd.DataFrame(
        {
            "uuid": "",
            "region": region,
            "acronym": acronym,
            "depth": np.where(np.isnan(depth), finite["axial_um"], depth),
            "label": finite["label"],
            "firing_rate": np.where(rate >= 0, rate, np.nan),
        },
        index=rows.index,
    )


def _uuids(folder: Path, pids: Sequence[str]) -> dict[tuple[str, int], str]:
    """Uuids of units by probe and cluster: of the table of units, or of that of all clusters."""
    for path in (folder / _UNITS, folder / _CLUSTERS):
        name = next((n for n in ("uuids", "uuid") if n in _column_names(path)), None)
        if name is not None:
            table = _of_probes(path, ["pid", "cluster_id", name], pids, only=True)
            keys = zip(table["pid"], table["cluster_id"].tolist(), strict=True)
            return dict(zip(keys, _texts(table, name), strict=True))
    return {}


def _of_probes(
    path: Path, needed: list[str], pids: Sequence[str], *, only: bool = False
) -> pd.DataFrame:
    """Return the rows of a table of clusters that are of some probes."""
    table = _table(path, needed, only=only)
    table = table[table["pid"].isin(pids)]
    ids = numbers(table["cluster_id"], f"{path}: cluster_id", SourceError, kind="whole", least=0)
    table = table.assign(pid=table["pid"].astype(str), cluster_id=ids)
    if table.duplicated(["pid", "cluster_id"]).any():
        raise SourceError(f"{path} is damaged: it names a cluster twice. Download it again.")
    return table


def _trials(path: Path, eid: str) -> pd.DataFrame | None:
    """Return the trials of a session in IBL's columns, None where there are none."""
    if not is_regular(path):
        return None
    table = _table(path, ["eid"])
    table = table[table["eid"] == eid]
    if table.empty:
        return None
    if "trial_id" in table:
        order = np.argsort(column(table, "trial_id"), kind="stable")
        table = table.iloc[order]
    return table.drop(columns=_KEYS, errors="ignore").reset_index(drop=True)


def _insertions(folder: Path) -> pd.DataFrame:
    """Table of the probes of a release."""
    path = folder / _INSERTIONS
    table = _table(path, _ABOUT, only=True)
    for name in ("subject", "date", "lab", "probe_name"):
        table[name] = table[name].astype(str)
    for name in ("pid", "eid"):
        table[name] = table[name].astype(str)
        strange = [text for text in table[name] if not _ID.fullmatch(text)]
        if strange:
            raise SourceError(f"{path} is damaged: {strange[0]!r} is no {name}. Download it again.")
    table["session_number"] = numbers(
        table["session_number"], f"{path}: session_number", SourceError, kind="whole", least=0
    )
    if not table["pid"].is_unique or table.duplicated(["eid", "probe_name"]).any():
        raise SourceError(f"{path} is damaged: it names a probe twice. Download it again.")
    return table


def _table(path: Path, needed: list[str], *, only: bool = False) -> pd.DataFrame:
    """Read a table that has some columns; `only` these, or all that it has."""
    lacking = [name for name in needed if name not in _column_names(path)]
    if lacking:
        raise SourceError(f"{path} has no column {lacking[0]}; it is of another version.")
    columns = needed if only else None
    table: pd.DataFrame = _loaded(path, lambda: pd.read_parquet(path, columns=columns))
    return table


def _column_names(path: Path) -> list[str]:
    """Names of the columns of a table, none where there is no file."""
    from pyarrow.parquet import read_schema

    if not is_regular(path):
        return []
    names: list[str] = _loaded(path, lambda: read_schema(path).names)
    return names


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    """Load a table; what its library raises of damage becomes a SourceError."""
    must_be_regular(path, SourceError)
    try:
        return load()
    except Exception as error:  # noqa: BLE001
        raise SourceError(
            f"{path} is damaged or cut short ({in_short(error)}). Download it again."
        ) from None


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    """Return a column of text, "" where it says nothing."""
    values = table[name] if name in table else [""] * len(table)
    return [value if isinstance(value, str) else "" for value in values]


def _in_order(names: pd.Series) -> tuple[str, ...]:
    """Return each Beryl name once, along the Allen graph."""
    every = sorted(set(names))
    return tuple(np.array(every, dtype=object)[np.argsort(region_order(every), kind="stable")])


def _spike_bytes(folder: Path, pid: str) -> int:
    """Bytes of the files of a probe's spikes."""
    files = (folder / "spikes" / pid / name for name in SPIKE_FILES)
    return sum(path.stat().st_size for path in files if is_regular(path))
