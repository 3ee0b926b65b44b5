"""The state of one viewer: which sessions are open, and how one of them is shown.

Views (the session dock, the frame around the canvas) listen to the signals and
call the methods; they never call each other. Works on a viewer without a window.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_mtm.masking.mask import forecast_start
from napari_mtm.recording.ordering import ORDERS
from napari_mtm.recording.regions import Region, runs_of_regions
from napari_mtm.recording.session import Session
from napari_mtm.recording.source import Source
from napari_mtm.ui.canvas.geometry import View
from napari_mtm.ui.canvas.keys import bind
from napari_mtm.ui.canvas.pointing import Pointing
from napari_mtm.ui.finetune.state import Finetuning
from napari_mtm.ui.layers.cells import Cells
from napari_mtm.ui.layers.mask_editor import MaskEditor
from napari_mtm.ui.layers.raster import RasterData, raster_style, row_height
from napari_mtm.ui.live import Live
from napari_mtm.ui.models import Models
from napari_mtm.ui.opened import Look, Opened, find, neighbour
from napari_mtm.ui.preferences import Preferences, preferences
from napari_mtm.ui.text.numbers import rate
from napari_mtm.ui.text.trial import Event, trial_events

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

KEY = "napari_mtm"
"""Where a raster layer's metadata keeps its session."""


@dataclass(frozen=True)
class Hover:
    """What lies under the cursor: a unit, a bin, and the spikes in it on this trial."""

    unit: int
    bin: int
    time: float
    count: int


class Coordinator:
    """Holds the sessions of one viewer, the raster layer of the shown one, the order of its rows.

    Attributes
    ----------
    opened
        The sessions that are open, in the order of opening.
    current
        The one of them that is shown.

    """

    session_changed = Signal()
    """Another session is shown, or none."""
    opened_changed = Signal()
    """A session was closed that was not shown."""
    extended = Signal()
    """The session that is shown has further behaviour; all else of it is as it was."""
    rows_changed = Signal()
    """The rows show other units, or in another order."""
    trial_changed = Signal()
    view_changed = Signal()
    """The camera or the size of the canvas changed."""
    limits_changed = Signal()
    """Counts are drawn in other colours."""
    theme_changed = Signal()
    row_height_changed = Signal()
    """Rows are drawn higher or lower, so that they fill the canvas."""
    cells_changed = Signal()
    """Other cells are shown beside the raster."""
    selected = Signal()
    """Other units are selected."""
    time_changed = Signal()
    """The time cursor moved."""
    hovered = Signal(object)
    """A `Hover`, or None where the cursor is not on the raster."""
    menu_wanted = Signal(object)
    """A tuple of `Choice`, what can be done to what was clicked."""

    def __init__(self, viewer: "ViewerModel") -> None:
        self._viewer = ref(viewer)
        self._layer: Image | None = None
        self.session: Session | None = None
        self.opened: list[Opened] = []
        self.current: Opened | None = None
        self.sources: dict[str, Source] = {}  # where sessions lie, by id, as far as it is known
        self.preferences = Preferences()  # as they were when the session was opened
        self.order = "region"
        self.shown: frozenset[str] = frozenset()
        self.rows: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._positions: dict[str, npt.NDArray[np.intp]] = {}
        self._trial = -1
        self.selection: tuple[int, ...] = ()
        self.time = 0.0
        self.last_hover: Hover | None = None
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.current_step.connect(self._on_step)
        viewer.scene.camera.events.connect(self._on_camera)
        viewer.canvas.events.size.connect(self._on_canvas_size)
        viewer.events.theme.connect(self._on_theme)
        viewer.mouse_move_callbacks.append(self._on_mouse_move)
        self.masks = MaskEditor(self)
        self.cells = Cells(self)
        self.live = Live(self)
        self.finetuning = Finetuning(self)
        self.models = Models(self)
        self._pointing = Pointing(self)
        bind(self, viewer)
        for layer in viewer.layers:
            self._adopt(layer)

    @property
    def viewer(self) -> "ViewerModel":
        """The viewer; raises RuntimeError once it is gone."""
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("The viewer is closed.")
        return viewer

    @property
    def layer(self) -> "Image | None":
        """The raster layer of the open session."""
        return self._layer

    @property
    def trial(self) -> int:
        """Index of the trial that is shown."""
        if self.session is None:
            return 0
        step = int(self.viewer.dims.current_step[0])
        return min(max(step, 0), self.session.n_trials - 1)

    @property
    def events(self) -> list[Event]:
        """What happened in the trial that is shown, inside the window."""
        return [] if self.session is None else trial_events(self.session, self.trial)

    @property
    def marks(self) -> list[Event]:
        """The trial's events, and the time cursor."""
        if self.session is None:
            return []
        cursor = Event("cursor", self.time, "#ffffff" if self.dark else "#202020")
        return [*self.events, cursor]

    @property
    def dark(self) -> bool:
        """Whether napari's theme is a dark one."""
        from napari.utils.theme import get_theme

        return get_theme(self.viewer.theme).type == "dark"

    @property
    def view(self) -> View:
        """What the raster's cell of the canvas shows."""
        return self.views[0]

    @property
    def views(self) -> tuple[View, ...]:
        """What each cell of the canvas shows, from left to right; the raster's is the first."""
        camera, (height, width) = self.viewer.scene.camera, self.viewer.canvas.size
        n = self._n_cells
        centre = (float(camera.center[-2]), float(camera.center[-1]))
        gap = float(self.viewer.canvas.grid.spacing) if n > 1 else 0.0
        each = (float(width) - (n - 1) * gap) / n
        size, zoom = (float(height), each), float(camera.zoom)
        return tuple(View(centre, zoom, size, k * (each + gap)) for k in range(n))

    @property
    def _n_cells(self) -> int:
        grid, layers = self.viewer.canvas.grid, self.viewer.layers
        return grid.actual_shape(layers)[1] if grid.enabled else 1

    @property
    def bands(self) -> tuple[Region, ...]:
        """Runs of rows that show units of one region, from top to bottom."""
        if self.session is None:
            return ()
        names = self.session.units["region"].to_numpy()[self.rows]
        colours = {r.name: r.colour for r in self.session.regions}
        return tuple(
            Region(b.name, b.full_name, b.order, colours[b.name], b.units)
            for b in runs_of_regions(names)
        )

    @property
    def row_pixels(self) -> float:
        """Height of a row on screen, in pixels."""
        return 0.0 if self._layer is None else float(self._layer.scale[-2]) * self.view.zoom

    def show(self, session: Session) -> None:
        """Show a session in place of the one that is shown, which stays open.

        One that is open already is shown as it was left. The layers stay: to make others, and
        drop these, takes napari seconds and some memory.
        """
        data, style = raster(session, self.viewer)
        layer = self._layer
        if layer is None:
            self.viewer.add_image(data, **style)  # adopted when inserted
            return
        self._leave()
        one = self._opened(session)
        if one.look is not None:
            data, style["contrast_limits"] = _again(one, one.look), one.look.limits
        height, width = self.view.size  # of one cell: then all is placed once
        row = row_height(session, len(data.rows), width / max(height, 1))
        style["scale"] = (1.0, row, session.bin_size)
        self.session = None  # what napari tells meanwhile is of neither
        layer.data = data
        for name in ("scale", "translate", "contrast_limits", "name", "metadata"):
            setattr(layer, name, style[name])
        if not layer.visible:
            layer.visible = True
        self._begin(layer, one)

    def close(self, session: Session | None = None) -> None:
        """Close a session, by default the one that is shown: then its neighbour is, or nothing."""
        one = self.current if session is None else find(self.opened, session)
        if one is None:
            return
        following = neighbour(self.opened, one)
        if one is not self.current:
            self.opened.remove(one)
            self.opened_changed.emit()
        elif following is None:
            self._remove(self._layer)
        else:
            self.opened.remove(one)
            self.current = None
            self.show(following.session)

    def extend(self, session: Session) -> None:
        """Go on with the shown session that has further behaviour; unless another is by now."""
        if self._layer is not None and self.current is not None and self.shows(session):
            self.session = self.current.session = session
            self._layer.metadata = {**self._layer.metadata, KEY: {"session": session}}
            self.extended.emit()

    def shows(self, session: Session) -> bool:
        """Whether a session is the one that is shown, with whatever behaviour."""
        return self.session is not None and self.session.counts is session.counts

    def end(self, timeout: float | None = None) -> bool:
        """End what works for this viewer; return whether it did within `timeout` seconds each."""
        trained = self.finetuning.close(timeout)
        return self.live.close(timeout) and trained

    def set_order(self, name: str, positions: npt.NDArray[np.intp] | None = None) -> None:
        """Order the rows by a name in `ordering.ORDERS`, computed here unless it is given."""
        if self.session is None:
            return
        if positions is not None:
            self._positions[name] = positions
        elif name not in self._positions:
            self._positions[name] = ORDERS[name](self.session)
        self.order = name
        self._update_rows()

    def has_order(self, name: str) -> bool:
        """Whether an order is known already for this session."""
        return name in self._positions

    def set_shown(self, regions: Iterable[str]) -> None:
        """Show only the units of these regions; at least one of them must have any."""
        if self.session is None:
            return
        known = {r.name for r in self.session.regions}
        shown = frozenset(regions) & known
        if shown and shown != self.shown:
            self.shown = shown
            self._update_rows()

    def set_limits(self, low: float, high: float) -> None:
        """Draw counts from `low` (background) to `high` (brightest)."""
        if self._layer is not None:
            self._layer.contrast_limits = (low, max(high, low + 1e-3))

    def fit(self) -> None:
        """Let the raster fill the canvas."""
        if self.session is None or self._layer is None:
            return
        height, width = self.view.size
        start, stop = self.session.window
        row = row_height(self.session, len(self.rows), width / max(height, 1))
        if not np.isclose(self._layer.scale[-2], row, rtol=1e-6):
            self._layer.scale = (1.0, row, self.session.bin_size)
            self.row_height_changed.emit()
        camera = self.viewer.scene.camera
        camera.center = (0.0, row * (len(self.rows) - 1) / 2, (start + stop) / 2)
        camera.zoom = width / (stop - start)

    def select(self, units: Iterable[int], *, add: bool = False) -> None:
        """Select units by index, in place of those that are selected, or beside them."""
        given = tuple(dict.fromkeys(units))
        if add:
            kept = tuple(u for u in self.selection if u not in given)
            again = tuple(u for u in given if u not in self.selection)
            given = kept + again
        if given != self.selection:
            self.selection = given
            self.selected.emit()

    def set_time(self, time: float) -> None:
        """Move the time cursor, in seconds from the event."""
        if self.session is not None:
            start, stop = self.session.window
            self.time = min(max(time, start), stop)
            self.time_changed.emit()

    def unit_lines(self, unit: int) -> tuple[str, str]:
        """Say in two lines which unit this is: region and id, then depth and rate."""
        assert self.session is not None
        row = self.session.units.iloc[unit]
        finest = f" ({row['acronym']})" if row["acronym"] != row["region"] else ""
        depth = f"{row['depth']:.0f} µm" if np.isfinite(row["depth"]) else "depth not known"
        place = f"{row['probe']} #{row['cluster']}".strip()
        return (
            f"{row['region']}{finest}, {place}, {str(row['uuid'])[:8]}",
            f"{depth}, {rate(row['firing_rate'])}",
        )

    def _on_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Any) -> None:
        session = layer.metadata.get(KEY, {}).get("session")
        if not isinstance(session, Session) or layer is self._layer:
            return
        # The new layer is there before the old one goes: napari (0.9) leaves the
        # numbers of a slider on screen when a viewer is without layers in between.
        self._leave()
        before, self._layer = self._layer, layer
        self._remove(before)
        one = self._opened(session)
        if one.look is not None:
            layer.data, layer.contrast_limits = _again(one, one.look), one.look.limits
        layer.name = session.title
        for event in (layer.events.contrast_limits, layer.events.gamma, layer.events.colormap):
            event.connect(self._on_limits)
        self._begin(layer, one)

    def _opened(self, session: Session) -> Opened:
        """Return what is open of a session, which is added where it is not."""
        one = find(self.opened, session)
        if one is None:
            one = Opened(session)
            self.opened.append(one)
        one.session = session  # it may have been read anew
        return one

    def _leave(self) -> None:
        """Keep what a person did in the session that is shown."""
        one, layer = self.current, self._layer
        if one is None or layer is None:
            return
        low, high = layer.contrast_limits
        one.look = Look(
            self.order,
            self._positions,
            self.shown,
            self.rows,
            self._trial,
            self.selection,
            self.time,
            (low, high),
        )
        one.painted = self.masks.left()
        one.asked = self.models.left()
        one.tuned = self.finetuning.left() or one.tuned

    def _begin(self, layer: "Image", one: Opened) -> None:
        """Tell of another session, which a layer shows."""
        session, look = one.session, one.look or _first_look(one.session, layer)
        self.current, self.session = one, session
        self.preferences = preferences()
        self.order, self.shown, self.rows = look.order, look.shown, look.rows
        self._positions = dict(look.positions)
        self._trial, self.selection, self.time = look.trial, look.selection, look.time
        self._forget_hover()
        self.viewer.dims.set_current_step(0, look.trial)
        self.session_changed.emit()
        self.fit()  # after it: what is told of the rows is told of this session
        self.trial_changed.emit()

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer:
            self._layer = None
            if self.current is not None:
                self.opened.remove(self.current)
            self.session = self.current = None
            self.rows = np.empty(0, dtype=np.intp)
            self._forget_hover()
            self.session_changed.emit()

    def _remove(self, layer: "Image | None") -> None:
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _update_rows(self) -> None:
        assert self.session is not None
        assert self._layer is not None
        order = self._positions[self.order]
        names = self.session.units["region"].to_numpy()[order]
        self.rows = order[np.isin(names, list(self.shown))]
        self._layer.data = RasterData(self.session.counts, self.rows)
        self._forget_hover()
        self.fit()
        self.rows_changed.emit()

    def _on_step(self, event: Any = None) -> None:
        if self.session is not None and self.trial != self._trial:
            self._trial = self.trial
            hover = self.last_hover
            if hover is not None:
                count = int(self.session.counts[self.trial, hover.bin, hover.unit])
                self._set_hover(replace(hover, count=count))
            self.trial_changed.emit()

    def _on_camera(self, event: Any = None) -> None:
        if self.session is not None:
            self.view_changed.emit()

    def _on_canvas_size(self, event: Any = None) -> None:
        if self._layer is not None:
            self.fit()
            self.view_changed.emit()

    def _on_theme(self, event: Any = None) -> None:
        if self._layer is not None and self._layer.colormap.name in ("gray", "gray_r"):
            self._layer.colormap = "gray" if self.dark else "gray_r"
        self.theme_changed.emit()

    def _on_limits(self, event: Any = None) -> None:
        self.limits_changed.emit()

    def _on_mouse_move(self, viewer: Any, event: Any) -> None:
        self._set_hover(self.under(event.position))

    def _forget_hover(self) -> None:
        """Other units lie under a cursor that does not move: keys act on none until it does."""
        self._set_hover(None)

    def _set_hover(self, hover: Hover | None) -> None:
        self.last_hover = hover
        self.hovered.emit(hover)

    def under(self, position: Any) -> Hover | None:
        """What lies at a position of napari's world."""
        if self.session is None or self._layer is None or len(position) < 3:
            return None
        _, row, column = self._layer.world_to_data(position)[-3:]
        row, column = int(np.round(row)), int(np.round(column))
        if not (0 <= row < len(self.rows) and 0 <= column < self.session.n_bins):
            return None
        unit = int(self.rows[row])
        time = self.session.window[0] + column * self.session.bin_size
        return Hover(unit, column, time, int(self.session.counts[self.trial, column, unit]))


def raster(session: Session, viewer: "ViewerModel | None") -> tuple[RasterData, dict[str, Any]]:
    """Data and keywords of the layer that shows a session, for `viewer.add_image`."""
    from napari.utils.theme import get_theme

    rows = ORDERS["region"](session)
    dark = viewer is None or get_theme(viewer.theme).type == "dark"
    height, width = viewer.canvas.size if viewer is not None else (1, 1)
    style = raster_style(session, len(rows), dark=dark, aspect=width / max(height, 1))
    keywords = style.as_layer()
    keywords["metadata"] = {KEY: {"session": session}}
    return RasterData(session.counts, rows), keywords


def _first_look(session: Session, layer: "Image") -> Look:
    """How a session is shown that was opened just now."""
    low, high = layer.contrast_limits
    rows = layer.data.rows
    return Look(
        order="region",
        positions={"region": rows},
        shown=frozenset(r.name for r in session.regions),
        rows=rows,
        trial=0,
        selection=(),
        time=forecast_start(session),
        limits=(low, high),
    )


def _again(one: Opened, look: Look) -> RasterData:
    """Data of the layer that shows a session as it was left."""
    return RasterData(one.session.counts, look.rows)


_coordinators: "WeakKeyDictionary[ViewerModel, Coordinator]" = WeakKeyDictionary()


def coordinator_of(viewer: "ViewerModel") -> Coordinator:
    """Return the coordinator of a viewer; one is made at the first call."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # plugins are handed a proxy
    if viewer not in _coordinators:
        _coordinators[viewer] = Coordinator(viewer)
    return _coordinators[viewer]
