"""What is dropped on a real window: sessions are opened, files of others are napari's."""

import numpy as np
import pytest
from imageio.v3 import imwrite
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mtm import save_session
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.session.dock import show_dock
from tests.ui.waiting import until


@pytest.fixture
def questions(monkeypatch) -> list[list[str]]:
    """The readers that napari let a person choose from, each time that it asked."""
    asked = []

    def cancel(dialog):
        asked.append([button.text() for button in dialog.reader_btn_group.buttons()])
        return "", False

    monkeypatch.setattr(QtReaderDialog, "get_user_choices", cancel)
    return asked


@pytest.fixture
def plain(make_napari_viewer):
    """A window without any panel of ours."""
    viewer = make_napari_viewer(show=True, show_welcome_screen=True)
    viewer.window.resize(900, 600)
    QApplication.processEvents()
    return viewer


@pytest.fixture
def viewer(plain):
    """A window with the session panel."""
    show_dock(plain)
    QApplication.processEvents()
    return plain


def drop(viewer, path) -> None:
    """Drop on the middle of the canvas, as Qt does: to the first there that takes drops."""
    window, canvas = viewer.window._qt_window, viewer.window._qt_viewer.canvas.native
    place = canvas.mapTo(window, QPoint(canvas.width() // 2, canvas.height() // 2))
    target = window.childAt(place)
    while not target.acceptDrops():
        target = target.parentWidget()
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    within, copy = target.mapFrom(window, place), Qt.DropAction.CopyAction
    held = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(target, QDragEnterEvent(within, copy, data, *held))
    QApplication.sendEvent(target, QDropEvent(QPointF(within), copy, data, *held))


def image(path) -> None:
    path.parent.mkdir(exist_ok=True)
    imwrite(path, np.zeros((4, 6), np.uint8))


def foreign(folder, kind):
    """Make something that napari reads itself, and return its path."""
    path = folder / kind
    if kind == "folder of images":
        for k in range(3):
            image(path / f"{k}.tif")
    elif kind == "array.npy":
        np.save(path, np.zeros((4, 6)))
    elif kind == "points.csv":
        path.write_text("index,axis-0,axis-1\n0,1.0,2.0\n")
    else:
        image(path)
    return path


KINDS = ("picture.png", "stack.tif", "array.npy", "points.csv")


@pytest.mark.parametrize("where", ["plain", "viewer"])
def test_what_is_not_ours_is_read_without_a_question(request, where, tmp_path, questions):
    viewer = request.getfixturevalue(where)
    for k, kind in enumerate(KINDS):
        drop(viewer, foreign(tmp_path, kind))
        assert questions == [], kind
        assert len(viewer.layers) == k + 1, kind
    assert coordinator_of(viewer).session is None


def test_of_a_folder_of_images_napari_asks(viewer, tmp_path, questions):
    """It takes folders by no pattern, so that ours could be meant as well as its own."""
    drop(viewer, foreign(tmp_path, "folder of images"))
    assert [sorted(asked) for asked in questions] == [["napari builtins", "napari-mtm"]]


def test_a_session_folder_is_read_where_no_panel_is(plain, alf, own_cache):
    plain.open(str(alf), plugin="napari-mtm")
    coordinator = coordinator_of(plain)
    assert coordinator.session is None  # napari is not kept waiting
    until(lambda: coordinator.session is not None)
    assert coordinator.session.name == "MOUSE 2024-02-03 002"


def test_a_store_is_opened_without_a_question(plain, sample, tmp_path, questions):
    save_session(sample, tmp_path / "any.mtm")
    drop(plain, tmp_path / "any.mtm")
    assert questions == []
    assert coordinator_of(plain).session == sample


def test_a_session_folder_is_opened_without_a_question(viewer, alf, own_cache, questions):
    coordinator, opened = coordinator_of(viewer), []
    coordinator.session_changed.connect(lambda: opened.append(coordinator.session))
    welcome = viewer.window._qt_viewer._welcome_widget
    dark = welcome.grab().toImage()
    drop(viewer, alf)
    assert welcome.grab().toImage() == dark  # it lights up while something is held above it
    assert opened == []  # napari is not kept waiting
    until(lambda: bool(opened))
    assert opened[0].name == "MOUSE 2024-02-03 002"
    viewer.window.remove_dock_widget(show_dock(viewer))
    drop(viewer, alf)  # on the raster, while the panel is closed
    until(lambda: len(opened) > 1)
    assert show_dock(viewer).isVisible()
    drop(viewer, alf)  # with the panel that was opened again
    until(lambda: len(opened) > 2)
    QTest.qWait(200)
    assert opened == [opened[0]] * 3
    assert questions == []


@pytest.mark.parametrize("kind", ["folder of Phy", "file"])
def test_other_formats_are_opened_without_a_question(
    kind, viewer, phy, tmp_path, questions, own_cache
):
    coordinator = coordinator_of(viewer)
    path = phy
    if kind == "file":
        path = tmp_path / "mine.npz"
        np.savez(path, times=np.linspace(0, 20, 900), clusters=np.zeros(900, int))
    drop(viewer, path)
    until(lambda: coordinator.session is not None)
    assert coordinator.session.name == path.stem
    assert questions == []


def test_with_alt_napari_asks(viewer, alf, questions, monkeypatch):
    alt = Qt.KeyboardModifier.AltModifier
    monkeypatch.setattr(QGuiApplication, "keyboardModifiers", lambda: alt)
    drop(viewer, alf)
    assert [sorted(asked) for asked in questions] == [["napari builtins", "napari-mtm"]]
    assert not show_dock(viewer).jobs.running
