"""Scores over many trials, piece by piece: the same as each trial asked by itself."""

from itertools import islice

import numpy as np
import pytest

from napari_mtm import Mask
from napari_mtm.live.whole import WholeScores, score_whole
from napari_mtm.masking.painting import PREDICTED, TAKEN, Painting
from tests.conftest import trials as trials_table
from tests.model.small import BINS, UNITS, small_model, small_session

N_TRIALS = 40
RATES = np.random.default_rng(1).gamma(2.0, 0.4, (N_TRIALS, BINS, UNITS)).astype(np.float32)
SESSION = small_session(
    N_TRIALS,
    seed=5,
    trials=trials_table(N_TRIALS).assign(
        probabilityLeft=np.where(np.arange(N_TRIALS) % 3, 0.8, 0.2)
    ),
    behaviour={"wheel-speed": np.random.default_rng(2).random((N_TRIALS, BINS))},
    rates=RATES,
)
MODEL = small_model("default", SESSION)
MODEL.fit_readouts(SESSION)
TRIALS = np.array([1, 2, 5, 7, 8, 11, 13, 14, 20, 21, 29])


def baseline(hidden, trials) -> np.ndarray:
    """Rates that tell for which trial and under which mask they were asked."""
    rates = np.full((len(trials), BINS, UNITS), 0.5, np.float32)
    return rates + 0.01 * np.asarray(trials)[:, None, None] + hidden


def painted() -> Painting:
    """Units 1 and 2 in all trials; in trials 5 and 14 other things."""
    where = np.zeros((BINS, UNITS), bool)
    where[:, [1, 2]] = True
    painting = Painting.nothing(SESSION).changed(where, np.full_like(where, PREDICTED, "u1"), None)
    painting = painting.replaced(Painting.of(Mask.forward(SESSION, -0.3)), 5)
    where[4:9, 4] = True
    return painting.changed(where, np.full_like(where, TAKEN, "u1"), 14).changed(
        where[::-1], np.full_like(where, PREDICTED, "u1"), 14
    )


def test_what_is_decoded_of_everything_is_kept_for_the_next_painting(monkeypatch):
    decode, asked = MODEL.decode, []

    def listened(session, mask, trials, **options):
        asked.append((mask.hidden.any(), list(trials)))
        return decode(session, mask, trials, **options)

    monkeypatch.setattr(MODEL, "decode", listened)
    seen = {}
    *_, first = score_whole(MODEL, SESSION, painted(), TRIALS[:6], seen=seen)
    assert sorted(seen) == sorted(TRIALS[:6])
    asked.clear()
    other = Painting.of(Mask.region(SESSION, "LP"))
    *_, kept = score_whole(MODEL, SESSION, other, TRIALS, seen=seen)
    assert not any(hides for hides, _ in asked)
    assert sorted(t for _, some in asked for t in some) == sorted(TRIALS[6:])
    *_, anew = score_whole(MODEL, SESSION, other, TRIALS)
    for name, trace in anew.visible.items():
        np.testing.assert_allclose(kept.visible[name], trace, atol=1e-5)
        np.testing.assert_allclose(first.visible[name][0], trace[0], atol=1e-5)


def by_hand(rates: dict[int, np.ndarray], painting: Painting, units=None) -> float:
    """Bits per spike pooled: the gain over each unit's mean count, over all spikes.

    `rates` are (bins, units) by trial. Follows the definition, entry by entry.
    """
    gain = spikes = 0.0
    for unit in range(UNITS) if units is None else units:
        k, rate = [], []
        for trial, expected in rates.items():
            scored = painting.mask(SESSION, trial).scored[:, unit]
            k.extend(SESSION.counts[trial][scored, unit].tolist())
            rate.extend(expected[scored, unit].tolist())
        k, rate = np.array(k, float), np.maximum(np.array(rate, float), 1e-9)
        if k.sum():
            mean = k.mean()
            gain += (k * np.log(rate) - rate).sum() - (k * np.log(mean) - mean).sum()
            spikes += k.sum()
    return gain / spikes / np.log(2) if spikes else np.nan


@pytest.fixture(scope="module")
def steps() -> list[WholeScores]:
    return list(score_whole(MODEL, SESSION, painted(), TRIALS, baseline=baseline))


def test_every_trial_is_done_once_with_its_own_mask(steps):
    last = steps[-1]
    assert last.done
    assert not any(step.done for step in steps[:-1])
    assert sorted(last.trials) == TRIALS.tolist()
    assert {step.n_trials for step in steps} == {len(TRIALS)}
    sizes = [len(step.trials) for step in steps]
    assert sizes == sorted(sizes)
    assert max(np.diff([0, *sizes])) <= 4  # what a live request has to wait for


def test_scores_are_those_of_each_trial_asked_by_itself(steps):
    painting, last = painted(), steps[-1]
    alone = {
        int(t): MODEL.reconstruct(SESSION, painting.mask(SESSION, t), [t]).rates[0] for t in TRIALS
    }
    beside = {t: baseline(painting.mask(SESSION, t).hidden, [t])[0] for t in alone}
    truth = {t: RATES[t] for t in alone}
    for name, rates in (("model", alone), ("baseline", beside), ("oracle", truth)):
        assert last.pooled(name) == pytest.approx(by_hand(rates, painting), rel=1e-4)
        for units in ([1], [0, 4, 6]):
            expected = by_hand(rates, painting, units)
            assert last.pooled(name, units) == pytest.approx(expected, rel=1e-4)


def test_what_is_done_so_far_is_scored_over_those_trials_only():
    painting = painted()
    for step in islice(score_whole(MODEL, SESSION, painting, TRIALS), 3):
        alone = {
            int(t): MODEL.reconstruct(SESSION, painting.mask(SESSION, t), [t]).rates[0]
            for t in step.trials
        }
        assert step.pooled("model") == pytest.approx(by_hand(alone, painting), rel=1e-4)
        assert set(step.trials) <= set(TRIALS)
        for name, values in step.masked.items():
            assert len(values) == len(step.trials), name


def test_behaviour_is_decoded_trial_by_trial(steps):
    painting, last = painted(), steps[-1]
    assert set(last.masked) == set(last.visible) >= {"wheel-speed", "choice", "block"}
    for row, trial in enumerate(last.trials):
        alone = MODEL.reconstruct(SESSION, painting.mask(SESSION, trial), [trial]).decoded
        plain = MODEL.reconstruct(SESSION, Mask.nothing(SESSION), [trial]).decoded
        for name in last.masked:
            np.testing.assert_allclose(last.masked[name][row], alone[name][0], atol=1e-4)
            np.testing.assert_allclose(last.visible[name][row], plain[name][0], atol=1e-4)


def test_one_mask_for_all_is_a_reconstruction_of_all():
    mask = Mask.region(SESSION, "CA1")
    *_, last = score_whole(MODEL, SESSION, Painting.of(mask), TRIALS)
    scores = MODEL.reconstruct(SESSION, mask, TRIALS).scores()
    assert last.pooled("model") == pytest.approx(scores.bps_pooled, rel=1e-5)
    np.testing.assert_array_equal(last.trials, TRIALS)


def test_the_prompt_is_passed_on():
    mask = Mask.region(SESSION, "CA1")
    *_, last = score_whole(MODEL, SESSION, Painting.of(mask), TRIALS, prompt="causal")
    scores = MODEL.reconstruct(SESSION, mask, TRIALS, task="causal").scores()
    assert last.pooled("model") == pytest.approx(scores.bps_pooled, rel=1e-5)
    plain = MODEL.reconstruct(SESSION, mask, TRIALS).scores()
    assert scores.bps_pooled != pytest.approx(plain.bps_pooled, rel=1e-4)


def test_the_task_that_was_meant_prompts_the_model():
    lone = small_session(12, regions=("CA1", "CA1", "LP"), seed=7)
    model = small_model("default", lone)
    found = {}
    for mask in (Mask.neurons(lone, 2), Mask.region(lone, "LP")):
        *_, last = score_whole(model, lone, Painting.of(mask), np.arange(12))
        scores = model.reconstruct(lone, mask).scores()
        found[mask.task] = last.pooled("model")
        assert found[mask.task] == pytest.approx(scores.bps_pooled, rel=1e-5)
    assert found["neuron"] != pytest.approx(found["inter-region"], rel=1e-4)


def test_all_trials_with_masks_of_their_own():
    painting = Painting.nothing(SESSION)
    for k, trial in enumerate(TRIALS):
        painting = painting.replaced(Painting.of(Mask.neurons(SESSION, k % UNITS)), int(trial))
    *_, last = score_whole(MODEL, SESSION, painting, TRIALS)
    alone = {
        int(t): MODEL.reconstruct(SESSION, painting.mask(SESSION, t), [t]).rates[0] for t in TRIALS
    }
    assert last.pooled("model") == pytest.approx(by_hand(alone, painting), rel=1e-4)


def test_trials_elsewhere_with_masks_of_their_own_are_left_out():
    painting = painted().replaced(Painting.of(~Mask.nothing(SESSION)), 0)
    *_, last = score_whole(MODEL, SESSION, painting, TRIALS)
    *_, same = score_whole(MODEL, SESSION, painted(), TRIALS)
    assert last.pooled("model") == same.pooled("model")


def test_without_a_baseline_or_truth_there_is_only_the_model():
    plain = small_session(8, seed=9)
    model = small_model("default", plain)
    *_, last = score_whole(model, plain, Painting.of(Mask.region(plain, "LP")), np.arange(8))
    assert set(last.tallies) == {"model"}
    assert np.isnan(last.pooled("baseline"))
    assert np.isnan(last.pooled("oracle"))
    assert last.masked == last.visible == {}  # there are no readouts


def test_where_nothing_is_scored_there_is_no_number():
    only_taken = np.full((BINS, UNITS), TAKEN, np.uint8)
    for painting in (Painting.nothing(SESSION), Painting(only_taken)):
        *_, last = score_whole(MODEL, SESSION, painting, TRIALS[:3], baseline=baseline)
        for name in ("model", "baseline", "oracle"):
            assert np.isnan(last.pooled(name))
        assert last.done


def test_units_that_are_not_scored_have_no_number():
    *_, last = score_whole(MODEL, SESSION, Painting.of(Mask.region(SESSION, "LP")), TRIALS[:4])
    outside = np.flatnonzero(SESSION.units["region"] != "LP")
    assert np.isnan(last.pooled("model", outside))


def test_trials_without_spikes_score_nothing():
    silent = np.zeros((6, BINS, 3), np.uint8)
    session = type(SESSION).from_counts(silent, ["CA1", "CA1", "LP"], id="silent")
    model = small_model("default", session)
    painting = Painting.of(Mask.region(session, "LP"))
    *_, last = score_whole(model, session, painting, np.arange(6))
    assert np.isnan(last.pooled("model"))


def test_everything_hidden_is_scored():
    everything = ~Mask.nothing(SESSION)
    *_, last = score_whole(MODEL, SESSION, Painting.of(everything), TRIALS)
    scores = MODEL.reconstruct(SESSION, everything, TRIALS).scores()
    assert last.pooled("model") == pytest.approx(scores.bps_pooled, rel=1e-5)


def test_no_trials_give_no_scores():
    assert list(score_whole(MODEL, SESSION, painted(), np.array([], np.intp))) == []


def test_nothing_is_asked_before_it_is_asked_for(monkeypatch):
    asked = []
    real = MODEL.reconstruct

    def counting(session, mask, trials, **about):
        asked.extend(np.asarray(trials).tolist())
        return real(session, mask, trials, **about)

    monkeypatch.setattr(MODEL, "reconstruct", counting)
    steps = score_whole(MODEL, SESSION, painted(), TRIALS)
    assert asked == []
    first = next(steps)
    assert asked == first.trials.tolist()
    steps.close()
    assert asked == first.trials.tolist()
