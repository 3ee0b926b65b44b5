"""Fine-tuning in another process: heard, paused, stopped, killed, left alone, and the same."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pytest
import torch

from napari_mtm.model.model import new_model
from napari_mtm.model.weights import load_model, save_model
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import open_store, save_session
from napari_mtm.training import NEW
from napari_mtm.training.child import Line, carry_out
from napari_mtm.training.comparison import comparison_of
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.loop import Report, train
from napari_mtm.training.messages import (
    Assignment,
    Comparing,
    Ended,
    Measured,
    Paused,
    Preparing,
)
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Trainer
from napari_mtm.training.worker import Worker
from tests.training.waves import SMALL, lesson, waves

QUICK = Settings(steps=30, check_every=10)
ENDLESS = Settings(steps=100_000, check_every=1000)
_PATIENCE = 120.0


@dataclass(frozen=True)
class Place:
    """A store, weights that do not know it, and a folder."""

    store: Path
    weights: Path

    def assign(self, out: Path, settings: Settings) -> Assignment:
        return Assignment(self.store, str(self.weights), out, "full", settings, "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("worker")
    session = waves(1)
    model = new_model(session, sizes=SMALL, device="cpu")
    train(model, lesson(session), Settings(steps=20))
    place = Place(folder / "waves.mtm", folder / "weights.safetensors")
    save_model(model, place.weights)
    save_session(waves(2), place.store)
    return place


def until(worker: Worker, fulfilled: Callable[[object], bool]) -> list[object]:
    """Hear until some news is so; return all that was heard."""
    end, heard = time.monotonic() + _PATIENCE, []
    while True:
        heard += worker.look()
        if any(map(fulfilled, heard)):
            return heard
        assert worker.ended is None, worker.ended
        assert time.monotonic() < end
        time.sleep(0.01)


def ended(worker: Worker) -> Ended:
    end = time.monotonic() + _PATIENCE
    while worker.ended is None:
        assert time.monotonic() < end
        worker.look()
        time.sleep(0.01)
    assert worker.close(_PATIENCE)
    return worker.ended


def running(worker: Worker) -> None:
    until(worker, lambda news: isinstance(news, Report))


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return run.model("best", device="cpu").network.state_dict()


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6) for name in ours
    )


@pytest.fixture(scope="module")
def undisturbed(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same training here."""
    return finetune(
        load_model(place.weights, device="cpu"),
        open_store(place.store),
        tmp_path_factory.mktemp("here") / "run",
        scope="full",
        settings=QUICK,
    )


def test_it_can_begin_a_new_model(place: Place, tmp_path: Path) -> None:
    """Of a session whose bins no weights fit, too."""
    session = replace(waves(2), bin_size=0.01, window=(-0.5, -0.1))
    save_session(session, tmp_path / "fine.mtm")
    settings = replace(QUICK, steps=4, check_every=2)
    assignment = replace(place.assign(tmp_path / "run", settings), weights=NEW)
    worker = Worker(replace(assignment, session=tmp_path / "fine.mtm"))
    heard = until(worker, lambda news: isinstance(news, Ended))
    assert ended(worker) == Ended("finished")
    assert [news.step for news in heard if isinstance(news, Report)] == [0, 2, 4]
    before = heard[: next(i for i, news in enumerate(heard) if isinstance(news, Report))]
    assert all(isinstance(news, Preparing) for news in before)
    said = " ".join(news.message for news in before)
    for words in ("opening the session", "linear expert", "starting the units", "validating"):
        assert words in said
    model = Run(tmp_path / "run").model(device="cpu")
    assert model.grid.bin_size == 0.01
    assert model.trained == {session.id}


def test_it_learns_the_same_as_here(place: Place, undisturbed: Run, tmp_path: Path) -> None:
    worker = Worker(place.assign(tmp_path / "run", QUICK))
    heard = until(worker, lambda news: isinstance(news, Ended))
    reports = [news for news in heard if isinstance(news, Report)]
    assert [report.step for report in reports] == [0, 10, 20, 30]
    assert all(set(report.validation or ()) for report in reports)
    assert ended(worker) == Ended("finished")
    run = Run(tmp_path / "run")
    assert run.status.state == "finished"
    assert run.about.sessions[0].source == str(place.store)
    assert run.about.weights == str(place.weights)
    assert any(isinstance(news, Comparing) for news in heard)
    assert comparison_of(run) is not None
    assert same(weights_of(run), weights_of(undisturbed))
    assert run.model(device="cpu").readouts.keys() == {waves(2).id}


def test_it_pauses_goes_on_and_stops_with_its_best(place: Place, tmp_path: Path) -> None:
    worker = Worker(place.assign(tmp_path / "run", ENDLESS))
    running(worker)
    worker.pause()
    until(worker, lambda news: isinstance(news, Paused))
    spent = psutil.Process(worker.pid).cpu_times().user
    time.sleep(0.5)
    assert worker.look() == []
    assert psutil.Process(worker.pid).cpu_times().user - spent < 0.2
    worker.go_on()
    running(worker)
    worker.stop()
    assert ended(worker).how == "stopped"
    run = Run(tmp_path / "run")
    assert run.status.state == "stopped"
    assert 0 < run.status.step < ENDLESS.steps
    assert run.model(device="cpu").readouts.keys() == {waves(2).id}


def test_stopped_while_it_compares_the_run_is_there(place: Place, tmp_path: Path) -> None:
    worker = Worker(place.assign(tmp_path / "run", QUICK))
    until(worker, lambda news: isinstance(news, Comparing))
    worker.stop()
    assert ended(worker) == Ended("finished")
    assert Run(tmp_path / "run").status.state == "finished"
    assert comparison_of(Run(tmp_path / "run")) is None


def test_a_run_is_compared_later(place: Place, undisturbed: Run) -> None:
    assert comparison_of(undisturbed) is None
    worker = Worker(replace(place.assign(undisturbed.folder, QUICK), work="compare"))
    heard = until(worker, lambda news: isinstance(news, Ended))
    assert not any(isinstance(news, Report) for news in heard)
    found = comparison_of(undisturbed)
    assert found is not None
    assert found.started  # who trained here did not say with which weights


def test_it_measures_and_writes_nothing(place: Place, tmp_path: Path) -> None:
    before = sorted(place.store.parent.iterdir())
    worker = Worker(replace(place.assign(tmp_path / "run", QUICK), work="measure"))
    heard = until(worker, lambda news: isinstance(news, Ended))
    (measured,) = (news for news in heard if isinstance(news, Measured))
    assert measured.device == "cpu"
    assert measured.pace.step.keys() == {"units", "lora", "full"}
    assert list(tmp_path.iterdir()) == []
    assert sorted(place.store.parent.iterdir()) == before


def test_it_uses_as_many_threads_as_it_is_told() -> None:
    before = torch.get_num_threads()
    line = Line(io.BytesIO())
    line.orders.put(3)
    try:
        line.heed()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_one_that_is_paused_can_be_cancelled_and_leaves_nothing(
    place: Place, tmp_path: Path
) -> None:
    worker = Worker(place.assign(tmp_path / "run", ENDLESS))
    running(worker)
    worker.pause()
    worker.cancel()
    assert ended(worker) == Ended("cancelled")
    assert list(tmp_path.iterdir()) == []


def test_cancelling_keeps_a_run_that_was_there(
    place: Place, undisturbed: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    worker = Worker(place.assign(out, ENDLESS))
    running(worker)
    worker.stop()
    ended(worker)
    step = Run(out).status.step
    worker = Worker(place.assign(out, ENDLESS))
    running(worker)
    worker.cancel()
    assert ended(worker) == Ended("cancelled")
    assert Run(out).status.step > step


def test_one_that_is_killed_says_so_and_is_resumed(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "run"
    longer = replace(QUICK, steps=400, check_every=50)
    worker = Worker(place.assign(out, longer))
    until(worker, lambda news: isinstance(news, Report) and news.step >= 100)
    os.kill(worker.pid, signal.SIGKILL)
    last = ended(worker)
    assert last.how == "killed"
    assert "SIGKILL" in last.message
    assert Run(out).status.state == "interrupted"
    again = Worker(place.assign(out, longer))
    assert ended(again) == Ended("finished")
    whole = finetune(
        load_model(place.weights, device="cpu"),
        open_store(place.store),
        tmp_path / "whole",
        scope="full",
        settings=longer,
    )
    assert same(weights_of(Run(out)), weights_of(whole))


def test_ended_by_the_system_it_keeps_its_best(place: Place, tmp_path: Path) -> None:
    worker = Worker(place.assign(tmp_path / "run", ENDLESS))
    running(worker)
    os.kill(worker.pid, signal.SIGTERM)
    assert ended(worker) == Ended("stopped", "The system ended it.")
    assert Run(tmp_path / "run").status.state == "interrupted"
    assert Run(tmp_path / "run").model(device="cpu").readouts


STARTER = """
import os, sys, time
from pathlib import Path
from pydantic import TypeAdapter
from napari_mtm.training.loop import Report
from napari_mtm.training.messages import Assignment
from napari_mtm.training.worker import Worker
worker = Worker(TypeAdapter(Assignment).validate_json(sys.argv[1]))
while not any(isinstance(news, Report) for news in worker.look()):
    assert worker.ended is None, worker.ended
    time.sleep(0.01)
if sys.argv[2] == "leave":
    worker.leave()
print(worker.pid, flush=True)
os._exit(0)  # as if it were killed
"""


def start_and_vanish(assignment: Assignment, how: str) -> psutil.Process | None:
    """Start a worker from a process that is gone at once; return it, if it is still there."""
    from pydantic import TypeAdapter

    text = TypeAdapter(Assignment).dump_json(assignment).decode()
    done = subprocess.run(
        [sys.executable, "-c", STARTER, text, how], capture_output=True, text=True, check=True
    )
    try:
        return psutil.Process(int(done.stdout))
    except psutil.NoSuchProcess:
        return None


def test_it_saves_and_ends_when_its_starter_is_gone(place: Place, tmp_path: Path) -> None:
    process = start_and_vanish(place.assign(tmp_path / "run", ENDLESS), "vanish")
    if process is not None:
        process.wait(_PATIENCE)
    status = Run(tmp_path / "run").status
    assert status.state == "interrupted"
    assert status.step < ENDLESS.steps
    assert Run(tmp_path / "run").model(device="cpu").readouts


def test_left_alone_it_goes_on_to_its_end(place: Place, tmp_path: Path) -> None:
    settings = replace(QUICK, steps=300, check_every=100)
    process = start_and_vanish(place.assign(tmp_path / "run", settings), "leave")
    if process is not None:
        process.wait(_PATIENCE)
    status = Run(tmp_path / "run").status
    assert (status.state, status.step) == ("finished", 300)


def test_what_a_person_can_mend_is_said_in_a_sentence(place: Place, tmp_path: Path) -> None:
    assignment = replace(place.assign(tmp_path / "run", QUICK), session=tmp_path / "gone.mtm")
    last = ended(Worker(assignment))
    assert last.how == "failed"
    assert "gone.mtm" in last.message
    assert list(tmp_path.iterdir()) == []


def test_others_come_first(place: Place, tmp_path: Path) -> None:
    worker = Worker(place.assign(tmp_path / "run", ENDLESS))
    running(worker)
    assert psutil.Process(worker.pid).nice() >= 10
    assert not worker.close(0.0)
    assert worker.close(_PATIENCE)
    assert Run(tmp_path / "run").status.state == "interrupted"


def test_out_of_memory_it_goes_on_with_smaller_batches(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, sizes = Trainer.advance, []

    def scarce(trainer: Trainer) -> torch.Tensor:
        sizes.append(trainer.settings.batch)
        if trainer.settings.batch > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return advance(trainer)

    monkeypatch.setattr(Trainer, "advance", scarce)
    told = io.BytesIO()
    done = carry_out(place.assign(tmp_path / "run", QUICK), Line(told))
    assert done == Ended("finished")
    assert list(dict.fromkeys(sizes)) == [16, 8, 4]
    settings = Run(tmp_path / "run").about.settings
    assert (settings.batch, settings.batches) == (4, 4)
    said = [json.loads(line) for line in told.getvalue().splitlines()]
    assert sum("smaller" in str(line) or "batches of 4" in str(line) for line in said) == 1


def odd() -> dict[str, Session]:
    whole = waves(4)
    silent = np.zeros_like(whole.counts)
    regions = list(whole.units["region"])
    return {
        "one trial": Session.from_counts(whole.counts[:1], regions, id="odd"),
        "two trials": Session.from_counts(whole.counts[:2], regions, id="odd"),
        "one unit": Session.from_counts(whole.counts[..., :1], regions[:1], id="odd"),
        "one region": Session.from_counts(whole.counts, ["CA1"] * len(regions), id="odd"),
        "no spikes": Session.from_counts(silent, regions, id="odd"),
        "no behaviour in it": Session.from_counts(
            whole.counts,
            regions,
            id="odd",
            behaviour={"wheel-speed": np.full(whole.counts.shape[:2], np.nan)},
        ),
    }


@pytest.mark.parametrize("name", odd())
@pytest.mark.parametrize("scope", ["full", "auto"])
def test_odd_sessions_come_to_an_end(
    place: Place, tmp_path: Path, name: str, scope: Literal["full", "auto"]
) -> None:
    save_session(odd()[name], tmp_path / "odd.mtm")
    few = Settings(steps=2, check_every=1)
    assignment = replace(place.assign(tmp_path / "run", few), session=tmp_path / "odd.mtm")
    done = carry_out(replace(assignment, scope=scope), Line(io.BytesIO()))
    assert done.how == "finished"
    assert (done.message == "") == ("trial" not in name)
    assert Run(tmp_path / "run").model(device="cpu").trained >= {"odd"}


def test_with_no_memory_for_a_single_trial_it_says_what_to_do(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(trainer: Trainer) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Trainer, "advance", none)
    done = carry_out(place.assign(tmp_path / "run", QUICK), Line(io.BytesIO()))
    assert done.how == "failed"
    assert "train on the CPU" in done.message


def test_a_run_is_removed_with_nothing_else(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "run"
    finetune(
        load_model(place.weights, device="cpu"),
        open_store(place.store),
        out,
        scope="units",
        settings=replace(QUICK, steps=2),
    )
    (out / "notes.txt").write_text("mine")
    Run.remove(out)
    assert [file.name for file in out.iterdir()] == ["notes.txt"]
    Run.remove(out)
    assert np.array_equal([file.name for file in out.iterdir()], ["notes.txt"])
