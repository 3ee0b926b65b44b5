"""Closing the window while a training goes on asks what becomes of it."""

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.finetune.course import Choices
from napari_mtm.ui.window import show_docks
from tests.ui.docks.finetune.conftest import report
from tests.ui.waiting import until


@pytest.fixture
def training(make_napari_viewer, sample, played, told):
    """A window in which a training goes on, though its dock was closed."""
    viewer = make_napari_viewer(show=True)
    show_docks(viewer)
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    coordinator.models.choose("pretrained")
    until(lambda: coordinator.live.source == "pretrained")
    dock = viewer.window.dock_widgets["Fine-tune (napari-mtm)"]
    dock.parent().show()
    dock.parent().raise_()
    until(dock.isVisible)
    coordinator.finetuning.start(Choices())
    until(lambda: any(p.assignment.work == "fine-tune" for p in played))
    process = next(p for p in played if p.assignment.work == "fine-tune")
    process.say(report(0, 0.3), report(10))
    viewer.window.remove_dock_widget(dock.parent())
    yield viewer, coordinator, process
    coordinator.end(30.0)


def answer(button: str) -> list[str]:
    """Press a button of the question, once it is there; return where it is written down."""
    asked: list[str] = []

    def press() -> None:
        for box in QApplication.topLevelWidgets():
            if isinstance(box, QMessageBox) and box.isVisible():
                asked.append(box.text())
                next(b for b in box.buttons() if b.text() == button).click()
                return
        QTimer.singleShot(20, press)

    QTimer.singleShot(20, press)
    return asked


def test_it_may_stay_open(training):
    viewer, coordinator, process = training
    asked = answer("Do not close")
    assert not viewer.window._qt_window.close()
    assert "step 10 of 300" in asked[0]
    assert coordinator.finetuning.phase == "running"
    assert process.orders == []
    coordinator.finetuning.phase = "idle"  # for the end of the test


@pytest.mark.parametrize(
    ("button", "order"), [("Keep training", "leave"), ("Stop, keep best", "stop")]
)
def test_the_training_is_left_alone_or_stopped(training, button, order):
    viewer, _, process = training
    asked = answer(button)
    assert viewer.window._qt_window.close()
    assert asked
    assert process.orders == [order]
    viewer.close()
    until(lambda: process.closed)


def test_a_script_that_closes_the_viewer_is_not_asked(training):
    viewer, _, process = training
    viewer.close()
    assert process.orders == []
    until(lambda: process.closed)  # then it saves and ends
