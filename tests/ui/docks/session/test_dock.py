"""The session dock shows and changes the coordinator's state, without a window around it."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_mtm import Session
from napari_mtm.recording.preparation import Preparation
from napari_mtm.ui.docks.session.dock import SessionDock
from napari_mtm.ui.docks.session.open_dialog import OpenDialog, Request


@pytest.fixture
def dock(viewer, qtbot) -> SessionDock:
    dock = SessionDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    return dock


@pytest.fixture
def open_dock(dock, sample) -> SessionDock:
    dock.coordinator.show(sample)
    return dock


def item(dock, region):
    (found,) = dock.regions.findItems(f"{region}  (", Qt.MatchFlag.MatchStartsWith)
    return found


def test_without_a_session_it_says_what_to_do(dock):
    assert "No session is open" in dock.title.text()
    assert "dropped on the window" in dock.facts.text()
    assert not dock.regions.isVisible()


def test_what_is_open(open_dock, sample):
    assert sample.title in open_dock.title.text()
    assert "(simulated)" in open_dock.title.text()
    assert (
        f"{sample.n_units} units in 6 regions, {sample.n_trials} trials (" in open_dock.facts.text()
    )
    assert open_dock.regions.count() == 6
    assert open_dock.notes.isHidden()


def test_notes_are_shown(dock):
    times = np.linspace(0, 10, 100)
    dock.coordinator.show(Session.from_spikes(times, np.zeros(100, int)))
    assert "There is no trials table" in dock.notes.text()
    assert dock.notes.isVisible()


def test_the_trial_in_words(open_dock, viewer, sample):
    viewer.dims.set_current_step(0, 11)
    assert open_dock._trial_box.title() == f"Trial 11 (0 to {sample.n_trials - 1})"
    assert "stimulus" in open_dock.trial.text()


def test_sorting(open_dock, sample):
    open_dock.order.setCurrentText("rate")
    assert open_dock.coordinator.order == "rate"
    open_dock.coordinator.set_order("depth")
    assert open_dock.order.currentText() == "depth"


def test_sorting_by_similarity_does_not_block(open_dock, qtbot):
    open_dock.order.setCurrentText("similarity")
    assert open_dock.coordinator.order == "region"  # not yet
    qtbot.waitUntil(lambda: open_dock.coordinator.order == "similarity")
    open_dock.order.setCurrentText("region")
    open_dock.order.setCurrentText("similarity")  # known by now
    assert open_dock.coordinator.order == "similarity"


def test_an_order_that_comes_too_late_is_dropped(open_dock, qtbot):
    open_dock.order.setCurrentText("similarity")
    other = Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"])
    open_dock.coordinator.show(other)
    qtbot.waitUntil(lambda: not open_dock.jobs.running)
    assert open_dock.coordinator.order == "region"


def test_hiding_regions(open_dock, sample):
    item(open_dock, "CA1").setCheckState(Qt.CheckState.Unchecked)
    assert "CA1" not in open_dock.coordinator.shown
    left = sample.n_units - (sample.units["region"] == "CA1").sum()
    assert open_dock._regions_box.title() == f"Regions: {left} of {sample.n_units} units shown"
    open_dock.named_button.click()
    assert open_dock.coordinator.shown == {"VISa", "CA1", "DG", "LP", "PO"}
    assert item(open_dock, "CA1").checkState() == Qt.CheckState.Checked
    assert item(open_dock, "root").checkState() == Qt.CheckState.Unchecked
    open_dock.all_button.click()
    assert len(open_dock.coordinator.rows) == sample.n_units
    assert open_dock._regions_box.title() == "Regions"


def test_the_last_region_stays(open_dock):
    open_dock.coordinator.set_shown(["LP"])
    item(open_dock, "LP").setCheckState(Qt.CheckState.Unchecked)
    assert open_dock.coordinator.shown == {"LP"}
    assert item(open_dock, "LP").checkState() == Qt.CheckState.Checked


def test_brightness_in_counts_and_spikes_per_second(open_dock):
    open_dock.limits.setValue((0, 3))
    assert open_dock.coordinator.layer.contrast_limits == [0, 3]
    assert open_dock.limits_text.text() == "0 to 3 spikes per bin = 0 to 150 spikes/s"
    open_dock.coordinator.set_limits(1, 2)
    assert open_dock.limits.value() == (1, 2)


def test_under_the_cursor(open_dock):
    from napari_mtm.ui.coordinator import Hover

    open_dock.coordinator.hovered.emit(Hover(3, 37, 0.25, 1))
    assert "0.25 s: 1 spike" in open_dock.under.text()
    open_dock.coordinator.hovered.emit(None)
    assert "Point at the raster" in open_dock.under.text()


def test_opening_shows_progress_and_ends_with_the_session(dock, qtbot, alf, own_cache):
    seen = []
    dock.jobs.progressed.connect(lambda fraction, message: seen.append(message))
    dock.open(Request(str(alf), None, Preparation()))
    assert dock._busy.isVisible()
    qtbot.waitUntil(lambda: dock.coordinator.session is not None)
    assert dock.coordinator.session.name == "MOUSE 2024-02-03 002"
    assert "reading behaviour" in seen or "keeping it for next time" in seen
    assert not dock._busy.isVisible()


def test_cancelling_an_opening(dock, qtbot, alf, own_cache):
    dock.open(Request(str(alf), None, Preparation()))
    dock.cancel_button.click()
    assert not dock._busy.isVisible()
    qtbot.wait(200)
    assert dock.coordinator.session is None


def test_an_opening_that_fails_leaves_what_was_open(open_dock, qtbot, sample, tmp_path):
    from napari.utils.notifications import notification_manager

    before = len(notification_manager.records)
    open_dock.open(Request(str(tmp_path), None, Preparation()))
    qtbot.waitUntil(lambda: not open_dock.jobs.running)
    assert open_dock.coordinator.session is sample
    assert "no spikes.times.npy" in notification_manager.records[before].message


def test_the_open_button_opens_what_was_chosen(dock, qtbot):
    dock.open_button.click()
    (dialog,) = dock.findChildren(OpenDialog)
    dialog.choose("sample")
    qtbot.waitUntil(lambda: "(simulated)" in dialog.summary.text())
    dialog.accept()
    qtbot.waitUntil(lambda: dock.coordinator.session is not None)
    assert dock.coordinator.session.simulated


def test_the_sample_button(dock, qtbot):
    dock.sample_button.click()
    qtbot.waitUntil(lambda: dock.coordinator.session is not None)


def test_closing_the_session(open_dock, viewer):
    viewer.layers.clear()
    assert "No session is open" in open_dock.title.text()
    assert not open_dock.regions.isVisible()
