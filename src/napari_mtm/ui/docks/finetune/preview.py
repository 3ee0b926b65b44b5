"""During a fine-tuning: the trial and the mask on screen, reconstructed with the newest weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_mtm.errors import MtmError
from napari_mtm.live.engine import Request
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.preferences import preferences
from napari_mtm.ui.qt.parts import listen, text
from napari_mtm.ui.text.numbers import number

if TYPE_CHECKING:
    from napari_mtm.model.model import Model

_WORK = "fine-tuning preview"


@dataclass(frozen=True, eq=False)
class _Newest:
    """What the weights of a step make of a request."""

    request: Request
    step: int
    rates: npt.NDArray[np.float32]
    score: float


class Preview(QWidget):
    """Shows it as a cell beside the old reconstruction, and says the score of both.

    The engine works it out while nothing else is asked of it.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._finetuning = coordinator.finetuning
        self._model: tuple[Path, int, Model] | None = None
        self.on = QCheckBox("Preview on this trial", objectName="finetune_preview")
        self.on.setToolTip(
            "Show what the newest weights make of what is hidden, beside what the old ones do"
        )
        self.on.setChecked(True)
        self.words = text("finetune_preview_words")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.on)
        layout.addWidget(self.words)
        self.on.toggled.connect(self._on_switch)
        listen(self._finetuning.changed, self._on_switch)
        listen(self._finetuning.validated, self._ask)
        listen(coordinator.live.answered, self._ask)

    @property
    def _wanted(self) -> bool:
        finetuning = self._finetuning
        going = finetuning.phase in ("running", "paused") and finetuning.of_open_session
        return going and self.on.isChecked()

    def _on_switch(self) -> None:
        if self._wanted:
            self._ask()
        else:
            self._model = None
            self._coordinator.cells.show_newest(None)
        self.words.setVisible(self._wanted)

    def _ask(self) -> None:
        """Ask for the trial and the mask that were answered last, with the newest best weights."""
        answer, course = self._coordinator.live.answer, self._finetuning.course
        if not self._wanted or answer is None or course is None or course.best_step is None:
            return
        folder, step, request = course.folder, course.best_step, answer.request

        def steps(_: "Model") -> Iterator[_Newest | None]:
            model = self._newest(folder, step)
            yield None  # what was asked meanwhile comes first
            if model is None:
                return
            found = model.reconstruct(
                request.session, request.mask, [request.trial], task=request.prompt, decode=False
            )
            yield _Newest(request, step, found.rates[0], found.scores().bps_pooled)

        self._coordinator.live.work(_WORK, steps, self._on_newest, ahead=True)

    def _newest(self, folder: Path, step: int) -> "Model | None":
        """Load the best weights, unless it was done; None where they are gone."""
        from napari_mtm.training.run import Run

        if self._model is None or self._model[:2] != (folder, step):
            try:
                model = Run(folder).model("best", device=preferences().device)
            except MtmError:
                return None
            self._model = folder, step, model
        return self._model[2]

    def _on_newest(self, newest: object) -> None:
        live = self._coordinator.live
        if not isinstance(newest, _Newest) or not self._wanted:
            return
        if live.answer is None or live.answer.request is not newest.request:
            return
        self._coordinator.cells.show_newest(newest.rates)
        self.words.setText(
            f"What is hidden, in bits/spike: {_written(live.scores.bps_pooled)} now, "
            f"<b>{_written(newest.score)}</b> with the weights of step {newest.step}"
        )


def _written(value: float) -> str:
    return number(value) if np.isfinite(value) else "–"
