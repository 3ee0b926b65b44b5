"""Closing the window while a training goes on: it asks what becomes of it."""

from typing import Literal

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_mtm.ui.finetune.state import Finetuning

Wish = Literal["leave", "stop", "stay"]


class _Closing(QObject):
    """Hears that a window is to be closed before the window does."""

    def __init__(self, window: QMainWindow, finetuning: Finetuning) -> None:
        super().__init__(window)
        self._finetuning = finetuning
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask; the window stays if that is wished."""
        if event is None or event.type() != QEvent.Type.Close or not self._finetuning.at_work:
            return False
        if not event.spontaneous() and not self._finetuning.of_open_session:
            return False  # a script closes the viewer, and it is half gone: nothing may wait
        assert isinstance(watched, QWidget)
        wish = ask(watched, self._finetuning)
        if wish == "stay":
            event.ignore()
            return True
        if wish == "leave":
            self._finetuning.leave()
        else:
            self._finetuning.stop()
        return False


def ask(window: QWidget, finetuning: Finetuning) -> Wish:
    """Ask a person what becomes of a training."""
    course = finetuning.course
    assert course is not None
    box = QMessageBox(window)
    box.setObjectName("finetune_closing")
    box.setWindowTitle("A fine-tuning goes on")
    box.setText(
        f"The fine-tuning on {course.session.title} is at step {course.step} of {course.steps}."
    )
    box.setInformativeText("Either way its run is listed when you open this session again.")
    leave = box.addButton("Keep training", QMessageBox.ButtonRole.AcceptRole)
    stop = box.addButton("Stop, keep best", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton("Do not close", QMessageBox.ButtonRole.RejectRole)
    box.exec()
    clicked = box.clickedButton()
    if clicked is leave:
        return "leave"
    return "stop" if clicked is stop else "stay"


def watch_closing(window: QMainWindow, finetuning: Finetuning) -> None:
    """Ask before a window is closed while a training goes on, whatever docks are open then."""
    if window.findChild(_Closing) is None:
        _Closing(window, finetuning)
