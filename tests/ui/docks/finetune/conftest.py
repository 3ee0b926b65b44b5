"""A coordinator with the sample and its model, and a process that is only played."""

from pathlib import Path
from typing import ClassVar

import pytest

from napari_mtm.training.loop import Report
from napari_mtm.training.messages import Assignment, News
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.finetune import state, watched
from tests.ui.waiting import until


class Played:
    """Stands for a process: tells what a test lets it tell, and remembers its orders."""

    made: ClassVar["list[Played]"] = []

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.orders: list[object] = []
        self.closed = False
        self._news: list[News] = []
        Played.made.append(self)

    def say(self, *news: News) -> None:
        """Tell news, and let them be heard."""
        self._news += news
        until(lambda: not self._news)

    def look(self) -> list[News]:
        told, self._news = self._news, []
        return told

    def pause(self) -> None:
        self.orders.append("pause")

    def go_on(self) -> None:
        self.orders.append("go on")

    def stop(self) -> None:
        self.orders.append("stop")

    def cancel(self) -> None:
        self.orders.append("cancel")

    def leave(self) -> None:
        self.orders.append("leave")

    def use_threads(self, number: int) -> None:
        self.orders.append(number)

    def close(self, timeout: float | None = None) -> bool:
        self.closed = True
        return True


def report(step: int, score: float | None = None, best: int | None = 0, steps: int = 300) -> Report:
    """What a training says at a step; a score is that of all four tasks."""
    tasks = ("neuron", "causal", "inter-region", "intra-region")
    scores = None if score is None else dict.fromkeys(tasks, score)
    losses = dict.fromkeys(tasks, 2.0) if step else {}
    left = None if step == 0 else 60.0
    return Report(step, steps, losses, scores, score, best, 100.0, left)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs of this test alone."""
    monkeypatch.setenv("NAPARI_MTM_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    """The processes that were started; none is a real one."""
    Played.made = []
    monkeypatch.setattr(watched, "Worker", Played)
    return Played.made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person was told, whatever docks are open."""
    heard: list[str] = []
    monkeypatch.setattr(state, "tell", lambda message, warn=False: heard.append(message))
    return heard


@pytest.fixture
def ready(qtbot, coordinator: Coordinator) -> Coordinator:
    """The sample and the pretrained model, with an answer."""
    coordinator.models.choose("pretrained")
    until(lambda: coordinator.live.answer is not None)
    yield coordinator
    coordinator.end(30.0)
