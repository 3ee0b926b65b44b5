"""The linear expert: against plain linear algebra, and on counts whose structure is known."""

import copy

import numpy as np
import pytest
import torch

from napari_mtm import Session
from napari_mtm.masking.tasks import TASKS
from napari_mtm.metrics import tally
from napari_mtm.model.expert import Expert
from tests.model.small import small_session

N = 6


def coupled(n_trials=80, bins=30, seed=0, gain=0.8, drift=0.0, n=N, **about) -> Session:
    """Units driven by one smooth signal, half of them upwards; or drifting over the session."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_trials, bins + 4))
    signal = sum(signal[:, i : bins + i] for i in range(5)) / np.sqrt(5)
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)
    slow = np.exp(drift * np.sin(np.arange(n_trials) / 15))[:, None, None]
    rates = 0.6 * np.exp(gain * signal[..., None] * sign) * slow
    regions = ["CA1" if i < n / 2 else "LP" for i in range(n)]
    return Session.from_counts(
        rng.poisson(rates).astype(np.uint8), regions, **{"id": "coupled"} | about
    )


SESSION = coupled()
EXPERT = Expert.fit(SESSION)


def asked(expert, session, hidden, trials=None, *, task="neuron", **how):
    """Log rates of trials (by default, test trials) under a mask."""
    trials = session.split().test if trials is None else trials
    level = expert.level(trials)
    counts = torch.as_tensor(session.counts[trials]).float()
    visible = torch.as_tensor(~hidden)
    return expert.log_rates(counts.sqrt() - level.roots, visible, level, task, **how).numpy()


def parts(expert):
    """The tensors that were fitted, by name."""
    whole = {"course": expert.log_course}
    for name in ("across", "within", "forecast"):
        part = getattr(expert, name)
        whole |= {f"{name} {k}": v for k, v in vars(part).items() if isinstance(v, torch.Tensor)}
    return whole


def bits(session, rates, trials):
    return float(tally(session.counts[trials], np.exp(rates)).pooled_bits_per_spike())


def masks():
    rng = np.random.default_rng(1)
    shape = SESSION.n_bins, N
    some = rng.random(shape) < 0.4
    some[3] = True
    unit, most = np.zeros((2, *shape), bool)
    unit[:, 2] = True
    most[:, 1:] = True
    return {"a unit": unit, "all but one": most, "here and there": some, "nothing": unit & most}


MASKS = masks()


@pytest.mark.parametrize("task", ["neuron", "intra-region"])
@pytest.mark.parametrize("name", MASKS)
def test_what_is_expected_is_the_conditional_mean(name, task):
    """Each unit from those that are visible in its bin, itself left out, by least squares."""
    coupling = EXPERT.within if task == "intra-region" else EXPERT.across
    regions = SESSION.units["region"].to_numpy()
    hidden, trials = MASKS[name], SESSION.split().test
    level = EXPERT.level(trials)
    deviation = np.sqrt(SESSION.counts[trials].astype(float)) - level.roots.numpy()
    smoothing, wide = EXPERT.smoothing.double().numpy(), EXPERT.wide.double().numpy()
    x = (smoothing @ (deviation * ~hidden)) * EXPERT.scale.numpy()
    covariance = coupling.covariance.double().numpy()
    expected = np.zeros_like(x)
    for t in range(SESSION.n_bins):
        for unit in range(N):
            others = [k for k in range(N) if k != unit and not hidden[t, k]]
            if task == "intra-region":
                others = [k for k in others if regions[k] == regions[unit]]
            inside, across = covariance[np.ix_(others, others)], covariance[others, unit]
            expected[:, t, unit] = x[:, t, others] @ np.linalg.solve(inside, across)
    slopes = coupling.slopes.numpy()
    wanted = np.exp(level.log_rates.numpy()) + slopes[0] * expected + slopes[1] * (wide @ expected)
    found = np.exp(asked(EXPERT, SESSION, hidden, task=task))
    often = wanted > 0.3  # below, rates are kept from going under 0
    assert often.mean() > 0.8
    np.testing.assert_allclose(found[often], wanted[often], rtol=1e-3)


@pytest.mark.parametrize("name", MASKS)
def test_it_knows_nothing_of_what_is_hidden_nor_of_the_unit_itself(name):
    hidden, test = MASKS[name], SESSION.split().test
    found = asked(EXPERT, SESSION, hidden)
    counts = SESSION.counts.copy()
    counts[test] = np.where(hidden, 9, counts[test])
    other = Session.from_counts(counts, SESSION.units["region"].tolist(), id="other")
    np.testing.assert_array_equal(asked(EXPERT, other, hidden), found)
    for unit in range(N):
        counts = SESSION.counts.copy()
        counts[test, :, unit] += 5
        other = Session.from_counts(counts, SESSION.units["region"].tolist(), id="other")
        again = asked(EXPERT, other, hidden)[..., unit]
        np.testing.assert_allclose(again, found[..., unit], atol=1e-4)


def test_each_trial_may_have_a_mask_of_its_own():
    test = SESSION.split().test[:4]
    hidden = np.stack(list(MASKS.values()))
    alone = [asked(EXPERT, SESSION, h, test[[i]])[0] for i, h in enumerate(hidden)]
    np.testing.assert_allclose(asked(EXPERT, SESSION, hidden, test), alone, atol=1e-5)


@pytest.mark.parametrize("name", MASKS)
def test_hidden_entries_alone_can_be_asked_for(name):
    hidden = MASKS[name]
    whole, found = (asked(EXPERT, SESSION, hidden, hidden_only=only) for only in (False, True))
    if hidden.all(axis=0).any():
        units = hidden.all(axis=0)
        np.testing.assert_allclose(found[..., units], whole[..., units], atol=1e-4)
    usual = EXPERT.level(SESSION.split().test).log_rates
    none = ~hidden.any(axis=0)
    np.testing.assert_allclose(found[..., none], usual[..., none], atol=1e-4)


def test_it_finds_what_units_share():
    """Much better than the usual course, and nearly nothing where units share nothing."""
    for gain, least, most in ((0.8, 0.08, 1.0), (0.0, -0.02, 0.02)):
        session = coupled(n_trials=200, gain=gain, seed=3)
        expert, test = Expert.fit(session), session.split().test
        hidden = np.zeros((session.n_bins, N), bool)
        usual = expert.level(test).log_rates.expand(len(test), -1, -1).numpy()
        gained = bits(session, asked(expert, session, hidden), test) - bits(session, usual, test)
        assert least < gained < most


def test_levels_follow_drift_and_leave_the_trial_itself_out():
    session = coupled(n_trials=200, gain=0.0, drift=0.8, seed=4)
    expert, test = Expert.fit(session), session.split().test
    follows, same = (
        level.log_rates.expand(len(test), -1, -1).numpy()
        for level in (expert.level(test), expert.level())
    )
    assert bits(session, follows, test) > bits(session, same, test) + 0.1
    train = int(session.split().train[5])
    counts = session.counts.copy()
    counts[train] = 9
    regions = session.units["region"].tolist()
    changed = Expert.fit(Session.from_counts(counts, regions, id="changed"))
    level, before = changed.level([train]), expert.level([train])
    share = (level.log_rates - changed.level().log_rates)[0, 0]
    assert (share < (before.log_rates - expert.level().log_rates)[0, 0] + 0.02).all()


def test_regions_are_fitted_as_if_each_were_alone():
    session = coupled(n=10, n_trials=120, seed=1)
    whole = Expert.fit(session)
    for region in session.regions:
        alone = Expert.fit(session.select(units=np.arange(session.n_units)[region.units]))
        units = region.units
        torch.testing.assert_close(alone.smoothing, whole.smoothing)  # chosen for all units
        torch.testing.assert_close(alone.log_course, whole.log_course[:, units])  # that, too
        within, across = whole.within, alone.across
        torch.testing.assert_close(within.covariance[units, units], across.covariance)
        torch.testing.assert_close(within.precision[units, units], across.precision)
        torch.testing.assert_close(within.slopes[:, units], across.slopes)


def test_only_the_trials_it_is_given_are_used():
    counts, chosen = SESSION.counts.copy(), SESSION.split().train[::2]
    counts[np.setdiff1d(np.arange(SESSION.n_trials), chosen)] = 7
    regions = SESSION.units["region"].tolist()
    other = Session.from_counts(counts, regions, id="other")
    one, two = (Expert.fit(session, chosen) for session in (SESSION, other))
    for name, first in parts(one).items():
        torch.testing.assert_close(first, parts(two)[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "session",
    [
        small_session(regions=["CA1"]),
        small_session(n_trials=1),
        small_session(n_trials=2),
        small_session(n_trials=3, regions=["CA1", "LP"]),
        Session.from_counts(np.zeros((12, 20, 4), np.uint8), ["CA1"] * 4, id="silent"),
        Session.from_counts(np.full((12, 20, 4), 255, np.uint8), ["CA1"] * 4, id="full"),
        Session.from_counts(np.eye(20, dtype=np.uint8)[None].repeat(9, 0), ["LP"] * 20, id="eye"),
        Session.from_counts(np.ones((12, 1, 4), np.uint8), ["CA1"] * 4, id="one bin"),
        coupled(n=80, n_trials=8),
    ],
    ids=lambda session: f"{session.id} {session.counts.shape}",
)
def test_sessions_with_hardly_anything(session):
    expert = Expert.fit(session)
    rng = np.random.default_rng(0)
    everything = np.ones(session.counts.shape[1:], bool)
    for hidden in (everything, ~everything, rng.random(everything.shape) < 0.5):
        for task in TASKS:
            found = asked(expert, session, hidden, np.arange(session.n_trials), task=task)
            assert np.isfinite(found).all()
            assert (np.exp(found) <= 2 * (int(session.counts.max()) + 1)).all()


def test_a_copy_and_one_moved_expect_the_same():
    hidden = MASKS["here and there"]
    for task in TASKS:
        found = asked(EXPERT, SESSION, hidden, task=task)
        for other in (copy.deepcopy(EXPERT), EXPERT.to("cpu")):
            np.testing.assert_array_equal(asked(other, SESSION, hidden, task=task), found)


def test_fitting_reports_and_can_be_stopped():
    said = []
    Expert.fit(SESSION, progress=lambda share, words: said.append((share, words)))
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert said[-1] == (1.0, "linear expert")

    def stop(share, _words):
        if share > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Expert.fit(SESSION, progress=stop)


def test_threads_change_next_to_nothing():
    """Slopes of units that hardly fire magnify rounding."""
    session, found = coupled(n=60, n_trials=60, gain=0.4), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(Expert.fit(session))
    finally:
        torch.set_num_threads(before)
    one, two = map(parts, found)
    for name, part in one.items():
        # Directions of one's own choice: only what they span is told by the data.
        if name not in ("forecast directions", "forecast shared"):
            torch.testing.assert_close(part, two[name], rtol=1e-4, atol=1e-5)
    hidden = np.arange(session.n_bins)[:, None].repeat(60, 1) >= 20
    forecasts = [asked(expert, session, hidden, task="causal") for expert in found]
    np.testing.assert_allclose(*forecasts, atol=1e-4)
