"""The table of sessions that were found; a click on a heading sorts it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_mtm.recording.catalogue.query import Found

_UNKNOWN = "–"
_ROW_HEIGHT = 22


@dataclass(frozen=True)
class _Column:
    """A column: its heading, what it says of a session, what it is sorted by, and a tool tip."""

    heading: str
    text: Callable[[Found], str]
    key: Callable[[Found], Any]
    tip: str


def day(session: Found) -> str:
    """Say on which day a session was, and its number on it."""
    return f"{session.date} {session.number:03d}" if session.date else _UNKNOWN


def number(value: int | None) -> str:
    """Say how many, where that is known."""
    return _UNKNOWN if value is None else str(value)


def size(megabytes: float | None) -> str:
    """Say a size in MB, where it is known."""
    if megabytes is None:
        return _UNKNOWN
    return f"{megabytes:.1f}" if megabytes < 10 else f"{megabytes:.0f}"


def regions(session: Found) -> str:
    """Name the regions of a session, where they are known."""
    return ", ".join(session.regions or (_UNKNOWN,))


_COLUMNS = (
    _Column("Subject", lambda f: f.subject, lambda f: f.subject.lower(), "Name of the animal"),
    _Column("Date", day, lambda f: (f.date, f.number), "Day, and number on it"),
    _Column("Here", lambda f: "yes" if f.on_disk else "", lambda f: f.on_disk, "On this disk"),
    _Column("Probes", lambda f: str(len(f.probes)), lambda f: len(f.probes), "Number of probes"),
    _Column("Units", lambda f: number(f.good_units), lambda f: f.good_units or 0, "Good units"),
    _Column("MB", lambda f: size(f.megabytes), lambda f: f.megabytes or 0.0, "What is read"),
    _Column("Regions", regions, lambda f: f.regions or (), "Where its probes are"),
    _Column("Lab", lambda f: f.lab, lambda f: f.lab.lower(), "Laboratory"),
)


class _Model(QAbstractTableModel):
    """Sessions, a row for each."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.sessions: tuple[Found, ...] = ()

    def show(self, sessions: Sequence[Found]) -> None:
        """Show other sessions."""
        self.beginResetModel()
        self.sessions = tuple(sessions)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of sessions."""
        return len(self.sessions)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell says."""
        session, column = self.sessions[index.row()], _COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(session)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{session.name}\n{session.eid}\n{', '.join(session.regions or ())}".strip()
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return what a heading says."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _COLUMNS[section].heading
        return _COLUMNS[section].tip if role == Qt.ItemDataRole.ToolTipRole else None


class _Sorted(QSortFilterProxyModel):
    """The sessions in the order of a column."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Whether one session comes before another."""
        model: Any = self.sourceModel()
        key = _COLUMNS[left.column()].key
        return bool(key(model.sessions[left.row()]) < key(model.sessions[right.row()]))


class SessionTable(QTableView):
    """A table of sessions; emits the one that is chosen, and the one that is double-clicked."""

    chosen = Signal(object)
    """A `Found`, or None."""
    opened = Signal(object)
    """A `Found`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sessions_found")
        self._model = _Model(self)
        self._sorted = _Sorted(self)
        self._sorted.setSourceModel(self._model)
        self.setModel(self._sorted)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit(self.selected))
        self.doubleClicked.connect(lambda _: self._open())

    @property
    def selected(self) -> Found | None:
        """The session whose row is selected."""
        rows = self.selectionModel().selectedRows()
        return self._at(rows[0]) if rows else None

    def show_sessions(self, sessions: Sequence[Found]) -> None:
        """Show other sessions; none of them is selected."""
        self._model.show(sessions)
        self.resizeColumnsToContents()
        self.chosen.emit(None)

    def keyPressEvent(self, event: Any) -> None:
        """Open the selected session at Return."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._open()
        else:
            super().keyPressEvent(event)

    def _open(self) -> None:
        if self.selected is not None:
            self.opened.emit(self.selected)

    def _at(self, index: QModelIndex) -> Found:
        return self._model.sessions[self._sorted.mapToSource(index).row()]
