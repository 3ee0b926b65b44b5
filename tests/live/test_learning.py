"""An engine that answers while the linear expert of the session is fitted beside it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from napari_mtm import Mask, Session
from napari_mtm.live.engine import (
    Answer,
    Decoded,
    Engine,
    Failed,
    Finished,
    Fitted,
    Fitting,
    Loaded,
    Request,
    Step,
)
from napari_mtm.model.expert import Expert
from tests.held_experts import SECONDS, Held, expert_threads
from tests.live.test_engine import Told, settle
from tests.model.small import BINS, small_model, small_session


@pytest.fixture
def session() -> Session:
    return small_session(n_trials=12)


@pytest.fixture
def held(monkeypatch) -> Held:
    return Held(monkeypatch)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def engine(told, session) -> Iterator[Engine]:
    """An engine with a small model; no thread outlives it."""
    engine, model = Engine(told), small_model("default", session)
    engine.use(lambda: model)
    told.wait(Loaded)
    yield engine
    assert engine.close(SECONDS)
    assert not expert_threads()


def asked_of(session: Session, trial: int = 0) -> Request:
    return Request(session, Mask.region(session, "LP"), trial, decode=False)


def test_it_answers_before_the_expert_is_there_and_says_how_far_it_is(engine, told, session, held):
    engine.ask(asked_of(session))
    (first,) = told.wait(Answer)
    assert first.preliminary
    news = told.wait(Fitting, 2)[-1]
    assert (news.session, news.fraction) == (session, 0.5)
    assert "within regions" in news.message
    assert engine.busy
    engine.ask(asked_of(session, 1))
    assert told.wait(Answer, 2)[-1].preliminary
    held.open.set()
    told.wait(Fitted)
    engine.ask(asked_of(session))
    again = told.wait(Answer, 3)[-1]
    assert not again.preliminary
    model = small_model("default", session)
    whole = model.reconstruct(session, first.request.mask, [0])
    np.testing.assert_allclose(again.reconstruction.rates, whole.rates, rtol=1e-5)
    assert np.abs(first.reconstruction.rates - whole.rates).max() > 1e-3
    assert held.fits == 1


def test_one_that_is_quick_is_waited_for(told, session, monkeypatch):
    Held(monkeypatch, patience=SECONDS).open.set()
    engine, model = Engine(told), small_model("default", session)
    engine.use(lambda: model)
    engine.ask(asked_of(session))
    (answer,) = told.wait(Answer)
    assert not answer.preliminary
    told.wait(Fitted)
    assert not told.of(Fitting)
    assert engine.close(SECONDS)


def test_background_works_wait_for_it(engine, told, session, held):
    engine.ask(asked_of(session))
    told.wait(Answer)
    engine.work("count", lambda model: iter([model.lacks_expert(session)]))
    told.wait(Fitting, 3)
    assert not told.of(Step)
    held.open.set()
    told.wait(Finished)
    assert [step.value for step in told.of(Step)] == [False]


@pytest.mark.parametrize("how", ["another model", "another session", "forgotten", "closed"])
def test_it_is_given_up(engine, told, session, held, how):
    engine.ask(asked_of(session))
    told.wait(Answer)
    (before,) = expert_threads()
    if how == "another model":
        engine.use(lambda: small_model("published", session))
        told.wait(Loaded, 2)
    elif how == "another session":
        engine.forget_all()
        engine.ask(asked_of(small_session(n_trials=12, id="other", seed=1)))
        told.wait(Answer, 2)
    elif how == "forgotten":
        engine.forget_all()
    else:
        assert engine.close(SECONDS)
    before.join(SECONDS)
    assert not before.is_alive()
    assert session.id not in {news.session.id for news in told.of(Fitted)}
    if how == "another session":
        assert len(expert_threads()) == 1
        held.open.set()
        assert told.wait(Fitted)[0].session.id == "other"
    else:
        assert not engine.busy


def test_what_goes_wrong_is_told_once_and_the_network_goes_on(engine, told, session, monkeypatch):
    def broken(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr(Expert, "fit", broken)
    for trial in range(3):
        engine.ask(asked_of(session, trial))
        assert told.wait(Answer, trial + 1)[-1].preliminary
    (failed,) = told.wait(Failed)
    assert failed.of is session
    assert "too large" in str(failed.error)
    settle(engine)
    assert len(told.of(Failed)) == 1


def test_behaviour_that_is_read_from_predicted_activity_waits_for_it(told, held):
    """What nothing could be decoded of before is not taken for what nothing is decoded of."""
    held.open.set()
    wheel = np.random.default_rng(0).random((40, BINS)).astype(np.float32)
    first = small_session(40, behaviour={"wheel-speed": wheel})
    model = small_model("default", first)
    model.fit_readouts(first)
    held.open.clear()
    session = replace(first, counts=first.counts.copy())
    engine = Engine(told)
    engine.use(lambda: model)
    request = replace(asked_of(session), decode=True)
    engine.ask(request)
    (before,) = told.wait(Decoded)
    assert not before.masked
    assert not before.visible
    held.open.set()
    told.wait(Fitted)
    engine.ask(replace(request, number=request.number + 1))
    after = told.wait(Decoded, 2)[-1]
    assert after.masked.keys() == after.visible.keys() == {"wheel-speed"}
    assert engine.close(SECONDS)
