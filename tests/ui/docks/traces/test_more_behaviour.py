"""Further behaviour is offered where it can be read, and joins the session that is open."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_mtm import Mask, Session, open_session
from napari_mtm.recording import extra_behaviour
from napari_mtm.recording.extra_behaviour import with_traces
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.traces import Trace
from napari_mtm.ui.docks.traces.dock import TracesDock
from tests.conftest import write_alf
from tests.extra_files import PUPIL, write_extra
from tests.running import children

MENU = ["Licks", "Pupil diameter", "Speed of the left paw", "Speed of the right paw"]
LICKS = Trace(np.arange(0, 60, 0.1), np.arange(0, 60, 0.1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A session folder of one camera, which says the pupil by four points around it."""
    folder = tmp_path_factory.mktemp("lab") / "Subjects" / "MOUSE" / "2024-02-03" / "002"
    write_alf(folder)
    write_extra(folder, right=False, features=False)
    return folder


@pytest.fixture
def session(folder) -> Session:
    return open_session(folder)


@pytest.fixture
def dock(viewer, qtbot) -> TracesDock:
    dock = TracesDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(1300, 300)
    dock.show()
    return dock


@pytest.fixture
def offering(dock, folder, session) -> TracesDock:
    """The dock with a session whose files are known."""
    if not extra_behaviour.is_available():
        pytest.skip("ibllib is not installed")
    dock.coordinator.sources[session.id] = find_source(folder)
    dock.coordinator.show(session)
    return dock


def entries(dock) -> list[str]:
    return [action.text() for action in dock.more.menu.actions() if action.text()]


# What is offered


def test_what_the_files_hold_is_offered(offering):
    assert offering.more.button.isVisible()
    assert entries(offering) == [*MENU, "All of these"]


def test_what_is_there_is_not_offered_again(offering, session):
    offering.coordinator.extend(with_traces(session, {"lick-rate": LICKS}))
    assert entries(offering) == [*MENU[1:], "All of these"]
    others = ("pupil-diameter", "paw-speed-left", "paw-speed-right")
    extended = with_traces(offering.coordinator.session, dict.fromkeys(others, LICKS))
    offering.coordinator.extend(extended)
    assert entries(offering) == []
    assert not offering.more.isVisible()


def test_nothing_is_offered_where_no_files_are_known_or_hold_more(
    dock, session, sample, sample_path
):
    assert not dock.more.isVisible()
    dock.coordinator.show(session)  # as from a store
    assert not dock.more.isVisible()
    dock.coordinator.sources[sample.id] = find_source(sample_path)
    dock.coordinator.show(sample)
    assert not dock.more.isVisible()


def test_without_ibllib_nothing_is_offered(dock, folder, session, monkeypatch):
    monkeypatch.setitem(sys.modules, "brainbox", None)
    dock.coordinator.sources[session.id] = find_source(folder)
    dock.coordinator.show(session)
    assert not dock.more.isVisible()


def test_a_session_without_any_behaviour_offers_it_too(offering, session):
    nothing = replace(session, behaviour={}, trials=session.trials[["stimOn_times"]])
    offering.coordinator.show(nothing)
    assert offering.sentence.isVisible()
    assert offering.more.button.isVisible()
    assert not offering.plots.isVisible()


# Reading


def test_all_of_it_is_read_in_another_process(offering, session, qtbot, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "brainbox"]:
        monkeypatch.delitem(sys.modules, name)  # of another test
    coordinator, more = offering.coordinator, offering.more
    coordinator.viewer.dims.set_current_step(0, 5)
    coordinator.masks.put(Mask.region(session, "CA1"))
    more.menu.actions()[-1].trigger()
    assert more.bar.isVisible()
    assert not more.button.isVisible()
    qtbot.waitUntil(lambda: not more.jobs.running, timeout=60_000)
    assert "brainbox" not in sys.modules
    assert not more.isVisible()
    found = coordinator.session.behaviour
    at = session.trials["stimOn_times"].to_numpy()[:, None] + (np.arange(100) + 0.5) * 0.02 - 0.5
    np.testing.assert_allclose(found["pupil-diameter"], 30 + 5 * np.sin(at), atol=0.02)
    assert np.ptp(PUPIL) > 9
    np.testing.assert_allclose(found["paw-speed-right"], 20, rtol=1e-4)
    assert set(found["paw-speed-left"][np.isfinite(found["paw-speed-left"])] < 51) == {True}
    assert 2 < found["lick-rate"].mean() < 5  # 200 licks in 56 s
    for name in ("lick-rate", "pupil-diameter", "paw-speed-left", "paw-speed-right"):
        assert offering.rows[name].visible
        line = offering.rows[name].lines["recorded"].getData()[1]
        np.testing.assert_array_equal(line, found[name][5])
    assert coordinator.trial == 5
    assert coordinator.masks.mask == Mask.region(session, "CA1")


def test_cancel_ends_the_other_process(offering, session, qtbot):
    more = offering.more
    more.menu.actions()[0].trigger()
    qtbot.waitUntil(lambda: bool(children("brainbox_child")), timeout=10_000)
    more.cancel_button.click()
    qtbot.waitUntil(lambda: not children("brainbox_child"), timeout=10_000)
    assert more.button.isVisible()
    assert not more.bar.isVisible()
    assert offering.coordinator.session is session


def test_another_session_ends_it_too(offering, sample, qtbot):
    offering.more.menu.actions()[0].trigger()
    qtbot.waitUntil(lambda: bool(children("brainbox_child")), timeout=10_000)
    offering.coordinator.show(sample)
    qtbot.waitUntil(lambda: not children("brainbox_child"), timeout=10_000)
    assert not offering.more.isVisible()
    assert offering.coordinator.session is sample


# What becomes of the open session


def test_all_else_of_the_session_stays(coordinator, sample, viewer):
    viewer.dims.set_current_step(0, 7)
    coordinator.select([3])
    coordinator.set_time(0.3)
    coordinator.set_order("rate")
    coordinator.masks.put(Mask.region(sample, "CA1"))
    layers, rows = list(viewer.layers), coordinator.rows
    more = replace(
        sample, behaviour={**sample.behaviour, "lick-rate": sample.behaviour["wheel-speed"]}
    )
    coordinator.extend(more)
    assert coordinator.session is more
    assert list(viewer.layers) == layers
    assert coordinator.rows is rows
    assert (coordinator.trial, coordinator.selection, coordinator.time) == (7, (3,), 0.3)
    assert coordinator.masks.mask == Mask.region(more, "CA1")
    coordinator.masks.undo()
    assert coordinator.masks.mask == Mask.nothing(more)


def test_a_session_that_is_no_longer_open_is_not_extended(coordinator, sample, session):
    more = replace(
        sample, behaviour={**sample.behaviour, "lick-rate": sample.behaviour["wheel-speed"]}
    )
    coordinator.show(session)
    coordinator.extend(more)
    assert coordinator.session is session


def test_rows_come_below_and_go_with_the_session(dock, session, sample):
    coordinator = dock.coordinator
    coordinator.show(session)
    before = dock.minimumHeight()
    coordinator.extend(with_traces(session, {"lick-rate": LICKS, "a tail": LICKS}))
    assert list(dock.rows)[-2:] == ["a tail", "lick-rate"]
    assert dock.rows["lick-rate"].label.text == "licks/s"
    assert dock.rows["a tail"].label.text == "a tail"
    assert dock.minimumHeight() > before
    QApplication.processEvents()
    tops = [row.box.geometry().top() for row in dock.rows.values()]
    assert tops == sorted(tops)
    assert dock.axis.geometry().top() >= dock.rows["lick-rate"].box.geometry().bottom()
    low, high = dock.rows["lick-rate"].box.viewRange()[1]
    values = coordinator.session.behaviour["lick-rate"]
    assert low < values.min() < values.max() < high
    coordinator.set_time(0.7)
    assert dock.rows["lick-rate"].cursor.value() == 0.7
    coordinator.show(sample)
    assert not dock.rows["lick-rate"].visible
    assert dock.minimumHeight() == before
