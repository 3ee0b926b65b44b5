"""Before a fine-tuning: what will happen, and what can be chosen."""

from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_mtm.training import NEW
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.finetune.course import LENGTHS, Choices, Length
from napari_mtm.ui.models import NAMES
from napari_mtm.ui.qt.parts import button, listen, text
from napari_mtm.ui.text.finetuning import SCOPES, pace_words, plan_words

_NEW_MODEL = "A new model"

_LENGTH_TIPS = {
    "quick": "Most of the gain, in a minute or a few",
    "thorough": "Five times as many steps: for a model that you will work with",
}


class PlanPanel(QWidget):
    """Says what a fine-tuning would do, and starts it."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._finetuning = coordinator.finetuning
        self.why_not = text("finetune_why_not")
        self.words = text("finetune_plan")
        self.pace = text("finetune_pace")
        self.lengths: dict[Length, QRadioButton] = {}
        self._length_group = QButtonGroup(self)
        for name in LENGTHS:
            choice = QRadioButton(name.capitalize(), objectName=f"finetune_{name}")
            choice.setToolTip(_LENGTH_TIPS[name])
            self.lengths[name] = choice
            self._length_group.addButton(choice)
        self.lengths["quick"].setChecked(True)
        self.scope = QComboBox(objectName="finetune_scope")
        for scope, words in SCOPES.items():
            self.scope.addItem(words, scope)
        self.scope.setToolTip("Which weights move")
        self.weights = QComboBox(objectName="finetune_weights")
        for box in (self.scope, self.weights):  # no wider than the panel, whatever is in it
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(12)
        self.weights.setToolTip("What to begin with")
        self.faster = QCheckBox("Train faster", objectName="finetune_faster")
        self.faster.setToolTip("Use all cores: painting may stutter meanwhile")
        self.steps = _number("finetune_steps", 0, 1_000_000, "as above")
        self.batch = _number("finetune_batch", 0, 4096, "as usual")
        self.rate = QDoubleSpinBox(objectName="finetune_rate")
        self.rate.setDecimals(5)
        self.rate.setRange(0.0, 1.0)
        self.rate.setSingleStep(0.0005)
        self.rate.setSpecialValueText("as usual")
        self.seed = _number("finetune_seed", 0, 2**31 - 1, "")
        self.start_button = button(
            "finetune_start", "Fine-tune", "Teach the model on this session, in the background"
        )
        self._lay_out()
        self._connect()
        self._on_change()

    @property
    def choices(self) -> Choices:
        """What is chosen."""
        length = next(name for name, choice in self.lengths.items() if choice.isChecked())
        return Choices(
            length,
            self.scope.currentData(),
            self.weights.currentData() or "",
            self.faster.isChecked(),
            self.steps.value() or None,
            self.batch.value() or None,
            self.rate.value() or None,
            self.seed.value(),
        )

    def showEvent(self, event: QShowEvent | None) -> None:
        """Measure how long it takes, once somebody looks."""
        super().showEvent(event)
        self._measure()

    def _lay_out(self) -> None:
        lengths = QHBoxLayout()
        for choice in self.lengths.values():
            lengths.addWidget(choice)
        lengths.addStretch()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Begin with", self.weights)
        form.addRow("Move", self.scope)
        inside = QWidget()
        more = QFormLayout(inside)
        more.setContentsMargins(0, 0, 0, 0)
        more.addRow("Steps", self.steps)
        more.addRow("Trials a step", self.batch)
        more.addRow("Learning rate", self.rate)
        more.addRow("Seed", self.seed)
        self.more = QCollapsible("More")
        self.more.setObjectName("finetune_more")
        self.more.addWidget(inside)
        self._form = QWidget()
        rows = QVBoxLayout(self._form)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.words)
        rows.addLayout(lengths)
        rows.addLayout(form)
        rows.addWidget(self.more)
        rows.addWidget(self.faster)
        rows.addWidget(self.pace)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.why_not)
        layout.addWidget(self._form)
        layout.addWidget(self.start_button)

    def _connect(self) -> None:
        listen(self._finetuning.changed, self._on_change)
        listen(self._finetuning.pacing.changed, self._tell)
        listen(self._coordinator.session_changed, self._on_change)
        self._length_group.buttonToggled.connect(self._on_choice)
        for box in (self.scope, self.weights):
            box.currentIndexChanged.connect(self._on_choice)
        for number in (self.steps, self.batch, self.rate, self.seed):
            number.valueChanged.connect(self._on_choice)
        self.faster.toggled.connect(self._on_choice)
        self.start_button.clicked.connect(self._on_start)

    def _on_start(self) -> None:
        self._finetuning.start(self.choices)

    def _on_change(self) -> None:
        why_not = self._finetuning.why_not
        misfit = self._coordinator.live.misfit
        anew = f"{misfit} Or begin a new model of this session here." if misfit else ""
        self.why_not.setText(why_not or anew)
        self.why_not.setVisible(bool(why_not or anew))
        self._form.setVisible(not why_not)
        self.start_button.setEnabled(not why_not)
        self._fill_weights()
        self._on_choice()

    def _fill_weights(self) -> None:
        """Offer the weights that are live first, those that are shipped, and a new model.

        Where those that are live do not fit, a new model is all that is sure to.
        """
        live, chosen = self._coordinator.live, self.weights.currentData()
        offered = {}
        if not live.misfit:
            offered[""] = f"{live.name} (live)"
            offered |= {source: name for source, name in NAMES.items() if source != live.source}
        offered[NEW] = _NEW_MODEL
        with QSignalBlocker(self.weights):
            self.weights.clear()
            for source, name in offered.items():
                self.weights.addItem(name, source)
            self.weights.setCurrentIndex(max(self.weights.findData(chosen), 0))

    def _on_choice(self) -> None:
        self._tell()
        self._measure()

    def _measure(self) -> None:
        if self.isVisible() and not (self._finetuning.why_not or self._finetuning.at_work):
            self._finetuning.pacing.measure(self.choices)

    def _tell(self) -> None:
        session, live = self._coordinator.session, self._coordinator.live
        if self._finetuning.why_not or session is None or live.model is None:
            return
        choices, pacing = self.choices, self._finetuning.pacing
        settings = choices.settings(live.model.preset)
        name = {**NAMES, NEW: _NEW_MODEL.lower()}.get(choices.weights, live.name)
        self.words.setText(plan_words(session, name, settings, choices.scope))
        self.pace.setText(
            pace_words(pacing.of(choices), settings, choices.scope, measuring=pacing.measuring)
        )


def _number(name: str, low: int, high: int, unset: str) -> QSpinBox:
    """Return a box for a number; its lowest value says what it means to choose none."""
    box = QSpinBox(objectName=name)
    box.setRange(low, high)
    box.setSpecialValueText(unset)
    return box
