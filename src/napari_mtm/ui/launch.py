"""Open napari on a session, on Qt 6."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtm.errors import MtmError
from napari_mtm.masking.mask import Mask
from napari_mtm.recording.opening import SAMPLE

if TYPE_CHECKING:
    from napari_mtm.recording.preparation import Preparation
    from napari_mtm.recording.session import Session
    from napari_mtm.ui.coordinator import Coordinator

_SHARE = 0.85
"""Share of the screen that a first window takes."""

_ASIDE = 40
"""Pixels between the corners of two windows."""

_QT6 = {"pyqt6": "PyQt6", "pyside6": "PySide6"}


def choose_qt() -> None:
    """Let qtpy use an installed Qt 6, unless the user chose a binding through QT_API.

    ibllib brings PyQt5, which qtpy would prefer and napari no longer supports.
    Raises MtmError where there is no Qt 6 binding.
    """
    if os.environ.get("QT_API") or "qtpy" in sys.modules:
        return
    for api, package in _QT6.items():
        if find_spec(package) is not None:
            os.environ["QT_API"] = api
            return
    raise MtmError(
        "There is no Qt 6 to draw a window with. Install one with: pip install 'napari-mtm[all]'"
    )


def check_screen() -> None:
    """Raise MtmError where there is no screen to open a window on; Qt would abort."""
    named = any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    if sys.platform.startswith("linux") and not named:
        raise MtmError(
            "There is no screen to open a window on. Log in to a desktop, forward X11, "
            "or run this under xvfb-run."
        )


def launch(source: str, *, one: str | None, preparation: "Preparation | None") -> None:
    """Open napari with a session and run until its window is closed.

    A source that does not exist is refused before a window opens.
    """
    choose_qt()
    check_screen()
    from napari_mtm.recording.opening import find_source
    from napari_mtm.recording.preparation import Preparation
    from napari_mtm.recording.store import is_store

    if not is_store(Path(source)):
        find_source(source, one=one)
    import napari

    viewer = window(source, one=one, preparation=preparation or Preparation())
    show(viewer)
    napari.run()


def show(viewer: Any) -> None:
    """Show a viewer; a person's first napari window is made large enough for a raster."""
    from napari.settings import get_settings
    from qtpy.QtWidgets import QApplication

    first_time = get_settings().application.first_time
    viewer.show()
    if first_time:
        screen = QApplication.primaryScreen().availableSize()
        viewer.window.resize(round(_SHARE * screen.width()), round(_SHARE * screen.height()))


def window(source: str, *, one: str | None, preparation: "Preparation") -> Any:
    """Make a napari viewer that opens a session, and return it."""
    import napari

    from napari_mtm.ui.coordinator import coordinator_of
    from napari_mtm.ui.docks.session.dock import open_in_dock
    from napari_mtm.ui.docks.session.open_dialog import Request
    from napari_mtm.ui.window import show_docks

    viewer = napari.Viewer(title="napari-mtm", show=False)
    open_in_dock(viewer, Request(source, one, preparation))
    show_docks(viewer)
    if source == SAMPLE:
        _hide_something(coordinator_of(viewer))
    return viewer


def in_another_window(session: "Session", first: Any) -> Any:
    """Show a session in a viewer of its own, with nothing done to it, and return that.

    Its window is as large as that of the `first`, and lies so that both are seen.
    """
    import napari

    from napari_mtm.ui.coordinator import coordinator_of
    from napari_mtm.ui.docks.session.dock import show_dock
    from napari_mtm.ui.window import show_docks

    viewer = napari.Viewer(title="napari-mtm", show=False)
    show_dock(viewer)
    coordinator_of(viewer).show(session)
    show_docks(viewer)
    left, top, width, height = first.window.geometry()
    viewer.window.set_geometry(left + _ASIDE, top + _ASIDE, width, height)
    viewer.show()
    return viewer


def _hide_something(coordinator: "Coordinator") -> None:
    """Hide the largest region of the first session: what there is to see is seen at once."""

    def hide() -> None:
        session = coordinator.session
        if session is not None:
            coordinator.session_changed.disconnect(hide)
            largest = max(session.regions, key=lambda region: region.size)
            coordinator.masks.put(Mask.region(session, largest.name))

    coordinator.session_changed.connect(hide)
