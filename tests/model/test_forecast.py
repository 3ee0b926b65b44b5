"""The linear forecast: against least squares, and on counts whose structure is known."""

import numpy as np
import pytest
import torch

from napari_mtm import Session
from napari_mtm.masking.mask import Mask
from napari_mtm.metrics import tally
from napari_mtm.model.expert import Expert

N = 6


def lasting(n_trials=300, bins=40, n=N, *, shared: bool, seed=0) -> Session:
    """Rates that follow signals of 0.4 s: each unit's own, or one for all."""
    rng = np.random.default_rng(seed)
    signal = np.zeros((n_trials, bins, 1 if shared else n))
    stays = np.exp(-0.02 / 0.4)
    signal[:, 0] = rng.standard_normal(signal[:, 0].shape)
    for t in range(1, bins):
        noise = rng.standard_normal(signal[:, t].shape)
        signal[:, t] = stays * signal[:, t - 1] + np.sqrt(1 - stays**2) * noise
    counts = rng.poisson(0.8 * np.exp(0.7 * signal) * np.ones(n)).astype(np.uint8)
    return Session.from_counts(counts, ["CA1"] * n, id=f"lasting {shared}")


OWN, SHARED = lasting(shared=False), lasting(shared=True)


def forecast(expert, session, hidden, trials=None):
    """Log rates of trials (by default, test trials) under a mask, and what is usual."""
    trials = session.split().test if trials is None else trials
    level = expert.level(trials)
    deviation = torch.as_tensor(session.counts[trials]).float().sqrt() - level.roots
    found = expert.log_rates(deviation, torch.as_tensor(~hidden), level, "causal")
    return found.numpy(), level.log_rates.expand(found.shape).numpy()


def gained(session, hidden, scored):
    """Bits per spike of scored entries above what is usual."""
    test = session.split().test
    counts = session.counts[test][:, scored]
    found, usual = (
        float(tally(counts, np.exp(rates[:, scored])).pooled_bits_per_spike())
        for rates in forecast(Expert.fit(session), session, hidden)
    )
    return found - usual


@pytest.mark.parametrize("session", [OWN, SHARED], ids=["own", "shared"])
def test_what_lasts_is_foretold(session):
    mask = Mask.forward(session)
    assert gained(session, mask.hidden, mask.scored.any(axis=1)) > 0.02


def test_what_changes_at_random_is_not():
    counts = np.random.default_rng(0).poisson(0.8, OWN.counts.shape).astype(np.uint8)
    session = Session.from_counts(counts, ["CA1"] * N, id="random")
    mask = Mask.forward(session)
    assert abs(gained(session, mask.hidden, mask.scored.any(axis=1))) < 0.01


def test_a_unit_that_is_never_seen_is_foretold_by_others():
    for session, least, most in ((SHARED, 0.01, 1.0), (OWN, -0.01, 0.005)):
        hidden = np.zeros(session.counts.shape[1:], bool)
        hidden[:, 0] = True
        hidden[30:] = True
        found, usual = forecast(Expert.fit(session), session, hidden)
        counts = session.counts[session.split().test][:, 30:, :1]
        bits = [
            float(tally(counts, np.exp(rates[:, 30:, :1])).pooled_bits_per_spike())
            for rates in (found, usual)
        ]
        assert least < bits[0] - bits[1] < most


def test_it_looks_neither_at_what_is_hidden_nor_ahead():
    expert, test = Expert.fit(SHARED), SHARED.split().test
    hidden = np.random.default_rng(1).random(SHARED.counts.shape[1:]) < 0.3
    found, _ = forecast(expert, SHARED, hidden)
    counts = SHARED.counts.copy()
    counts[test] = np.where(hidden, 9, counts[test])
    counts[test, 25:] = 7
    other = Session.from_counts(counts, ["CA1"] * N, id="other")
    again, _ = forecast(expert, other, hidden)
    np.testing.assert_array_equal(again[:, :26], found[:, :26])
    assert (again[:, 26:] != found[:, 26:]).any()


def test_weights_of_the_own_past_are_those_of_least_squares():
    """Of one unit: from averages that fade, of the mean over what lies 0.2 s ahead."""
    counts = OWN.counts[:, :, :1]
    session = Session.from_counts(counts, ["CA1"], id="one")
    expert, train = Expert.fit(session), session.split().train
    level = expert.level(train)
    roots = np.sqrt(counts[train].astype(float)) - level.roots.numpy()
    rates = np.exp(level.log_rates.numpy())
    came = (counts[train] - rates) / np.sqrt(rates)
    stays = np.exp(-0.02 / np.array([0.04, 0.15, 0.6, 3.0]))
    rows, wanted = [], []
    for place in (5, 10, 15, 20, 25, 30):
        since = np.arange(place - 1, -1, -1)
        averages = (roots[:, :place, 0, None] * (1 - stays) * stays ** since[:, None]).sum(axis=1)
        for ahead in range(10):
            rows.append(averages * stays**ahead)
            wanted.append(came[:, place + ahead, 0])
    weights = np.linalg.lstsq(np.concatenate(rows), np.concatenate(wanted), rcond=None)[0]
    found = np.concatenate(rows) @ expert.forecast.own[:, 0].double().numpy()
    best = np.concatenate(rows) @ weights
    assert np.corrcoef(found, best)[0, 1] > 0.99
    error = np.square(np.concatenate(wanted) - found).mean()
    assert error < np.square(np.concatenate(wanted) - best).mean() * (1 + 1e-3)


@pytest.mark.parametrize("bins", [1, 2, 3, 7])
def test_short_windows(bins):
    session = Session.from_counts(OWN.counts[:, :bins], ["CA1"] * N, id="short")
    hidden = Mask.forward(session).hidden if bins > 1 else np.ones((1, N), bool)
    found, usual = forecast(Expert.fit(session), session, hidden)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 0], usual[:, 0], atol=0.5)
