"""Datasets are found by ALF's naming, in a folder or through ONE, one revision of each."""

import json
import logging
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from one.api import One

from napari_mtm import open_session
from napari_mtm.errors import SourceError
from napari_mtm.recording.alf import (
    FolderFiles,
    find,
    holds_session,
    is_eid,
    parse,
    session_name,
    sessions_below,
)
from napari_mtm.recording.one_files import OneFiles, open_one

EID = "6d9a1f5e-52f3-4c0b-9c5e-1f0a6b7c8d9e"


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (
            "alf/probe00/pykilosort/spikes.times.npy",
            ("alf/probe00/pykilosort", "", "spikes", "times", "npy"),
        ),
        ("alf/_ibl_trials.table.pqt", ("alf", "", "trials", "table", "pqt")),
        (
            "alf/probe00/#2024-05-06#/clusters.metrics.pqt",
            ("alf/probe00", "2024-05-06", "clusters", "metrics", "pqt"),
        ),
        (
            "alf/spikes.times.d1a5b3c0-0000-4000-8000-000000000000.npy",
            ("alf", "", "spikes", "times", "npy"),
        ),
        ("spikes.times.npy", ("", "", "spikes", "times", "npy")),
        ("alf/notes.txt", None),
        ("alf/spikes.times.tmp", None),
        ("alf/spikes.npy", None),
    ],
)
def test_names(path, parts):
    dataset = parse(path)
    found = dataset and (
        dataset.collection,
        dataset.revision,
        dataset.object,
        dataset.attribute,
        dataset.extension,
    )
    assert found == parts


def test_session_names():
    assert session_name("/data/lab/Subjects/M1/2024-02-03/002") == "M1 2024-02-03 002"
    assert session_name("/data/M1/2024-02-03/1") == "M1 2024-02-03 1"
    assert session_name("/data/my recording") == "my recording"


def test_ids():
    assert is_eid(EID)
    assert is_eid(EID.upper())
    assert not is_eid("sample")
    assert not is_eid(EID.replace("-", ""))


def test_the_latest_revision_in_a_folder(alf):
    for revision in ("2023-01-01", "2024-05-06"):
        folder = alf / "alf" / "probe00" / "pykilosort" / f"#{revision}#"
        folder.mkdir()
        (folder / "spikes.times.npy").touch()
    files = FolderFiles(alf)
    dataset = find(files.datasets, "spikes", "times")
    assert dataset.revision == "2024-05-06"
    assert [d.object for d in files.datasets].count("spikes") == 2  # times and clusters
    assert find(files.datasets, "spikes", "clusters").revision == ""


def test_a_folder_is_known_by_its_session_wherever_it_lies(alf, tmp_path):
    elsewhere = tmp_path / "copy" / "lab" / "Subjects" / "MOUSE" / "2024-02-03" / "002"
    shutil.copytree(alf, elsewhere)
    assert FolderFiles(alf).id == FolderFiles(elsewhere).id
    assert FolderFiles(alf).id.startswith("path-")
    other = tmp_path / "copy" / "lab" / "Subjects" / "MOUSE" / "2024-02-03" / "003"
    shutil.copytree(alf, other)
    assert FolderFiles(other).id != FolderFiles(alf).id


def test_a_missing_folder():
    with pytest.raises(SourceError, match="There is no folder /nowhere"):
        FolderFiles(Path("/nowhere"))


def write_tables(root: Path, session: Path, *, revision: str | None = None, sizes: int = 0) -> None:
    """Tables of a ONE cache, as its own tool would make them but with lasting ids."""
    lab, _, subject, date, number = session.relative_to(root).parts
    about = {"date_created": "2024-01-01 00:00", "origin": "test"}
    sessions = pd.DataFrame(
        {
            "lab": [lab],
            "subject": [subject],
            "date": [pd.Timestamp(date).date()],
            "number": [int(number)],
            "task_protocol": [""],
            "projects": [""],
        },
        index=pd.Index([EID], name="id"),
    )
    rows = []
    for file in sorted(p for p in session.rglob("*") if p.is_file()):
        path = file.relative_to(session).as_posix()
        rows.append(
            {
                "eid": EID,
                "id": str(uuid.uuid3(uuid.UUID(EID), path)),
                "rel_path": path,
                "file_size": file.stat().st_size + sizes,
                "hash": "0" * 32,
                "exists": True,
                "default_revision": "#" not in path
                if revision is None
                else f"#{revision}#" in path or "spikes" not in path,
            }
        )
    datasets = pd.DataFrame(rows).astype({"file_size": "UInt64"}).set_index(["eid", "id"])
    for name, table in (("sessions", sessions), ("datasets", datasets.sort_index())):
        arrow = pa.Table.from_pandas(table)
        meta = {**arrow.schema.metadata, b"one_metadata": json.dumps(about).encode()}
        pq.write_table(arrow.replace_schema_metadata(meta), root / f"{name}.pqt")


@pytest.fixture
def cache(alf, tmp_path):
    """A ONE cache around the small session."""
    write_tables(tmp_path, alf)
    return tmp_path


def test_one_and_the_folder_name_a_session_alike(alf, cache):
    files = OneFiles(open_one(cache), EID)
    assert files.id == EID == FolderFiles(alf).id
    assert files.name == FolderFiles(alf).name
    assert {d.path for d in files.datasets} == {d.path for d in FolderFiles(alf).datasets}


def test_a_one_of_the_users_own_is_used_as_it_is(cache):
    one = One(cache_dir=cache)
    assert open_one(one) is one
    assert OneFiles(one, EID).id == EID


def test_one_decides_on_the_revision(alf, tmp_path):
    for revision in ("2023-01-01", "2024-05-06"):
        folder = alf / "alf" / "probe00" / "pykilosort" / f"#{revision}#"
        folder.mkdir()
        (folder / "spikes.times.npy").write_bytes(revision.encode())
    write_tables(tmp_path, alf, revision="2023-01-01")
    files = OneFiles(open_one(tmp_path), EID)
    dataset = find(files.datasets, "spikes", "times")
    assert dataset.revision == "2023-01-01"
    assert files.fetch(dataset).read_text() == "2023-01-01"


def test_hashes_are_not_computed(cache, caplog):
    """The tables hold a wrong hash, which costs nothing because nobody looks."""
    files = OneFiles(open_one(cache), EID)
    with caplog.at_level(logging.WARNING):
        for dataset in files.datasets:
            files.fetch(dataset)
    assert not [r for r in caplog.records if "md5" in r.getMessage()]


def test_a_file_of_another_size_is_refused(alf, tmp_path):
    write_tables(tmp_path, alf, sizes=7)
    files = OneFiles(open_one(tmp_path), EID)
    with pytest.raises(SourceError, match="cut short or changed"):
        files.fetch(find(files.datasets, "spikes", "times"))


def test_a_file_that_goes_is_refused(alf, cache):
    files = OneFiles(open_one(cache), EID)
    (alf / "alf" / "_ibl_wheel.position.npy").unlink()
    with pytest.raises(SourceError, match=r"_ibl_wheel.position.npy .* is not there"):
        files.fetch(find(files.datasets, "wheel", "position"))


def test_what_is_listed_but_was_not_downloaded_is_missing(alf, tmp_path, own_cache):
    raw = alf / "raw_ephys_data" / "probe00"
    raw.mkdir(parents=True)
    (raw / "_spikeglx_ephysData_g0.timestamps.npy").touch()
    write_tables(tmp_path, alf)
    shutil.rmtree(alf / "raw_ephys_data")
    (alf / "alf" / "leftCamera.ROIMotionEnergy.npy").unlink()
    session = open_session(EID, one=tmp_path)
    assert session.n_units == 3
    assert "There is no whisker motion energy." in session.notes
    (alf / "alf" / "probe00" / "pykilosort" / "spikes.times.npy").unlink()
    with pytest.raises(SourceError, match=r"has spikes\.clusters but no spikes\.times"):
        open_session(EID, one=tmp_path)


def test_an_eid_in_capitals(cache):
    assert open_session(EID.upper(), one=cache).id == EID


def test_an_id_of_a_kind_that_no_session_has(cache):
    with pytest.raises(SourceError, match="is not in the ONE cache"):
        open_session(str(uuid.UUID(int=5)), one=cache)


def test_a_session_that_is_not_in_the_cache(cache):
    with pytest.raises(SourceError, match="is not in the ONE cache"):
        OneFiles(open_one(cache), str(uuid.uuid4()))


def test_a_cache_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="no ONE cache folder"):
        open_one(tmp_path / "none")


def test_nothing_is_asked_and_nothing_written_to_the_home_folder(cache, tmp_path):
    """In a process of its own, without a terminal and with an empty home."""
    home = tmp_path / "empty home"
    home.mkdir()
    code = (
        "from napari_mtm import open_session;"
        f"print(open_session({EID!r}, one={str(cache)!r}).n_units)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), "NAPARI_MTM_CACHE": str(tmp_path / "kept"), "PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "3"
    assert list(home.iterdir()) == []


def test_sessions_in_a_cache(cache, alf, tmp_path):
    assert sessions_below(tmp_path) == [alf]
    assert sessions_below(tmp_path / "none") == []
    (tmp_path / "lab" / "Subjects" / "MOUSE" / "2024-02-03" / "003").mkdir()  # no alf folder
    assert sessions_below(tmp_path) == [alf]


def test_sessions_in_a_part_of_a_cache(alf, monkeypatch):
    date, subject, subjects, lab, _ = alf.parents[:5]
    for folder in (date, subject, subjects, lab):
        assert sessions_below(folder) == [alf]
    assert sessions_below(alf) == []
    assert sessions_below(alf / "alf" / "_ibl_trials.table.pqt") == []
    monkeypatch.chdir(subject)
    assert [p.absolute() for p in sessions_below(Path())] == [alf]


def test_whether_a_folder_holds_a_session(alf, tmp_path):
    date, subject, subjects, lab, cache = alf.parents[:5]
    sorting = alf / "alf" / "probe00" / "pykilosort"
    assert all(map(holds_session, (alf, date, subject, subjects, lab, cache, sorting)))
    foreign = tmp_path / "pictures"
    (foreign / "deep").mkdir(parents=True)
    (foreign / "spikes.tif").touch()
    (foreign / "deep" / "spikes.times.npy").touch()  # it may lie below millions of others
    assert not any(map(holds_session, (foreign, sorting / "spikes.times.npy", tmp_path / "none")))
    shutil.copytree(alf, date / "003")
    assert holds_session(date / "003")
    assert not holds_session(date)  # which of the two?
    (date / "003" / "alf" / "probe00" / "pykilosort" / "spikes.times.npy").unlink()
    assert not holds_session(date / "003")


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_damaged_tables_do_not_change_the_id_of_a_folder(content, alf, cache):
    assert FolderFiles(alf).id == EID
    (cache / "sessions.pqt").write_bytes(content)
    with pytest.raises(SourceError, match=r"sessions.pqt is damaged .* move it away"):
        FolderFiles(alf)
    (cache / "sessions.pqt").unlink()
    assert FolderFiles(alf).id.startswith("path-")
