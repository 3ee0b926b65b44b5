"""Experts of a process: each is fitted once, and goes with its session."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mtm import Mask
from napari_mtm.errors import Cancelled
from napari_mtm.model.expert import Expert
from napari_mtm.model.experts import expert_of, known_expert
from tests.model.small import BINS, small_model, small_session, some_hidden

CPU = torch.device("cpu")


@pytest.fixture
def fits(monkeypatch) -> list:
    """The trials of every fit."""
    asked, fit = [], Expert.fit

    def counted(session, trials, **how):
        asked.append(trials)
        return fit(session, trials, **how)

    monkeypatch.setattr(Expert, "fit", counted)
    return asked


def test_two_models_of_a_session_share_one(fits):
    session = small_session(n_trials=12)
    models = [small_model("default", session, seed=seed) for seed in (0, 1)]
    for model in models:
        model.predict(session.counts, some_hidden(), session=session)
    assert len(fits) == 1
    assert models[0].expert(session.id) is models[1].expert(session.id)


def test_other_trials_and_other_sessions_have_their_own(fits):
    session, other = small_session(n_trials=12), small_session(n_trials=12, id="other")
    model = small_model("default", session, other)
    for one in (session, other):
        model.attach(one)
    model.teach(session, np.arange(5))
    model.teach(session, np.arange(5))
    assert len(fits) == 3
    np.testing.assert_array_equal(fits[-1], np.arange(5))
    assert known_expert(session, np.arange(5), CPU) is model.expert(session.id)
    assert known_expert(session, np.arange(6), CPU) is None


def test_it_goes_with_the_counts():
    session = small_session(n_trials=12)
    gone = weakref.ref(expert_of(session, session.split().train, CPU))
    assert gone() is not None
    del session
    gc.collect()
    assert gone() is None


def test_one_that_was_cancelled_is_not_kept():
    session = small_session(n_trials=12)

    def stop(*_):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        expert_of(session, session.split().train, CPU, stop)
    assert known_expert(session, session.split().train, CPU) is None


def test_without_learning_the_network_predicts_alone_and_says_so(fits):
    session = small_session(n_trials=12)
    model, mask = small_model("default", session), Mask.region(session, "LP")
    alone = model.reconstruct(session, mask, [0], learn=False)
    named = model.predict(session.counts[:1], mask.hidden, task=mask.prompt, session=session.id)
    np.testing.assert_allclose(alone.rates, np.exp(named), rtol=1e-6)
    assert any("not fitted yet" in note for note in alone.notes)
    assert model.lacks_expert(session)
    assert model.decode(session, mask, [0]) == {}
    assert not fits
    both = model.reconstruct(session, mask, [0])
    assert not model.lacks_expert(session)
    assert not any("not fitted yet" in note for note in both.notes)
    assert np.abs(both.rates - alone.rates).max() > 1e-3
    again = model.reconstruct(session, mask, [0], learn=False)
    np.testing.assert_array_equal(again.rates, both.rates)


def test_a_published_network_lacks_none():
    session = small_session(n_trials=12)
    assert not small_model("published", session).lacks_expert(session)


def test_what_is_read_from_latents_alone_waits_for_no_expert(fits):
    """As of weights that were saved before activity was read."""
    wheel = np.random.default_rng(0).random((40, BINS)).astype(np.float32)
    session = small_session(40, behaviour={"wheel-speed": wheel})
    model, mask = small_model("default", session), Mask.nothing(session)
    model.fit_readouts(session)
    whole = model.readouts[session.id]
    again = replace(session, counts=session.counts.copy())
    fits.clear()
    model.readouts[session.id] = replace(whole, activity=None, directions=None, units=())
    assert model.decode(again, mask, [0], learn=False).keys() == {"wheel-speed"}
    assert not fits
    model.readouts[session.id] = whole
    assert model.decode(again, mask, [0], learn=False) == {}
    assert not fits
    assert model.decode(again, mask, [0]).keys() == {"wheel-speed"}
    assert len(fits) == 1
