"""What napari calls: the reader, the sample, the commands of the manifest."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtm.recording.opening import SAMPLE, find_source, is_session, open_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import is_store, open_store

if TYPE_CHECKING:
    from napari.types import LayerData


NOTHING: "list[LayerData]" = [(None,)]  # type: ignore[list-item]
"""What a reader returns when there is no layer to add."""


def get_reader(path: str | list[str]) -> "Callable[[str], list[LayerData]] | None":
    """Return a reader for a prepared store or another session, None for anything else."""
    if isinstance(path, list):
        return None
    if is_store(Path(path)):
        return _read_store
    return _read_session if is_session(Path(path)) else None


def open_sample() -> "list[LayerData]":
    """Return the simulated sample session as a raster layer."""
    from napari_mtm.ui.preferences import preferences

    source, folder = find_source(SAMPLE), preferences().cache
    return _as_layers(open_source(source, Preparation(), cache_folder=folder))


def open_dialog() -> None:
    """Ask which session to open."""
    viewer = _viewer_with_window()
    if viewer is not None:
        from napari_mtm.ui.docks.session.dock import show_dock

        show_dock(viewer).open_button.click()


def _read_store(path: str) -> "list[LayerData]":
    return _as_layers(open_store(Path(path)))


def _read_session(path: str) -> "list[LayerData]":
    """Read a session; where there is a window, off the Qt thread, to be shown when ready."""
    from napari_mtm.ui.preferences import preferences

    viewer = _viewer_with_window()
    if viewer is None:
        folder = preferences().cache
        return _as_layers(open_source(find_source(path), Preparation(), cache_folder=folder))
    from napari_mtm.ui.docks.session.dock import open_in_dock
    from napari_mtm.ui.docks.session.open_dialog import Request

    open_in_dock(viewer, Request(path, None, Preparation()))
    return NOTHING


def _as_layers(session: Session) -> "list[LayerData]":
    from napari_mtm.ui.coordinator import coordinator_of, raster
    from napari_mtm.ui.docks.session.dock import show_dock
    from napari_mtm.ui.window import show_docks

    viewer = _viewer_with_window()
    if viewer is None:
        data, keywords = raster(session, None)
    else:
        show_dock(viewer)
        show_docks(viewer)
        coordinator_of(viewer)  # adopts the layer when napari adds it
        data, keywords = raster(session, viewer)
    return [(data, keywords, "image")]


def _viewer_with_window() -> Any:
    import napari

    viewer = napari.current_viewer()
    return viewer if viewer is not None and hasattr(viewer, "window") else None
