"""One function opens everything, and says what it cannot open."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Cancelled, open_session, save_session, survey_source
from napari_mtm.errors import PreparationError, SourceError, StoreError
from napari_mtm.recording.many import prepare_many
from napari_mtm.recording.opening import find_source, sample_folder, sessions_of
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.reading import AlfSource
from tests.recording.test_alf import EID, write_tables


def test_the_sample(sample):
    assert sample.simulated
    assert "(simulated)" in sample.title
    assert {"VISa", "CA1", "DG", "LP", "PO"} <= {r.name for r in sample.regions}
    assert sample.rates.shape == sample.counts.shape
    assert all(np.isfinite(t).all() for t in sample.behaviour.values())
    assert sum(f.stat().st_size for f in sample_folder().rglob("*")) < 12e6


def test_a_folder_an_eid_and_a_store_are_the_same_session(alf, tmp_path, own_cache):
    write_tables(tmp_path, alf)
    by_folder = open_session(alf)
    by_eid = open_session(EID, one=tmp_path)
    save_session(by_folder, tmp_path / "store")
    assert by_folder == by_eid == open_session(tmp_path / "store")
    assert by_folder.id == EID


def test_a_cache_folder_with_one_session(alf, tmp_path, own_cache):
    write_tables(tmp_path, alf)
    assert open_session(tmp_path).id == EID


def test_settings_reach_the_session(alf, own_cache):
    session = open_session(
        str(alf),
        units="all",
        min_rate=1.0,
        align="feedback_times",
        window=(-0.2, 0.4),
        bin_size=0.1,
    )
    assert session.counts.shape == (12, 6, 5)
    assert session.align == "feedback_times"
    assert session.window == (-0.2, 0.4)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("/nowhere/at all", SourceError, "no file or folder /nowhere/at all"),
        (EID, SourceError, "say where it is"),
        ("{tmp}", SourceError, "no spikes.times.npy"),
        ("{tmp}/text", StoreError, "not a prepared session"),
    ],
)
def test_what_cannot_be_opened(source, error, message, tmp_path):
    (tmp_path / "text").write_text("words")
    with pytest.raises(error, match=message):
        open_session(source.format(tmp=tmp_path))


def test_a_cache_with_several_sessions_asks_for_one(alf, tmp_path):
    from tests.conftest import write_alf

    write_alf(alf.parent / "003")
    with pytest.raises(SourceError, match="holds 2 sessions; name one of them, for example lab/"):
        open_session(tmp_path)


def test_settings_are_checked_before_anything_is_read(alf):
    with pytest.raises(PreparationError, match="whole number of bins"):
        open_session(alf, bin_size=0.3)


def test_progress_is_reported_and_can_cancel(alf, own_cache):
    seen = []
    open_session(alf, progress=lambda fraction, message: seen.append((fraction, message)))
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions)
    assert {"binning spikes", "reading behaviour"} <= {m for _, m in seen}

    def cancel(fraction, message):
        if fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        open_session(alf, units="all", progress=cancel)
    assert len(list(own_cache.iterdir())) == 1  # the first one only


def test_survey_of_a_source(alf):
    assert survey_source(alf).n_trials == 12
    assert survey_source("sample").simulated


def test_trials_without_the_usual_event_open_all_the_same(alf, own_cache):
    table = alf / "alf" / "_ibl_trials.table.pqt"
    pd.read_parquet(table).drop(columns="stimOn_times").to_parquet(table)
    session = open_session(alf)
    assert session.align == "any-time"
    assert any("no stimOn_times" in n and "goCue_times" in n for n in session.notes)
    found = survey_source(alf)
    assert found.n_trials == 12
    assert found.choices[0].counts_mb == pytest.approx(session.counts.nbytes / 1e6)
    assert open_session(alf, align="goCue_times").n_trials == 12


@pytest.fixture
def files(tmp_path):
    """A folder with two sessions in files, one that is damaged, and others' files."""
    folder = tmp_path / "files"
    folder.mkdir()
    times = np.linspace(0, 20, 900)
    for name in ("b", "a"):
        np.savez(folder / f"{name}.npz", times=times, clusters=np.zeros(900, int))
    np.savez(folder / "image.npz", image=np.ones(3))
    (folder / "broken.nwb").write_text("words")
    (folder / "notes.h5").write_text("words")
    return folder


def test_a_folder_of_files_stands_for_their_sessions(files, tmp_path, own_cache):
    named = [str(files / name) for name in ("a.npz", "b.npz", "broken.nwb")]
    assert sessions_of(files) == named
    with pytest.raises(SourceError, match=r"holds 3 sessions; name one of them, .* a\.npz, b\.npz"):
        open_session(files)
    outcomes = prepare_many([files], tmp_path / "out", Preparation(), workers=1)
    assert [(o.name, o.status) for o in outcomes] == [
        ("a", "done"),
        ("b", "done"),
        (named[2], "failed"),
    ]
    assert "no HDF5 file" in outcomes[2].why


def test_a_folder_with_one_file_is_its_session(files, own_cache):
    for name in ("a.npz", "broken.nwb"):
        (files / name).unlink()
    assert open_session(files) == open_session(files / "b.npz")
    assert sessions_of(files) == [str(files / "b.npz")]


def test_a_session_folder_is_not_searched_for_files(alf, files):
    (files / "a.npz").rename(alf / "a.npz")
    assert sessions_of(alf) == [str(alf)]
    (alf / "alf").rename(alf / "loose")
    assert find_source(alf).name == "a"
    for file in (alf / "loose").rglob("spikes.*.npy"):
        file.rename(alf / file.name)
    assert isinstance(find_source(alf), AlfSource)
    assert sessions_of(alf) == [str(alf)]
