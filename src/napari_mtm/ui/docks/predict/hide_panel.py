"""What is hidden from the model: the paper's tasks by one click, painting, and words for it."""

from collections.abc import Callable

from qtpy.QtCore import QSignalBlocker, QSize
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLayout,
    QRadioButton,
)

from napari_mtm.errors import MaskError
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASKS
from napari_mtm.recording.session import Session
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.qt.jobs import report
from napari_mtm.ui.qt.parts import button, swatch, text
from napari_mtm.ui.text.mask import TASK_NAMES, mask_words, scored_region

_TOOLS = {
    "pan_zoom": ("Move", "Drag to move, scroll to zoom, click to select a unit"),
    "paint": ("Brush", "Paint what is hidden"),
    "polygon": ("Polygon", "Click around what is to be hidden; double-click closes"),
    "fill": ("Fill", "Fill what touches the place that is clicked"),
    "erase": ("Erase", "Show again what is painted over"),
}
_LABELS = {
    1: ("predict", "Hide, and score the prediction"),
    2: ("hide only", "Take away from what the model sees, and do not score it"),
}


class HidePanel(QGroupBox):
    """Chooses what is hidden from the model, and says what it is."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__("Hide from the model")
        self._coordinator = coordinator
        self.region = QComboBox(objectName="region")
        self.region.setIconSize(QSize(10, 10))
        self.whole_button = button("whole_region", "Whole region", "Predict it from the others")
        self.within_button = button(
            "within_region",
            "Within region",
            "Predict 30% of its units, or those that are selected, from the rest of it alone",
        )
        self.neurons_button = button(
            "neurons",
            "Selected units",
            "Predict them from all others (co-smoothing).\n"
            "A click on the raster selects a unit, one with Shift another",
        )
        self.forward_button = button(
            "forward", "From the cursor on", "Predict all units after the time cursor"
        )
        self.invert_button = button("invert", "Invert", "Hide what is visible, show what is hidden")
        self.clear_button = button("clear", "Clear", "Hide nothing")
        self.undo_button = button("undo", "Undo", "Undo the last edit (Ctrl+Z)")
        self.redo_button = button("redo", "Redo", "Redo it (Ctrl+Shift+Z)")
        self.tools = QButtonGroup(self)
        self.labels = QButtonGroup(self)
        self.everywhere = QCheckBox("in all trials", objectName="everywhere")
        self.everywhere.setToolTip("Edits apply to all trials; else to the one that is shown")
        self.words = text("words", lines=3)
        self.prompt = QComboBox(objectName="prompt")
        self.prompt.addItem("as the mask says", None)
        for task in TASKS:
            self.prompt.addItem(TASK_NAMES[task], task)
        self.prompt.setToolTip("Which of its four tasks the model is told to do")
        self._lay_out()
        self._connect()
        self._on_session()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.addWidget(self.region, 0, 0, 1, 2)
        grid.addWidget(self.whole_button, 1, 0)
        grid.addWidget(self.within_button, 1, 1)
        grid.addWidget(self.neurons_button, 2, 0)
        grid.addWidget(self.forward_button, 2, 1)
        edits = QHBoxLayout()
        for edit in (self.invert_button, self.clear_button, self.undo_button, self.redo_button):
            edits.addWidget(edit)
        grid.addLayout(edits, 3, 0, 1, 2)
        grid.addLayout(self._tool_row(), 4, 0, 1, 2)
        grid.addLayout(self._label_row(), 5, 0, 1, 2)
        grid.addWidget(self.words, 6, 0, 1, 2)
        prompt = QHBoxLayout()
        prompt.addWidget(QLabel("Prompt"))
        prompt.addWidget(self.prompt, 1)
        grid.addLayout(prompt, 7, 0, 1, 2)

    def _tool_row(self) -> QLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for k, (mode, (name, tip)) in enumerate(_TOOLS.items()):
            tool = button(f"tool_{mode}", name, tip)
            tool.setCheckable(True)
            tool.setStyleSheet("QPushButton { padding: 4px 2px; }")
            tool.setProperty("mode", mode)
            self.tools.addButton(tool, k)
            row.addWidget(tool)
        return row

    def _label_row(self) -> QLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for label, (name, tip) in _LABELS.items():
            tool = QRadioButton(name, objectName=f"label_{label}")
            tool.setToolTip(tip)
            self.labels.addButton(tool, label)
            row.addWidget(tool)
        row.addStretch()
        row.addWidget(self.everywhere)
        return row

    def _connect(self) -> None:
        coordinator, masks = self._coordinator, self._coordinator.masks
        self.region.activated.connect(self._on_region)
        self.whole_button.clicked.connect(self._on_whole)
        self.within_button.clicked.connect(self._on_within)
        self.neurons_button.clicked.connect(self._on_neurons)
        self.forward_button.clicked.connect(self._on_forward)
        for edit, act in (
            (self.invert_button, masks.invert),
            (self.clear_button, masks.clear),
            (self.undo_button, masks.undo),
            (self.redo_button, masks.redo),
        ):
            edit.clicked.connect(act)
        self.tools.idClicked.connect(self._on_tool)
        self.labels.idClicked.connect(self._on_label)
        self.everywhere.toggled.connect(self._on_everywhere)
        self.prompt.currentIndexChanged.connect(self._on_prompt)
        coordinator.session_changed.connect(self._on_session)
        coordinator.trial_changed.connect(self._on_mask)
        coordinator.selected.connect(self._on_selected)
        masks.changed.connect(self._on_mask)
        masks.stroked.connect(self._on_mask)
        masks.everywhere_changed.connect(self._on_mask)
        masks.prompt_changed.connect(self._on_mask)
        masks.tool_changed.connect(self._on_tool_changed)

    def _session(self) -> Session:
        session = self._coordinator.session
        assert session is not None
        return session

    def _put(self, make: Callable[[], Mask]) -> None:
        try:
            self._coordinator.masks.put(make())
        except MaskError as error:
            report(error)

    def _on_region(self) -> None:
        """Hide the region that was chosen, the way the last one was."""
        within = self._coordinator.masks.mask.task == "intra-region"
        self._on_within() if within else self._on_whole()

    def _on_whole(self) -> None:
        self._put(lambda: Mask.region(self._session(), self.region.currentData()))

    def _on_within(self) -> None:
        session, name = self._session(), self.region.currentData()
        regions = session.units["region"].to_numpy()
        inside = [u for u in self._coordinator.selection if regions[u] == name]
        self._put(lambda: Mask.within_region(session, name, inside or None))

    def _on_neurons(self) -> None:
        self._put(lambda: Mask.neurons(self._session(), list(self._coordinator.selection)))

    def _on_forward(self) -> None:
        session, time = self._session(), self._coordinator.time
        # A cursor at the very end has nothing after it: the last bin is predicted.
        last = session.window[1] - session.bin_size
        self._put(lambda: Mask.forward(session, min(time, last)))

    def _on_tool(self, index: int) -> None:
        self._coordinator.masks.tool = self.tools.button(index).property("mode")

    def _on_label(self, label: int) -> None:
        layer = self._coordinator.masks.layer
        if layer is not None:
            layer.selected_label = label

    def _on_everywhere(self, everywhere: bool) -> None:
        self._coordinator.masks.everywhere = everywhere

    def _on_prompt(self, index: int) -> None:
        self._coordinator.masks.prompt = self.prompt.itemData(index)

    def _on_session(self) -> None:
        session = self._coordinator.session
        self.setVisible(session is not None)
        if session is None:
            return
        for label, colour in self._coordinator.preferences.label_colours.items():
            self.labels.button(label).setIcon(swatch(colour))
        self.region.clear()
        for region in session.regions:
            icon = swatch(tuple(c / 255 for c in region.colour))
            self.region.addItem(icon, f"{region.name}  ({region.size})", region.name)
        self._on_mask()
        self._on_selected()
        self._on_tool_changed()

    def _on_mask(self) -> None:
        masks = self._coordinator.masks
        if self._coordinator.session is None:
            return
        self.words.setText(mask_words(masks.mask, masks.prompt))
        self.undo_button.setEnabled(masks.can_undo)
        self.redo_button.setEnabled(masks.can_redo)
        with QSignalBlocker(self.everywhere):
            self.everywhere.setChecked(masks.everywhere)
        region = scored_region(masks.mask)
        if region is not None:
            self.region.setCurrentIndex(self.region.findData(region))
        with QSignalBlocker(self.prompt):
            self.prompt.setCurrentIndex(self.prompt.findData(masks.prompt))

    def _on_tool_changed(self) -> None:
        masks = self._coordinator.masks
        for tool in self.tools.buttons():
            tool.setChecked(tool.property("mode") == masks.tool)
        label = masks.layer.selected_label if masks.layer is not None else 1
        colour = self.labels.button(label)
        if colour is not None:
            colour.setChecked(True)

    def _on_selected(self) -> None:
        n = len(self._coordinator.selection)
        self.neurons_button.setEnabled(n > 0)
        self.neurons_button.setText(f"{n} selected unit{'s' * (n > 1)}" if n else "Selected units")
