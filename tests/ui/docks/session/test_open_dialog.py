"""The dialog looks at a source and says what each choice means before anything is read."""

import pytest
from qtpy.QtWidgets import QDialogButtonBox

from napari_mtm import open_session, save_session
from napari_mtm.ui.docks.session.open_dialog import OpenDialog
from tests.conftest import write_alf


@pytest.fixture
def dialog(qtbot) -> OpenDialog:
    dialog = OpenDialog()
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def open_button(dialog):
    return dialog.buttons.button(QDialogButtonBox.StandardButton.Open)


def looked(dialog, qtbot):
    qtbot.waitUntil(lambda: dialog.summary.text() != "Looking…")


def test_nothing_can_be_opened_at_first(dialog):
    assert not open_button(dialog).isEnabled()
    assert "Choose a session" in dialog.summary.text()


def test_a_session_folder(dialog, qtbot, alf):
    dialog.choose(str(alf))
    looked(dialog, qtbot)
    assert "MOUSE 2024-02-03 002" in dialog.summary.text()
    assert "1 probe, 12 trials" in dialog.summary.text()
    assert dialog.good.text() == "Good units: 3, 0.0 MB of counts"
    assert dialog.all.text() == "All units: 5, 0.0 MB of counts"
    assert open_button(dialog).isEnabled()
    dialog.all.setChecked(True)
    dialog.align.setCurrentIndex(2)
    dialog.stop.setValue(1.0)
    dialog.bin_size.setValue(50)
    request = dialog.request()
    assert request.source == str(alf)
    assert request.one is None
    preparation = request.preparation
    assert preparation.units == "all"
    assert preparation.align == "feedback_times"
    assert preparation.window == (-0.5, 1.0)
    assert preparation.bin_size == 0.05


def test_the_least_rate_changes_the_choices(dialog, qtbot, alf):
    dialog.choose(str(alf))
    looked(dialog, qtbot)
    dialog.min_rate.setValue(50.0)
    qtbot.waitUntil(lambda: dialog.all.text().startswith("All units: 0"))


def test_the_sample_says_that_it_is_simulated(dialog, qtbot):
    dialog.choose("sample")
    looked(dialog, qtbot)
    assert "(simulated)" in dialog.summary.text()


def test_a_folder_with_several_sessions_offers_them(dialog, qtbot, alf, tmp_path):
    write_alf(alf.parent / "003")
    dialog.choose(str(tmp_path))
    assert dialog.sessions.isVisible()
    assert [dialog.sessions.itemText(k) for k in range(2)] == [
        "MOUSE/2024-02-03/002",
        "MOUSE/2024-02-03/003",
    ]
    assert not open_button(dialog).isEnabled()
    dialog.sessions.setCurrentIndex(1)
    dialog.sessions.activated.emit(1)
    looked(dialog, qtbot)
    assert "MOUSE 2024-02-03 003" in dialog.summary.text()
    assert open_button(dialog).isEnabled()


def test_a_prepared_store(dialog, sample, tmp_path):
    save_session(sample, tmp_path / "s.mtm")
    dialog.choose(str(tmp_path / "s.mtm"))
    assert "opens as it was prepared" in dialog.summary.text()
    assert open_button(dialog).isEnabled()


@pytest.mark.parametrize("source", ["/nowhere", "6d9a1f5e-52f3-4c0b-9c5e-1f0a6b7c8d9e"])
def test_what_cannot_be_opened_says_why(dialog, qtbot, source):
    dialog.choose(source)
    looked(dialog, qtbot)
    assert ("There is no file" in dialog.summary.text()) or (
        "say where it is" in dialog.summary.text()
    )
    assert not open_button(dialog).isEnabled()


def test_settings_that_make_no_sense_keep_it_open(dialog, qtbot):
    dialog.choose("sample")
    looked(dialog, qtbot)
    dialog.bin_size.setValue(30)
    dialog.accept()
    assert dialog.isVisible()
    assert "whole number of bins" in dialog.summary.text()


def test_closing_while_it_looks(dialog, alf):
    dialog.choose(str(alf))
    dialog.reject()
    assert not dialog.isVisible()


def test_what_is_promised_is_what_opens(dialog, qtbot, alf, own_cache):
    dialog.choose(str(alf))
    looked(dialog, qtbot)
    session = open_session(alf)
    assert f": {session.n_units}, " in dialog.good.text()
