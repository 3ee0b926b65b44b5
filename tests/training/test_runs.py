"""Runs are kept by session, found newest first, and damage to one hides no other."""

from pathlib import Path

import pytest

from napari_mtm.model.model import Model, new_model
from napari_mtm.training import places, runs
from napari_mtm.training.run import Run, Taught
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
