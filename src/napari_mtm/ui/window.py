"""The docks of a viewer with a window: which there are, and where each belongs."""

from typing import Any
from weakref import finalize, ref

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow

from napari_mtm.ui.coordinator import Coordinator, coordinator_of

_PLUGIN = "napari-mtm"
_PANELS = ("Session", "Units", "Fine-tune", "Predict")
_BROWSER = "Find sessions"
_TRACES = "Traces"
_TRACES_HEIGHT = 190
_WATCHED = "napari-mtm watched"
"""Marks a window whose end ends the engine."""


def show_docks(viewer: Any) -> None:
    """Add the docks that are not there: panels one behind the other, traces below the raster.

    Those that a person closed or moved are left as they are.
    """
    window, coordinator = viewer.window, coordinator_of(viewer)
    new = [name for name in (*_PANELS, _TRACES) if _title(name) not in window.dock_widgets]
    for name in new:
        dock, _ = window.add_plugin_dock_widget(_PLUGIN, name, tabify=name in _PANELS[1:])
        main = dock.parent()
        if not main.property(_WATCHED):
            main.setProperty(_WATCHED, True)
            _end_with(main, coordinator)
        if name == _TRACES:
            # The panels are higher than a small window; the traces are wide in any.
            main.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            main.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
            main.resizeDocks([dock], [_TRACES_HEIGHT], Qt.Orientation.Vertical)
        elif name == _PANELS[-1]:
            dock.raise_()
    for name in (*_PANELS, _TRACES):
        window.dock_widgets[_title(name)].parent().setWindowTitle(name)  # it fits on a tab


def show_browser(viewer: Any) -> None:
    """Show the panel in which sessions are found, behind one tab with the others."""
    window = viewer.window
    dock, _ = window.add_plugin_dock_widget(_PLUGIN, _BROWSER, tabify=True)
    dock.show()
    dock.raise_()
    window.dock_widgets[_title(_BROWSER)].parent().setWindowTitle(_BROWSER)


def _end_with(main: QMainWindow, coordinator: Coordinator) -> None:
    """End what works for a window once it is gone, whoever lets go of it first.

    Qt deletes a closed window in a moment, and does not tell of it where Python's search for
    garbage came first. Python may find it long after Qt deleted it.
    """
    held = ref(coordinator)

    def end() -> None:
        coordinator = held()
        if coordinator is not None:
            coordinator.end(0.0)

    main.destroyed.connect(end)
    finalize(main, end)


def _title(name: str) -> str:
    """Return napari's name of a dock."""
    return f"{name} ({_PLUGIN})"
