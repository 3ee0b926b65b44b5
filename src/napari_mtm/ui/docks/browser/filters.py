"""What sessions are looked for by, as a form."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QCompleter, QGridLayout, QLabel, QLineEdit, QWidget

from napari_mtm.recording.catalogue.query import Query
from napari_mtm.recording.presets import eids
from napari_mtm.recording.regions import OUTSIDE, beryl_names, full_name

_LISTS = {
    "Any session": "",
    "Repeated site": "repeated-site",
    "Brain-Wide Map": "brain-wide-map",
    "The MtM paper's": "paper",
}
_RELEASE = "brain-wide-map"
_DASH = " – "


class Filters(QWidget):
    """A form of the parts of a `Query`; emits when Return is pressed in one."""

    entered = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.preset = QComboBox(objectName="preset")
        for title, name in _LISTS.items():
            self.preset.addItem(title, name)
        self.subject = _line("subject", "KS014", "Part of the animal's name")
        self.lab = _line("lab", "cortexlab", "Part of the laboratory's name")
        self.project = _line("project", "brainwide", "Part of a project's name")
        self.region = _line("region", "CA1", "Beryl name of a region that a probe passes")
        self.region.setCompleter(_regions(self))
        self.days = _line(
            "days", "from:to", "A day, or days from one to another, as 2019-01-01:2020-12-31"
        )
        self.id = _line("id", "UUID", "Id of a session, or of a probe")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        rows = (
            ("Sessions", self.preset, "", None),
            ("Region", self.region, "Subject", self.subject),
            ("Lab", self.lab, "Project", self.project),
            ("Days", self.days, "Id", self.id),
        )
        for k, (left, one, right, other) in enumerate(rows):
            _add(grid, k, 0, left, one, 1 if other is not None else 3)
            if other is not None:
                _add(grid, k, 2, right, other, 1)
        for line in self._lines:
            line.returnPressed.connect(self.entered)

    @property
    def _lines(self) -> tuple[QLineEdit, ...]:
        return self.subject, self.lab, self.project, self.region, self.days, self.id

    def query(self) -> Query:
        """What is asked for; raises SourceError where it makes no sense."""
        name = self.preset.currentData()
        query = Query(
            subject=self.subject.text(),
            lab=self.lab.text(),
            project=self.project.text(),
            region=self.region.text().split(_DASH)[0],
            id=self.id.text(),
            among=frozenset(eids(name)) if name not in ("", _RELEASE) else None,
            release=name == _RELEASE,
        )
        return query.between(self.days.text())


def _line(name: str, example: str, tip: str) -> QLineEdit:
    line = QLineEdit(objectName=f"find_{name}")
    line.setPlaceholderText(example)
    line.setToolTip(tip)
    line.setClearButtonEnabled(True)
    return line


def _add(grid: QGridLayout, row: int, column: int, label: str, part: QWidget, columns: int) -> None:
    name = QLabel(label)
    name.setBuddy(part)
    grid.addWidget(name, row, column)
    grid.addWidget(part, row, column + 1, 1, columns)


def _regions(parent: QWidget) -> QCompleter:
    """Completes names of regions, by any part of the acronym or of what it stands for."""
    names = [f"{n}{_DASH}{full_name(n)}" for n in beryl_names() if n not in OUTSIDE]
    completer = QCompleter(names, parent)
    completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
    completer.setFilterMode(Qt.MatchFlag.MatchContains)
    return completer
