"""Simulated sessions are a true ONE cache, the same bytes for the same seed."""

import filecmp
import warnings
from pathlib import Path

import numpy as np
import pytest
from one.api import One

from napari_mtm import Cancelled, open_session
from napari_mtm.errors import SourceError, StoreError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.simulation.animal import Recipe, simulate_animal
from napari_mtm.recording.simulation.cache_writer import simulate

RECIPE = Recipe(seed=1, units=25, trials=12)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, list[Path]]:
    root = tmp_path_factory.mktemp("simulated") / "D"
    return root, simulate(root, RECIPE, animals=3)


def same_files(one: Path, other: Path) -> bool:
    files = [sorted(p.relative_to(r) for p in r.rglob("*") if p.is_file()) for r in (one, other)]
    return files[0] == files[1] and all(
        filecmp.cmp(one / f, other / f, shallow=False) for f in files[0]
    )


def test_twice_gives_identical_files(written, tmp_path):
    root, folders = written
    simulate(tmp_path / "D", RECIPE, animals=3, processes=1)
    assert len(folders) == 3
    assert same_files(root, tmp_path / "D")


def test_animals_can_be_made_apart(written, tmp_path):
    _, folders = written
    (second,) = simulate(tmp_path / "D", RECIPE, animals=1, first=1)
    assert same_files(second, folders[1])


def test_one_reads_it_without_a_word(written, caplog):
    root, folders = written
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = One(cache_dir=root)
        assert len(one.search()) == 3
        eid = one.search(subject="SIM001-002", datasets="spikes.times.npy")[0]
        trials = one.load_object(eid, "trials")
    assert len(trials["choice"]) == 12
    assert one.eid2path(eid) == folders[2]
    # Hashes are right: loading compared them.
    assert not [r for r in caplog.records if "mismatch" in r.getMessage()]


def test_through_the_files_comes_the_animal_itself(written):
    _, folders = written
    session = open_session(folders[1])
    direct = prepare(simulate_animal(RECIPE, 1).recording, Preparation())
    assert session == direct
    assert session.simulated
    assert "(simulated)" in session.title


def test_hemispheres_and_true_ids(written):
    _, folders = written
    for probe, sign in (("probe00", -1), ("probe01", 1)):
        ids = np.load(
            folders[0] / "alf" / probe / "pykilosort" / "channels.brainLocationIds_ccf_2017.npy"
        )
        assert ids.shape == (384,)
        assert (np.sign(ids[ids != 0]) == sign).all()


def test_an_existing_folder_is_not_touched(written):
    root, _ = written
    before = sorted(root.rglob("*"))
    with pytest.raises(StoreError, match="is not empty"):
        simulate(root, RECIPE)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("animals", [0, 10_001, 10**30])
def test_no_animals_and_too_many(tmp_path, animals):
    with pytest.raises(SourceError, match="at least one animal, and at most 10,000"):
        simulate(tmp_path / "D", RECIPE, animals=animals)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "D").mkdir()
    simulate(tmp_path / "D", Recipe(units=3, trials=2))
    assert (tmp_path / "D" / "sessions.pqt").is_file()


def test_cancelling_leaves_nothing(tmp_path):
    def cancel(fraction, message):
        raise Cancelled

    with pytest.raises(Cancelled):
        simulate(tmp_path / "D", Recipe(units=3, trials=2), progress=cancel)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match=r"No space left on device\. Nothing was kept"):
        simulate(tmp_path / "D", Recipe(units=3, trials=2))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be a folder"):
        simulate(tmp_path / "file" / "D", RECIPE)
