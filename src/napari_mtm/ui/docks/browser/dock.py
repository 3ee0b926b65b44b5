"""The panel in which sessions are found and opened."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QProgressBar,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.errors import MtmError
from napari_mtm.recording.catalogue.looking import Listing, look
from napari_mtm.recording.catalogue.offer import Offer, offer
from napari_mtm.recording.catalogue.places import Place, other_servers, usual_places
from napari_mtm.recording.catalogue.query import Found
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.servers import LoginNeeded, is_address
from napari_mtm.recording.source import Survey
from napari_mtm.ui.docks.browser.filters import Filters
from napari_mtm.ui.docks.browser.login_dialog import LoginDialog
from napari_mtm.ui.docks.browser.table import SessionTable
from napari_mtm.ui.docks.session.open_dialog import OpenDialog, Request
from napari_mtm.ui.preferences import preferences
from napari_mtm.ui.qt.jobs import Jobs, report
from napari_mtm.ui.qt.parts import button, text
from napari_mtm.ui.text.browser import offered, summary, units

_FIRST = "Choose where to look, then press Find. Nothing is downloaded before you open a session."


class BrowserDock(QWidget):
    """Finds sessions in a place, says what each would mean, and opens one."""

    def __init__(self, napari_viewer: "Any") -> None:
        super().__init__()
        self.setObjectName("napari-mtm find sessions")
        self._viewer = napari_viewer
        self._jobs = Jobs(self)  # looks for sessions
        self._offers = Jobs(self)  # looks at the one that is selected
        self.place = QComboBox(objectName="place")
        self.place.setEditable(True)
        self.place.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.place.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.place.setToolTip("A place, the address of an Alyx server, or a folder")
        for place in usual_places():
            self.place.addItem(place.title, place.address)
        self.folder_button = button(
            "place_folder", "Folder…", "Look in a ONE cache or a folder of sessions"
        )
        self.login_button = button("log_in", "Log in…", "Log in to this server")
        self.filters = Filters()
        self.find_button = button("find", "Find", "Look for sessions there")
        self.bar = QProgressBar(objectName="finding")
        self.bar.setRange(0, 100)
        self.cancel_button = button("stop_finding", "Cancel", "Stop looking")
        self.said = text("find_said", lines=2)
        self.table = SessionTable()
        self.offer = text("offer", lines=3)
        self.good = QRadioButton("Good units", objectName="find_good")
        self.all = QRadioButton("All units", objectName="find_all")
        self.good.setChecked(True)
        self.open_button = button("open_found", "Open", "Open the selected session")
        self.settings_button = button(
            "open_found_with", "Other settings…", "Open it with another window, bins or alignment"
        )
        self._lay_out()
        self._connect()
        self.place.lineEdit().setCursorPosition(0)
        self._on_place()
        self._on_chosen(None)
        self.said.setText(_FIRST)
        self._servers = Jobs(self)
        self._servers.run("reading ONE's settings", lambda _: other_servers(), self._on_servers)

    @property
    def address(self) -> str:
        """Where to look: what is chosen in the list of places, or typed in it."""
        typed = self.place.currentText().strip()
        index = self.place.findText(typed)
        return typed if index < 0 else str(self.place.itemData(index))

    def find(self) -> None:
        """Look for sessions in the place that is chosen."""
        try:
            query = self.filters.query()
        except MtmError as error:
            self.said.setText(str(error))
            return
        address = self.address
        if not address:
            self.said.setText(_FIRST)
            return
        cache = preferences().cache
        self.table.show_sessions(())
        self.said.setText(f"Looking in {self.place.currentText()}…")
        self._jobs.run(
            "looking for sessions",
            lambda progress: look(address, query, progress, prepared=cache),
            self._on_found,
            self._on_not_found,
        )

    def log_in(self) -> None:
        """Ask for a login to the server that is chosen; then look again."""
        dialog = LoginDialog(self.address, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(self.find)
        dialog.open()

    def open(self, session: Found) -> None:
        """Open a session with the usual settings."""
        which = "all" if self.all.isChecked() else "good"
        self._open(Request(session.source, session.one, Preparation(units=which)))

    def _open(self, request: Request) -> None:
        from napari_mtm.ui.docks.session.dock import open_in_dock

        open_in_dock(self._viewer, request)

    def _lay_out(self) -> None:
        where = QHBoxLayout()
        where.addWidget(self.place, 1)
        where.addWidget(self.folder_button)
        asking = QHBoxLayout()
        asking.addWidget(self.find_button, 1)
        asking.addWidget(self.login_button)
        self._busy = QWidget()
        busy = QHBoxLayout(self._busy)
        busy.setContentsMargins(0, 0, 0, 0)
        busy.addWidget(self.bar, 1)
        busy.addWidget(self.cancel_button)
        self._busy.hide()
        choices = QHBoxLayout()
        group = QButtonGroup(self)
        for choice in (self.good, self.all):
            group.addButton(choice)
            choices.addWidget(choice)
        choices.addStretch(1)
        opening = QHBoxLayout()
        opening.addWidget(self.open_button, 1)
        opening.addWidget(self.settings_button)
        layout = QVBoxLayout(self)
        layout.addLayout(where)
        layout.addWidget(self.filters)
        layout.addLayout(asking)
        layout.addWidget(self._busy)
        layout.addWidget(self.said)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.offer)
        layout.addLayout(choices)
        layout.addLayout(opening)
        self.setMinimumWidth(300)

    def _connect(self) -> None:
        self.place.currentTextChanged.connect(self._on_place)
        # The beginning is what tells places apart.
        self.place.activated.connect(lambda _: self.place.lineEdit().setCursorPosition(0))
        self.folder_button.clicked.connect(self._on_folder)
        self.login_button.clicked.connect(self.log_in)
        self.filters.entered.connect(self.find)
        self.find_button.clicked.connect(self.find)
        self.cancel_button.clicked.connect(self._on_cancelled)
        self.table.chosen.connect(self._on_chosen)
        self.table.opened.connect(self.open)
        self.open_button.clicked.connect(self._on_open)
        self.settings_button.clicked.connect(self._on_settings)
        self._jobs.started.connect(self._on_started)
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self._busy.hide)

    def _on_place(self) -> None:
        self.login_button.setVisible(is_address(self.address))

    def _on_servers(self, places: list[Place]) -> None:
        for place in places:
            self.place.addItem(place.title, place.address)

    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "ONE cache or folder of sessions")
        if folder:
            self.place.setEditText(folder)
            self.find()

    def _on_started(self, what: str) -> None:
        self.bar.setValue(0)
        self._busy.show()

    def _on_progress(self, fraction: float, message: str) -> None:
        self.bar.setValue(round(100 * fraction))
        self.said.setText(f"{message[:1].upper()}{message[1:]}…")

    def _on_cancelled(self) -> None:
        self._jobs.cancel()
        self.said.setText("Cancelled.")

    def _on_found(self, listing: Listing) -> None:
        self.table.show_sessions(listing.sessions)
        self.said.setText("\n".join((summary(listing), *listing.notes)))

    def _on_not_found(self, error: Exception) -> None:
        if not isinstance(error, MtmError):
            report(error)
        self.said.setText(str(error))
        if isinstance(error, LoginNeeded):
            self.log_in()

    def _on_chosen(self, session: Found | None) -> None:
        for part in (self.open_button, self.settings_button, self.good, self.all):
            part.setEnabled(session is not None)
        self._offers.cancel()
        self._name_units(None)
        if session is None:
            self.offer.setText("")
            return
        self.offer.setText(f"<b>{session.name}</b><br>Looking what is in it…")
        self._offers.run(
            "looking at a session",
            lambda progress: offer(session, progress),
            self._on_offer,
            lambda error: self.offer.setText(f"<b>{session.name}</b><br>{error}"),
        )

    def _on_offer(self, found: Offer) -> None:
        self.offer.setText(offered(found))
        self._name_units(found.survey)
        self.open_button.setEnabled(found.fits)

    def _name_units(self, survey: Survey | None) -> None:
        for choice, text_ in zip((self.good, self.all), units(survey), strict=True):
            choice.setText(text_)

    def _on_open(self) -> None:
        if self.table.selected is not None:
            self.open(self.table.selected)

    def _on_settings(self) -> None:
        session = self.table.selected
        if session is None:
            return
        dialog = OpenDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self._open(dialog.request()))
        dialog.one.setText(session.one or "")
        dialog.choose(session.source)
        dialog.open()
