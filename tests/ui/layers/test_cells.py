"""The cells beside the raster: what they draw, how they lie, and what a person removes."""

import weakref
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import LayerList, ViewerModel

from napari_mtm import Mask, Session
from napari_mtm.live.engine import Answer, Request
from napari_mtm.model.reconstruction import Reconstruction
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.layers.cells import USUAL
from tests.going import until_gone


@pytest.fixture
def cells(coordinator):
    """The cells beside the sample."""
    coordinator.cells.add()
    return coordinator.cells


def listen(signal) -> Mock:
    heard = Mock()
    signal.connect(heard, check_nargs=False)
    return heard


def rates_of(session, trial: int) -> np.ndarray:
    rng = np.random.default_rng(trial)
    return rng.gamma(2, 0.2, (session.n_bins, session.n_units)).astype(np.float32)


def answered(session, mask: Mask, trial: int) -> Answer:
    """An answer with known rates."""
    found = Reconstruction(
        session=session.id,
        mask=mask,
        prompt=mask.prompt,
        trials=np.array([trial]),
        units=tuple(session.units["uuid"]),
        counts=session.counts[[trial]],
        rates=rates_of(session, trial)[None],
        decoded={},
    )
    return Answer(Request(session, mask, trial), found, 0.01)


def layers_of(coordinator, *names) -> list[str]:
    """Names of the layers that there should be, in order."""
    return [
        coordinator.session.title,
        "hidden",
        *(layer for name in names for layer in (name, f"{name}: outline")),
    ]


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def cell_contents(viewer) -> list[list[str]]:
    """Names of the layers that are visible in each cell of napari's grid."""
    grid = viewer.canvas.grid
    return [
        [viewer.layers[i].name for i in inside if viewer.layers[i].visible]
        for _, inside in grid.iter_viewboxes(viewer.layers)
    ]


# Where they lie


def test_they_lie_beside_the_raster_from_left_to_right(coordinator, viewer, cells):
    assert names(viewer) == layers_of(coordinator, *USUAL)
    assert cells.shown == ("reconstructed", "residual")
    assert cell_contents(viewer) == [
        [coordinator.session.title, "hidden"],
        ["reconstructed", "reconstructed: outline"],
        ["residual", "residual: outline"],
    ]
    assert len(coordinator.views) == 3
    assert cells.layer("reconstructed").name == "reconstructed"


def test_adding_them_leaves_what_was_selected(coordinator, viewer):
    for indices in ([1], [0, 1], []):
        chosen = {viewer.layers[k] for k in indices}
        viewer.layers.selection = chosen
        coordinator.cells.add()
        coordinator.cells.set_shown("residual", shown=False)
        assert set(viewer.layers.selection) == chosen
        coordinator.show(coordinator.session)


def test_adding_them_twice_is_adding_them_once(coordinator, viewer, cells):
    heard = listen(coordinator.cells_changed)
    cells.add()
    assert names(viewer) == layers_of(coordinator, *USUAL)
    assert not heard.called


def test_without_a_session_there_are_none(viewer):
    cells = coordinator_of(viewer).cells
    cells.add()
    assert cells.shown == ()
    assert cells.layer("residual") is None
    cells.set_shown("residual", shown=True)
    cells.set_stale(True)
    assert not len(viewer.layers)


def test_showing_and_hiding(coordinator, viewer, cells):
    heard = listen(coordinator.cells_changed)
    cells.set_shown("baseline", shown=True)
    assert cells.shown == USUAL
    assert len(coordinator.views) == 4
    cells.set_shown("reconstructed", shown=False)
    assert cells.shown == ("residual", "baseline")
    assert heard.call_count == 2
    cells.set_shown("reconstructed", shown=False)
    assert heard.call_count == 2
    assert cell_contents(viewer)[1:] == [
        ["residual", "residual: outline"],
        ["baseline", "baseline: outline"],
    ]
    for name in ("residual", "baseline"):
        cells.set_shown(name, shown=False)
    assert len(coordinator.views) == 1


def test_hiding_a_cell_in_the_list_of_layers(coordinator, viewer, cells):
    heard = listen(coordinator.cells_changed)
    cells.layer("residual").visible = False
    assert cells.shown == ("reconstructed",)
    assert len(coordinator.views) == 2
    assert heard.called
    cells.layer("residual").visible = True
    assert cells.shown == ("reconstructed", "residual")


def test_they_stay_on_the_raster_when_rows_or_canvas_change(coordinator, viewer, cells, sample):
    cells.show(answered(sample, Mask.region(sample, "CA1"), 0))
    for change in (
        lambda: setattr(viewer.canvas, "size", (300, 1500)),
        lambda: coordinator.set_shown(["CA1"]),
        lambda: coordinator.set_order("rate"),
        lambda: setattr(viewer.canvas, "size", (900, 400)),
        lambda: cells.set_shown("baseline", shown=True),
        lambda: coordinator.set_shown(["LP", "CA1"]),
    ):
        change()
        for name in cells.shown:
            layer = cells.layer(name)
            np.testing.assert_allclose(layer.scale, coordinator.layer.scale[1:])
            assert layer.data.shape == coordinator.layer.data.shape[1:]


# What they draw


def test_what_is_hidden_is_filled_with_what_is_predicted(coordinator, cells, sample):
    mask, trial = Mask.region(sample, "CA1"), 7
    cells.show(answered(sample, mask, trial))
    for order in ("region", "rate"):
        coordinator.set_order(order)
        for row in (0, 20, 63, 109):
            unit = coordinator.rows[row]
            recorded = sample.counts[trial, :, unit].astype(float)
            predicted = rates_of(sample, trial)[:, unit]
            hidden = sample.units["region"].iloc[unit] == "CA1"
            filled = predicted if hidden else recorded
            left = recorded - predicted if hidden else np.zeros(sample.n_bins)
            np.testing.assert_allclose(cells.layer("reconstructed").data[row], filled, rtol=1e-6)
            np.testing.assert_allclose(cells.layer("residual").data[row], left, atol=1e-6)


def test_the_outline_says_what_was_hidden(coordinator, viewer, cells, sample):
    mask = Mask.within_region(sample, "CA1", [int(np.argmax(sample.units["region"] == "CA1"))])
    cells.show(answered(sample, mask, 0))
    expected = np.where(mask.hidden, np.where(mask.scored, 1, 2), 0)
    drawn = expected[:, coordinator.rows].T
    for name in cells.shown:
        outline = viewer.layers[f"{name}: outline"]
        # A line of the label's colour runs around the inside of each part, and nowhere else.
        fine = [n // m for n, m in zip(outline.data.shape, drawn.shape, strict=True)]
        cut = drawn.repeat(fine[0], axis=0).repeat(fine[1], axis=1)
        padded = np.pad(cut, 1, mode="edge")
        around = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
        inside = np.logical_and.reduce([cut == other for other in around])
        np.testing.assert_array_equal(outline.data, np.where(inside, 0, cut))
        assert set(np.unique(outline.data)) == {0, 1, 2}


@pytest.mark.parametrize("size", [(300, 300), (1400, 2400)])
def test_the_outline_is_thin_and_lies_on_the_image(coordinator, viewer, cells, sample, size):
    viewer.canvas.size = size
    cells.show(answered(sample, Mask.region(sample, "CA1"), 0))
    image, outline = cells.layer("residual"), viewer.layers["residual: outline"]
    for side in (-1, 1):  # edges of the first and of the last entries
        corners = [
            layer.extent.world[max(side, 0)] + side * layer.scale / 2 for layer in (image, outline)
        ]
        np.testing.assert_allclose(*corners)
    finer = image.scale / outline.scale
    assert (finer == 1).all() if size[0] < 1000 else finer[0] > 1


def test_only_shown_units_are_drawn(coordinator, cells, sample):
    cells.show(answered(sample, ~Mask.nothing(sample), 3))
    coordinator.set_shown(["LP"])
    units = np.flatnonzero(sample.units["region"] == "LP")
    drawn = cells.layer("reconstructed").data
    assert drawn.shape == (len(units), sample.n_bins)
    np.testing.assert_array_equal(
        np.sort(drawn.sum(axis=1)), np.sort(rates_of(sample, 3)[:, units].sum(axis=0))
    )


def test_a_cell_that_is_shown_later_shows_the_latest_answer(cells, sample):
    cells.set_shown("residual", shown=False)
    for trial in (2, 5):
        cells.show(answered(sample, ~Mask.nothing(sample), trial))
    cells.set_shown("residual", shown=True)
    total = sample.counts[5].sum() - rates_of(sample, 5).sum()
    assert cells.layer("residual").data.sum() == pytest.approx(total, rel=1e-3)


def test_nothing_hidden_is_the_recording(coordinator, viewer, cells, sample):
    cells.show(answered(sample, Mask.nothing(sample), 4))
    np.testing.assert_array_equal(
        cells.layer("reconstructed").data, sample.counts[4].T[coordinator.rows]
    )
    assert not cells.layer("residual").data.any()
    assert not viewer.layers["residual: outline"].data.any()


def test_brightness_is_that_of_the_raster(coordinator, viewer, cells):
    coordinator.set_limits(0, 7)
    assert cells.layer("reconstructed").contrast_limits == [0, 7]
    assert cells.layer("residual").contrast_limits == [-7, 7]
    assert cells.layer("reconstructed").colormap.name == "gray"
    no_difference = cells.layer("residual").colormap.map(0.5).ravel()
    np.testing.assert_allclose(no_difference, [0, 0, 0, 1], atol=1e-6)
    viewer.theme = "light"
    assert cells.layer("reconstructed").colormap.name == "gray_r"
    no_difference = cells.layer("residual").colormap.map(0.5).ravel()
    np.testing.assert_allclose(no_difference, [1, 1, 1, 1], atol=1e-6)


def test_colours_follow_what_a_person_does_to_the_raster(coordinator, cells):
    coordinator.layer.colormap = "viridis"
    coordinator.layer.gamma = 0.9
    for name in ("reconstructed", "baseline"):
        assert cells.layer(name).colormap.name == "viridis"
        assert cells.layer(name).gamma == 0.9


def test_a_residual_of_one_spike_is_as_bright_as_a_spike(coordinator, cells):
    """As in the raster, where the dark end is drawn wider: red for more, blue for fewer."""
    coordinator.set_limits(0, 4)
    residual, raster = cells.layer("residual"), coordinator.layer
    (spike,) = raster.colormap.map([0.25**raster.gamma])[:, 0]
    more, fewer = residual.colormap.map([(4 + 1) / 8, (4 - 1) / 8])
    np.testing.assert_allclose([more[0], fewer[2]], spike, atol=0.02)
    assert more[0] > 2 * more[2]
    assert fewer[2] > 2 * fewer[0]


def test_what_is_stale_is_dim_until_the_next_answer(cells, sample):
    cells.set_stale(True)
    assert all(cells.layer(name).opacity < 0.6 for name in cells.shown)
    cells.show(answered(sample, Mask.nothing(sample), 0))
    assert all(cells.layer(name).opacity == 1 for name in cells.shown)


# The baseline


def test_the_baseline_fills_what_is_hidden(coordinator, cells, sample):
    cells.set_shown("baseline", shown=True)
    mask = Mask.region(sample, "CA1")
    cells.show(answered(sample, mask, 2))
    cells.show_baseline(np.full((sample.n_bins, sample.n_units), 0.25, np.float32))
    expected = np.where(mask.hidden, 0.25, sample.counts[2])[:, coordinator.rows].T
    np.testing.assert_array_equal(cells.layer("baseline").data, expected)
    other = Mask.region(sample, "LP")
    cells.show(answered(sample, other, 2))  # another mask on the same trial
    expected = np.where(other.hidden, 0.25, sample.counts[2])[:, coordinator.rows].T
    np.testing.assert_array_equal(cells.layer("baseline").data, expected)


def test_the_baseline_of_one_trial_is_not_drawn_on_another(coordinator, cells, sample):
    cells.set_shown("baseline", shown=True)
    mask = Mask.region(sample, "CA1")
    cells.show(answered(sample, mask, 2))
    cells.show_baseline(np.full((sample.n_bins, sample.n_units), 0.25, np.float32))
    before = cells.layer("baseline").data.copy()
    cells.show(answered(sample, mask, 3))
    np.testing.assert_array_equal(cells.layer("baseline").data, before)  # for a moment
    coordinator.set_shown(["CA1"])  # a cell is never of other rows than its neighbours
    assert cells.layer("baseline").data.shape == cells.layer("reconstructed").data.shape
    cells.show_baseline(np.full((sample.n_bins, sample.n_units), 0.75, np.float32))
    assert (cells.layer("baseline").data == 0.75).all()


def test_without_a_baseline_there_is_nothing_where_it_would_be(coordinator, cells, sample):
    cells.set_shown("baseline", shown=True)
    mask = Mask.region(sample, "CA1")
    cells.show(answered(sample, mask, 2))
    cells.show_baseline(np.full((sample.n_bins, sample.n_units), 0.25, np.float32))
    cells.show_baseline(None)
    expected = np.where(mask.hidden, 0, sample.counts[2])[:, coordinator.rows].T
    np.testing.assert_array_equal(cells.layer("baseline").data, expected)


# Sessions that come and go


def test_another_session_has_its_own(coordinator, viewer, cells, sample):
    cells.show(answered(sample, Mask.region(sample, "CA1"), 0))
    small = Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"], id="small")
    heard = listen(coordinator.cells_changed)
    coordinator.show(small)
    assert names(viewer) == ["small", "hidden"]
    assert len(coordinator.views) == 1
    assert heard.call_count == 1
    cells.add()
    assert names(viewer) == layers_of(coordinator, *USUAL)
    assert cells.layer("residual").data.shape == (2, 10)
    cells.show(answered(small, Mask.region(small, "LP"), 1))
    assert cells.layer("reconstructed").data.shape == (2, 10)


def test_another_session_cuts_no_list_of_layers(coordinator, cells, sample, monkeypatch):
    # Of each piece napari keeps what it would tell of its layers, for as long as it runs.
    cut = Mock()
    monkeypatch.setattr(LayerList, "__newlike__", cut)
    coordinator.show(replace(sample, id="another"))
    cut.assert_not_called()
    assert coordinator.viewer.layers[:1] is cut.return_value


def test_cells_that_lie_elsewhere_come_back_beside_the_raster(coordinator, viewer, cells, sample):
    viewer.layers.move(0, len(viewer.layers))
    coordinator.show(sample)
    cells.add()
    assert names(viewer) == layers_of(coordinator, *USUAL)


@pytest.mark.parametrize("how", ["close", "clear", "select all", "raster", "slice"])
def test_closing_the_session_takes_them_away(coordinator, viewer, cells, how):
    if how == "close":
        coordinator.close()
    elif how == "clear":
        viewer.layers.clear()
    elif how == "select all":
        viewer.layers.select_all()
        viewer.layers.remove_selected()
    elif how == "raster":
        viewer.layers.selection = {coordinator.layer, cells.layer("residual")}
        viewer.layers.remove_selected()
    else:
        del viewer.layers[:2]
    assert list(viewer.layers) == []
    assert cells.shown == ()
    assert len(coordinator.views) == 1


# Layers removed by hand


@pytest.mark.parametrize("part", ["reconstructed", "reconstructed: outline"])
@pytest.mark.parametrize("how", ["remove", "selected", "del"])
def test_removing_a_layer_of_a_cell_hides_the_cell(coordinator, viewer, cells, sample, part, how):
    heard = listen(coordinator.cells_changed)
    if how == "remove":
        viewer.layers.remove(part)
    elif how == "selected":
        viewer.layers.selection = {viewer.layers[part]}
        viewer.layers.remove_selected()
    else:
        del viewer.layers[part]
    assert cells.shown == ("residual",)
    assert cells.layer("reconstructed") is None
    assert heard.called
    assert names(viewer) == layers_of(coordinator, "residual", "baseline")
    assert cell_contents(viewer)[1:] == [["residual", "residual: outline"]]
    cells.show(answered(sample, Mask.region(sample, "CA1"), 3))
    cells.set_stale(True)
    coordinator.set_limits(0, 3)
    coordinator.set_order("rate")


def test_removing_both_layers_of_a_cell_at_once(coordinator, viewer, cells):
    viewer.layers.selection = {
        viewer.layers[name] for name in ("residual", "residual: outline", "baseline")
    }
    viewer.layers.remove_selected()
    assert names(viewer) == layers_of(coordinator, "reconstructed")
    assert cells.shown == ("reconstructed",)


@pytest.mark.parametrize("name", USUAL)
def test_a_cell_that_was_removed_comes_back_to_its_place(coordinator, viewer, cells, sample, name):
    cells.set_shown("baseline", shown=True)
    answer = answered(sample, ~Mask.nothing(sample), 3)
    cells.show(answer)
    viewer.layers.remove(name)
    heard = listen(coordinator.cells_changed)
    cells.set_shown(name, shown=True)
    assert heard.called
    assert names(viewer) == layers_of(coordinator, *USUAL)
    assert cells.shown == USUAL
    layer = cells.layer(name)
    assert layer.data.shape == coordinator.layer.data.shape[1:]
    np.testing.assert_allclose(layer.scale, coordinator.layer.scale[1:])
    if name == "reconstructed":
        assert layer.data.sum() == pytest.approx(rates_of(sample, 3).sum(), rel=1e-4)
    cells.set_shown(name, shown=False)
    assert name not in cells.shown


def test_all_cells_removed_come_back_one_by_one(coordinator, viewer, cells):
    for name in USUAL:
        viewer.layers.remove(name)
    assert names(viewer) == layers_of(coordinator)
    assert len(coordinator.views) == 1
    cells.add()  # whoever removed them meant it
    assert cells.shown == ()
    for name in reversed(USUAL):
        cells.set_shown(name, shown=True)
    assert names(viewer) == layers_of(coordinator, *USUAL)


def test_removing_the_mask_leaves_every_cell_in_its_place(coordinator, viewer, cells):
    viewer.layers.remove("hidden")
    assert names(viewer) == layers_of(coordinator, *USUAL)
    viewer.layers.selection = {viewer.layers["hidden"], viewer.layers["residual"]}
    viewer.layers.remove_selected()
    assert names(viewer) == layers_of(coordinator, "reconstructed", "baseline")


def test_layers_of_others_are_left_alone(coordinator, viewer, cells):
    other = viewer.add_image(np.zeros((4, 4)), name="other")
    viewer.layers.remove("residual")
    cells.set_shown("residual", shown=True)
    assert names(viewer) == [*layers_of(coordinator, *USUAL), "other"]
    coordinator.close()
    assert list(viewer.layers) == [other]


def test_a_viewer_with_cells_can_go(sample):
    viewer = ViewerModel()
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    coordinator.cells.add()
    coordinator.cells.show(answered(sample, Mask.region(sample, "CA1"), 0))
    gone = weakref.ref(coordinator), weakref.ref(viewer)
    del viewer, coordinator
    until_gone(*gone)
