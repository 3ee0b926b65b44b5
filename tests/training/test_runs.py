"""Runs are kept by session, found newest first, and damage to one hides no other."""

from pathlib import Path

import pytest

from napari_mtm.errors import StoreError
from napari_mtm.model.model import Model, new_model
from napari_mtm.recording.store import open_store
from napari_mtm.training import places, runs
from napari_mtm.training.run import Run, Status, Taught
from napari_mtm.training.settings import Settings
from tests.training.waves import SMALL, waves


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_MTM_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def model() -> Model:
    return new_model(waves(1), sizes=SMALL, device="cpu")


def begin(session: str, model: Model) -> Run:
    return Run.begin(
        places.new_folder(session),
        model,
        kind="finetune",
        settings=Settings(),
        sessions=[Taught(id=session, title="a session", trials=3)],
    )


def test_runs_are_found_by_session_the_newest_first(model: Model) -> None:
    begun = [begin("one", model) for _ in range(3)]
    begin("another", model)
    assert [run.folder for run in runs.runs_of("one")] == [run.folder for run in begun[::-1]]
    assert len({run.folder for run in begun}) == 3
    assert runs.runs_of("a third") == []


@pytest.mark.parametrize("session", ["a/b", "..", "C:\\data", "ä b", "." * 3])
def test_any_id_has_a_folder_of_its_own(session: str, model: Model, place: Path) -> None:
    run = begin(session, model)
    assert run.folder.parent.parent == place
    assert run.folder.parent.resolve().parent == place.resolve()
    assert [found.folder for found in runs.runs_of(session)] == [run.folder]


def test_a_damaged_run_hides_no_other(model: Model) -> None:
    whole, broken = begin("one", model), begin("one", model)
    (broken.folder / "run.json").write_text("{")
    assert [run.folder for run in runs.runs_of("one")] == [whole.folder]


def test_the_usual_place_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAPARI_MTM_RUNS")
    assert places.folder().parts[-2:] == ("napari-mtm", "runs")


def test_a_list_shows_how_far_each_is(model: Model) -> None:
    run = begin("one", model)
    run.set_status(Status(state="finished", step=7, steps=9))
    (entry,) = runs.entries_of("one")
    assert (entry.status.step, entry.folder, entry.comparison) == (7, run.folder, None)
    assert entry.begun.utcoffset() is not None
    (run.folder / "status.json").write_text("{")
    assert runs.entries_of("one") == []


def test_a_session_that_was_never_written_is_written_once(place: Path) -> None:
    session = waves(1)
    path = runs.store_for(session)
    assert path.is_relative_to(place)
    opened = open_store(path)
    assert (opened.id, opened.counts.tolist()) == (session.id, session.counts.tolist())
    assert runs.store_for(opened) == path
    assert runs.runs_of(session.id) == []


def test_weights_are_copied_for_others(model: Model, tmp_path: Path) -> None:
    run = begin("one", model)
    out = tmp_path / "mine.safetensors"
    runs.export(run.folder, out)  # of one that was never better, the start
    assert out.read_bytes() == (run.folder / "start.safetensors").read_bytes()
    run.save_model(model, "best")
    runs.export(run.folder, out)
    assert out.read_bytes() == (run.folder / "best.safetensors").read_bytes()
    with pytest.raises(StoreError, match="Cannot write"):
        runs.export(run.folder, tmp_path / "mine.safetensors" / "below")
