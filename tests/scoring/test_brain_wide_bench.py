"""BrainWideBench's protocol: its numbers are those of its own scorer, split and held-out units."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from napari_mtm import Model, Session, evaluate, load_model, new_model, save_model
from napari_mtm.errors import Cancelled, MtmError, PreparationError, WeightsError
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.scoring.baselines import ReducedRank
from napari_mtm.scoring.brain_wide_bench import (
    bench_split,
    held_out_units,
    hidden_entries,
    predict_windows,
    split_by_chunks,
    tally_log_rates,
    window_starts,
)
from napari_mtm.scoring.evaluate import Evaluation
from napari_mtm.scoring.reliability import reliability
from napari_mtm.training.loop import train
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson

BINS, UNITS, SPACING = 50, 14, 10.0
REGIONS = ["CA1"] * 8 + ["LP"] * 6
SIZES = {
    "default": DefaultSizes(bins=BINS, width=16, layers=1, heads=2, hidden=16, rank=4, head=4),
    "published": PublishedSizes(
        bins=BINS, width=16, layers=1, heads=2, hidden=24, channels=10, inner=20
    ),
}


# The scores


def arrays(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Counts and log rates (windows, bins, units) that the benchmark's scorer was given, too."""
    rng = np.random.default_rng(7)
    rates = rng.gamma(2.0, 0.15, (60, 50, 12))
    counts = rng.poisson(rates)
    log_rates = np.log(rates) + 0.3 * rng.standard_normal(rates.shape)
    assert counts.sum() == 10750
    assert log_rates.sum() == pytest.approx(-52860.07772217)
    if case == "silent units":
        counts[:, :, [2, 9]] = 0
    if case == "a unit that always fires once":
        counts[:, :, 4] = 1
    if case == "a rate of next to nothing":
        log_rates[:, :, 3] = -40.0
    if case == "a single spike":
        counts[:, :, 5] = 0
        counts[3, 3, 5] = 1
    return counts, log_rates.astype(np.float32)


def scores(counts: np.ndarray, log_rates: np.ndarray) -> tuple[float, float]:
    """D² and bits per spike as an evaluation has them: of units that fire."""
    fired = counts.any(axis=(0, 1))
    found = tally_log_rates(counts[:, :, fired], log_rates[:, :, fired])
    return float(found.mean_d2()), float(found.pooled_bits_per_spike())


@pytest.mark.parametrize(
    ("case", "d2", "bps"),
    [
        ("plain", 0.1231716200709343, 0.26417413353919983),
        ("silent units", 0.12408199161291122, 0.2662507891654968),
        ("a unit that always fires once", 0.12420721352100372, -0.059282395988702774),
        ("a rate of next to nothing", -2.004185199737549, -4.25796365737915),
        ("a single spike", -9.415340423583984, 0.13421876728534698),
    ],
)
def test_scores_are_those_of_the_benchmarks_scorer(case, d2, bps):
    """`PoissonD2Score` and `BPS` of ibl-bwb-eval 0.1.0, which add up in single precision."""
    assert scores(*arrays(case)) == pytest.approx((d2, bps), rel=1e-6, abs=1e-6)


def test_what_is_predicted_of_silent_units_costs_nothing():
    counts, log_rates = arrays("silent units")
    before = scores(counts, log_rates)
    log_rates[:, :, [2, 9]] = 3.0
    assert scores(counts, log_rates) == before


def test_silence_has_no_scores():
    counts, log_rates = arrays("plain")
    assert np.isnan(scores(0 * counts, log_rates)).all()


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf, 1000.0])
def test_what_is_not_finite_has_no_score(value):
    counts, log_rates = arrays("plain")
    log_rates[1, 2, 3] = value
    with pytest.raises(MtmError, match="not finite everywhere"):
        tally_log_rates(counts, log_rates)


# The units


UUIDS = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(25)]


@pytest.mark.parametrize(("part", "held_out"), [("test", [5, 22]), ("validation", [15, 21])])
def test_held_out_units_are_the_first_by_their_salted_hash(part, held_out):
    """By `sha256sum` of "ts2_co_smoothing_test:" or "ts2_co_smoothing_val:" and the uuid."""
    assert np.flatnonzero(held_out_units(UUIDS, part)).tolist() == held_out


def test_held_out_units_do_not_depend_on_the_order():
    order = np.random.default_rng(0).permutation(25)
    moved = held_out_units([UUIDS[i] for i in order])
    assert sorted(order[moved]) == [5, 22]


@pytest.mark.parametrize(
    ("units", "held_out"), [(1, 1), (4, 1), (14, 1), (15, 2), (25, 2), (26, 3), (35, 4), (100, 10)]
)
def test_a_tenth_is_held_out_and_at_least_one(units, held_out):
    """Halves go to the even number, as Python rounds."""
    assert held_out_units([f"unit {i}" for i in range(units)]).sum() == held_out


# The split


def test_chunks_of_five_minutes_with_gaps_of_20_seconds():
    starts = np.arange(3000.0)
    split = split_by_chunks(starts, starts + 1)

    def seconds(*spans: tuple[int, int]) -> list[int]:
        return [second for span in spans for second in range(*span)]

    first = (0, 300), (620, 900)
    assert split.train.tolist() == seconds(*first, (1520, 1800), (2120, 2400))
    assert split.test.tolist() == seconds((320, 600), (1220, 1500), (1820, 2100), (2720, 3000))
    assert split.validation.tolist() == seconds((920, 1200), (2420, 2700))


BORDERS = [
    *(10, 150, 299.3, 301, 318, 320.5, 400, 599.6, 605, 619.4, 619.7, 700, 899.5, 905),
    *(919.9, 920.5, 1100, 1199.2, 1210, 1220.1, 1220.3, 1300, 1490, 1501, 1520.2, 1600, 1700),
]


@pytest.mark.parametrize("seed", [None, 0])
def test_borders_move_with_the_windows_on_them(seed):
    """What `get_chunked_splits` of the benchmark makes of the same windows, worked out there."""
    order = np.arange(len(BORDERS))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    starts = np.array(BORDERS)[order]
    split = split_by_chunks(starts, starts + 1)
    assert sorted(order[split.train]) == [0, 1, 2, 10, 11, 12, 24, 25, 26]
    assert sorted(order[split.validation]) == [15, 16, 17]
    assert sorted(order[split.test]) == [5, 6, 20, 21, 22]


def test_windows_may_begin_before_the_clock_and_end_far_from_it():
    starts = np.array([-0.5, 100.0, 1e12])
    split = split_by_chunks(starts, starts + 1)
    assert split.train[:2].tolist() == [0, 1]
    assert sum(map(len, (split.train, split.validation, split.test))) == 3


def recorded(n: int = 180, seed: int = 0, **about) -> Session:
    """Windows of 1 s, one every 10 s, of units that follow two latents; unit 3 is silent."""
    rng = np.random.default_rng(seed)
    latents = np.cumsum(0.3 * rng.normal(size=(n, BINS, 2)), axis=1) + rng.normal(size=(n, 1, 2))
    rates = 0.3 * np.exp(np.clip(0.6 * latents @ rng.normal(size=(2, UNITS)), -2, 2))
    rates[:, :, 3] = 1e-12
    starts = SPACING * np.arange(n)
    session = Session.from_counts(
        rng.poisson(rates),
        REGIONS,
        trials=pd.DataFrame({"intervals_0": starts, "intervals_1": starts + 1}),
        rates=rates,
        window=(0.0, 1.0),
        id=f"bench-{seed}",
    )
    units = session.units.assign(uuid=[f"unit {i}" for i in range(UNITS)])
    return replace(session, **{"align": "any-time", "units": units, **about})


TRAIN = [*range(30), *range(62, 90), *range(152, 180)]
VALIDATION = [*range(92, 120)]
TEST = [*range(32, 60), *range(122, 150)]
"""Of windows every 10 s, whose chunks hold 30 of them, and begin with the third."""


def test_a_session_is_split_by_when_its_windows_were():
    split = bench_split(recorded())
    assert split.train.tolist() == TRAIN
    assert split.validation.tolist() == VALIDATION
    assert split.test.tolist() == TEST


def test_windows_around_an_event_begin_before_it():
    session = recorded()
    table = pd.DataFrame({"stimOn_times": SPACING * np.arange(180) + 0.5})
    aligned = replace(session, align="stimOn_times", window=(-0.5, 0.5), trials=table)
    np.testing.assert_allclose(window_starts(aligned), SPACING * np.arange(180))
    assert bench_split(aligned).test.tolist() == TEST


@pytest.mark.parametrize("column", [{}, {"stimOn_times": [np.nan] * 180}])
def test_without_times_the_split_is_the_sessions_own(column):
    session = replace(
        recorded(), align="stimOn_times", trials=pd.DataFrame(column, index=range(180))
    )
    assert bench_split(session).test.tolist() == session.split().test.tolist()


@pytest.mark.parametrize(("windows", "lacks"), [(20, "test"), (90, "validation")])
def test_a_session_can_be_too_short(windows, lacks):
    minutes = f"{(10 * windows - 9) / 60:.1f}"
    with pytest.raises(MtmError, match=f"no windows for {lacks}.* span {minutes} minutes"):
        bench_split(recorded(windows))


# What is asked


def test_co_smoothing_hides_its_units_at_once_and_a_forecast_the_last_tenth():
    session = recorded()
    held_out = held_out_units(session.units["uuid"].tolist())
    hidden = hidden_entries(session, "co-smoothing")
    assert (hidden == held_out).all()
    assert held_out.sum() == 1
    hidden = hidden_entries(session, "forward")
    assert hidden[45:].all()
    assert not hidden[:45].any()


# Evaluations


@pytest.fixture(scope="module")
def session() -> Session:
    return recorded()


def modelled(session: Session, preset: str = "default", seed: int = 0) -> Model:
    return new_model(session, preset, sizes=SIZES[preset], seed=seed, device="cpu")


def scored(model: Model, session: Session, **options) -> Evaluation:
    options = {"protocol": "brain-wide-bench", "resamples": 20, **options}
    return evaluate(model, session, **options)


@pytest.fixture(scope="module")
def model(session) -> Model:
    return modelled(session)


@pytest.fixture(scope="module")
def other(session) -> Model:
    return modelled(session, "published", seed=1)


@pytest.fixture(scope="module")
def evaluation(session, model, other) -> Evaluation:
    return scored(model, session, others={"other": other})


def likelihoods(counts: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Of each unit: under the rates, under its own mean, and under the counts themselves."""
    mean = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape)
    return np.array([poisson.logpmf(counts, r).sum(axis=(0, 1)) for r in (rates, mean, counts)])


BASELINES = ["mean-rate", "shrinkage", "ridge-ar", "reduced-rank"]
PREDICTORS = ["model", "other", *BASELINES, "oracle"]


@pytest.mark.parametrize("predictor", ["model", "other", "mean-rate", "oracle"])
@pytest.mark.parametrize("test", ["co-smoothing", "forward"])
def test_scores_are_of_what_is_hidden_in_test_windows(
    session, model, other, evaluation, test, predictor
):
    held_out = held_out_units(session.units["uuid"].tolist())
    hidden = np.zeros((BINS, UNITS), bool)
    if test == "forward":
        hidden[45:] = True
        bins, units = slice(45, None), np.arange(UNITS) != 3
    else:
        hidden[:, held_out] = True
        bins, units = slice(None), held_out
    counts = session.counts[TEST]
    if predictor in ("model", "other"):
        which = {"model": model, "other": other}[predictor]
        task = "causal" if test == "forward" else "neuron"
        rates = np.exp(which.predict(counts, hidden, task=task, session=session))
    elif predictor == "oracle":
        rates = session.rates[TEST]
    else:
        rates = np.broadcast_to(session.counts[TRAIN].mean(axis=(0, 1)), counts.shape)
    own, null, best = likelihoods(counts[:, bins, units], rates[:, bins, units])
    (row,) = (
        evaluation.summary()
        .query("task == @test and predictor == @predictor")
        .to_dict(orient="records")
    )
    spikes = counts[:, bins, units].sum()
    assert row["bps_pooled"] == pytest.approx((own - null).sum() / spikes / np.log(2), abs=1e-5)
    assert row["d2"] == pytest.approx(((own - null) / (best - null)).mean(), abs=1e-5)
    table = evaluation.table.query("task == @test and predictor == @predictor")
    assert table["uuid"].tolist() == session.units["uuid"][units].tolist()
    assert table["region"].tolist() == session.units["region"][units].tolist()
    assert table["spikes"].tolist() == counts[:, bins, units].sum(axis=(0, 1)).tolist()


def test_baselines_are_those_that_need_no_trials(evaluation):
    found = json.loads(evaluation.to_json())["tasks"]
    assert list(found) == ["co-smoothing", "forward"]
    for task in found.values():
        assert list(task) == PREDICTORS
        assert task["reduced-rank"]["bps_pooled"] > task["mean-rate"]["bps_pooled"] + 0.02
        assert task["oracle"]["bps_pooled"] > task["reduced-rank"]["bps_pooled"]


def predicted(session: Session) -> dict[str, np.ndarray]:
    """Log rates that baselines give held-out units in the windows for test."""
    split = bench_split(session)
    found = predict_windows(
        *({}, session, split, split.test),
        tests=("co-smoothing",),
        baselines=True,
        progress=lambda *_: None,
    )
    return {one.predictor: one.log_rates for one in found if one.predictor != "oracle"}


def test_baselines_follow_no_slow_levels(session):
    split, held_out = bench_split(session), held_out_units(session.units["uuid"].tolist())
    hidden = np.broadcast_to(held_out, session.counts.shape[1:])
    found = predicted(session)["reduced-rank"]
    for slow_levels in (False, True):
        fitted = ReducedRank.fit(session, split, slow_levels=slow_levels)
        expected = np.log(fitted.predict(hidden, split.test)[:, :, held_out])
        assert np.allclose(found, expected, atol=1e-4) is not slow_levels


def test_baselines_know_nothing_of_held_out_units_and_of_gaps(session):
    held_out = np.flatnonzero(held_out_units(session.units["uuid"].tolist()))
    counts = session.counts.copy()
    counts[np.ix_(TEST, range(BINS), held_out)] = 7
    counts[sorted({*range(180)} - {*TRAIN, *VALIDATION, *TEST})] = 200
    before, after = predicted(session), predicted(replace(session, counts=counts))
    assert list(before) == BASELINES
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    counts[TRAIN] += 1
    after = predicted(replace(session, counts=counts))
    assert not any(np.array_equal(before[name], after[name]) for name in before)


def test_units_are_described_and_nothing_is_above_slow_drift(session, evaluation):
    rows = evaluation.table.query("task == 'co-smoothing' and predictor == 'model'")
    assert 0 < len(rows) < UNITS
    fano = dict(zip(session.units["uuid"], reliability(session)[0], strict=True))
    assert rows["fano"].tolist() == [fano[uuid] for uuid in rows["uuid"]]
    assert evaluation.table["bps_above_slow"].isna().all()
    assert evaluation.summary()["bps_above_slow"].isna().all()
    assert evaluation.horizon().empty


def test_json_has_the_keys_of_other_protocols(session, model, evaluation):
    found = json.loads(evaluation.to_json())
    paper = json.loads(evaluate(model, session, tasks=("forward",), resamples=20).to_json())
    assert found.keys() == paper.keys()
    assert (found["protocol"], paper["protocol"]) == ("brain-wide-bench", "paper")
    assert found["readouts"] == {}
    assert found["trials"] == 56
    assert found["units"] == UNITS
    assert paper["tasks"]["forward"]["model"].keys() == found["tasks"]["forward"]["model"].keys()
    first = str(evaluation).splitlines()[0]
    assert "56 test trials, 14 units, protocol brain-wide-bench" in first
    assert "protocol" not in str(evaluate(model, session, tasks=("forward",), resamples=20))


def test_regions_are_those_of_scored_units(session, evaluation):
    regions = evaluation.regions().query("task == 'co-smoothing' and predictor == 'model'")
    held_out = held_out_units(session.units["uuid"].tolist())
    assert regions["region"].tolist() == session.units["region"][held_out].tolist()
    regions = evaluation.regions().query("task == 'forward' and predictor == 'model'")
    assert regions["units"].tolist() == [7, 6]


def test_silence_is_scored_nowhere(session):
    silent = replace(session, counts=np.zeros_like(session.counts), rates=None)
    found = json.loads(scored(modelled(silent), silent).to_json())
    assert found["tasks"]["forward"]["model"]["bps_pooled"] is None
    assert found["tasks"]["co-smoothing"]["mean-rate"]["d2"] is None


def test_some_tests_and_some_windows(session, model):
    found = scored(model, session, trials=[35, 40], tasks=("forward",), baselines=False)
    assert found.trials.tolist() == [35, 40]
    assert found.table["task"].unique().tolist() == ["forward"]
    assert found.table["predictor"].unique().tolist() == ["model", "oracle"]


# Notes


def notes(model: Model, session: Session, **options) -> list[str]:
    found = scored(model, session, baselines=False, tasks=("forward",), **options)
    return [note for note in found.notes if "trained on" in note or "when its windows" in note]


def trained(session: Session, trials: np.ndarray) -> Model:
    model = modelled(session)
    train(model, {session.id: Lesson(session, trials)}, Settings(steps=1))
    return model


def test_a_model_that_knows_test_windows_is_told_of(session, other, tmp_path):
    random = session.split().train
    n = len(set(random) & set(TEST))
    (note,) = notes(trained(session, random), session)
    assert f"trained on, or chosen by, {n} of the 56 windows for test" in note
    save_model(trained(session, random), tmp_path / "m")
    assert notes(load_model(tmp_path / "m", device="cpu"), session) == [note]
    both = notes(other, session, others={"tuned": trained(session, random)})
    assert both == [f"tuned: {note}"]


def test_a_model_that_was_trained_on_the_chunks_is_not(session, other):
    assert notes(trained(session, bench_split(session).train), session) == []
    assert notes(other, session) == []  # which knows nothing of the session


def test_weights_that_do_not_say_what_they_were_trained_on_are_told_of(session):
    model = trained(session, bench_split(session).train)
    model.record.clear()
    (note,) = notes(model, session)
    assert "its weights do not say on which windows" in note
    shorter = session.select(trials=np.arange(170))
    (note,) = notes(trained(session, np.arange(10)), shorter)
    assert "its weights do not say on which windows" in note


def test_a_session_that_does_not_know_its_times_says_so(session, model):
    bare = replace(session, align="stimOn_times", trials=pd.DataFrame(index=range(180)))
    (note,) = notes(model, bare)
    assert "does not say when its windows were" in note


# Mistakes


@pytest.mark.parametrize(
    ("bins", "bin_size", "message"),
    [(100, 0.02, "100 bins of 20 ms"), (50, 0.01, "50 bins of 10 ms"), (25, 0.04, "25 bins of 40")],
)
def test_other_windows_are_refused(model, bins, bin_size, message):
    counts = np.ones((5, bins, 3), np.uint8)
    window = (0.0, bins * bin_size)
    session = Session.from_counts(counts, ["CA1"] * 3, window=window, bin_size=bin_size, id="w")
    with pytest.raises(PreparationError, match=rf'{message}.*align="any-time", window=\(0, 1\)'):
        scored(model, session)


def test_a_model_of_other_windows_is_refused_before_baselines_are_fitted(session):
    moved = replace(session, window=(-0.5, 0.5))
    published = new_model(moved, "published", device="cpu")
    with pytest.raises(WeightsError, match=r"-0\.5 to 0\.5 s"):
        scored(published, session, progress=lambda f, _: f > 0 and pytest.fail("too late"))


def test_two_windows_leave_none_to_test(model):
    session = recorded(2, align="stimOn_times", trials=pd.DataFrame(index=range(2)))
    with pytest.raises(MtmError, match="no windows for test"):
        scored(model, session)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "brainwide"}, "no protocol 'brainwide'; there are paper, brain-wide-bench"),
        ({"tasks": ("intra-region",)}, "no test 'intra-region'; there are co-smoothing, forward"),
        ({"quick": True}, "no quick mode"),
        ({"published_decoding": True}, "decodes nothing"),
        ({"others": {"reduced-rank": None}}, "cannot be called"),
    ],
)
def test_what_the_protocol_does_not_have(session, model, options, message):
    with pytest.raises(MtmError, match=message):
        scored(model, session, **options)


def test_progress_goes_from_0_to_1_and_cancels(session, model):
    seen = []
    scored(model, session, progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert max(np.diff(seen)) <= 0.25

    def stop(fraction: float, _: str) -> None:
        if fraction > 0.6:
            raise Cancelled

    with pytest.raises(Cancelled):
        scored(model, session, progress=stop)
