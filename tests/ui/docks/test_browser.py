"""The panel in which sessions are found, against a server on this machine and folders on disk."""

from collections.abc import Iterator

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_mtm.recording.catalogue.looking import Listing
from napari_mtm.recording.catalogue.query import Found
from napari_mtm.recording.servers import login
from napari_mtm.ui.docks.browser.dock import BrowserDock
from napari_mtm.ui.docks.browser.filters import Filters
from napari_mtm.ui.docks.browser.login_dialog import LoginDialog
from napari_mtm.ui.docks.browser.table import SessionTable
from napari_mtm.ui.text.browser import summary
from tests.conftest import write_alf
from tests.recording.alyx import Alyx, serving
from tests.recording.test_alf import write_tables


def found(subject="KS014", date="2019-12-03", **others) -> Found:
    return Found(f"id-{subject}-{date}", subject, date, 1, "cortexlab", "source", None, **others)


@pytest.fixture
def dock(viewer, qtbot, own_cache, monkeypatch, tmp_path) -> BrowserDock:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    dock = BrowserDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    return dock


def looked(dock, qtbot):
    qtbot.waitUntil(lambda: not dock._jobs.running and not dock._offers.running)


@pytest.fixture
def alyx(alf, tmp_path) -> Iterator[Alyx]:
    with serving(tmp_path, alf) as served:
        yield served


def dialog_of(dock, qtbot) -> LoginDialog:
    qtbot.waitUntil(lambda: bool(dock.findChildren(LoginDialog)))
    return dock.findChildren(LoginDialog)[-1]


# The table


@pytest.fixture
def table(qtbot) -> SessionTable:
    table = SessionTable()
    qtbot.addWidget(table)
    table.show()
    return table


def shown(table, column: int) -> list[str]:
    model = table.model()
    return [model.index(row, column).data() for row in range(model.rowCount())]


def test_what_is_known_of_sessions_and_what_is_not(table):
    whole = found(
        probes=("probe00", "probe01"),
        regions=("VISa", "CA1"),
        good_units=120,
        on_disk=True,
        megabytes=412.3,
    )
    table.show_sessions([whole])
    assert [shown(table, c)[0] for c in range(8)] == [
        "KS014", "2019-12-03 001", "yes", "2", "120", "412", "VISa, CA1", "cortexlab",
    ]  # fmt: skip
    table.show_sessions([found()])
    assert [shown(table, c)[0] for c in range(2, 7)] == ["", "0", "–", "–", "–"]


def test_a_click_on_a_heading_sorts_numbers_as_numbers(table):
    table.show_sessions([found("B", megabytes=9.0), found("a", megabytes=100.0), found("C")])
    assert shown(table, 0) == ["a", "B", "C"]
    table.sortByColumn(5, Qt.SortOrder.DescendingOrder)
    assert shown(table, 0) == ["a", "B", "C"]
    table.sortByColumn(5, Qt.SortOrder.AscendingOrder)
    assert shown(table, 0) == ["C", "B", "a"]


def test_the_session_of_the_row_is_opened_however_it_is_sorted(table, qtbot):
    sessions = [found("A", megabytes=1.0), found("B", megabytes=2.0)]
    table.show_sessions(sessions)
    table.sortByColumn(5, Qt.SortOrder.DescendingOrder)
    place = QPoint(5, table.rowViewportPosition(0) + 5)
    with qtbot.waitSignal(table.chosen) as chosen:
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert chosen.args == [sessions[1]]
    with qtbot.waitSignal(table.opened) as opened:
        QTest.keyClick(table, Qt.Key.Key_Return)
    assert opened.args == [sessions[1]]
    with qtbot.waitSignal(table.opened) as opened:
        QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert opened.args == [sessions[1]]


# The filters


def test_what_is_typed_is_asked(qtbot):
    filters = Filters()
    qtbot.addWidget(filters)
    filters.subject.setText("KS")
    filters.region.setText("CA1 – Field CA1")
    filters.days.setText("2019-01-01:")
    query = filters.query()
    assert (query.subject, query.region, query.first, query.last) == ("KS", "CA1", "2019-01-01", "")
    assert query.among is None
    assert not query.release
    filters.preset.setCurrentText("Brain-Wide Map")
    assert filters.query().release
    filters.preset.setCurrentText("Repeated site")
    assert len(filters.query().among) == 83


def test_regions_are_completed_by_acronym_and_by_name(qtbot):
    filters = Filters()
    qtbot.addWidget(filters)
    completer = filters.region.completer()
    for typed, name in (("ca1", "CA1 – Field CA1"), ("dentate g", "DG – Dentate gyrus")):
        completer.setCompletionPrefix(typed)
        assert name in [completer.completionModel().index(k, 0).data() for k in range(9)]


# The panel


def test_a_cache_on_disk(dock, qtbot, alf, tmp_path):
    write_alf(alf, "probe01")
    write_tables(tmp_path, alf)
    dock.place.setEditText(str(tmp_path))
    qtbot.mouseClick(dock.find_button, Qt.MouseButton.LeftButton)
    looked(dock, qtbot)
    assert dock.said.text() == "1 session, 1 on this disk."
    assert not dock.open_button.isEnabled()
    dock.table.selectRow(0)
    looked(dock, qtbot)
    assert "2 probes, 12 trials" in dock.offer.text()
    assert "nothing to download" in dock.offer.text()
    assert dock.good.text() == "Good units: 6"
    assert dock.all.text() == "All units: 10"
    assert dock.open_button.isEnabled()
    dock.table.clearSelection()
    assert dock.good.text() == "Good units"
    assert not dock.open_button.isEnabled()


def test_what_makes_no_sense_is_said(dock, qtbot, tmp_path):
    dock.place.setEditText(str(tmp_path / "nowhere"))
    dock.find()
    looked(dock, qtbot)
    assert "There is no folder" in dock.said.text()
    dock.filters.region.setText("CA11")
    dock.find()
    assert "is no region of the Beryl atlas" in dock.said.text()


def test_nothing_as_asked(dock, qtbot, alf):
    dock.place.setEditText(str(alf))
    dock.filters.region.setText("MOp")
    dock.find()
    looked(dock, qtbot)
    assert dock.said.text() == summary(Listing(()))


def test_a_login_is_offered_for_servers_only(dock, tmp_path):
    dock.place.setCurrentIndex(0)
    assert dock.login_button.isVisible()
    dock.place.setEditText("https://alyx.example.org")
    assert dock.login_button.isVisible()
    dock.place.setEditText(str(tmp_path))
    assert not dock.login_button.isVisible()


def test_an_address_is_typed(dock, qtbot):
    dock.place.lineEdit().selectAll()
    qtbot.keyClicks(dock.place.lineEdit(), "https://alyx.example.org")
    assert dock.address == "https://alyx.example.org"


def test_the_sample_is_found(dock, qtbot):
    dock.place.setCurrentText("The simulated sample")
    dock.find()
    looked(dock, qtbot)
    assert "1 session, 1 on this disk." in dock.said.text()


# A server


def test_from_a_login_to_a_session_of_a_server(dock, qtbot, alyx):
    dock.place.setEditText(alyx.address)
    dock.find()
    dialog = dialog_of(dock, qtbot)
    assert "Nobody is logged in" in dock.said.text()
    assert not dialog.ok.isEnabled()
    qtbot.keyClicks(dialog.user, "someone")
    qtbot.keyClicks(dialog.password, "not the password")
    qtbot.mouseClick(dialog.ok, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "does not accept this login" in dialog.said.text())
    dialog.password.clear()
    qtbot.keyClicks(dialog.password, "a password")
    qtbot.keyClick(dialog.password, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "1 session, 0 on this disk" in dock.said.text(), timeout=10_000)
    dock.table.selectRow(0)
    looked(dock, qtbot)
    assert "to download" in dock.offer.text()
    assert dock.good.text() == "Good units: 3"
    assert dock.open_button.isEnabled()


def test_a_login_with_a_token(dock, qtbot, alyx):
    dock.place.setEditText(alyx.address)
    dock.log_in()
    dialog = dialog_of(dock, qtbot)
    qtbot.keyClicks(dialog.token, "token-of-someone")
    qtbot.mouseClick(dialog.ok, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "1 session" in dock.said.text(), timeout=10_000)


def test_a_server_that_is_gone(dock, qtbot, alyx):
    login(alyx.address, user="someone", password="a password")
    alyx.stop()
    dock.place.setEditText(alyx.address)
    dock.find()
    looked(dock, qtbot)
    assert dock.table.model().rowCount() == 0
    assert "There is no answer from" in dock.said.text()


def test_what_was_typed_is_forgotten(dock, qtbot, alyx):
    dock.place.setEditText(alyx.address)
    dock.log_in()
    dialog = dialog_of(dock, qtbot)
    dialog.password.setText("a secret")
    password = dialog.password
    dialog.reject()
    assert password.text() == ""
