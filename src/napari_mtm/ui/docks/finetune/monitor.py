"""During a fine-tuning: how far it is, how it goes, and what can be done with it."""

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QGridLayout, QProgressBar, QVBoxLayout, QWidget

from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.docks.finetune.curves import Curves
from napari_mtm.ui.docks.finetune.preview import Preview
from napari_mtm.ui.finetune.course import Course, Phase
from napari_mtm.ui.qt.parts import button, listen, text
from napari_mtm.ui.text.finetuning import best_words, progress_words

_STOP = "Stop and keep the best"
_WHOLE = 1000


class Monitor(QWidget):
    """Shows a fine-tuning that goes on, or went, and stops it."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._finetuning = coordinator.finetuning
        self._drawn_step = -1
        self.title = text("finetune_title")
        self.bar = QProgressBar(objectName="finetune_progress")
        self.bar.setRange(0, _WHOLE)
        self.bar.setTextVisible(False)
        self.words = text("finetune_words")
        self.best = text("finetune_best")
        self.curves = Curves()
        self.preview = Preview(coordinator)
        self.faster = QCheckBox("Train faster", objectName="finetune_faster_now")
        self.faster.setToolTip("Use all cores: painting may stutter meanwhile")
        self.pause_button = button("finetune_pause", "Pause", "Let it wait, and go on later")
        self.stop_button = button(
            "finetune_stop",
            "Stop and keep the best",
            "End it now; the best weights so far are kept",
        )
        self.cancel_button = button("finetune_cancel", "Cancel", "End it now and keep nothing")
        self._lay_out()
        self._connect()
        self._on_change()

    def _lay_out(self) -> None:
        self._controls = QWidget()
        controls = QGridLayout(self._controls)
        controls.setContentsMargins(0, 0, 0, 0)
        controls.addWidget(self.pause_button, 0, 0)
        controls.addWidget(self.cancel_button, 0, 1)
        controls.addWidget(self.stop_button, 1, 0, 1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (
            self.title,
            self.bar,
            self.words,
            self._controls,
            self.faster,
            self.preview,
            self.best,
            self.curves,
        ):
            layout.addWidget(part)

    def _connect(self) -> None:
        finetuning = self._finetuning
        listen(finetuning.changed, self._on_change)
        listen(finetuning.heard, self._on_heard)
        listen(finetuning.validated, self._draw)
        listen(self._coordinator.theme_changed, self._on_theme)
        self.pause_button.clicked.connect(self._on_pause)
        self.stop_button.clicked.connect(finetuning.stop)
        self.cancel_button.clicked.connect(finetuning.cancel)
        self.faster.toggled.connect(lambda on: finetuning.set_faster(faster=on))
        self._on_theme()

    def _on_pause(self) -> None:
        if self._finetuning.phase == "paused":
            self._finetuning.go_on()
        else:
            self._finetuning.pause()

    def _on_theme(self) -> None:
        from napari.utils.theme import get_theme

        coordinator = self._coordinator
        self.curves.set_theme(get_theme(coordinator.viewer.theme), dark=coordinator.dark)
        self._draw()

    def _on_heard(self) -> None:
        self._tell()
        course = self._finetuning.course
        if course is not None and course.step != self._drawn_step:
            self._draw()

    def _on_change(self) -> None:
        finetuning, phase = self._finetuning, self._finetuning.phase
        at_work = finetuning.at_work
        for part in (self.bar, self.words, self._controls):
            part.setVisible(at_work)
        self.faster.setVisible(phase in ("preparing", "running", "paused"))
        self.preview.setVisible(phase in ("running", "paused") and finetuning.of_open_session)
        with QSignalBlocker(self.faster):
            self.faster.setChecked(finetuning.faster)
        self.pause_button.setText("Go on" if phase == "paused" else "Pause")
        self.pause_button.setEnabled(phase in ("running", "paused"))
        self.stop_button.setEnabled(phase in ("running", "paused", "comparing"))
        self.stop_button.setText("Skip the comparison" if phase == "comparing" else _STOP)
        self.cancel_button.setEnabled(phase not in ("stopping", "comparing"))
        self._tell()
        self._draw()

    def _tell(self) -> None:
        course, phase = self._finetuning.course, self._finetuning.phase
        if course is None:
            return
        elsewhere = "" if self._finetuning.of_open_session else "Fine-tuning goes on: "
        self.title.setText(f"{elsewhere}<b>{course.session.title}</b>")
        self.words.setText(progress_words(course, phase))
        self.best.setText(best_words(course, so_far=self._finetuning.at_work))
        self.bar.setValue(round(_WHOLE * _share(course, phase)))

    def _draw(self) -> None:
        course = self._finetuning.course
        known = course is not None and bool(course.validations or course.losses)
        self.curves.setVisible(known)
        self.best.setVisible(known)
        if course is not None and known:
            self._drawn_step = course.step
            self.curves.draw(course)


def _share(course: Course, phase: Phase) -> float:
    if phase in ("preparing", "comparing"):
        return course.fraction
    return course.step / max(course.steps, 1)
