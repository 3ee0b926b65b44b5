"""Readouts fitted piece by piece are those that are fitted at once."""

from dataclasses import replace

import numpy as np

from napari_mtm.live.readouts import fit_readouts_in_steps, readouts_lack
from napari_mtm.masking.mask import Mask
from tests.conftest import trials as trials_table
from tests.model.small import BINS, small_model, small_session

N_TRIALS = 40


def behaving(n_trials=N_TRIALS, **about):
    table = trials_table(n_trials)
    return small_session(
        n_trials,
        seed=3,
        trials=table.assign(probabilityLeft=np.where(np.arange(n_trials) % 3, 0.8, 0.2)),
        behaviour={"wheel-speed": np.random.default_rng(0).random((n_trials, BINS))},
        **about,
    )


def test_they_decode_as_those_fitted_at_once():
    session = behaving()
    whole, pieces = small_model("default", session), small_model("default", session)
    whole.fit_readouts(session)
    for _ in fit_readouts_in_steps(pieces, session):
        pass
    mask, test = Mask.region(session, session.regions[0].name), session.split().test
    expected, found = (model.decode(session, mask, test) for model in (whole, pieces))
    assert set(found) == set(expected) >= {"wheel-speed", "choice", "choice-by-trial", "block"}
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)


def test_the_model_has_them_only_at_the_end():
    session = behaving()
    model = small_model("default", session)
    steps = fit_readouts_in_steps(model, session)
    n = sum(1 for _ in fit_readouts_in_steps(small_model("default", session), session))
    assert n > 2
    for _ in range(n - 1):
        next(steps)
        assert session.id not in model.readouts
    next(steps)
    assert session.id in model.readouts


def test_giving_up_leaves_the_model_as_it_was():
    session = behaving()
    model = small_model("default", session)
    steps = fit_readouts_in_steps(model, session)
    next(steps)
    steps.close()
    assert not model.readouts


def test_a_session_without_behaviour_has_readouts_of_nothing():
    session = small_session(12, seed=4)
    model = small_model("default", session)
    for _ in fit_readouts_in_steps(model, session):
        pass
    assert model.decode(session, Mask.nothing(session), np.arange(3)) == {}


def test_a_session_of_a_single_trial():
    session = small_session(1, seed=4)
    model = small_model("default", session)
    for _ in fit_readouts_in_steps(model, session):
        pass
    assert session.id in model.readouts


def test_what_readouts_lack_is_added_to_them():
    session = behaving()
    model = small_model("default", session)
    assert readouts_lack(model, session)
    for _ in fit_readouts_in_steps(model, session):
        pass
    assert not readouts_lack(model, session)
    before = model.readouts[session.id]
    licks = np.random.default_rng(1).random((N_TRIALS, BINS)).astype(np.float32)
    more = replace(session, behaviour={**session.behaviour, "lick-rate": licks})
    assert readouts_lack(model, more)
    for _ in fit_readouts_in_steps(model, more):
        pass
    assert not readouts_lack(model, more)
    after = model.readouts[session.id]
    for now, then in zip(after.decoders, before.decoders, strict=True):
        assert now.traces["wheel-speed"] is then.traces["wheel-speed"]
        assert now.choice is then.choice
    assert list(after.traces) == ["wheel-speed", "lick-rate"]


def test_nothing_is_lacking_that_cannot_be_decoded():
    session = behaving()
    model = small_model("default", session)
    model.fit_readouts(session)
    unknown = np.full((N_TRIALS, BINS), np.nan, np.float32)
    more = replace(session, behaviour={**session.behaviour, "lick-rate": unknown})
    assert not readouts_lack(model, more)
