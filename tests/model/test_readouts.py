"""Readouts find what is there, and nothing else; the choice so far knows only the past."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.errors import WeightsError
from napari_mtm.masking.mask import Mask
from napari_mtm.model.readouts import Examples, Seen, fit_lacking_traces, fit_readouts
from napari_mtm.model.regression import fit_linear_classifier
from napari_mtm.model.weights import load_model, save_model
from tests.conftest import trials as plain_trials
from tests.model.small import BINS, small_model, small_session

TRACES = ("wheel-velocity", "wheel-speed", "whisker-motion-energy")
TRIALS, WIDTH = 120, 6
TRAIN, TEST = np.arange(80), np.arange(80, TRIALS)
TURN = 12  # the bin in which latents begin to tell the choice


def drawn_latents(seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(TRIALS, BINS, WIDTH)).astype(np.float32)


def coin(seed) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, TRIALS)


def table(right=None, favours_right=None) -> pd.DataFrame:
    """IBL writes -1 for a choice of right, and the probability of left."""
    made = plain_trials(TRIALS).assign(choice=np.nan)
    if right is not None:
        made["choice"] = np.where(np.isnan(right), np.nan, np.where(right == 1, -1.0, 1.0))
    if favours_right is not None:
        made["probabilityLeft"] = np.where(favours_right, 0.2, 0.8)
    return made


def recorded(trials=None, **behaviour) -> Session:
    counts = np.zeros((TRIALS, BINS, 2), np.uint8)
    given = {name.replace("_", "-"): trace for name, trace in behaviour.items()}
    return Session.from_counts(counts, ["CA1"] * 2, trials=trials, behaviour=given, id="s")


def planted(seed=0):
    """Latents of which a direction says the choice from a bin on, and another the block."""
    latents, right, block = drawn_latents(seed), coin(seed + 1), coin(seed + 2)
    latents[:, TURN:, 0] += 1.5 * (2 * right[:, None] - 1)
    latents[:, :, 1] += 0.7 * (2 * block[:, None] - 1)
    return latents, right.astype(float), block


def r2(truth, found) -> float:
    return 1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()


def accuracy(label, chance_of_right) -> float:
    return float(((chance_of_right > 0.5) == (label == 1)).mean())


def fitted(latents, session, past=None, trials=TRAIN):
    past = latents if past is None else past
    return fit_readouts(Examples(Seen(latents[trials], past[trials]), trials), None, session)


def decoded(readouts, latents, past=None, trials=TEST):
    past = latents if past is None else past
    return readouts.decode(Seen(latents[trials], past[trials]))


# What is there is found


@pytest.mark.parametrize("lag", [0, 4, -8])
def test_a_trace_that_follows_latents(lag):
    """The trace is what a direction says some bins from now, on a course of its own."""
    latents = drawn_latents()
    weights = np.random.default_rng(1).normal(size=WIDTH)
    bins = np.clip(np.arange(BINS) + lag, 0, BINS - 1)
    course = 5 * np.sin(np.arange(BINS))
    noise = 0.1 * np.random.default_rng(2).normal(size=(TRIALS, BINS))
    trace = 7 + course + (latents @ weights)[:, bins] + noise
    readouts = fitted(latents, recorded(wheel_speed=trace))
    found = decoded(readouts, latents)["wheel-speed"]
    assert found.shape == (len(TEST), BINS)
    assert found.dtype == np.float32
    assert r2(trace[TEST], found) > 0.97
    np.testing.assert_allclose(found.mean(axis=0), trace[TEST].mean(axis=0), atol=0.2)


def test_latents_on_any_scale_say_the_same():
    """A unit of measure is nothing: not of the latents, and not of the trace."""
    latents = drawn_latents()
    trace = latents[..., 0] + 0.5 * np.random.default_rng(1).normal(size=(TRIALS, BINS))
    found = []
    for scale, unit in ((1, 1), (1e3, 1), (1, 1e4)):
        scaled = (latents * np.float32(scale) + np.float32(3 * scale)).astype(np.float32)
        readouts = fitted(scaled, recorded(wheel_speed=trace * unit))
        found.append(decoded(readouts, scaled)["wheel-speed"] / unit)
        assert r2(trace[TEST], found[-1]) > 0.6
    np.testing.assert_allclose(found[1], found[0], atol=0.02)
    np.testing.assert_allclose(found[2], found[0], atol=0.02)


def test_choice_and_block():
    latents, right, block = planted()
    readouts = fitted(latents, recorded(table(right, block)))
    found = decoded(readouts, latents)
    assert found["choice"].shape == (len(TEST), BINS)
    assert found["choice-by-trial"].shape == found["block"].shape == (len(TEST),)
    assert accuracy(right[TEST], found["choice-by-trial"]) > 0.95
    assert accuracy(block[TEST], found["block"]) > 0.95
    assert accuracy(right[TEST], found["choice"][:, -1]) > 0.95
    before = [accuracy(right[TEST], found["choice"][:, t]) for t in range(TURN)]
    assert 0.35 < np.mean(before) < 0.65


def test_probabilities_mean_what_they_say():
    """Labels that a latent decides seven times in ten are not called sure."""
    rng = np.random.default_rng(0)
    latents = drawn_latents()
    side = coin(1)
    latents[:, :, 0] = 3 * (2 * side[:, None] - 1)
    right = np.where(rng.random(TRIALS) < 0.7, side, 1 - side).astype(float)
    found = decoded(fitted(latents, recorded(table(right))), latents)["choice-by-trial"]
    share = [right[TRAIN][side[TRAIN] == k].mean() for k in (0, 1)]
    for k in (0, 1):
        assert found[side[TEST] == k].mean() == pytest.approx(share[k], abs=0.1)


@pytest.mark.parametrize("shift", [0, 10])
def test_a_classifier_of_known_odds(shift):
    """Of one feature with two values, logistic regression gives the odds in each."""
    feature = np.repeat([-1.0, 1.0], 400)[:, None] + shift
    label = np.concatenate([np.arange(400) < 100, np.arange(400) < 300]).astype(float)
    shuffle = np.random.default_rng(0).permutation(800)
    linear = fit_linear_classifier(feature[shuffle], label[shuffle])
    assert linear.weights[0] == pytest.approx(np.log(3), rel=0.05)
    assert linear.intercept + shift * linear.weights[0] == pytest.approx(0, abs=0.05)


# What is not there is not found


def test_shuffled_labels_give_chance():
    accuracies, r2s = [], []
    for seed in range(6):
        latents = drawn_latents(seed)
        right = coin(seed + 50)
        trace = np.random.default_rng(seed + 99).normal(size=(TRIALS, BINS))
        readouts = fitted(latents, recorded(table(right, coin(seed + 70)), wheel_speed=trace))
        found = decoded(readouts, latents)
        accuracies += [accuracy(right[TEST], found["choice-by-trial"])]
        accuracies += [accuracy(right[TEST], found["choice"][:, -1])]
        r2s.append(r2(trace[TEST], found["wheel-speed"]))
    assert 0.4 < np.mean(accuracies) < 0.6
    assert max(r2s) < 0.05
    assert min(r2s) > -0.1


def test_few_trials_are_not_learned_by_heart():
    latents, few = drawn_latents(), np.arange(10)
    trace = np.tile(np.random.default_rng(1).normal(size=BINS), (TRIALS, 1))
    trace += np.random.default_rng(2).normal(size=(TRIALS, BINS))
    readouts = fitted(latents, recorded(wheel_speed=trace), trials=few)
    found = decoded(readouts, latents)["wheel-speed"]
    course = trace[few].mean(axis=0)
    assert ((found - course) ** 2).mean() < 0.05


def test_trials_that_were_not_given_are_not_seen():
    latents, right, block = planted()
    trace = latents[..., 2].astype(np.float64)
    found = []
    for change in (False, True):
        if change:
            trace[TEST], right[TEST], block[TEST] = 1e6, 1 - right[TEST], 1 - block[TEST]
        found.append(
            decoded(fitted(latents, recorded(table(right, block), wheel_speed=trace)), latents)
        )
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


# The choice so far


@pytest.mark.parametrize("now", [1, 5, 13, BINS - 1])
def test_later_latents_change_no_earlier_choice(now):
    latents, right, _ = planted()
    readouts = fitted(latents, recorded(table(right)))
    later = latents.copy()
    later[:, now:] = 100 * drawn_latents(9)[:, now:]
    before = decoded(readouts, latents)["choice"]
    after = decoded(readouts, latents, past=later)["choice"]
    np.testing.assert_array_equal(before[:, :now], after[:, :now])
    assert (np.abs(before - after)[:, now:].max(axis=0) > 0.01).all()


def test_the_choice_so_far_is_read_from_latents_of_the_past_alone():
    latents, right, _ = planted()
    noise = drawn_latents(5)
    found = decoded(fitted(latents, recorded(table(right)), past=noise), latents, past=noise)
    assert accuracy(right[TEST], found["choice-by-trial"]) > 0.95
    assert accuracy(right[TEST], found["choice"][:, -1]) < 0.75


def test_the_last_bins_count_for_themselves():
    """What came long before, and says nothing, does not drown what is said now."""
    latents, right = 0.3 * drawn_latents(), coin(1).astype(float)
    latents[:, :10, 0] += 8 * np.random.default_rng(2).normal(size=(TRIALS, 1))
    latents[:, 14:, 0] += 2 * right[:, None] - 1
    found = decoded(fitted(latents, recorded(table(right))), latents)
    assert accuracy(right[TEST], found["choice"][:, -1]) > 0.95


# What is missing


def test_trials_without_a_trace_or_choice_are_left_out():
    """A trace with a gap is left out whole: what it holds elsewhere changes nothing."""
    latents, right, block = planted()
    trace = latents[..., 2].astype(np.float64)
    odd = np.arange(0, len(TRAIN), 7)
    latents[odd] += 5
    trace[odd, 3], right[odd] = np.nan, np.nan
    found = decoded(fitted(latents, recorded(table(right, block), wheel_speed=trace)), latents)
    assert all(np.isfinite(values).all() for values in found.values())
    assert r2(trace[TEST], found["wheel-speed"]) > 0.95
    assert accuracy(right[TEST], found["choice"][:, -1]) > 0.95
    trace[odd] = 1e5
    trace[odd, 0] = np.nan
    again = decoded(fitted(latents, recorded(table(right, block), wheel_speed=trace)), latents)
    for name, values in again.items():
        np.testing.assert_array_equal(values, found[name])


def test_no_choice_is_not_a_choice_of_left():
    latents, right, _ = planted()
    known = right.copy()
    known[np.flatnonzero(right == 1)[::2]] = np.nan
    found = decoded(fitted(latents, recorded(table(known))), latents)
    for chance_of_right in (found["choice-by-trial"], found["choice"][:, -1]):
        assert chance_of_right[right[TEST] == 1].mean() > 0.8


def test_what_a_session_lacks_is_left_out():
    latents, right, block = planted()
    trace = latents[..., 2]

    def names(session):
        return set(decoded(fitted(latents, session), latents))

    everything = {name.replace("-", "_"): trace for name in TRACES}
    of_choice = {"choice", "choice-by-trial"}
    assert names(recorded()) == set()
    assert names(recorded(pd.DataFrame(index=range(TRIALS)))) == set()
    assert names(recorded(table(right, block), **everything)) == {*TRACES, *of_choice, "block"}
    assert names(recorded(table(right))) == of_choice
    assert names(recorded(table(None, block))) == {"block"}
    assert names(recorded(table(np.ones(TRIALS), np.ones(TRIALS)))) == set()
    assert names(recorded(wheel_speed=np.full((TRIALS, BINS), np.nan))) == set()
    assert names(recorded(pupil_size=trace)) == {"pupil-size"}


@pytest.mark.parametrize(("few", "there"), [(7, False), (8, True)])
def test_a_class_needs_eight_trials(few, there):
    right = np.zeros(TRIALS)
    right[np.arange(few) * 9] = 1
    found = decoded(fitted(drawn_latents(), recorded(table(right))), drawn_latents())
    assert ("choice" in found) == ("choice-by-trial" in found) == there


@pytest.mark.parametrize(("few", "there"), [(7, False), (8, True)])
def test_a_trace_needs_eight_trials(few, there):
    trace = np.full((TRIALS, BINS), np.nan)
    trace[:few] = 1.0
    found = decoded(fitted(drawn_latents(), recorded(wheel_speed=trace)), drawn_latents())
    assert ("wheel-speed" in found) == there


# Odd latents and traces; warnings are errors here


@pytest.mark.parametrize("value", [0, 3, -1e4])
def test_latents_that_never_change_say_nothing(value):
    right, block = coin(1).astype(float), coin(2)
    right[TRAIN] = (np.arange(len(TRAIN)) % 4 == 0).astype(float)
    trace = np.random.default_rng(0).normal(size=(TRIALS, BINS)) + np.arange(BINS)
    latents = np.full((TRIALS, BINS, WIDTH), value, np.float32)
    readouts = fitted(latents, recorded(table(right, block), wheel_speed=trace))
    found = decoded(readouts, latents)
    course = trace[TRAIN].mean(axis=0)
    np.testing.assert_allclose(found["wheel-speed"], np.tile(course, (len(TEST), 1)), atol=1e-3)
    np.testing.assert_allclose(found["choice-by-trial"], 0.25, atol=1e-3)
    np.testing.assert_allclose(found["choice"], 0.25, atol=1e-3)


def test_a_trace_that_never_changes():
    trace = np.full((TRIALS, BINS), 2.5)
    found = decoded(fitted(drawn_latents(), recorded(wheel_speed=trace)), drawn_latents())
    np.testing.assert_allclose(found["wheel-speed"], 2.5, atol=1e-4)


def test_classes_that_a_latent_tells_apart_for_sure():
    latents, right, _ = planted()
    latents[:, :, 0] = 50 * (2 * right[:, None] - 1)
    found = decoded(fitted(latents, recorded(table(right))), latents)
    assert accuracy(right[TEST], found["choice-by-trial"]) == 1
    assert accuracy(right[TEST], found["choice"][:, 0]) == 1


@pytest.mark.parametrize("bins", [1, 3, 6])
def test_short_trials(bins):
    latents, right, block = planted()
    latents = np.ascontiguousarray(latents[:, -bins:])
    counts = np.zeros((TRIALS, bins, 2), np.uint8)
    behaviour = {"wheel-speed": latents[..., 2]}
    session = Session.from_counts(
        counts, ["CA1"] * 2, trials=table(right, block), behaviour=behaviour
    )
    found = decoded(fitted(latents, session), latents)
    assert found["wheel-speed"].shape == found["choice"].shape == (len(TEST), bins)
    assert r2(latents[TEST][..., 2], found["wheel-speed"]) > 0.9


def test_more_latents_than_components():
    """Of many latents, those of most variance are kept."""
    latents = np.random.default_rng(0).normal(size=(TRIALS, BINS, 70)).astype(np.float32)
    latents[..., 0] *= 5
    trace = latents[..., 0]
    found = decoded(fitted(latents, recorded(wheel_speed=trace)), latents)
    assert r2(trace[TEST], found["wheel-speed"]) > 0.95


def test_whatever_traces_a_session_has_are_decoded():
    latents = drawn_latents()
    session = recorded(
        lick_rate=latents[..., 2], a_tail=latents[..., 0], wheel_speed=latents[..., 1]
    )
    assert session.traces == ("wheel-speed", "a-tail", "lick-rate")
    found = decoded(fitted(latents, session), latents)
    assert list(found) == list(session.traces)
    for name in session.traces:
        assert r2(session.behaviour[name][TEST], found[name]) > 0.95


def test_a_trace_that_is_called_like_a_choice_is_not_decoded():
    latents, right, block = planted()
    taken = dict.fromkeys(("choice", "choice-by-trial", "block"), latents[..., 2])
    given = table(right, block)
    session = recorded(given, **taken)
    assert session.traces == ()
    plain, beside = fitted(latents, recorded(given)), fitted(latents, session)
    for name, values in decoded(plain, latents).items():
        np.testing.assert_array_equal(decoded(beside, latents)[name], values)


def test_traces_that_are_lacking_are_added_and_the_others_stay_as_they_are():
    latents, right, block = planted()
    wheel, lick, tail = (latents[..., k] for k in (2, 3, 4))
    given = table(right, block)
    before = fitted(latents, recorded(given, wheel_speed=wheel, a_tail=tail))
    session = recorded(given, wheel_speed=-wheel, lick_rate=lick)
    after = fit_lacking_traces(
        before, Examples(Seen(latents[TRAIN], latents[TRAIN]), TRAIN), None, session
    )
    found, expected = decoded(after, latents), decoded(before, latents)
    assert set(found) == {*expected, "lick-rate"}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    at_once = decoded(fitted(latents, session), latents)["lick-rate"]
    np.testing.assert_allclose(found["lick-rate"], at_once, atol=1e-6)


# Through a model and its file


@pytest.mark.parametrize("preset", ["published", "default"])
def test_readouts_go_through_weights(preset, tmp_path):
    rng = np.random.default_rng(0)
    session = small_session(
        40,
        trials=plain_trials(40).assign(probabilityLeft=np.where(np.arange(40) % 3, 0.8, 0.2)),
        behaviour={name: rng.random((40, BINS)) for name in (*TRACES, "lick-rate")},
    )
    model = small_model(preset, session)
    model.fit_readouts(session)
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu")
    mask = Mask.nothing(session)
    before, after = (m.reconstruct(session, mask).decoded for m in (model, again))
    others = {"choice", "choice-by-trial", "block"}
    assert before.keys() == after.keys() == {*TRACES, "lick-rate", *others}
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_latents_of_broken_weights_are_refused(value):
    session = Session.from_counts(np.ones((12, 5, 2)), ["CA1"] * 2)
    good, broken = np.zeros((2, 12, 5, 4), np.float32)
    broken[3, 2, 1] = value
    for latents in ((good, broken), (broken, good), (good, good, good, broken)):
        with pytest.raises(WeightsError, match="Latents must be"):
            fit_readouts(Examples(Seen(*latents), np.arange(12)), None, session)


# Two sources, and how much each counts


def two_sources(seed=0):
    """Latents that tell half of a trace, and activity that tells the other half."""
    latents, activity = drawn_latents(seed), drawn_latents(seed + 1)
    trace = latents[..., 0] + activity[..., 1] + 3
    return latents, activity, trace


def examples(latents, activity, trials):
    return Examples(
        Seen(latents[trials], latents[trials], activity[trials], activity[trials]), trials
    )


def directions(session):
    return np.eye(session.n_units, WIDTH, dtype=np.float32)


def test_both_sources_are_put_together():
    latents, activity, trace = two_sources()
    session = recorded(wheel_speed=trace)
    judges = np.arange(70, 80)
    readouts = fit_readouts(
        examples(latents, activity, TRAIN[:70]),
        examples(latents, activity, judges),
        session,
        directions(session),
    )
    found = readouts.decode(examples(latents, activity, TEST).seen)["wheel-speed"]
    one = decoded(fitted(latents, session), latents)["wheel-speed"]
    assert r2(trace[TEST], found) > 0.9
    assert r2(trace[TEST], one) < 0.6


def test_a_source_that_misleads_does_not_count():
    """Where it was fitted it told the trace; where it is judged, and later, it is noise."""
    latents, _, _ = two_sources()
    trace = latents[..., 0] + 3
    activity = drawn_latents(7)
    activity[:70, :, 0] = trace[:70]
    activity[70:] *= 5
    session = recorded(wheel_speed=trace)
    readouts = fit_readouts(
        examples(latents, activity, np.arange(70)),
        examples(latents, activity, np.arange(70, 80)),
        session,
        directions(session),
    )
    found = readouts.decode(examples(latents, activity, TEST).seen)["wheel-speed"]
    assert r2(trace[TEST], found) > 0.95


def test_what_is_borne_out_by_nothing_is_the_mean_course():
    latents = drawn_latents()
    course = np.sin(np.arange(BINS))
    trace = np.tile(course, (TRIALS, 1))
    trace[:70] += latents[:70, :, 0]
    trace[70:] -= latents[70:, :, 0]  # the opposite
    session = recorded(wheel_speed=trace)
    seen = Examples(Seen(latents[:70], latents[:70]), np.arange(70))
    judges = np.arange(70, 80)
    judged = Examples(Seen(latents[judges], latents[judges]), judges)
    found = decoded(fit_readouts(seen, judged, session), latents)["wheel-speed"]
    np.testing.assert_allclose(found, np.tile(trace[:70].mean(axis=0), (len(TEST), 1)), atol=1e-5)


def test_a_choice_that_is_not_borne_out_is_hardly_told():
    latents, right, _ = planted()
    session = recorded(table(right))
    judges = np.arange(40, 80)
    wrong = latents.copy()
    wrong[..., 0] *= -1
    seen = Examples(Seen(latents[:40], latents[:40]), np.arange(40))
    judged = Examples(Seen(wrong[judges], wrong[judges]), judges)
    sure = decoded(fitted(latents, session), latents)["choice-by-trial"]
    found = decoded(fit_readouts(seen, judged, session), latents)["choice-by-trial"]
    assert np.abs(sure - 0.5).mean() > 0.35
    assert np.abs(found - 0.5).mean() < 0.1


def test_a_trial_seen_twice_is_in_one_fold():
    """Else a trial would be told by its own copy, and what it holds be learned by heart."""
    latents, few = drawn_latents(), np.tile(np.arange(16), 2)
    trace = np.random.default_rng(1).normal(size=(TRIALS, BINS))
    session = recorded(wheel_speed=trace)
    twice = Examples(Seen(latents[few], latents[few]), few)
    found = decoded(fit_readouts(twice, None, session), latents)["wheel-speed"]
    course = trace[:16].mean(axis=0)
    assert ((found - course) ** 2).mean() < 0.05


# Under masks


def wheeling(seed=0, n_trials=90):
    """Two regions that both follow a wheel; the model has never seen the session."""
    rng = np.random.default_rng(seed)
    speed = np.abs(np.cumsum(rng.normal(size=(n_trials, BINS)), axis=1)) / 3
    rates = 0.3 + 1.5 * speed[..., None] * rng.uniform(0.3, 1, 20)
    counts = np.minimum(rng.poisson(rates), 255).astype(np.uint8)
    return Session.from_counts(
        counts, ["CA1"] * 10 + ["PO"] * 10, behaviour={"wheel-speed": speed}, id="w"
    )


def test_a_hidden_region_costs_an_untrained_model_little():
    session = wheeling()
    model = small_model("default", session)
    model.trained.clear()
    model.fit_readouts(session)
    test = session.split().test
    truth = session.behaviour["wheel-speed"][test]
    course = session.behaviour["wheel-speed"][session.split().train].mean(axis=0)
    by_course = r2(truth, np.tile(course, (len(test), 1)))
    everything = Mask.neurons(session, np.arange(session.n_units))
    scores = [
        r2(truth, model.decode(session, mask, test)["wheel-speed"])
        for mask in (
            Mask.nothing(session),
            Mask.region(session, "CA1"),
            Mask.forward(session),
            everything,
        )
    ]
    assert scores[0] > 0.6
    assert scores[1] > scores[0] - 0.15
    assert scores[2] > by_course
    assert scores[3] > by_course - 0.05


def test_fewer_units_of_the_session_are_decoded_too():
    session = wheeling()
    model = small_model("default", session)
    model.fit_readouts(session)
    some = session.select(units=np.arange(4, 17))
    test = session.split().test
    found = model.decode(some, Mask.nothing(some), test)["wheel-speed"]
    assert r2(session.behaviour["wheel-speed"][test], found) > 0.3
    assert model.decode(session, Mask.nothing(session), test)
