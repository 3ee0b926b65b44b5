"""Painting what is hidden: every stroke, fill, polygon and click is one edit that can be undone."""

import weakref
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from napari.utils.key_bindings import KeymapHandler, coerce_keybinding

from napari_mtm import Mask, Session
from napari_mtm.masking.painting import PREDICTED, TAKEN, VISIBLE, Painting
from napari_mtm.ui.coordinator import coordinator_of
from tests.going import until_gone


@pytest.fixture
def masks(coordinator):
    return coordinator.masks


@pytest.fixture
def small(viewer) -> "object":
    """A coordinator of a small session, in which one region has one unit."""
    coordinator = coordinator_of(viewer)
    regions = ["CA1", "CA1", "CA1", "VISa", "VISa", "LP"]
    coordinator.show(Session.from_counts(np.ones((4, 20, 6)), regions, id="small"))
    return coordinator


def listen(signal) -> Mock:
    heard = Mock()
    signal.connect(heard, check_nargs=False)
    return heard


def lone_unit(session) -> int:
    return int(np.flatnonzero(session.units["region"] == "LP")[0])


def shown_labels(coordinator) -> np.ndarray:
    """What is painted on screen, as (bins, units), of the units that have a row."""
    labels = np.full((coordinator.session.n_bins, coordinator.session.n_units), 99)
    labels[:, coordinator.rows] = coordinator.masks.layer.data.T
    return labels


def check_screen(coordinator) -> None:
    """The layer shows what stands on this trial."""
    labels = coordinator.masks.painting.labels(coordinator.trial)
    np.testing.assert_array_equal(coordinator.masks.layer.data, labels[:, coordinator.rows].T)
    mask = coordinator.masks.mask
    np.testing.assert_array_equal(mask.hidden, labels != VISIBLE)
    np.testing.assert_array_equal(mask.scored, labels == PREDICTED)


def n_undo(masks) -> int:
    """How many edits can be undone; they are done again."""
    n = 0
    while masks.can_undo:
        masks.undo()
        n += 1
    for _ in range(n):
        masks.redo()
    return n


class Mouse:
    """Draws on the layer as a person does."""

    def __init__(self, coordinator) -> None:
        self._coordinator = coordinator

    def _event(self, kind: str, row: float, column: float):
        layer = self._coordinator.masks.layer
        return read_only_mouse_event(
            type=kind,
            position=(float(self._coordinator.trial), *layer.data_to_world((row, column))),
            view_direction=None,
            dims_displayed=[0, 1],
            is_dragging=kind == "mouse_move",
        )

    def press(self, row, column) -> None:
        mouse_press_callbacks(
            self._coordinator.masks.layer, self._event("mouse_press", row, column)
        )

    def move(self, row, column) -> None:
        mouse_move_callbacks(self._coordinator.masks.layer, self._event("mouse_move", row, column))

    def release(self, row, column) -> None:
        mouse_release_callbacks(
            self._coordinator.masks.layer, self._event("mouse_release", row, column)
        )

    def drag(self, *places) -> None:
        self.press(*places[0])
        for place in places[1:]:
            self.move(*place)
        self.release(*places[-1])


@pytest.fixture
def mouse(coordinator) -> Mouse:
    return Mouse(coordinator)


# The layer


def test_it_lies_on_the_raster_and_shows_nothing_at_first(coordinator, viewer, masks):
    layer, raster = masks.layer, coordinator.layer
    assert list(viewer.layers) == [raster, layer]
    assert layer.name == "hidden"
    np.testing.assert_array_equal(layer.scale, raster.scale[1:])
    np.testing.assert_array_equal(layer.translate, raster.translate[1:])
    assert layer.axis_labels == ("unit", "time")
    assert not layer.data.any()
    assert not masks.mask.hidden.any()
    assert not masks.can_undo
    assert not masks.can_redo


def test_it_stays_on_the_raster_when_rows_or_canvas_change(coordinator, viewer, masks):
    for change in (
        lambda: setattr(viewer.canvas, "size", (300, 1500)),
        lambda: coordinator.set_shown(["CA1"]),
        lambda: coordinator.set_order("rate"),
        lambda: setattr(viewer.canvas, "size", (900, 400)),
    ):
        change()
        np.testing.assert_allclose(masks.layer.scale, coordinator.layer.scale[1:])
        assert masks.layer.data.shape == coordinator.layer.data.shape[1:]


def test_only_labels_that_mean_something_can_be_chosen(masks):
    for chosen, kept in ((2, 2), (0, 0), (1, 1), (3, 1), (200, 1)):
        masks.layer.selected_label = chosen
        assert masks.layer.selected_label == kept


# Painting through napari's own methods


def paint(layer) -> None:
    layer.paint((5, 50), 1)


def fill(layer) -> None:
    layer.fill((5, 50), 2)


def polygon(layer) -> None:
    layer.paint_polygon([(2, 10), (2, 40), (20, 40), (20, 10)], 1)


def set_some(layer) -> None:
    layer.data_setitem((np.array([3, 4]), np.array([10, 11])), 2)


WAYS = [paint, fill, polygon, set_some]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_painting_is_one_edit(coordinator, masks, way):
    changed = listen(masks.changed)
    way(masks.layer)
    assert changed.call_count == 1
    assert masks.layer.data.any()
    check_screen(coordinator)
    painted = masks.layer.data.copy()
    assert n_undo(masks) == 1
    masks.undo()
    assert not masks.can_undo
    assert not masks.layer.data.any()
    assert not masks.mask.hidden.any()
    masks.redo()
    np.testing.assert_array_equal(masks.layer.data, painted)
    check_screen(coordinator)


@pytest.mark.parametrize("way", WAYS)
def test_painting_what_is_painted_already_is_no_edit(masks, way):
    way(masks.layer)
    changed = listen(masks.changed)
    way(masks.layer)
    assert not changed.called
    assert n_undo(masks) == 1


def test_every_edit_of_a_long_row_is_undone_in_turn(coordinator, masks):
    layer, stages = masks.layer, []
    region = coordinator.session.regions[0].name

    def remember() -> None:
        stages.append((masks.painting, masks.layer.data.copy()))

    edits = [
        lambda: layer.paint((5, 50), 1),
        lambda: layer.paint((8, 55), 2),
        lambda: masks.toggle_region(region, add=True),
        lambda: layer.paint_polygon([(2, 10), (2, 40), (20, 40), (20, 10)], 2),
        masks.invert,
        lambda: layer.fill((100, 90), 0),
        lambda: layer.paint((5, 50), 2),
        masks.clear,
        lambda: masks.set_bins(slice(80, None), 1),
        lambda: masks.put(Mask.region(coordinator.session, region)),
    ]
    remember()
    for edit in edits:
        edit()
        remember()
        check_screen(coordinator)
    for painting, drawn in reversed(stages[:-1]):
        masks.undo()
        assert masks.painting is painting
        np.testing.assert_array_equal(masks.layer.data, drawn)
    assert not masks.can_undo
    for painting, drawn in stages[1:]:
        masks.redo()
        assert masks.painting is painting
        np.testing.assert_array_equal(masks.layer.data, drawn)
    assert not masks.can_redo


def test_painting_after_undo_takes_the_place_of_what_was_undone(masks):
    masks.layer.paint((5, 50), 1)
    masks.layer.paint((50, 50), 1)
    masks.undo()
    masks.layer.paint((80, 20), 2)
    assert not masks.can_redo
    assert n_undo(masks) == 2


# Strokes with the mouse


@pytest.mark.parametrize("mode", ["paint", "erase", "fill"])
def test_a_drag_is_one_edit_however_long(coordinator, masks, mouse, mode):
    masks.put(Mask.region(coordinator.session, "CA1"))
    masks.layer.mode = mode
    masks.layer.selected_label = 2
    stroked, changed = listen(masks.stroked), listen(masks.changed)
    rows = np.flatnonzero(coordinator.session.units["region"].iloc[coordinator.rows] == "CA1")
    row = int(rows[0])
    before = masks.layer.data.copy()
    mouse.drag((row, 10), (row, 20), (row + 1, 30), (row + 2, 40))
    assert stroked.call_count >= (1 if mode == "fill" else 3)
    assert changed.call_count == 1
    assert n_undo(masks) == 2
    check_screen(coordinator)
    masks.undo()
    np.testing.assert_array_equal(masks.layer.data, before)


def test_the_mask_follows_the_stroke_while_it_goes_on(coordinator, masks, mouse):
    masks.layer.mode = "paint"
    changed, sizes = listen(masks.changed), []
    masks.stroked.connect(lambda: sizes.append(int(masks.mask.hidden.sum())), check_nargs=False)
    mouse.press(10, 10)
    for column in (20, 30, 40):
        mouse.move(10, column)
    assert not changed.called
    assert not masks.painting.common.any()  # it does not stand yet
    assert sizes == sorted(set(sizes))
    assert len(sizes) == 4
    mouse.release(10, 40)
    assert changed.call_count == 1
    assert masks.mask.hidden.sum() == sizes[-1] == (masks.layer.data > 0).sum()


def test_a_click_beside_the_raster_is_no_edit(masks, mouse):
    masks.layer.mode = "paint"
    mouse.drag((-50, -50), (-40, -50))
    assert not masks.can_undo


def test_strokes_on_one_trial_and_on_all(coordinator, viewer, masks, mouse):
    masks.layer.mode = "paint"
    masks.everywhere = False
    viewer.dims.set_current_step(0, 3)
    mouse.drag((10, 10), (10, 20))
    own = masks.mask.hidden.sum()
    assert own > 0
    viewer.dims.set_current_step(0, 4)
    assert not masks.layer.data.any()
    assert not masks.mask.hidden.any()
    masks.everywhere = True
    mouse.drag((40, 10), (40, 20))
    everywhere = masks.mask.hidden.sum()
    assert everywhere > 0
    viewer.dims.set_current_step(0, 3)
    assert masks.mask.hidden.sum() == own + everywhere
    check_screen(coordinator)
    assert n_undo(masks) == 2
    masks.undo()
    assert masks.mask.hidden.sum() == own
    masks.undo()
    assert not masks.mask.hidden.any()
    check_screen(coordinator)


@pytest.mark.parametrize("interrupt", ["trial", "undo", "clear", "put", "rows"])
def test_a_stroke_that_is_interrupted_spoils_nothing(coordinator, viewer, masks, mouse, interrupt):
    masks.layer.paint((60, 60), 1)
    masks.layer.mode = "paint"
    mouse.press(10, 10)
    mouse.move(10, 20)
    {
        "trial": lambda: viewer.dims.set_current_step(0, 7),
        "undo": masks.undo,
        "clear": masks.clear,
        "put": lambda: masks.put(Mask.region(coordinator.session, "CA1")),
        "rows": lambda: coordinator.set_order("rate"),
    }[interrupt]()
    mouse.release(10, 20)
    check_screen(coordinator)
    before = n_undo(masks)
    mouse.drag((70, 10), (70, 20), (70, 30), (71, 40))
    assert n_undo(masks) == before + 1
    check_screen(coordinator)
    masks.layer.paint((30, 5), 2)
    assert n_undo(masks) == before + 2
    check_screen(coordinator)


def test_a_stroke_that_napari_gives_up_is_given_up(coordinator, masks, mouse):
    masks.layer.mode = "paint"
    layer = masks.layer
    layer._begin_stroke()
    layer._draw(1, (10, 10), (10, 30))
    assert masks.mask.hidden.any()
    stroked = listen(masks.stroked)
    overlay = layer._overlays["brush_stroke"]
    overlay.active = True
    overlay.abort(layer)  # what Escape does
    assert not masks.mask.hidden.any()
    assert stroked.called
    assert not masks.can_undo
    mouse.drag((10, 10), (10, 20))
    assert n_undo(masks) == 1
    layer.paint((50, 50), 1)
    assert n_undo(masks) == 2
    check_screen(coordinator)


# Keys


@pytest.mark.parametrize("key", ["Control-Z", "Control-Shift-Z"])
def test_keys_are_bound_on_the_layer_itself(masks, key):
    """A layer's own keys come before those of its class, with which napari undoes by itself."""
    assert coerce_keybinding(key) in masks.layer.keymap


def test_the_keys_undo_and_redo_clicks_and_strokes(coordinator, viewer, masks):
    handler = KeymapHandler()
    handler.keymap_providers = [masks.layer, viewer]
    undo, redo = (coerce_keybinding(k) for k in ("Control-Z", "Control-Shift-Z"))

    def press(key) -> None:
        handler.active_keymap[key]()

    masks.put(Mask.region(coordinator.session, "CA1"))
    masks.layer.paint((50, 50), 2)
    painted = masks.painting
    press(undo)
    assert masks.mask == Mask.region(coordinator.session, "CA1")
    press(undo)
    assert not masks.mask.hidden.any()
    press(undo)
    press(redo)
    press(redo)
    press(redo)
    assert masks.painting is painted
    check_screen(coordinator)


# Clicks


def test_a_region_is_hidden_and_shown_again(coordinator, masks, sample):
    masks.toggle_region("CA1")
    assert masks.mask == Mask.region(sample, "CA1")
    assert masks.hides_region("CA1")
    assert not masks.hides_region("LP")
    masks.toggle_region("LP")
    assert masks.mask == Mask.region(sample, "LP")
    masks.toggle_region("LP")
    assert masks.mask == Mask.nothing(sample)
    assert n_undo(masks) == 3


def test_regions_beside_each_other(coordinator, masks, sample):
    masks.toggle_region("CA1")
    masks.toggle_region("LP", add=True)
    np.testing.assert_array_equal(masks.mask.hidden, Mask.region(sample, ["CA1", "LP"]).hidden)
    masks.take_away_region("PO")
    mask = masks.mask
    np.testing.assert_array_equal(mask.hidden, Mask.region(sample, ["CA1", "LP", "PO"]).hidden)
    np.testing.assert_array_equal(mask.scored, Mask.region(sample, ["CA1", "LP"]).hidden)
    masks.toggle_region("CA1", add=True)
    np.testing.assert_array_equal(masks.mask.hidden, Mask.region(sample, ["LP", "PO"]).hidden)


def test_units_and_bins(masks, sample):
    masks.set_units([3, 7], PREDICTED)
    masks.set_bins(slice(90, None), TAKEN)
    expected = np.zeros((sample.n_bins, sample.n_units), int)
    expected[:, [3, 7]] = PREDICTED
    expected[90:] = TAKEN
    np.testing.assert_array_equal(masks.painting.labels(0), expected)
    masks.set_units([3], VISIBLE)
    assert not masks.mask.hidden[:, 3].any()


def test_inverting_and_clearing_one_trial(coordinator, viewer, masks):
    masks.toggle_region("CA1")
    viewer.dims.set_current_step(0, 2)
    masks.everywhere = False
    masks.invert()
    assert masks.mask.hidden.mean() > 0.5
    check_screen(coordinator)
    viewer.dims.set_current_step(0, 3)
    masks.clear()
    assert not masks.mask.hidden.any()
    viewer.dims.set_current_step(0, 0)
    assert masks.mask.task == "inter-region"
    assert n_undo(masks) == 3


def test_clearing_all_forgets_what_trials_have_of_their_own(viewer, masks):
    masks.everywhere = False
    masks.toggle_region("CA1")
    masks.everywhere = True
    masks.clear()
    assert not masks.mask.hidden.any()
    masks.undo()
    assert masks.hides_region("CA1")
    viewer.dims.set_current_step(0, 1)
    assert not masks.hides_region("CA1")


def test_clearing_what_is_clear_is_no_edit(viewer, masks):
    changed = listen(masks.changed)
    masks.clear()
    masks.everywhere = False
    masks.clear()
    masks.set_units([], PREDICTED)
    masks.set_units([4], VISIBLE)
    assert not masks.can_undo
    assert not changed.called


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("add", [False, True])
def test_the_only_unit_of_a_region_is_a_region_or_a_unit(small, everywhere, add):
    masks = small.masks
    masks.everywhere = everywhere
    masks.toggle_region("LP", add=add)
    assert masks.mask.task == masks.mask.prompt == "inter-region"
    masks.clear()
    masks.set_units([lone_unit(small.session)], PREDICTED)
    assert masks.mask.task == masks.mask.prompt == "neuron"
    masks.clear()
    masks.put(Mask.neurons(small.session, lone_unit(small.session)))
    assert masks.mask.task == "neuron"
    masks.undo()
    masks.undo()
    assert masks.mask.task == "neuron"
    masks.undo()
    masks.undo()
    assert masks.mask.task == "inter-region"


def test_restoring_a_painting_is_an_edit(masks, sample):
    masks.toggle_region("CA1")
    kept = masks.painting
    masks.clear()
    masks.restore(kept)
    assert masks.mask == Mask.region(sample, "CA1")
    masks.restore(Painting.of(Mask.region(sample, "LP")))
    assert n_undo(masks) == 4


def test_one_region_alone_can_be_hidden_and_shown(viewer):
    coordinator = coordinator_of(viewer)
    coordinator.show(Session.from_counts(np.ones((2, 10, 3)), ["CA1"] * 3))
    coordinator.masks.toggle_region("CA1")
    assert coordinator.masks.mask.hidden.all()
    coordinator.masks.toggle_region("CA1")
    assert not coordinator.masks.mask.hidden.any()


# Orders of rows, and rows that are not shown


def test_labels_belong_to_units_in_whatever_order(coordinator, masks, sample):
    masks.layer.paint((5, 50), 1)
    masks.layer.paint_polygon([(30, 10), (30, 40), (60, 40), (60, 10)], 2)
    labels = masks.painting.labels(0).copy()
    for order in ("rate", "region"):
        coordinator.set_order(order)
        np.testing.assert_array_equal(masks.painting.labels(0), labels)
        np.testing.assert_array_equal(shown_labels(coordinator), labels)
    assert n_undo(masks) == 2
    coordinator.set_order("rate")
    masks.undo()
    check_screen(coordinator)


def test_painting_in_another_order_hides_the_unit_under_the_brush(coordinator, masks):
    coordinator.set_order("rate")
    masks.layer.brush_size = 1
    masks.layer.paint((17, 50), 1)
    (place,) = np.argwhere(masks.mask.hidden)
    assert tuple(place) == (50, coordinator.rows[17])


def test_units_without_a_row_keep_their_labels(coordinator, masks, sample):
    masks.toggle_region("LP")
    coordinator.set_shown(["CA1"])
    assert not masks.layer.data.any()
    masks.layer.paint((3, 50), 2)
    masks.layer.fill((0, 0), 1)
    mask = masks.mask
    assert mask.hidden[:, sample.units["region"] == "LP"].all()
    assert mask.hidden[:, sample.units["region"] == "CA1"].all()
    assert not mask.hidden[:, ~sample.units["region"].isin(["LP", "CA1"])].any()
    coordinator.set_shown([r.name for r in sample.regions])
    check_screen(coordinator)
    masks.undo()
    masks.undo()
    assert masks.mask == Mask.region(sample, "LP")
    check_screen(coordinator)


def test_undoing_what_is_out_of_sight(coordinator, masks, sample):
    coordinator.set_shown(["CA1"])
    masks.layer.paint((3, 50), 1)
    coordinator.set_shown(["LP"])
    masks.undo()
    assert not masks.mask.hidden.any()
    coordinator.set_shown(["CA1"])
    check_screen(coordinator)


# Trials


def test_each_trial_shows_its_own(coordinator, viewer, masks, sample):
    masks.toggle_region("CA1")
    masks.everywhere = False
    for trial, region in ((3, "LP"), (9, "PO")):
        viewer.dims.set_current_step(0, trial)
        masks.toggle_region(region)
    for trial, region in ((3, "LP"), (0, "CA1"), (9, "PO"), (10, "CA1")):
        viewer.dims.set_current_step(0, trial)
        assert masks.mask == Mask.region(sample, region)
        check_screen(coordinator)


def test_stepping_through_trials_is_no_edit(viewer, masks):
    masks.layer.paint((5, 50), 1)
    changed, stroked = listen(masks.changed), listen(masks.stroked)
    for trial in (1, 2, 50, 0):
        viewer.dims.set_current_step(0, trial)
    assert not changed.called
    assert not stroked.called
    assert n_undo(masks) == 1


# Options


def test_options_are_told_once(masks):
    everywhere, prompt = listen(masks.everywhere_changed), listen(masks.prompt_changed)
    masks.everywhere = True
    masks.prompt = None
    assert not everywhere.called
    assert not prompt.called
    masks.everywhere = False
    masks.prompt = "causal"
    masks.prompt = "causal"
    assert everywhere.call_count == prompt.call_count == 1


# Sessions that come and go


def test_another_session_begins_anew(coordinator, viewer, masks):
    masks.toggle_region("CA1")
    masks.prompt = "causal"
    old = masks.layer
    small = Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"], id="small")
    coordinator.show(small)
    assert list(viewer.layers) == [coordinator.layer, old]
    assert masks.layer is old  # to make another takes napari long
    assert masks.layer.data.shape == (2, 10)
    assert masks.layer.scale == pytest.approx(coordinator.layer.scale[1:])
    assert masks.layer.translate == pytest.approx(coordinator.layer.translate[1:])
    assert not masks.mask.hidden.any()
    assert masks.prompt is None
    assert not masks.can_undo
    masks.layer.paint((0, 3), 1)
    check_screen(coordinator)
    assert n_undo(masks) == 1


def test_another_session_in_the_middle_of_a_stroke(coordinator, masks):
    small = Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"], id="small")
    with masks.layer.block_history():
        masks.layer.paint((50, 50), 1)
        coordinator.show(small)
        assert not masks.stroke_goes_on
        assert not masks.mask.hidden.any()
        masks.layer.paint((0, 3), 1)
    check_screen(coordinator)
    assert masks.mask.hidden.any()
    masks.undo()
    assert not masks.mask.hidden.any()
    assert not masks.can_undo
    masks.redo()
    check_screen(coordinator)


def test_closing_the_session_takes_the_layer_away(coordinator, viewer, masks):
    masks.toggle_region("CA1")
    coordinator.close()
    assert list(viewer.layers) == []
    assert masks.layer is None
    assert not masks.can_undo
    masks.undo()
    masks.redo()
    masks.everywhere = False
    masks.prompt = "causal"
    coordinator.show(Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"], id="small"))
    assert not masks.mask.hidden.any()


@pytest.mark.parametrize("how", ["clear", "select all", "raster", "slice"])
def test_removing_the_raster_by_hand_takes_the_layer_away(coordinator, viewer, masks, how):
    masks.toggle_region("CA1")
    if how == "clear":
        viewer.layers.clear()
    elif how == "select all":
        viewer.layers.select_all()
        viewer.layers.remove_selected()
    elif how == "raster":
        viewer.layers.selection = {coordinator.layer}
        viewer.layers.remove_selected()
    else:
        del viewer.layers[:]
    assert list(viewer.layers) == []
    assert coordinator.session is None
    assert masks.layer is None


# The layer is removed by hand


@pytest.mark.parametrize("how", ["remove", "selected", "pop"])
def test_removing_the_layer_hides_nothing_and_can_be_undone(coordinator, viewer, masks, how):
    masks.toggle_region("CA1")
    old, changed = masks.layer, listen(masks.changed)
    if how == "remove":
        viewer.layers.remove(old)
    elif how == "selected":
        viewer.layers.selection = {old}
        viewer.layers.remove_selected()
    else:
        viewer.layers.pop()
    assert not masks.mask.hidden.any()
    assert changed.call_count == 1
    # An empty one takes its place, to be painted on.
    assert old not in viewer.layers
    assert list(viewer.layers) == [coordinator.layer, masks.layer]
    check_screen(coordinator)
    masks.undo()
    assert masks.hides_region("CA1")
    check_screen(coordinator)
    masks.layer.paint((5, 50), 2)
    check_screen(coordinator)
    assert n_undo(masks) == 2


def test_removing_the_layer_clears_all_trials(coordinator, viewer, masks):
    masks.everywhere = False
    masks.toggle_region("CA1")
    viewer.dims.set_current_step(0, 4)
    masks.toggle_region("LP")
    viewer.layers.remove(masks.layer)
    for trial in (0, 4):
        viewer.dims.set_current_step(0, trial)
        assert not masks.mask.hidden.any()
        check_screen(coordinator)
    masks.undo()
    assert masks.hides_region("LP")


def test_removing_the_layer_during_a_stroke(coordinator, viewer, masks, mouse):
    masks.layer.mode = "paint"
    mouse.press(10, 10)
    mouse.move(10, 20)
    viewer.layers.remove(masks.layer)
    assert not masks.mask.hidden.any()
    check_screen(coordinator)
    masks.layer.mode = "paint"
    mouse.drag((10, 10), (10, 20))
    assert n_undo(masks) == 1


def test_the_layer_returns_between_the_raster_and_others(coordinator, viewer, masks):
    other = viewer.add_image(np.zeros((4, 4)))
    viewer.layers.remove(masks.layer)
    assert list(viewer.layers) == [coordinator.layer, masks.layer, other]


def test_what_is_removed_later_does_not_return(coordinator, viewer, masks, sample):
    first = masks.layer
    viewer.layers.remove(first)
    coordinator.show(sample)
    viewer.layers.remove(coordinator.layer)
    assert list(viewer.layers) == []


def test_a_viewer_with_a_session_can_go(sample):
    viewer = ViewerModel()
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    coordinator.masks.layer.paint((5, 50), 1)
    gone = weakref.ref(coordinator), weakref.ref(viewer)
    del viewer, coordinator
    until_gone(*gone)


@pytest.mark.parametrize(("n_trials", "n_bins", "n_units"), [(1, 1, 1), (1, 100, 1), (5, 2, 2000)])
def test_sessions_of_any_shape(viewer, n_trials, n_bins, n_units):
    coordinator = coordinator_of(viewer)
    coordinator.show(Session.from_counts(np.zeros((n_trials, n_bins, n_units)), ["CA1"] * n_units))
    masks = coordinator.masks
    masks.layer.paint((0, 0), 1)
    assert masks.mask.hidden[0, coordinator.rows[0]]
    check_screen(coordinator)
    masks.toggle_region("CA1")
    masks.invert()
    assert not masks.mask.hidden.any() or masks.mask.hidden.all()
    while masks.can_undo:
        masks.undo()
    assert not masks.mask.hidden.any()
