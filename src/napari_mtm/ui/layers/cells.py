"""The cells beside the raster: what the model makes of it, what is left over, a baseline.

Each cell is an image and an outline of what is hidden, side by side in napari's grid.
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.painting import labels_of
from napari_mtm.ui.layers.raster import AXES, GAMMA
from napari_mtm.ui.layers.settled import Settled
from napari_mtm.ui.preferences import Preferences

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from napari.utils.colormaps import Colormap, DirectLabelColormap

    from napari_mtm.live.engine import Answer
    from napari_mtm.ui.coordinator import Coordinator

CellName: TypeAlias = Literal["reconstructed", "fine-tuned", "residual", "baseline"]
CELLS: tuple[CellName, ...] = ("reconstructed", "fine-tuned", "residual", "baseline")
"""From left to right."""

NEWEST: CellName = "fine-tuned"
"""The cell that is there while a training tells of newer weights, and no longer."""

USUAL: tuple[CellName, ...] = tuple(name for name in CELLS if name != NEWEST)
"""The cells that a person shows and hides."""

KEY = "napari_mtm_cell"
"""Where a layer's metadata says which cell it is of."""

GAP = 6
"""Pixels between cells."""

_LINE_PIXELS, _FINEST = 1.5, 4
"""How thick an outline is at least, and into how many parts an entry is cut for it at most."""

_STEPS = 65
"""Colours of the residual's scale, an odd number: the one in the middle is no difference."""

_STALE = 0.45
"""Opacity of what is no longer what is asked for."""


class _Cell:
    """An image and its outline."""

    def __init__(self, name: CellName, coordinator: "Coordinator") -> None:
        from napari.layers import Image, Labels

        raster, session = coordinator.layer, coordinator.session
        assert raster is not None
        assert session is not None
        place: dict[str, Any] = {
            "scale": raster.scale[1:],
            "translate": raster.translate[1:],
            "axis_labels": AXES[1:],
            "units": raster.units[1:],
            "metadata": {KEY: name},
        }
        shape = (len(coordinator.rows), session.n_bins)
        self.image: Image = Image(np.zeros(shape, np.float32), name=name, rgb=False, **place)
        self.outline: Labels = Labels(
            np.zeros(shape, np.uint8),
            name=f"{name}: outline",
            colormap=label_colormap(coordinator.preferences),
            opacity=0.9,
            **place,
        )
        self.outline.editable = False
        self._fine = (1, 1)
        self.place(coordinator)

    @property
    def parts(self) -> "tuple[Image, Labels]":
        """Its layers."""
        return self.image, self.outline

    def place(self, coordinator: "Coordinator") -> None:
        """Lie on the raster's rows; the outline is drawn finer where they are high."""
        raster, session, view = coordinator.layer, coordinator.session, coordinator.view
        assert raster is not None
        assert session is not None
        self._fine = (
            _fineness(view.size[0] / max(len(coordinator.rows), 1)),
            _fineness(view.size[1] / session.n_bins),
        )
        scale = np.asarray(raster.scale[1:])
        self.image.scale, self.image.translate = scale, raster.translate[1:]
        self.outline.scale = scale / self._fine
        # The first fine pixel lies in the corner of the first entry, not in its middle.
        corner = np.asarray(raster.translate[1:]) - scale / 2
        self.outline.translate = corner + scale / self._fine / 2

    def draw(self, values: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> None:
        """Show other values, and outline other labels."""
        put(self.image, values)
        outline = outline_of(labels, self._fine)
        if not np.array_equal(outline, self.outline.data):
            put(self.outline, outline)


class Cells:
    """The layers of one viewer beside its raster, which show the latest answer."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._cells: dict[CellName, _Cell] = {}
        self._added = False
        self._answer: Answer | None = None
        self._baseline: npt.NDArray[np.float32] | None = None
        self._newest: npt.NDArray[np.float32] | None = None
        self._with_newest = False
        layers = coordinator.viewer.layers
        self._settled = Settled(layers)
        layers.events.removed.connect(self._on_removed)
        coordinator.session_changed.connect(self._on_session)
        coordinator.rows_changed.connect(self._draw)
        coordinator.row_height_changed.connect(self._on_row_height)
        coordinator.limits_changed.connect(self._on_limits)
        coordinator.theme_changed.connect(self._on_limits)
        coordinator.masks.changed.connect(self._place_newest)
        coordinator.masks.stroked.connect(self._place_newest)

    @property
    def shown(self) -> tuple[CellName, ...]:
        """The cells that are visible, beside the raster, from left to right."""
        return tuple(n for n in CELLS if n in self._cells and self._cells[n].image.visible)

    def layer(self, name: CellName) -> "Image | None":
        """The image of a cell."""
        return self._cells[name].image if name in self._cells else None

    def add(self) -> None:
        """Add the cells to the viewer, beside the raster."""
        coordinator = self._coordinator
        if self._added or coordinator.session is None:
            return
        self._added = True
        for name in USUAL:
            self._insert(name, shown=name != "baseline")
        grid = coordinator.viewer.canvas.grid
        grid.stride = 2
        grid.spacing = GAP
        grid.shape = (1, -1)
        grid.enabled = True
        coordinator.cells_changed.emit()
        self._draw()

    def _insert(self, name: CellName, *, shown: bool) -> None:
        """Add a cell to the right of those that come before it."""
        raster, layers = self._coordinator.layer, self._coordinator.viewer.layers
        assert raster is not None
        chosen, active = set(layers.selection), layers.selection.active
        cell = _Cell(name, self._coordinator)
        cell.image.visible = cell.outline.visible = shown
        before = [self._cells[n].outline for n in CELLS[: CELLS.index(name)] if n in self._cells]
        # The raster and the mask are the first cell.
        place = layers.index(before[-1]) + 1 if before else layers.index(raster) + 2
        self._cells[name] = cell
        layers.insert(place, cell.image)
        layers.insert(place + 1, cell.outline)
        layers.selection = chosen
        layers.selection.active = active
        cell.image.events.visible.connect(self._on_visible)
        self._on_limits()

    def set_shown(self, name: CellName, shown: bool) -> None:
        """Show or hide a cell."""
        cell = self._cells.get(name)
        if cell is not None and cell.image.visible != shown:
            cell.image.visible = shown
        elif cell is None and shown and self._added:
            self._insert(name, shown=True)
            self._coordinator.cells_changed.emit()
            self._draw()

    def show(self, answer: "Answer") -> None:
        """Draw an answer."""
        before, self._answer = self._answer, answer
        if before is not None and before.request.trial != answer.request.trial:
            self._baseline = self._newest = None
        self.set_stale(False)
        self._draw()

    def show_baseline(self, rates: npt.NDArray[np.float32] | None) -> None:
        """Draw a baseline's rates of the trial that is shown, (bins, units); nothing for None."""
        self._baseline = rates
        self._draw(only="baseline")

    def show_newest(self, rates: npt.NDArray[np.float32] | None) -> None:
        """Draw rates of newer weights, (bins, units), in a cell of their own; None removes it.

        It comes and goes between strokes: others move to the side for it.
        """
        self._newest, self._with_newest = rates, rates is not None
        if self._with_newest == (NEWEST in self._cells):
            self._draw(only=NEWEST)
        else:
            self._place_newest()

    def _place_newest(self) -> None:
        cell = self._cells.get(NEWEST)
        if self._coordinator.masks.stroke_goes_on or self._with_newest == (cell is not None):
            return
        if cell is None:
            self.set_shown(NEWEST, True)
        else:
            del self._cells[NEWEST]
            self._settled.call(partial(_remove, self._coordinator.viewer, (cell,)))
            self._settled.call(self._coordinator.cells_changed.emit)

    def set_stale(self, stale: bool) -> None:
        """Dim the cells while they show what is no longer asked for."""
        opacity = _STALE if stale else 1.0
        for cell in self._cells.values():
            if cell.image.opacity != opacity:
                cell.image.opacity = opacity

    def _on_session(self) -> None:
        self._answer = self._baseline = self._newest = None
        self._with_newest = False
        if self._coordinator.session is not None and self._lie_beside_raster():
            self._place_newest()
            for cell in self._cells.values():
                recolour(cell.outline, self._coordinator.preferences)
            self._on_row_height()
            self._on_limits()
        else:
            self.remove()

    def _lie_beside_raster(self) -> bool:
        """Whether the cells are where they would be put beside the raster that is there."""
        layers, raster = self._coordinator.viewer.layers, self._coordinator.layer
        parts = [part for n in CELLS if n in self._cells for part in self._cells[n].parts]
        return (
            self._added
            and raster in layers
            and list(layers)[layers.index(raster) + 2 :][: len(parts)] == parts
        )

    def remove(self) -> None:
        """Remove the cells from the viewer."""
        cells, had = tuple(self._cells.values()), self._added
        self._cells, self._added = {}, False
        if had:  # before layers go: napari makes a new grid for each number of cells
            self._coordinator.viewer.canvas.grid.enabled = False
        self._settled.call(partial(_remove, self._coordinator.viewer, cells))
        if had:
            self._coordinator.cells_changed.emit()

    def _on_removed(self, event: Any) -> None:
        """Hide a cell of which a layer is removed by hand: its other layer goes too."""
        for name, cell in tuple(self._cells.items()):
            if event.value is cell.image or event.value is cell.outline:
                del self._cells[name]
                self._settled.call(partial(_remove, self._coordinator.viewer, (cell,)))
                self._settled.call(self._coordinator.cells_changed.emit)

    def _on_visible(self, event: Any = None) -> None:
        for cell in self._cells.values():
            cell.outline.visible = cell.image.visible
        self._coordinator.cells_changed.emit()
        self._draw()

    def _on_row_height(self) -> None:
        if self._coordinator.layer is None:
            return
        for cell in self._cells.values():
            cell.place(self._coordinator)
        self._draw()

    def _on_limits(self) -> None:
        """Draw all cells on the raster's scale."""
        raster = self._coordinator.layer
        if raster is None:
            return
        low, high = raster.contrast_limits
        for name, cell in self._cells.items():
            if name == "residual":
                cell.image.colormap = _diverging(dark=self._coordinator.dark)
                cell.image.contrast_limits = (-high, high)
            else:
                cell.image.colormap = raster.colormap
                cell.image.contrast_limits = (low, high)
                cell.image.gamma = raster.gamma

    def _rates(self, name: CellName, answer: "Answer") -> npt.NDArray[np.float32] | None:
        """Return what a cell has of the trial, (bins, units)."""
        if name in ("baseline", NEWEST):
            return self._baseline if name == "baseline" else self._newest
        return answer.reconstruction.rates[0]

    def _draw(self, only: CellName | None = None) -> None:
        """Fill what is hidden with what is predicted; around it is what was recorded."""
        answer, coordinator = self._answer, self._coordinator
        session, rows = coordinator.session, coordinator.rows
        if session is None:
            return
        if answer is None:
            shape = (len(rows), session.n_bins)
            for cell in self._cells.values():
                cell.draw(np.zeros(shape, np.float32), np.zeros(shape, np.uint8))
            return
        mask = answer.request.mask
        hidden = mask.hidden[:, rows].T
        observed = answer.reconstruction.counts[0][:, rows].T.astype(np.float32)
        labels = labels_of(mask)[:, rows].T
        for name, cell in self._cells.items():
            if not cell.image.visible or only not in (None, name):
                continue
            rates = self._rates(name, answer)
            if rates is None and only is None and cell.image.data.shape == hidden.shape:
                continue  # what is there is replaced in a moment
            predicted = np.zeros_like(observed) if rates is None else rates[:, rows].T
            if name == "residual":
                values = np.where(hidden, observed - predicted, np.float32(0))
            else:
                values = np.where(hidden, predicted, observed)
            cell.draw(values, labels)


def _remove(viewer: "ViewerModel", cells: tuple[_Cell, ...]) -> None:
    """Remove what is left of these cells; napari tidies up once for all of them."""
    left = [part for cell in cells for part in cell.parts if part in viewer.layers]
    if left:
        with viewer.layers.batched_update():
            for layer in left:
                viewer.layers.remove(layer)


def _fineness(pixels: float) -> int:
    """Into how many parts an entry of so many pixels is cut to draw a line around it."""
    return int(np.clip(pixels / _LINE_PIXELS, 1, _FINEST))


def outline_of(labels: npt.NDArray[np.uint8], fine: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the edges of labelled parts, each entry cut into `fine` (rows, columns)."""
    cut = np.repeat(np.repeat(labels, fine[0], axis=0), fine[1], axis=1)
    edges = np.zeros_like(cut)
    for axis in (0, 1):
        n = cut.shape[axis]
        before, after = (
            tuple(part if k == axis else slice(None) for k in (0, 1))
            for part in (slice(0, max(n - 1, 0)), slice(1, n))
        )
        differ = cut[before] != cut[after]
        for side in (before, after):
            edges[side] = np.where(differ, cut[side], edges[side])
    return edges


def label_colormap(preferences: Preferences) -> "DirectLabelColormap":
    """Return the colours of what is hidden; what is visible is clear."""
    from napari.utils.colormaps import DirectLabelColormap

    clear = (0.0, 0.0, 0.0, 0.0)
    solid = {label: (*colour, 1.0) for label, colour in preferences.label_colours.items()}
    return DirectLabelColormap(color_dict={None: clear, 0: clear, **solid})


def recolour(layer: "Labels", preferences: Preferences) -> None:
    """Draw what is hidden in other colours, where they are others than are shown."""
    wanted = preferences.label_colours
    shown = [layer.colormap.map(label)[:3] for label in wanted]
    if not np.allclose(shown, list(wanted.values())):
        layer.colormap = label_colormap(preferences)


def put(layer: "Image | Labels", data: npt.NDArray[np.generic]) -> None:
    """Let a layer that holds an array of its own show other data.

    In place where that is possible: for data that are set, napari builds the layer's shaders anew.
    """
    shown = layer.data
    if (shown.shape, shown.dtype) == (data.shape, data.dtype):
        shown[...] = data
        layer.refresh(extent=False)
    else:
        layer.data = data


@cache
def _diverging(*, dark: bool) -> "Colormap":
    """Blue where fewer spikes came than predicted, red where more; nothing between.

    As in the raster, what is near nothing is drawn wider than the rest.
    """
    from napari.utils.colormaps import Colormap

    middle = (0.0, 0.0, 0.0) if dark else (1.0, 1.0, 1.0)
    ends = ((0.35, 0.65, 1.0), (1.0, 0.42, 0.3)) if dark else ((0.1, 0.3, 0.75), (0.75, 0.15, 0.1))
    at = np.linspace(-1, 1, _STEPS)
    share = np.abs(at)[:, None] ** GAMMA
    end = np.where(at[:, None] < 0, *np.array(ends)[:, None])
    return Colormap(
        (1 - share) * middle + share * end, name=f"residual-{'dark' if dark else 'light'}"
    )
