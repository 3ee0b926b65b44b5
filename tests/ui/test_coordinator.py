"""One coordinator per viewer: it shows sessions, orders and hides rows, and tells its views."""

import weakref
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mtm import Session
from napari_mtm.ui.coordinator import Hover, coordinator_of, raster
from tests.going import until_gone


def listen(signal) -> Mock:
    heard = Mock()
    signal.connect(heard, check_nargs=False)
    return heard


def test_one_per_viewer(viewer):
    assert coordinator_of(viewer) is coordinator_of(viewer)
    assert coordinator_of(ViewerModel()) is not coordinator_of(viewer)


def test_a_viewer_can_go(viewer):
    gone = weakref.ref(coordinator_of(ViewerModel()))
    until_gone(gone)


def test_showing_a_session_adds_its_raster(coordinator, viewer, sample):
    layer, mask = viewer.layers  # nothing lies between what is seen and what is painted
    assert coordinator.layer is layer
    assert coordinator.masks.layer is mask
    assert coordinator.session is sample
    assert layer.data.shape == (sample.n_trials, sample.n_units, sample.n_bins)
    assert layer.name == sample.title
    assert layer.axis_labels == ("trial", "unit", "time")
    assert viewer.dims.axis_labels == ("trial", "unit", "time")
    assert str(layer.units[-1]) == "second"
    assert viewer.dims.current_step[0] == 0


def test_what_is_drawn_is_the_trial_in_the_order_of_rows(coordinator, viewer, sample):
    viewer.dims.set_current_step(0, 17)
    drawn = coordinator.layer._slice.image.raw
    np.testing.assert_array_equal(drawn, sample.counts[17].T[coordinator.rows])


def test_the_raster_fills_the_canvas(coordinator, viewer, sample):
    for size in ((600, 800), (1000, 400), (300, 1500)):
        viewer.canvas.size = size
        view = coordinator.view
        left, right = view.to_x(sample.window[0]), view.to_x(sample.window[1])
        row = coordinator.layer.scale[-2]
        top, bottom = view.to_y(-0.5 * row), view.to_y((sample.n_units - 0.5) * row)
        assert (left, right) == pytest.approx((0, size[1]))
        assert (top, bottom) == pytest.approx((0, size[0]))


def test_time_on_the_canvas_is_seconds_from_the_event(coordinator, sample):
    world = coordinator.layer.data_to_world((0, 0, 25))
    assert world[-1] == pytest.approx(0.01)  # the middle of the bin that begins at 0


def test_views_hear_of_trials_once(coordinator, viewer):
    heard = listen(coordinator.trial_changed)
    viewer.dims.set_current_step(0, 3)
    viewer.dims.set_current_step(0, 3)
    viewer.dims.set_current_step(0, 4)
    assert heard.call_count == 2
    assert coordinator.trial == 4


def test_rows_in_another_order(coordinator, sample):
    heard = listen(coordinator.rows_changed)
    coordinator.set_order("rate")
    assert heard.call_count == 1
    assert sample.units["firing_rate"].iloc[coordinator.rows].is_monotonic_decreasing
    np.testing.assert_array_equal(coordinator.layer.data.rows, coordinator.rows)


def test_an_order_computed_elsewhere(coordinator, sample):
    backwards = np.arange(sample.n_units)[::-1]
    assert not coordinator.has_order("similarity")
    coordinator.set_order("similarity", backwards)
    assert coordinator.has_order("similarity")
    np.testing.assert_array_equal(coordinator.rows, backwards)


def test_only_some_regions(coordinator, viewer, sample):
    coordinator.set_shown(["LP", "CA1", "nowhere"])
    assert set(sample.units["region"].iloc[coordinator.rows]) == {"LP", "CA1"}
    assert coordinator.layer.data.shape[1] == len(coordinator.rows)
    view, row = coordinator.view, coordinator.layer.scale[-2]
    assert view.to_y((len(coordinator.rows) - 0.5) * row) == pytest.approx(view.size[0])
    before = coordinator.rows
    coordinator.set_shown([])  # something stays
    np.testing.assert_array_equal(coordinator.rows, before)


def test_bands_follow_the_rows_and_keep_their_colours(coordinator, sample):
    colours = {r.name: r.colour for r in sample.regions}
    assert [b.name for b in coordinator.bands] == [r.name for r in sample.regions]
    coordinator.set_shown(["LP", "PO"])
    assert [(b.name, b.colour) for b in coordinator.bands] == [
        ("LP", colours["LP"]),
        ("PO", colours["PO"]),
    ]
    coordinator.set_order("rate")
    assert sum(b.size for b in coordinator.bands) == len(coordinator.rows)


def test_stepping_on_says_what_lies_under_a_cursor_that_rests(coordinator, viewer, sample):
    event = Mock(position=tuple(coordinator.layer.data_to_world((0, 12, 60))))
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, event)
    heard = listen(coordinator.hovered)
    unit = coordinator.rows[12]
    trial = int(np.flatnonzero(sample.counts[:, 60, unit] != sample.counts[0, 60, unit])[0])
    viewer.dims.set_current_step(0, trial)
    (hover,) = heard.call_args.args
    assert (hover.unit, hover.bin) == (unit, 60)
    assert hover.count == sample.counts[trial, 60, unit]


def test_lines_over_the_raster_are_events_and_the_cursor(coordinator, sample):
    coordinator.set_time(0.75)
    names = [mark.name for mark in coordinator.marks]
    assert names[:2] == ["stimulus", "movement"]
    assert (names[-1], coordinator.marks[-1].time) == ("cursor", 0.75)
    coordinator.close()
    assert coordinator.marks == []


def test_under_the_cursor(coordinator, viewer, sample):
    heard = listen(coordinator.hovered)
    viewer.dims.set_current_step(0, 5)
    row, column = 12, 60
    world = coordinator.layer.data_to_world((5, row, column))
    event = Mock(position=tuple(world))
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, event)
    (hover,) = heard.call_args.args
    unit = coordinator.rows[row]
    assert hover == Hover(unit, column, pytest.approx(0.7), int(sample.counts[5, column, unit]))
    label = " ".join(coordinator.unit_lines(hover.unit))
    described = sample.units.iloc[unit]
    assert described["region"] in label
    assert described["uuid"][:8] in label
    assert f"{described['depth']:.0f} µm" in label
    assert "spikes/s" in label
    event.position = (5.0, -10.0, 0.0)
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, event)
    assert heard.call_args.args == (None,)


def test_deleting_the_layer_closes_the_session(coordinator, viewer):
    heard = listen(coordinator.session_changed)
    viewer.layers.clear()
    assert coordinator.session is None
    assert coordinator.layer is None
    assert heard.call_count == 1
    coordinator.set_order("rate")
    coordinator.set_shown(["CA1"])
    coordinator.set_limits(0, 5)
    coordinator.fit()
    assert coordinator.bands == ()


def test_another_session_takes_the_place_of_the_first(coordinator, viewer):
    coordinator.set_order("rate")
    viewer.dims.set_current_step(0, 9)
    layer = coordinator.layer
    layer.visible = False
    small = Session.from_counts(
        np.full((3, 10, 2), 7), ["CA1", "LP"], id="small", window=(1.0, 1.4), bin_size=0.04
    )
    told = listen(coordinator.session_changed)
    trials = listen(coordinator.trial_changed)
    coordinator.show(small)
    assert list(viewer.layers) == [layer, coordinator.masks.layer]
    assert coordinator.layer is layer
    assert layer.visible
    assert layer.data.shape == (3, 2, 10)
    assert layer.contrast_limits == [0, 7]
    np.testing.assert_allclose(layer.extent.world[:, 2], (1.02, 1.38))  # middles of bins
    assert coordinator.view.to_x(1.2) == pytest.approx(coordinator.view.size[1] / 2)
    assert told.call_count == 1
    assert trials.call_count == 1
    assert coordinator.session is small
    assert coordinator.order == "region"
    assert coordinator.trial == 0
    assert len(coordinator.rows) == 2


def test_the_same_session_again_has_the_same_name(coordinator, viewer, sample):
    coordinator.show(sample)
    assert [layer.name for layer in viewer.layers] == [sample.title, "hidden"]


def test_a_raster_that_napari_adds_is_adopted(viewer, sample):
    coordinator = coordinator_of(viewer)
    data, keywords = raster(sample, viewer)
    viewer.add_image(data, **keywords)
    assert coordinator.session is sample


def test_a_raster_that_is_already_there_is_adopted(viewer, sample):
    data, keywords = raster(sample, viewer)
    viewer.add_image(data, **keywords)
    assert coordinator_of(viewer).session is sample


def test_layers_of_others_are_left_alone(coordinator, viewer, sample):
    other = viewer.add_image(np.zeros((4, 4)))
    assert coordinator.session is sample
    coordinator.close()
    assert list(viewer.layers) == [other]


def test_brightness(coordinator):
    heard = listen(coordinator.limits_changed)
    coordinator.set_limits(1, 7)
    assert coordinator.layer.contrast_limits == [1, 7]
    coordinator.set_limits(3, 3)
    assert coordinator.layer.contrast_limits[1] > 3
    assert heard.called


def test_the_theme_turns_the_raster_unless_the_user_chose_a_colormap(coordinator, viewer):
    assert viewer.theme == "dark"
    assert coordinator.layer.colormap.name == "gray"
    viewer.theme = "light"
    assert coordinator.layer.colormap.name == "gray_r"
    assert not coordinator.dark
    coordinator.layer.colormap = "magma"
    viewer.theme = "dark"
    assert coordinator.layer.colormap.name == "magma"


@pytest.mark.parametrize(("n_trials", "n_bins", "n_units"), [(1, 1, 1), (1, 100, 1), (5, 2, 2000)])
def test_sessions_of_any_shape(viewer, n_trials, n_bins, n_units):
    coordinator = coordinator_of(viewer)
    coordinator.show(Session.from_counts(np.zeros((n_trials, n_bins, n_units)), ["CA1"] * n_units))
    assert coordinator.view.zoom > 0
    assert coordinator.trial == 0
    assert coordinator.layer._slice.image.raw.shape == (n_units, n_bins)
