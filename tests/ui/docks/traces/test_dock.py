"""The traces dock shows behaviour of the trial on screen, decoded lines, and what hiding costs."""

import numpy as np
import pandas as pd
import pytest
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_mtm import Mask, Session
from napari_mtm.live.engine import Answer, Decoded, Request
from napari_mtm.live.whole import WholeScores
from napari_mtm.ui.docks.traces.dock import OLD, TracesDock
from napari_mtm.ui.docks.traces.rows import LINES, ROWS, chance_band, y_range

WHEEL, WHISKER, CHOICE = ROWS


@pytest.fixture
def dock(viewer, qtbot) -> TracesDock:
    dock = TracesDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(1300, 200)
    dock.show()
    return dock


@pytest.fixture
def open_dock(dock, sample) -> TracesDock:
    dock.coordinator.show(sample)
    return dock


@pytest.fixture
def small() -> Session:
    """Twelve trials of four bins; the animal chose right on the first nine."""
    return small_session(
        {
            "wheel-speed": np.arange(48.0).reshape(12, 4),
            "whisker-motion-energy": np.ones((12, 4)) * np.arange(12)[:, None],
        }
    )


def small_session(behaviour, choice=(-1,) * 9 + (1,) * 3) -> Session:
    trials = pd.DataFrame({"choice": np.array(choice, float)})
    return Session.from_counts(
        np.ones((12, 4, 2)), ["CA1", "LP"], trials=trials, behaviour=behaviour
    )


def request(dock, trial=None) -> Request:
    coordinator = dock.coordinator
    trial = coordinator.trial if trial is None else trial
    return Request(coordinator.session, coordinator.masks.mask, trial)


def decode(dock, trial=None, value=0.25) -> Decoded:
    """Let the engine tell an answer, and what is decoded from it."""
    live, session = dock.coordinator.live, dock.coordinator.session
    asked = request(dock, trial)
    shape = (1, session.n_bins)
    rng = np.random.default_rng(asked.number)
    masked = {name: rng.random(shape).astype(np.float32) for name in ROWS}
    visible = {name: np.full(shape, value, np.float32) for name in ROWS}
    found = Decoded(asked, masked, visible)
    answer(dock, asked)
    live.behaviour = found
    live.decoded.emit(found)
    return found


def answer(dock, asked) -> None:
    live = dock.coordinator.live
    live.answer, live.behaviour = Answer(asked, None, 0.01), None
    live.answered.emit(live.answer)


def score(dock, whole) -> None:
    dock.coordinator.live.whole = whole
    dock.coordinator.live.scored.emit()


def shown(dock, name, key) -> np.ndarray | None:
    return dock.rows[name].lines[key].getData()[1]


def opacities(dock) -> set[float]:
    lines = (row.lines[key] for row in dock.rows.values() for key in ("masked", "visible"))
    return {line.opacity() for line in lines}


def text(dock) -> str:
    return " ".join(dock.words.text().replace("</td>", " ").split())


def test_without_a_session_it_says_so(dock):
    assert dock.sentence.isVisible()
    assert dock.sentence.text() == "No session is open."
    assert not dock.plots.isVisible()


def test_recorded_lines_are_those_of_the_trial(open_dock, viewer, sample):
    for trial in (0, 7, sample.n_trials - 1):
        viewer.dims.set_current_step(0, trial)
        for name in (WHEEL, WHISKER):
            times, values = open_dock.rows[name].lines["recorded"].getData()
            np.testing.assert_array_equal(values, sample.behaviour[name][trial])
            # Bins of 20 ms from half a second before the event.
            np.testing.assert_allclose(times, -0.49 + 0.02 * np.arange(100), atol=1e-9)


def test_the_choice_that_was_made(open_dock, viewer, sample):
    for choice, side, height in ((-1, "chose right", 1), (1, "chose left", 0)):
        viewer.dims.set_current_step(0, int(np.flatnonzero(sample.trials["choice"] == choice)[0]))
        assert open_dock.rows[CHOICE].label.text == f"P(right)\n{side}"
        assert set(shown(open_dock, CHOICE, "recorded")) == {height}


def test_no_choice_draws_no_line(dock):
    dock.coordinator.show(small_session({}, choice=(0,) + (-1,) * 6 + (1,) * 5))
    assert dock.rows[CHOICE].label.text == "P(right)\nno choice"
    assert np.isnan(shown(dock, CHOICE, "recorded")).all()


def test_decoded_lines(open_dock):
    decoded = decode(open_dock)
    for name in ROWS:
        np.testing.assert_array_equal(shown(open_dock, name, "masked"), decoded.masked[name][0])
        np.testing.assert_array_equal(shown(open_dock, name, "visible"), decoded.visible[name][0])
    assert opacities(open_dock) == {1.0}


def test_what_is_not_decoded_has_no_line(open_dock):
    decode(open_dock)
    live = open_dock.coordinator.live
    asked = request(open_dock)
    answer(open_dock, asked)
    live.behaviour = Decoded(asked, {}, {})
    live.decoded.emit(live.behaviour)
    assert all(shown(open_dock, name, "masked") is None for name in ROWS)


def test_old_lines_stay_fainter_until_their_successors_come(open_dock):
    before = decode(open_dock)
    answer(open_dock, request(open_dock))
    assert opacities(open_dock) == {OLD}
    np.testing.assert_array_equal(shown(open_dock, WHEEL, "masked"), before.masked[WHEEL][0])
    after = decode(open_dock)
    assert opacities(open_dock) == {1.0}
    np.testing.assert_array_equal(shown(open_dock, WHEEL, "masked"), after.masked[WHEEL][0])


def test_lines_of_another_trial_go_where_none_will_come(open_dock, viewer):
    decode(open_dock)
    viewer.dims.set_current_step(0, 3)  # there is no model to ask
    assert shown(open_dock, WHEEL, "masked") is None
    assert shown(open_dock, WHEEL, "recorded") is not None


def test_lines_of_another_trial_stay_fainter_while_the_model_is_asked(
    open_dock, viewer, monkeypatch
):
    coordinator = open_dock.coordinator
    before = decode(open_dock)
    monkeypatch.setattr(type(coordinator.live), "stale", True)
    viewer.dims.set_current_step(0, 3)
    np.testing.assert_array_equal(shown(open_dock, WHEEL, "masked"), before.masked[WHEEL][0])
    assert opacities(open_dock) == {OLD}


def test_lines_of_another_mask_are_faint_where_the_model_is_not_asked(open_dock, sample):
    coordinator = open_dock.coordinator
    coordinator.live.on = False
    decode(open_dock)
    coordinator.masks.put(Mask.region(sample, "CA1"))
    assert opacities(open_dock) == {OLD}
    coordinator.masks.undo()
    assert opacities(open_dock) == {1.0}


def test_ranges_are_the_same_for_all_trials(open_dock, viewer, sample):
    seen = set()
    for trial in range(0, sample.n_trials, 20):
        viewer.dims.set_current_step(0, trial)
        decode(open_dock, value=1e3)
        seen.add(tuple(tuple(row.box.viewRange()[1]) for row in open_dock.rows.values()))
    ((wheel, whisker, choice),) = seen
    for (low, high), name in ((wheel, WHEEL), (whisker, WHISKER)):
        inside = (sample.behaviour[name] >= low) & (sample.behaviour[name] <= high)
        assert 0.998 <= inside.mean() <= 1
        assert high < 1.2 * np.sort(sample.behaviour[name], axis=None)[-20]
    assert choice[0] == pytest.approx(-0.1)
    assert choice[1] == pytest.approx(1.1)


def test_one_bin_does_not_set_the_range():
    wheel = np.tile(np.linspace(0, 4, 1000), (12, 4))
    wheel[3, 5] = 1e6
    trials = pd.DataFrame({"choice": np.ones(12)})
    counts = np.ones((12, 4000, 1))
    session = Session.from_counts(counts, ["CA1"], trials=trials, behaviour={"wheel-speed": wheel})
    low, high = y_range(session, "wheel-speed")
    assert -0.3 < low < 0
    assert 4 < high < 4.3


def test_a_trace_that_never_changes_has_a_range_around_it():
    session = small_session({"wheel-speed": np.full((12, 4), 2.0)})
    assert y_range(session, "wheel-speed") == (1.5, 2.5)


def test_the_range_of_time_is_that_of_the_raster(open_dock, viewer):
    for zoom in (1, 1.7, 0.5):
        viewer.scene.camera.zoom *= zoom
        viewer.scene.camera.center = (0, 0, 0.3)
        expected = open_dock.coordinator.view.x_range
        for row in open_dock.rows.values():
            assert row.box.viewRange()[0] == pytest.approx(expected, abs=1e-12)
        assert open_dock.axis.range == pytest.approx(expected, abs=1e-12)


def test_the_range_of_time_follows_when_cells_are_added(open_dock):
    open_dock.coordinator.cells.add()
    expected = open_dock.coordinator.view.x_range
    assert open_dock.rows[WHEEL].box.viewRange()[0] == pytest.approx(expected, abs=1e-12)


def test_the_mouse_neither_zooms_nor_pans(open_dock):
    for row in open_dock.rows.values():
        assert row.box.state["mouseEnabled"] == [False, False]
        assert not row.box.menuEnabled()


def test_events_of_the_trial(open_dock, viewer, sample):
    from napari_mtm.ui.text.trial import trial_events

    for trial in (0, 5, 9):
        viewer.dims.set_current_step(0, trial)
        events = trial_events(sample, trial)
        for row in open_dock.rows.values():
            lines = [line for line in row.events if line.isVisible()]
            assert [line.value() for line in lines] == [event.time for event in events]
            colours = [line.pen.color().name() for line in lines]
            assert colours == [event.colour for event in events]
        assert all(event.name in open_dock.event_names.text() for event in events)


def test_the_cursor_moves_with_the_time(open_dock):
    open_dock.coordinator.set_time(0.75)
    assert {row.cursor.value() for row in open_dock.rows.values()} == {0.75}


def test_dragging_the_cursor_moves_the_time(open_dock, qtbot):
    coordinator, box = open_dock.coordinator, open_dock.rows[CHOICE].box
    viewport = open_dock.plots.viewport()
    coordinator.set_time(0.5)
    QApplication.processEvents()
    heard = []
    coordinator.time_changed.connect(lambda: heard.append(coordinator.time))

    def place_of(time: float) -> QPoint:
        inside = box.mapFromView(QPointF(time, 0.5))
        return open_dock.plots.mapFromScene(box.mapToScene(inside))

    start, end = place_of(0.5), place_of(1.0)
    qtbot.mouseMove(viewport, start)
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=start)
    for place in (QPoint((start.x() + end.x()) // 2, start.y()), end):
        qtbot.wait(20)  # pyqtgraph leaves out moves that come faster than 100 a second
        drag(viewport, place)
    qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=end)
    per_pixel = 2 / box.width()
    assert coordinator.time == pytest.approx(1.0, abs=3 * per_pixel)
    assert {row.cursor.value() for row in open_dock.rows.values()} == {coordinator.time}
    assert 1 <= len(heard) <= 4  # once for each move, and never for what follows from it


def drag(widget, place: QPoint) -> None:
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(place),
        QPointF(widget.mapToGlobal(place)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def test_the_cursor_stays_in_the_window(open_dock, sample):
    cursor = open_dock.rows[WHEEL].cursor
    cursor.setValue(40.0)
    cursor.sigDragged.emit(cursor)
    assert open_dock.coordinator.time == sample.window[1]
    assert cursor.value() == sample.window[1]


def test_rows_of_what_is_missing_are_hidden(dock):
    nothing = np.full((12, 4), np.nan)
    dock.coordinator.show(
        small_session({"wheel-speed": np.ones((12, 4)), "whisker-motion-energy": nothing})
    )
    assert {name: row.visible for name, row in dock.rows.items()} == {
        WHEEL: True,
        WHISKER: False,
        CHOICE: True,
    }
    QApplication.processEvents()
    wheel, choice = (dock.rows[name].box.geometry() for name in (WHEEL, CHOICE))
    assert wheel.height() == pytest.approx(choice.height(), abs=1)
    assert choice.top() - wheel.bottom() < 10  # the place is given to the others


def test_without_any_behaviour_a_sentence_says_so(dock, sample):
    dock.coordinator.show(Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"]))
    assert "holds no behaviour" in dock.sentence.text()
    assert not dock.plots.isVisible()
    dock.coordinator.show(sample)
    assert not dock.sentence.isVisible()
    assert dock.plots.isVisible()


def test_missing_bins_leave_gaps(dock):
    wheel = np.ones((12, 4))
    wheel[0, 2] = np.nan
    dock.coordinator.show(small_session({"wheel-speed": wheel}))
    np.testing.assert_array_equal(shown(dock, WHEEL, "recorded"), [1, 1, np.nan, 1])


def test_the_band_of_chance(open_dock, sample):
    train = sample.trials["choice"].to_numpy()[sample.split().train]
    share = (train == -1).sum() / len(train)
    low, high = open_dock.rows[CHOICE].chance.getRegion()
    assert (low, high) == pytest.approx((min(share, 1 - share, 0.48), max(share, 1 - share, 0.52)))
    assert chance_band(np.array([1.0, 1, 1, 0, np.nan])) == pytest.approx((0.25, 0.75))
    assert chance_band(np.array([1.0, 0])) == pytest.approx((0.48, 0.52))


def whole_of(session, n_trials) -> WholeScores:
    """Seven trials: two choices and some traces get worse by hiding."""
    trials = np.array([0, 1, 2, 3, 9, 10, 11])
    wheel = session.behaviour["wheel-speed"][trials].astype(float)
    whisker = session.behaviour["whisker-motion-energy"][trials].astype(float)
    visible = {
        "choice-by-trial": np.array([0.9, 0.8, 0.9, 0.7, 0.1, 0.2, 0.6]),
        "wheel-speed": wheel,
        "whisker-motion-energy": whisker + 1,
    }
    masked = {
        "choice-by-trial": np.array([0.9, 0.2, 0.9, 0.3, 0.1, 0.2, 0.6]),
        "wheel-speed": np.full(wheel.shape, wheel.mean()),
        "whisker-motion-energy": whisker + 6,
    }
    return WholeScores(trials, n_trials, {}, masked, visible)


def test_what_hiding_costs_in_words(dock, small):
    dock.coordinator.show(small)
    score(dock, whole_of(small, 12))
    words = text(dock)
    assert "7 of 12 test trials" in words
    # 6 of 7 and 4 of 7 are right; always "right" would be right on 4 of 7.
    assert "86% → 57%" in words
    assert "−29 points" in words
    assert ">57% </tr>" in words
    # The mean is worth 0.
    assert "1.00 → 0.00" in words
    assert "−1.00" in words
    for name in ("wheel-speed", "whisker-motion-energy"):
        trace = small.behaviour[name]
        truth, course = trace[[0, 1, 2, 3, 9, 10, 11]], trace[small.split().train].mean(axis=0)
        r2 = 1 - ((truth - course) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        assert f">{r2:.2f} </tr>".replace("-", "−") in words
    whisker = np.array([0, 1, 2, 3, 9, 10, 11])
    spread = whisker.var()
    expected = 1 - 1 / spread, 1 - 36 / spread
    assert f"{expected[0]:.2f} → −{abs(expected[1]):.2f}" in words
    assert f"−{35 / spread:.2f}" in words
    score(dock, whole_of(small, 7))
    assert "of 12" not in text(dock)
    assert "7 test trials" in text(dock)


def test_words_leave_out_what_is_not_known(dock):
    session = small_session({"wheel-speed": np.arange(48.0).reshape(12, 4)})
    dock.coordinator.show(session)
    trials = np.arange(4)
    wheel = {"wheel-speed": session.behaviour["wheel-speed"][trials]}
    score(dock, WholeScores(trials, 4, {}, wheel, wheel))
    assert "1.00 → 1.00" in text(dock)
    assert "whisker" not in text(dock)
    assert "choice" not in text(dock)


def test_words_before_there_are_numbers(dock, small):
    dock.coordinator.show(small)
    live = dock.coordinator.live
    assert "With a model" in text(dock)
    live.doing = "loading a model…"
    live.status_changed.emit()
    assert text(dock) == "loading a model…"
    live.doing, live.model = "", object()
    score(dock, None)
    assert text(dock) == "Scoring the test trials…"
    live.on = False
    score(dock, None)
    assert text(dock) == "Not scored on the test trials yet."
    score(dock, WholeScores(np.arange(4), 12, {}))
    assert "4 of 12 test trials: behaviour is not decoded" in text(dock)


@pytest.mark.parametrize(
    ("n_trials", "why"), [(12, "too few training trials"), (60, "no readouts for this session")]
)
def test_it_is_said_why_behaviour_is_not_decoded(dock, n_trials, why):
    trials = pd.DataFrame({"choice": np.tile([-1.0, 1.0], n_trials // 2)})
    counts = np.ones((n_trials, 4, 2))
    dock.coordinator.show(Session.from_counts(counts, ["CA1", "LP"], trials=trials))
    score(dock, WholeScores(np.arange(4), 4, {}))
    assert f"behaviour is not decoded, {why}" in text(dock).replace("there are ", "")


def test_the_legend_names_the_lines(open_dock):
    from qtpy.QtWidgets import QLabel

    texts = {label.text() for label in open_dock.legend.findChildren(QLabel)}
    assert set(LINES.values()) <= texts


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_colours_follow_the_theme(open_dock, viewer, theme):
    viewer.theme = theme
    colours = get_theme(theme)
    assert open_dock.plots.backgroundBrush().color().name() == colours.background.as_hex("long")
    pen = open_dock.rows[WHEEL].lines["recorded"].opts["pen"]
    assert pen.color().name() == colours.text.as_hex("long")
    image = open_dock.plots.grab().toImage()
    assert image.pixelColor(1, 1).name() == colours.background.as_hex("long")


def test_a_dock_that_is_not_shown_catches_up(open_dock, viewer, sample):
    before = shown(open_dock, WHEEL, "recorded")
    open_dock.hide()
    viewer.dims.set_current_step(0, 8)
    open_dock.coordinator.set_time(0.1)
    viewer.scene.camera.zoom *= 2
    decoded = decode(open_dock)
    np.testing.assert_array_equal(shown(open_dock, WHEEL, "recorded"), before)
    assert shown(open_dock, WHEEL, "masked") is None
    open_dock.show()
    np.testing.assert_array_equal(
        shown(open_dock, WHEEL, "recorded"), sample.behaviour["wheel-speed"][8]
    )
    np.testing.assert_array_equal(shown(open_dock, WHEEL, "masked"), decoded.masked[WHEEL][0])
    assert open_dock.rows[WHEEL].cursor.value() == 0.1
    assert open_dock.rows[WHEEL].box.viewRange()[0] == pytest.approx(
        open_dock.coordinator.view.x_range
    )


def test_narrow_docks_have_the_words_below(open_dock):
    QApplication.processEvents()
    assert open_dock.legend.mapTo(open_dock, QPoint()).x() > open_dock.plots.width()
    open_dock.resize(400, 600)
    QApplication.processEvents()
    assert open_dock.legend.mapTo(open_dock, QPoint()).y() >= open_dock.plots.height()


def test_closing_and_opening_sessions(open_dock, viewer, small, sample):
    decode(open_dock)
    viewer.layers.clear()
    assert open_dock.sentence.text() == "No session is open."
    assert not open_dock.plots.isVisible()
    open_dock.coordinator.theme_changed.emit()
    open_dock.coordinator.live.status_changed.emit()
    open_dock.coordinator.show(small)
    np.testing.assert_array_equal(shown(open_dock, WHEEL, "recorded"), [0, 1, 2, 3])
    assert shown(open_dock, WHEEL, "masked") is None
    open_dock.coordinator.show(sample)
    assert len(shown(open_dock, WHEEL, "recorded")) == sample.n_bins


def test_a_dock_that_is_gone_hears_nothing(viewer, coordinator, sample):
    dock = TracesDock(viewer)
    dock.show()
    dock.deleteLater()
    QApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
    assert not isalive(dock)
    viewer.dims.set_current_step(0, 3)
    coordinator.set_time(0.2)
    viewer.theme = "light"
    viewer.scene.camera.zoom *= 2
    coordinator.live.scored.emit()
    decode(dock)
    viewer.layers.clear()
