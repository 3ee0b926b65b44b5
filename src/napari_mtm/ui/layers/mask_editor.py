"""The mask of one viewer: painted, or hidden by a click; undone and redone however it was made."""

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.painting import PREDICTED, TAKEN, VISIBLE, History, Labels, Painting
from napari_mtm.masking.tasks import Task
from napari_mtm.ui.canvas.keys import bind
from napari_mtm.ui.layers.cells import label_colormap, put, recolour
from napari_mtm.ui.layers.raster import AXES
from napari_mtm.ui.layers.settled import Settled
from napari_mtm.ui.opened import Painted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Labels as LabelsLayer

    from napari_mtm.ui.coordinator import Coordinator

KEY = "napari_mtm_mask"
"""Marks the layer that is painted on."""

_OPACITY = 0.55


class MaskEditor:
    """Holds what is hidden, and the layer in which it is painted.

    Attributes
    ----------
    everywhere
        Whether edits apply to all trials, or to the one that is shown.
    prompt
        The task that the model is asked for; None for the mask's own.

    """

    changed = Signal()
    """Something else is hidden, on this trial or on another."""
    stroked = Signal()
    """A stroke goes on, and hides something else already, or was given up."""
    everywhere_changed = Signal()
    prompt_changed = Signal()
    tool_changed = Signal()
    """Another tool, or another label, is painted with."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._history: History | None = None
        self._stroke: Labels | None = None
        self._layer: LabelsLayer | None = None
        self._mask: Mask | None = None
        self._source: tuple[object, ...] = ()
        self._mask_trial = 0
        self._setting = self._going = self._ended = False
        self._everywhere = True
        self._prompt: Task | None = None
        layers = coordinator.viewer.layers
        self._settled = Settled(layers)
        layers.events.removed.connect(self._on_removed)
        coordinator.session_changed.connect(self._on_session)
        coordinator.rows_changed.connect(self._draw)
        coordinator.row_height_changed.connect(self._on_row_height)
        coordinator.trial_changed.connect(self._on_trial)

    @property
    def layer(self) -> "LabelsLayer | None":
        """The layer that is painted on."""
        return self._layer

    @property
    def everywhere(self) -> bool:
        """Whether edits apply to all trials, or to the one that is shown."""
        return self._everywhere

    @everywhere.setter
    def everywhere(self, everywhere: bool) -> None:
        if everywhere != self._everywhere:
            self._everywhere = everywhere
            self.everywhere_changed.emit()

    @property
    def prompt(self) -> Task | None:
        """The task that the model is asked for; None for the mask's own."""
        return self._prompt

    @prompt.setter
    def prompt(self, prompt: Task | None) -> None:
        if prompt != self._prompt:
            self._prompt = prompt
            self.prompt_changed.emit()

    @property
    def tool(self) -> str:
        """Napari's name of the tool that the mask is edited with; "pan_zoom" for none."""
        return str(self._layer.mode) if self._layer is not None else "pan_zoom"

    @tool.setter
    def tool(self, mode: str) -> None:
        if self._layer is not None:
            self._coordinator.viewer.layers.selection.active = self._layer
            self._layer.mode = mode

    @property
    def painting(self) -> Painting:
        """What stands; a stroke that goes on is not in it yet."""
        assert self._history is not None
        return self._history.now

    @property
    def mask(self) -> Mask:
        """Mask of the trial that is shown, with the stroke that goes on."""
        session, trial = self._coordinator.session, self._coordinator.trial
        assert session is not None
        source = session, self.painting, self._stroke
        # Several views ask for it after each move of the mouse.
        if (
            self._mask is None
            or trial != self._mask_trial
            or any(a is not b for a, b in zip(source, self._source, strict=True))
        ):
            self._source, self._mask_trial = source, trial
            self._mask = self._with_stroke().mask(session, trial)
        return self._mask

    @property
    def stroke_goes_on(self) -> bool:
        """Whether something is being painted that does not stand yet."""
        return self._stroke is not None

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return self._history is not None and self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return self._history is not None and self._history.can_redo

    def put(self, mask: Mask) -> None:
        """Hide what a mask hides, and nothing else."""
        self._push(self.painting.replaced(Painting.of(mask), self._trial_or_all()))

    def set_units(self, units: npt.ArrayLike, label: int) -> None:
        """Give units, by index, a label in all bins."""
        where = np.zeros_like(self.painting.common, dtype=bool)
        where[:, np.asarray(units, dtype=np.intp)] = True
        self._set(where, label, "neuron")

    def set_bins(self, bins: slice, label: int) -> None:
        """Give all units a label in some bins."""
        where = np.zeros_like(self.painting.common, dtype=bool)
        where[bins] = True
        self._set(where, label)

    def hides_region(self, name: str) -> bool:
        """Whether all of a region is hidden on this trial."""
        units = self._units_of(name)
        return bool((self.painting.labels(self._coordinator.trial)[:, units] != VISIBLE).all())

    def toggle_region(self, name: str, *, add: bool = False) -> None:
        """Hide a region and nothing else, or show it again; `add` leaves the rest as it is."""
        session = self._coordinator.session
        assert session is not None
        if add:
            where = Mask.region(session, name).hidden
            label = VISIBLE if self.hides_region(name) else PREDICTED
            self._set(where, label, "inter-region")
            return
        mask = Mask.region(session, name)
        alone = np.array_equal(self.mask.hidden, mask.hidden)
        self.put(Mask.nothing(session) if alone else mask)

    def take_away_region(self, name: str) -> None:
        """Hide a region without asking for it, beside what is hidden."""
        self.set_units(self._units_of(name), TAKEN)

    def invert(self) -> None:
        """Hide what is visible, and show what is hidden."""
        self._push(self.painting.inverted(self._trial_or_all()))

    def clear(self) -> None:
        """Hide nothing."""
        session = self._coordinator.session
        assert session is not None
        self._push(self.painting.replaced(Painting.nothing(session), self._trial_or_all()))

    def restore(self, painting: Painting) -> None:
        """Let another painting of this session stand."""
        self._push(painting)

    def undo(self) -> None:
        """Go back one edit, painted or clicked."""
        if self._history is not None and self._history.undo():
            self._stroke = None
            self._after_edit()

    def redo(self) -> None:
        """Go forward one edit again."""
        if self._history is not None and self._history.redo():
            self._stroke = None
            self._after_edit()

    def left(self) -> Painted | None:
        """How it is left when another session is shown; a stroke that goes on is given up."""
        if self._history is None or self._layer is None:
            return None
        visible = bool(self._layer.visible)
        return Painted(self._history, self._prompt, self._everywhere, visible)

    def _units_of(self, name: str) -> npt.NDArray[np.intp]:
        session = self._coordinator.session
        assert session is not None
        return np.flatnonzero(session.units["region"] == name)

    def _trial_or_all(self) -> int | None:
        return None if self._everywhere else self._coordinator.trial

    def _set(self, where: npt.NDArray[np.bool_], label: int, asked: Task | None = None) -> None:
        to = np.full_like(self.painting.common, label)
        self._push(self.painting.changed(where, to, self._trial_or_all(), asked))

    def _push(self, painting: Painting) -> None:
        assert self._history is not None
        self._stroke, self._ended = None, False
        if self._history.push(painting):
            self._after_edit()

    def _after_edit(self) -> None:
        self._draw()
        self.changed.emit()

    def _with_stroke(self) -> Painting:
        if self._stroke is None:
            return self.painting
        trial = self._coordinator.trial
        where = self._stroke != self.painting.labels(trial)
        if not where.any():
            return self.painting
        return self.painting.changed(where, self._stroke, self._trial_or_all())

    def _on_session(self) -> None:
        coordinator, session = self._coordinator, self._coordinator.session
        before, self._layer, self._stroke = self._layer, None, None
        self._going = self._ended = False
        self._history = self._mask = None
        kept = before if session is not None and self._lies_on_raster(before) else None
        if before is not None and kept is None:
            self._settled.call(partial(_remove, coordinator.viewer, before))
        if session is None:
            return
        painted = coordinator.current.painted if coordinator.current is not None else None
        if painted is None:
            painted = Painted(History(Painting.nothing(session)), None, self._everywhere, True)
        self._history, self._prompt = painted.history, painted.prompt
        if kept is not None:
            self._show_in(kept)
        else:
            self._add_layer()
        assert self._layer is not None
        if self._layer.visible != painted.visible:
            self._layer.visible = painted.visible
        self.everywhere = painted.everywhere
        self.changed.emit()

    def _lies_on_raster(self, layer: "LabelsLayer | None") -> bool:
        layers, raster = self._coordinator.viewer.layers, self._coordinator.layer
        return layer in layers and layers.index(layer) == layers.index(raster) + 1

    def _show_in(self, layer: "LabelsLayer") -> None:
        """Go on with a layer that was painted on for another session."""
        raster = self._coordinator.layer
        assert raster is not None
        layer.mode = "pan_zoom"  # it gives up a polygon that is not closed
        with self._while_setting():
            layer.data = self._drawn()
            layer.scale, layer.translate = raster.scale[1:], raster.translate[1:]
            recolour(layer, self._coordinator.preferences)
        self._layer = layer
        self.tool_changed.emit()

    def _on_removed(self, event: Any) -> None:
        """Hide nothing once the layer is removed by hand; an empty one takes its place."""
        session = self._coordinator.session
        if session is None or event.value is not self._layer:
            return
        self._layer = None
        self._going = False
        self._push(Painting.nothing(session))
        self._settled.call(self._put_back)

    def _put_back(self) -> None:
        if self._coordinator.session is not None and self._layer is None:
            self._add_layer()

    def _add_layer(self) -> None:
        from napari.layers import Labels as LabelsLayer

        raster = self._coordinator.layer
        assert raster is not None
        layer = LabelsLayer(
            self._drawn(),
            name="hidden",
            scale=raster.scale[1:],
            translate=raster.translate[1:],
            axis_labels=AXES[1:],
            units=raster.units[1:],
            colormap=label_colormap(self._coordinator.preferences),
            opacity=_OPACITY,
            metadata={KEY: True},
        )
        layer.brush_size = 4
        layer.events.paint.connect(self._on_stroke_ended)
        layer.events.labels_update.connect(self._on_stroke)
        layer.events.set_data.connect(self._on_set_data)
        layer.events.selected_label.connect(self._on_label)
        layer.events.mode.connect(self._on_mode)
        bind(self._coordinator, layer)  # a layer's own keys come before a viewer's
        self._layer = layer
        layers = self._coordinator.viewer.layers
        layers.insert(layers.index(raster) + 1, layer)
        self.tool_changed.emit()

    def _on_label(self, event: Any = None) -> None:
        """Keep to the two labels that mean something."""
        layer = self._layer
        if layer is not None and layer.selected_label not in (VISIBLE, PREDICTED, TAKEN):
            layer.selected_label = 1
        self.tool_changed.emit()

    def _on_mode(self, event: Any = None) -> None:
        self.tool_changed.emit()

    def _drawn(self) -> Labels:
        labels = self._with_stroke().labels(self._coordinator.trial)
        return np.ascontiguousarray(labels[:, self._coordinator.rows].T)

    def _draw(self) -> None:
        layer = self._layer
        if layer is None or self._history is None:
            return
        drawn = self._drawn()
        if drawn.shape == layer.data.shape and np.array_equal(drawn, layer.data):
            return
        with self._while_setting():
            put(layer, drawn)

    def _on_row_height(self) -> None:
        """Lie on the raster, whose rows are as high as the canvas lets them be."""
        layer, raster = self._layer, self._coordinator.layer
        if layer is not None and raster is not None:
            layer.scale = raster.scale[1:]

    @contextmanager
    def _while_setting(self) -> "Iterator[None]":
        self._setting = True
        try:
            yield
        finally:
            self._setting = False

    def _on_trial(self) -> None:
        self._stroke = None
        self._draw()

    def _on_stroke(self, event: Any = None) -> None:
        if self._setting:
            return
        self._going = not self._ended
        if self._ended:
            self._finish()
        elif self._read_stroke():
            self.stroked.emit()

    def _on_stroke_ended(self, event: Any = None) -> None:
        # Of what is painted in one go napari tells before the labels are changed: then it
        # ends with the update that follows.
        self._ended = not self._going
        if self._going:
            self._finish()

    def _finish(self) -> None:
        self._going = self._ended = False
        self._read_stroke()
        self._push(self._with_stroke())

    def _on_set_data(self, event: Any = None) -> None:
        """Notice a stroke that was given up: napari takes it back without a word."""
        if self._setting or self._layer is None or self._stroke is None:
            return
        labels = self.painting.labels(self._coordinator.trial)
        if np.array_equal(self._layer.data.T, labels[:, self._coordinator.rows]):
            self._stroke, self._going = None, False
            self.stroked.emit()

    def _read_stroke(self) -> bool:
        """Take what the layer shows as what is painted; return whether that is new."""
        if self._layer is None:
            return False
        labels = self.painting.labels(self._coordinator.trial)
        before = labels if self._stroke is None else self._stroke
        labels = labels.copy()
        labels[:, self._coordinator.rows] = self._layer.data.T
        if np.array_equal(labels, before):
            return False
        self._stroke = labels
        return True


def _remove(viewer: "ViewerModel", layer: "LabelsLayer") -> None:
    if layer in viewer.layers:
        viewer.layers.remove(layer)
