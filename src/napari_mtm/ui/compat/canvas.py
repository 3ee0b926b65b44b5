"""What napari (0.9) leaves undone around its canvas, done for it."""

from typing import Any
from weakref import ref

import numpy as np
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget


def use_own_context(canvas: QWidget) -> None:
    """Let what is freed next be freed where it was drawn; to be called before a layer goes.

    Napari frees what a layer was drawn with as soon as the layer is removed, in whichever
    GL context is current. Mesa crashes at the next drawing where that is not the canvas's.
    """
    if isalive(canvas):
        canvas.makeCurrent()


def forget_old_grids(canvas: QWidget) -> None:
    """Let go of grids that were replaced by others of another shape.

    Napari takes them off the scene, but not off the list of what is laid out: each would
    stay in memory, and be laid out again whenever the window changes its size.
    """
    scene = getattr(canvas, "_vispy_canvas", None)
    if scene is None:  # closed, or drawn in another way
        return
    central = scene.central_widget
    for grid in tuple(getattr(central, "_widgets", ())):
        if grid.parent is None:
            for view in grid.children:
                _empty(view)
            central.remove_widget(grid)


def forget_old_clicks(canvas: QWidget) -> None:
    """Let go of what the mouse did before it is pressed.

    In vispy a press refers to the move before it, which refers to the release before that,
    and a release to its press: all clicks since the window was opened would stay in memory.
    """
    scene = getattr(canvas, "_vispy_canvas", None)
    if scene is not None:
        scene.events.mouse_press.connect(_forget_what_was_before)


def let_polygons_cross() -> None:
    """Let a polygon that crosses itself be drawn while it is clicked.

    Vispy cannot cut all of them into triangles; napari then shows an error at each move of
    the mouse. What is painted in the end was never wrong.
    """
    try:
        from napari._vispy.overlays import labels_polygon
        from vispy.color import Color
    except ImportError:  # drawn in another way
        return
    drawn = getattr(labels_polygon, "Polygon", None)
    if drawn is None or drawn.__module__ == __name__:
        return

    class Polygon(drawn):  # type: ignore[valid-type, misc]
        """A polygon of which only the border is drawn where its inside cannot be cut."""

        def _update(self) -> None:
            self._mesh.visible = True
            try:
                super()._update()
            except Exception:  # noqa: BLE001  of several kinds, assertions among them
                self._mesh.visible = False
                colour, self._color = self._color, Color(None)
                try:
                    super()._update()
                finally:
                    self._color = colour

    labels_polygon.Polygon = Polygon


def leave_out_while_empty(viewer: Any, labels: Any) -> None:
    """Draw a layer of labels only while something is painted in it, or a tool is at hand.

    Napari draws what is all transparent, too, which takes about as long as a raster.
    """
    window = getattr(getattr(viewer, "window", None), "_qt_viewer", None)
    drawn = getattr(getattr(window, "canvas", None), "layer_to_visual", {}).get(labels)
    if drawn is None:  # no window, or drawn in another way
        return
    visual = ref(drawn)

    def look(event: object = None) -> None:
        drawn = visual()
        if drawn is None:
            return
        # What is drawn of a tool, as the corners of a polygon, goes with the layer.
        shows = labels.visible and (labels.mode != "pan_zoom" or bool(np.any(labels.data)))
        if drawn.node.visible != shows:
            drawn.node.visible = shows

    for event in (labels.events.set_data, labels.events.visible, labels.events.mode):
        event.connect(look, position="last")  # after napari, which draws whatever is set
    look()


def _forget_what_was_before(press: Any) -> None:
    press._forget_last_event()  # noqa: SLF001


def _empty(view: object) -> None:
    """Take out layers that are hidden: napari leaves them in the grid that they were shown in.

    They would refer to a view that is gone, and fail when they are removed.
    """
    scene = getattr(view, "scene", None)
    for node in scene.children if scene is not None else ():
        node.parent = None
