"""Several sessions in one viewer: each is shown again as it was left, and nothing of another."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from psygnal import Signal

from napari_mtm import Mask, Session, load_model
from napari_mtm.ui.coordinator import Coordinator, coordinator_of, raster
from napari_mtm.ui.opened import Opened, find, neighbour, same
from tests.ui.waiting import until


def twin(session: Session, name: str = "twin") -> Session:
    """A session of the same shape and regions, with spikes of its own."""
    return replace(session, id=name, name=name, counts=session.counts[::-1].copy())


@pytest.fixture
def small() -> Session:
    counts = np.random.default_rng(1).poisson(0.3, (6, 100, 3))
    return Session.from_counts(counts, ["CA1", "LP", "LP"], id="small")


def titles(coordinator: Coordinator) -> list[str]:
    return [one.session.id for one in coordinator.opened]


# -- the list ----------------------------------------------------------------------------


def test_sessions_are_kept_in_the_order_of_opening(coordinator, sample, small):
    coordinator.show(small)
    coordinator.show(twin(sample))
    assert titles(coordinator) == [sample.id, "small", "twin"]
    coordinator.show(small)
    assert titles(coordinator) == [sample.id, "small", "twin"]
    assert coordinator.current.session is small


def test_a_session_is_open_once_for_each_way_it_was_prepared(coordinator, viewer, sample):
    coordinator.masks.toggle_region("CA1")
    again = replace(sample)  # as it is read from its file once more
    coordinator.show(again)
    assert titles(coordinator) == [sample.id]
    assert coordinator.session is again
    assert coordinator.masks.hides_region("CA1")
    coordinator.show(sample.select(regions=["CA1", "LP"]))
    assert titles(coordinator) == [sample.id, sample.id]
    assert not coordinator.masks.mask.hidden.any()


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "other"},
        {"window": (0.0, 2.0)},
        {"align": "goCue_times"},
    ],
    ids=str,
)
def test_what_tells_sessions_apart(sample, changed):
    assert same(sample, replace(sample))
    assert not same(sample, replace(sample, **changed))


def test_other_units_of_one_number_are_another_preparation(sample):
    assert same(sample.select(units=range(5)), sample.select(units=range(5)))
    assert not same(sample.select(units=range(5)), sample.select(units=range(1, 6)))


def test_the_neighbour_is_the_next_or_else_the_one_before(small, sample):
    one, two, three = (Opened(twin(small, name)) for name in "abc")
    opened = [one, two, three]
    assert [neighbour(opened, k) for k in opened] == [two, three, two]
    assert neighbour([one], one) is None
    assert find(opened, replace(two.session)) is two
    assert find(opened, sample) is None


def test_closing_shows_the_neighbour_and_at_last_nothing(coordinator, viewer, sample, small):
    for session in (small, twin(sample), twin(small, "last")):
        coordinator.show(session)
    heard = []
    coordinator.opened_changed.connect(lambda: heard.append(titles(coordinator)))
    shown = []
    coordinator.session_changed.connect(
        lambda: shown.append(coordinator.session and coordinator.session.id)
    )
    layer = coordinator.layer
    coordinator.show(small)
    coordinator.close()
    assert coordinator.session.id == "twin"
    coordinator.close(sample)  # which is not shown
    assert (heard, shown) == ([["twin", "last"]], ["small", "twin"])
    coordinator.close(sample)  # no more
    coordinator.show(coordinator.opened[1].session)
    coordinator.close()
    assert coordinator.session.id == "twin"
    assert coordinator.layer is layer
    coordinator.close()
    assert titles(coordinator) == []
    assert coordinator.current is coordinator.session is None
    assert list(viewer.layers) == []


def test_what_was_closed_begins_anew(coordinator, sample, small):
    coordinator.masks.toggle_region("CA1")
    coordinator.show(small)
    coordinator.close(sample)
    coordinator.show(sample)
    assert titles(coordinator) == ["small", sample.id]
    assert not coordinator.masks.can_undo


def test_deleting_the_raster_closes_the_shown_session_alone(coordinator, viewer, sample, small):
    coordinator.masks.toggle_region("CA1")
    coordinator.show(small)
    viewer.layers.clear()
    assert coordinator.session is None
    assert titles(coordinator) == [sample.id]
    viewer.dims.set_current_step(0, 0)
    coordinator.show(sample)
    assert coordinator.masks.hides_region("CA1")
    assert coordinator.masks.layer.data.any()


# -- how each was left -------------------------------------------------------------------


def do_much(coordinator: Coordinator) -> None:
    """Leave one's mark wherever there is something to be set."""
    masks = coordinator.masks
    coordinator.set_order("rate")
    coordinator.set_shown(["CA1", "LP"])
    coordinator.viewer.dims.set_current_step(0, 5)
    coordinator.select([2, 0])
    coordinator.set_time(0.25)
    coordinator.set_limits(1, 9)
    masks.toggle_region("CA1")
    masks.everywhere = False
    masks.layer.paint((1, 30), 2)
    masks.invert()
    masks.undo()
    masks.prompt = "causal"
    masks.layer.visible = False


def state(coordinator: Coordinator) -> dict[str, object]:
    """All that a person sees of what they did, as something that can be compared."""
    masks, layer = coordinator.masks, coordinator.layer
    return {
        "session": coordinator.session.id,
        "order": coordinator.order,
        "shown": coordinator.shown,
        "rows": coordinator.rows.tolist(),
        "drawn": layer._slice.image.raw.tolist(),
        "trial": (coordinator.trial, coordinator.viewer.dims.current_step[0]),
        "selection": coordinator.selection,
        "time": coordinator.time,
        "limits": layer.contrast_limits,
        "fills": coordinator.view.to_y((len(coordinator.rows) - 0.5) * layer.scale[-2]),
        "painted": masks.layer.data.tolist(),
        "visible": masks.layer.visible,
        "hidden": masks.mask.hidden.tolist(),
        "scored": masks.mask.scored.tolist(),
        "prompt": masks.prompt,
        "everywhere": masks.everywhere,
        "undo": (masks.can_undo, masks.can_redo),
    }


def check_drawn(coordinator: Coordinator) -> None:
    """What is drawn is what is recorded and hidden of the session that is shown."""
    session, rows, trial = coordinator.session, coordinator.rows, coordinator.trial
    drawn = coordinator.layer._slice.image.raw
    np.testing.assert_array_equal(drawn, session.counts[trial].T[rows])
    painted = coordinator.masks.painting.labels(trial)[:, rows].T
    np.testing.assert_array_equal(coordinator.masks.layer.data, painted)


@pytest.fixture(params=["same shape", "another shape"])
def other(request, sample, small) -> Session:
    return twin(sample) if request.param == "same shape" else small


def test_each_is_shown_again_as_it_was_left(coordinator, sample, other):
    do_much(coordinator)
    left = state(coordinator)
    coordinator.show(other)
    assert coordinator.trial == 0
    assert coordinator.order == "region"
    assert coordinator.selection == ()
    masks = coordinator.masks
    assert not masks.mask.hidden.any()
    assert masks.layer.visible
    assert masks.prompt is None
    assert not masks.can_undo
    assert not masks.can_redo
    check_drawn(coordinator)
    masks.everywhere = True
    masks.toggle_region("LP")
    coordinator.viewer.dims.set_current_step(0, 3)
    left_other = state(coordinator)
    coordinator.show(sample)
    assert state(coordinator) == left
    check_drawn(coordinator)
    coordinator.show(other)
    assert state(coordinator) == left_other
    check_drawn(coordinator)


def test_edits_are_undone_and_redone_in_each(coordinator, sample, other):
    masks = coordinator.masks
    masks.toggle_region("CA1")
    masks.toggle_region("LP", add=True)
    masks.undo()
    coordinator.show(other)
    masks.toggle_region("LP")
    coordinator.show(sample)
    masks.redo()
    assert masks.hides_region("LP")
    assert masks.hides_region("CA1")
    check_drawn(coordinator)
    masks.undo()
    masks.undo()
    assert not masks.mask.hidden.any()
    assert not masks.can_undo
    coordinator.show(other)
    assert masks.hides_region("LP")
    masks.undo()
    assert not masks.can_undo
    check_drawn(coordinator)


def test_views_hear_of_one_change(coordinator, sample, small):
    do_much(coordinator)
    coordinator.show(small)
    told = []
    for name in ("session_changed", "trial_changed", "rows_changed", "selected"):
        getattr(coordinator, name).connect(lambda *_, name=name: told.append(name))
    coordinator.show(sample)
    assert told == ["session_changed", "trial_changed"]


def test_a_raster_that_napari_adds_is_a_session_like_any(coordinator, viewer, sample, small):
    do_much(coordinator)
    left = state(coordinator)
    for session in (small, replace(sample)):
        data, keywords = raster(session, viewer)
        viewer.add_image(data, **keywords)
        assert len(viewer.layers) == 2
    assert titles(coordinator) == [sample.id, "small"]
    assert state(coordinator) == left
    check_drawn(coordinator)


def test_a_stroke_that_goes_on_is_given_up(coordinator, sample, other):
    masks = coordinator.masks
    masks.toggle_region("CA1")
    with masks.layer.block_history():
        masks.layer.paint((50, 50), 1)
        coordinator.show(other)
    coordinator.show(sample)
    assert not masks.stroke_goes_on
    assert masks.mask == Mask.region(sample, "CA1")
    check_drawn(coordinator)


def test_preferences_are_those_of_now(coordinator, sample, small, monkeypatch):
    coordinator.show(small)
    loud = replace(coordinator.preferences, predicted=(1.0, 0.0, 0.0))
    monkeypatch.setattr("napari_mtm.ui.coordinator.preferences", lambda: loud)
    coordinator.show(sample)
    assert coordinator.masks.layer.colormap.map(1)[:3] == pytest.approx((1, 0, 0))


# -- nothing grows -----------------------------------------------------------------------


def listeners(coordinator: Coordinator) -> dict[str, int]:
    """How many listen to what the coordinator and napari tell, and how many layers there are."""
    viewer, parts = coordinator.viewer, (coordinator, coordinator.masks, coordinator.live)
    counts = {
        f"{type(part).__name__}.{name}": len(getattr(part, name))
        for part in parts
        for name, kind in vars(type(part)).items()
        if isinstance(kind, Signal)
    }
    emitters = {"layers": viewer.layers.events, "dims": viewer.dims.events}
    emitters |= {layer.name: layer.events for layer in list(viewer.layers)}
    for name, emitter in emitters.items():
        counts |= {f"{name}.{event}": len(e.callbacks) for event, e in emitter.emitters.items()}
    counts["drags"] = len(viewer.mouse_drag_callbacks)
    counts["moves"] = len(viewer.mouse_move_callbacks)
    return counts


def test_many_switches_leave_no_more_than_one(viewer, sample, small):
    coordinator, larger = coordinator_of(viewer), sample.select(trials=range(10))
    for session in (larger, small, larger):
        coordinator.show(session)
    before, layers = listeners(coordinator), list(viewer.layers)
    assert len(before) > 20
    for _ in range(10):
        coordinator.show(small)
        coordinator.show(larger)
    assert listeners(coordinator) == before
    assert list(viewer.layers) == layers
    assert titles(coordinator) == [sample.id, "small"]


# -- models and scores -------------------------------------------------------------------


@pytest.fixture
def few(sample) -> Session:
    """Some trials of the sample, which its model knows."""
    return sample.select(trials=range(15))


@pytest.fixture
def asked(qtbot, viewer, few) -> Coordinator:
    """These trials, asked of the model that suits them."""
    coordinator = coordinator_of(viewer)
    coordinator.show(few)
    coordinator.models.begin()
    settle(coordinator)
    yield coordinator
    assert coordinator.end(30.0)


def settle(coordinator: Coordinator) -> None:
    live = coordinator.live
    until(
        lambda: (
            not live.loading
            and live.answer is not None
            and not live.stale
            and live.whole is not None
            and live.whole.done
        )
    )


def check_scores(coordinator: Coordinator) -> None:
    """What is scored is what the model that is named says of the mask of the session shown."""
    live, session, mask = coordinator.live, coordinator.session, coordinator.masks.mask
    model = load_model(live.source, device="cpu")
    expected = model.reconstruct(session, mask, [coordinator.trial]).scores()
    assert live.answer.request.session is session
    assert live.scores.bps_pooled == pytest.approx(expected.bps_pooled, rel=1e-4)
    trials = session.split().test
    assert sorted(live.whole.trials) == trials.tolist()
    whole = model.reconstruct(session, mask, trials).scores()
    assert live.whole.pooled("model") == pytest.approx(whole.bps_pooled, rel=1e-4)
    rates = live.answer.reconstruction.rates[0]
    drawn = np.where(mask.hidden, rates, session.counts[coordinator.trial])[:, coordinator.rows]
    np.testing.assert_allclose(coordinator.cells.layer("reconstructed").data, drawn.T, rtol=1e-5)


def test_scores_are_of_the_session_that_is_shown(asked, few):
    other = twin(few)
    asked.masks.toggle_region("CA1")
    settle(asked)
    check_scores(asked)
    wrong = []

    def look(*_: object) -> None:
        live, session = asked.live, asked.session
        told = [answer for answer in (live.answer, live.behaviour) if answer is not None]
        wrong.extend(answer for answer in told if answer.request.session is not session)
        if live.whole is not None:
            entries = live.whole.tallies["model"].entries
            if not (entries == asked.masks.mask.scored.sum(axis=0)).all():
                wrong.append(live.whole)

    for signal in (asked.live.answered, asked.live.scored, asked.live.status_changed):
        signal.connect(look)
    asked.show(other)
    assert asked.live.answer is asked.live.whole is None
    asked.masks.toggle_region("LP")
    settle(asked)
    check_scores(asked)
    for _ in range(3):  # faster than answers come
        asked.show(few)
        asked.show(other)
    asked.show(few)
    settle(asked)
    assert asked.masks.hides_region("CA1")
    check_scores(asked)
    assert not wrong


def test_each_is_asked_of_its_own_model(asked, few, small):
    live = asked.live
    first = live.model
    assert live.source == "sample"
    asked.show(small)
    until(lambda: live.source == "pretrained" and live.answer is not None)
    second = live.model
    asked.show(few)
    until(lambda: live.source == "sample" and live.answer is not None)
    assert live.model is first  # it is not read again
    asked.show(small)
    until(lambda: live.source == "pretrained" and live.answer is not None)
    assert live.model is second


def test_what_a_person_chose_for_one_stays_with_it(asked, few, small):
    live = asked.live
    asked.show(small)
    asked.models.choose("sample")
    until(lambda: live.source == "sample" and live.answer is not None)
    asked.show(few)
    asked.models.choose("pretrained")
    until(lambda: live.source == "pretrained" and live.answer is not None)
    asked.show(small)
    until(lambda: live.source == "sample" and live.answer is not None)
    third = twin(small, "third")
    asked.show(third)  # goes on with what was chosen
    settle_answer(asked)
    assert live.source == "sample"
    asked.show(few)
    until(lambda: live.source == "pretrained" and live.answer is not None)


def settle_answer(coordinator: Coordinator) -> None:
    live = coordinator.live
    until(lambda: not live.loading and live.answer is not None and not live.stale)


def test_a_model_that_was_on_its_way_is_asked_when_one_comes_back(asked, few, small):
    asked.models.choose("pretrained")
    asked.show(small)
    asked.models.choose("sample")
    asked.show(few)
    settle_answer(asked)
    assert asked.live.source == "pretrained"
    asked.show(small)
    settle_answer(asked)
    assert asked.live.source == "sample"


def test_two_viewers_keep_their_own(coordinator, sample, small):
    second = ViewerModel()
    other = coordinator_of(second)
    other.show(sample)
    coordinator.show(small)
    coordinator.show(sample)
    coordinator.masks.toggle_region("CA1")
    assert [one.session for one in other.opened] == [sample]
    assert not other.masks.mask.hidden.any()
    coordinator.close()
    assert other.session is sample
