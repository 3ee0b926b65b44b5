"""The list of sessions that are open: shows one of them, closes one, gives one a window."""

from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QHeaderView,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.recording.session import ANY_TIME, Session
from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.launch import in_another_window
from napari_mtm.ui.opened import Opened
from napari_mtm.ui.qt.parts import button, listen

_MOST_ROWS = 4
"""Rows that are seen at once; of more, the list scrolls."""

_TEXT, _CLOSE = 0, 1

_STYLE = """
QTreeWidget::item { padding: 3px 2px; }
QPushButton { background: transparent; padding: 2px 8px; }
"""


class _Tree(QTreeWidget):
    """Rows that tell of the Delete key."""

    delete_pressed = Signal()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Tell of Delete; all else moves among the rows."""
        if event is not None and event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class SessionList(QWidget):
    """Lists what is open in a viewer; on screen only where there is something to choose."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._listed: tuple[tuple[Opened, Session], ...] = ()
        self.tree = _Tree(objectName="open_sessions")
        self.tree.setAccessibleName("Open sessions")
        self.tree.setToolTip("Click to show a session as it was left; Delete closes it")
        self.tree.setStyleSheet(_STYLE)
        self.tree.setHeaderHidden(True)
        self.tree.setColumnCount(2)
        self.tree.setRootIsDecorated(False)
        self.tree.setUniformRowHeights(True)
        self.tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_TEXT, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_CLOSE, QHeaderView.ResizeMode.ResizeToContents)
        self.window_button = button(
            "in_another_window",
            "In another window",
            "Open the chosen session in a window of its own too, to see two side by side",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tree)
        layout.addWidget(self.window_button)
        self.tree.delete_pressed.connect(self._on_delete)
        self.tree.itemClicked.connect(self._on_chosen)
        self.tree.itemActivated.connect(self._on_chosen)
        self.window_button.clicked.connect(self._on_window)
        listen(coordinator.session_changed, self._on_sessions)
        listen(coordinator.opened_changed, self._on_sessions)
        self._on_sessions()

    def _on_sessions(self) -> None:
        coordinator = self._coordinator
        listed = tuple((one, one.session) for one in coordinator.opened)
        if [(id(one), id(s)) for one, s in listed] != [(id(one), id(s)) for one, s in self._listed]:
            self._listed = listed
            self._fill()
        for row, (one, _) in enumerate(listed):
            item = self._item(row)
            font = item.font(_TEXT)
            font.setBold(one is coordinator.current)
            item.setFont(_TEXT, font)
            if one is coordinator.current:
                self.tree.setCurrentItem(item)
        self.setVisible(len(listed) > (coordinator.current is not None))

    def _fill(self) -> None:
        self.tree.clear()
        for one, session in self._listed:
            item = QTreeWidgetItem(
                [f"{session.title}\n{session.n_units} units, {session.n_trials} trials"]
            )
            item.setToolTip(_TEXT, _tip(session))
            self.tree.addTopLevelItem(item)
            close = QPushButton("×", objectName="close_session")
            close.setToolTip("Close this session")
            close.setAccessibleName(f"Close {session.title}")
            close.clicked.connect(partial(self._close, one))
            self.tree.setItemWidget(item, _CLOSE, close)
        rows = min(len(self._listed), _MOST_ROWS)
        height = self.tree.sizeHintForRow(0) if rows else 0
        self.tree.setFixedHeight(rows * height + 2 * self.tree.frameWidth())

    def _item(self, row: int) -> QTreeWidgetItem:
        item = self.tree.topLevelItem(row)
        assert item is not None
        return item

    def _chosen(self) -> Opened | None:
        row = self.tree.indexOfTopLevelItem(self.tree.currentItem())
        return self._listed[row][0] if row >= 0 else None

    def _on_chosen(self, item: QTreeWidgetItem) -> None:
        one = self._listed[self.tree.indexOfTopLevelItem(item)][0]
        if one is not self._coordinator.current:
            self._coordinator.show(one.session)

    def _close(self, one: Opened) -> None:
        self._coordinator.close(one.session)

    def _on_delete(self) -> None:
        one = self._chosen()
        if one is not None:
            self._close(one)

    def _on_window(self) -> None:
        one = self._chosen()
        if one is not None:
            in_another_window(one.session, self._coordinator.viewer)


def _tip(session: Session) -> str:
    """Say what tells apart sessions of one name."""
    start, stop = session.window
    event = "at any time" if session.align == ANY_TIME else f"from {session.align}"
    return (
        f"{session.id}\n{start:g} to {stop:g} s {event}, in bins of {session.bin_size * 1e3:g} ms"
    )
