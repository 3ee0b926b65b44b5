"""What napari calls: the reader, the sample, the commands of the manifest."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtm.errors import MtmError
from napari_mtm.recording import cache
from napari_mtm.recording.opening import SAMPLE, find_files, open_session
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.store import is_store

if TYPE_CHECKING:
    from napari.types import LayerData

NOTHING: "list[LayerData]" = [(None,)]  # type: ignore[list-item]
"""What a reader returns when there is no layer to add."""


def get_reader(path: str | list[str]) -> "Callable[[Any], list[LayerData]] | None":
    """Return a reader for prepared stores and ALF session folders, None for anything else."""
    if isinstance(path, list):
        return None
    place = Path(path)
    if place.is_file():
        return read if is_store(place) else None
    if not place.is_dir():
        return None
    try:
        files = find_files(place)
    except MtmError:
        return None
    return read if any(d.object == "spikes" for d in files.datasets) else None


def read(path: str) -> "list[LayerData]":
    """Read a session as a raster layer.

    What is prepared already opens at once. Anything else is prepared off the Qt
    thread where there is a window to say so, and shown there when it is ready.
    """
    viewer = _viewer_with_window()
    if viewer is not None and not _is_prepared(Path(path)):
        from napari_mtm.ui.open_dialog import Request
        from napari_mtm.ui.session_dock import open_in_dock

        open_in_dock(viewer, Request(str(path), None, Preparation()))
        return NOTHING
    return _as_layers(path)


def open_sample() -> "list[LayerData]":
    """Return the simulated sample session as a raster layer."""
    return _as_layers(SAMPLE)


def open_dialog() -> None:
    """Ask which session to open."""
    viewer = _viewer_with_window()
    if viewer is not None:
        from napari_mtm.ui.session_dock import show_dock

        show_dock(viewer).open_button.click()


def _as_layers(source: str) -> "list[LayerData]":
    from napari_mtm.ui.coordinator import coordinator_of, raster
    from napari_mtm.ui.docks import show_docks
    from napari_mtm.ui.session_dock import show_dock

    session = open_session(source)
    viewer = _viewer_with_window()
    if viewer is None:
        data, keywords = raster(session, None)
    else:
        show_dock(viewer)
        show_docks(viewer)
        coordinator_of(viewer)  # adopts the layer when napari adds it
        data, keywords = raster(session, viewer)
    return [(data, keywords, "image")]


def _is_prepared(path: Path) -> bool:
    return is_store(path) or cache.holds(find_files(path), Preparation())


def _viewer_with_window() -> Any:
    import napari

    viewer = napari.current_viewer()
    return viewer if viewer is not None and hasattr(viewer, "window") else None
