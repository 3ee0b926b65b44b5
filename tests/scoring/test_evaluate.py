"""Evaluation: its numbers are the metrics of held-out rates, and it says what it lacks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

import napari_mtm as mtm
from napari_mtm import Model, Session, new_model
from napari_mtm.errors import Cancelled, MtmError, WeightsError
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import SCORES
from napari_mtm.metrics import conditions, r2_psth, r2_trial
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.model.readouts import Basis, Decoder, Readouts
from napari_mtm.model.regression import Linear
from napari_mtm.scoring.evaluate import Evaluation, evaluate
from napari_mtm.scoring.held_out import held_out_rates
from napari_mtm.scoring.reliability import reliability
from tests.conftest import trials

BINS = 24
LAST = slice(BINS - 10, None)  # 200 ms
REGIONS = ["VISa"] * 4 + ["CA1"] * 5 + ["DG"] + ["LP"] * 3
BASELINES = ["mean-rate", "slow-rate", "psth", "shrinkage", "ridge-ar", "reduced-rank"]
PREDICTORS = ["model", "temporal", *BASELINES, "oracle"]
SIZES = {
    "published": PublishedSizes(
        bins=BINS, width=16, layers=1, heads=2, hidden=24, channels=10, inner=20
    ),
    "default": DefaultSizes(
        bins=BINS, width=16, layers=1, heads=2, hidden=24, rank=6, head=6, reach=5
    ),
}


def recorded(n_trials: int = 50, regions=REGIONS, seed: int = 0, spare: bool = True) -> Session:
    """Units that follow two latents; with `spare`, one is silent and one has few spikes."""
    rng = np.random.default_rng(seed)
    latents = np.cumsum(0.3 * rng.normal(size=(n_trials, BINS, 2)), axis=1)
    loadings = rng.normal(size=(2, len(regions)))
    rates = 0.5 * np.exp(np.clip(0.5 * latents @ loadings, -2, 2))
    if spare:
        rates[:, :, 1], rates[:, :, 5] = 1e-12, 0.02
    table = trials(n_trials)
    table["probabilityLeft"] = np.where(np.arange(n_trials) % 4 < 2, 0.2, 0.8)
    speed = np.abs(latents[..., 0]) + 0.1 * rng.random((n_trials, BINS))
    return Session.from_counts(
        rng.poisson(rates),
        regions,
        trials=table,
        behaviour={"wheel-speed": speed, "whisker-motion-energy": 5 + latents[..., 1]},
        rates=rates,
        id=f"recorded-{n_trials}-{seed}",
    )


def modelled(session: Session, preset: str = "default", seed: int = 0) -> Model:
    return new_model(session, preset, sizes=SIZES[preset], seed=seed, device="cpu")


def scored(session: Session, **options) -> Evaluation:
    options = {"baselines": False, "resamples": 20, **options}
    return evaluate(modelled(session), session, **options)


def parsed(evaluation: Evaluation) -> dict:
    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(evaluation.to_json(), parse_constant=refuse)


@pytest.fixture(scope="module")
def session() -> Session:
    return recorded()


@pytest.fixture(scope="module")
def model(session) -> Model:
    return modelled(session)


@pytest.fixture(scope="module")
def temporal(session) -> Model:
    return modelled(session, "published", seed=1)


@pytest.fixture(scope="module")
def evaluation(session, model, temporal) -> Evaluation:
    return evaluate(model, session, others={"temporal": temporal}, resamples=200)


@pytest.fixture(scope="module")
def predicted(session, model, temporal) -> dict[str, dict[str, np.ndarray]]:
    """Rates of the predictors that need no fit, by test and name, in scored bins."""
    test = session.split().test
    mean = session.counts[session.split().train].mean(axis=(0, 1))
    found = {}
    for score in SCORES:
        rates = {
            "model": held_out_rates(model, session, score, test),
            "temporal": held_out_rates(temporal, session, score, test),
            "mean-rate": np.broadcast_to(mean, session.counts[test].shape),
            "oracle": session.rates[test],
        }
        bins = LAST if score == "forward" else slice(None)
        found[score] = {name: values[:, bins] for name, values in rates.items()}
    return found


def shown(session: Session, score: str) -> np.ndarray:
    """Counts of the test trials that a test scores."""
    counts = session.counts[session.split().test]
    return counts[:, LAST] if score == "forward" else counts


def log_likelihoods(counts: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each unit: under the rates, under its own mean, and under the counts themselves."""
    mean = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape)
    return tuple(
        poisson.logpmf(counts, np.maximum(r, 1e-9)).sum(axis=(0, 1)) for r in (rates, mean, counts)
    )


def rows_of(table: pd.DataFrame, task: str, predictor: str) -> pd.DataFrame:
    return table[(table["task"] == task) & (table["predictor"] == predictor)]


# What the numbers are


@pytest.mark.parametrize("predictor", ["model", "temporal", "mean-rate", "oracle"])
@pytest.mark.parametrize("score", SCORES)
def test_units_have_the_bits_per_spike_of_the_formula(
    evaluation, session, predicted, score, predictor
):
    counts = shown(session, score)
    rates = predicted[score][predictor]
    spikes = counts.sum(axis=(0, 1))
    heard = spikes > 0
    if predictor == "mean-rate":
        heard &= rates[0, 0] > 0
    own, null, best = (part[heard] for part in log_likelihoods(counts, rates))
    rows = rows_of(evaluation.table, score, predictor)
    assert rows["uuid"].tolist() == session.units["uuid"].tolist()
    assert rows["region"].tolist() == session.units["region"].tolist()
    assert rows["spikes"].tolist() == spikes.tolist()
    assert rows["few"].tolist() == (spikes < 20).tolist()
    bits = (own - null) / (spikes[heard] * np.log(2))
    np.testing.assert_allclose(rows["bps"][heard], bits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        rows["d2"][heard], (own - null) / (best - null), rtol=1e-5, atol=1e-6
    )
    labels = conditions(session.trials.iloc[session.split().test])
    for name, values in (
        ("r2_psth", r2_psth(counts, rates, labels)),
        ("r2_trial", r2_trial(counts, rates)),
    ):
        np.testing.assert_allclose(rows[name][heard], values[heard], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("predictor", ["model", "temporal", "oracle"])
@pytest.mark.parametrize("score", SCORES)
def test_the_summary_is_of_all_units(evaluation, session, predicted, score, predictor):
    counts = shown(session, score)
    spikes = counts.sum(axis=(0, 1))
    heard = spikes > 0
    own, null, best = log_likelihoods(counts, predicted[score][predictor])
    gain, room = (own - null) / np.log(2), (best - null) / np.log(2)
    (row,) = rows_of(evaluation.summary(), score, predictor).to_dict("records")
    assert row["bps"] == pytest.approx((gain[heard] / spikes[heard]).mean(), rel=1e-5)
    assert row["bps_pooled"] == pytest.approx(gain.sum() / spikes.sum(), rel=1e-5)
    assert row["d2"] == pytest.approx((gain[heard] / room[heard]).mean(), rel=1e-5)
    assert row["units"] == heard.sum()
    assert row["units_with_few_spikes"] == (spikes < 20).sum()
    assert parsed(evaluation)["tasks"][score][predictor] == pytest.approx(
        {key: value for key, value in row.items() if key not in ("task", "predictor")}
    )


def test_regions_are_scored_by_their_units(evaluation, session, predicted):
    regions = evaluation.regions()
    assert len(regions) == len(SCORES) * len(PREDICTORS) * 4
    table = evaluation.table
    for score in SCORES:
        rows = rows_of(regions, score, "model").set_index("region")
        units = rows_of(table, score, "model")
        for name in ("VISa", "CA1", "DG", "LP"):
            here = (session.units["region"] == name).to_numpy()
            counts = shown(session, score)[:, :, here]
            own, null, _ = log_likelihoods(counts, predicted[score]["model"][:, :, here])
            pooled = (own - null).sum() / np.log(2) / counts.sum()
            assert rows.loc[name, "units"] == here.sum()
            assert rows.loc[name, "bps_pooled"] == pytest.approx(pooled, rel=1e-5)
            assert rows.loc[name, "bps"] == pytest.approx(units["bps"][here].mean())
            assert rows.loc[name, "d2"] == pytest.approx(units["d2"][here].mean())


def test_a_row_per_task_predictor_and_unit(evaluation, session):
    table = evaluation.table
    assert len(table) == len(SCORES) * len(PREDICTORS) * session.n_units
    assert not table.duplicated(["task", "predictor", "uuid"]).any()
    assert table["task"].unique().tolist() == list(SCORES)
    assert table["predictor"].unique().tolist() == PREDICTORS
    silent = table[table["spikes"] == 0]
    assert session.units["uuid"][1] not in set(table["uuid"][table["bps"].notna()])
    assert silent[["bps", "d2"]].isna().all(axis=None)


def test_intervals_hold_the_scores(evaluation):
    summary = evaluation.summary()
    for name in ("bps", "bps_pooled", "d2", "bps_above_slow"):
        assert (summary[f"{name}_low"] < summary[name]).all()
        assert (summary[f"{name}_high"] > summary[name]).all()


def test_intervals_are_those_of_resampled_trials(session, model, predicted):
    found = scored(session, tasks=("co-smoothing",), resamples=2000).summary()
    counts, rates = shown(session, "co-smoothing"), predicted["co-smoothing"]["model"]
    rng = np.random.default_rng(8)
    pooled = []
    for _ in range(400):
        some = rng.integers(0, len(counts), len(counts))
        own, null, _ = log_likelihoods(counts[some], rates[some])
        pooled.append((own - null).sum() / np.log(2) / counts[some].sum())
    low, high = np.quantile(pooled, [0.025, 0.975])
    (row,) = rows_of(found, "co-smoothing", "model").to_dict("records")
    assert row["bps_pooled_low"] == pytest.approx(low, abs=0.15 * (high - low))
    assert row["bps_pooled_high"] == pytest.approx(high, abs=0.15 * (high - low))


def test_the_share_of_the_oracle(evaluation):
    tasks = parsed(evaluation)["tasks"]
    for found in tasks.values():
        most = found["oracle"]["bps_pooled"]
        assert most > 0.05
        assert found["oracle"]["share"] == 1.0
        for row in found.values():
            assert row["share"] == pytest.approx(row["bps_pooled"] / most)
            assert row["share"] <= 1.0


def test_an_oracle_that_is_no_better_than_the_mean_has_no_share():
    flat = np.ones((20, BINS, 3))
    session = Session.from_counts(flat, ["CA1"] * 3, rates=flat, id="flat")
    found = scored(session)
    assert parsed(found)["tasks"]["co-smoothing"]["model"]["share"] is None
    assert found.summary()["share"].isna().all()


def test_the_planted_structure_is_told_from_the_mean(evaluation):
    for score in ("co-smoothing", "intra-region", "inter-region"):
        found = parsed(evaluation)["tasks"][score]
        assert found["reduced-rank"]["bps_pooled"] > found["mean-rate"]["bps_pooled"] + 0.02
        assert found["oracle"]["bps_pooled"] > found["reduced-rank"]["bps_pooled"]


# What a score leaves out


def slow_levels(session: Session) -> np.ndarray:
    """Training trials around each test trial, weighed by a Gaussian of 12 trials, over the mean."""
    train, test = session.split().train, session.split().test
    each = session.counts.mean(axis=1)
    mean = each[train].mean(axis=0)
    weights = np.exp(-((test[:, None] - train) ** 2) / (2 * 12**2))
    near = (weights @ each[train] + 4 * mean) / (weights.sum(axis=1, keepdims=True) + 4)
    return (near + 1e-4) / (mean + 1e-4)


@pytest.mark.parametrize("predictor", ["model", "temporal", "oracle"])
@pytest.mark.parametrize("score", ["co-smoothing", "forward"])
def test_above_slow_is_above_each_units_own_mean_as_it_drifts(
    evaluation, session, predicted, score, predictor
):
    counts, levels = shown(session, score), slow_levels(session)
    scale = counts.mean(axis=(0, 1)) / np.maximum(levels.mean(axis=0), 1e-12)
    slow = np.broadcast_to((scale * levels)[:, None], counts.shape)
    own, flat, _ = log_likelihoods(counts, predicted[score][predictor])
    null = np.maximum(log_likelihoods(counts, slow)[0], flat)
    spikes = counts.sum(axis=(0, 1))
    heard = spikes > 0
    assert 0 < (null > flat)[heard].sum() < heard.sum()
    bits = (own - null) / np.log(2)
    rows = rows_of(evaluation.table, score, predictor)
    np.testing.assert_allclose(
        rows["bps_above_slow"][heard], bits[heard] / spikes[heard], rtol=1e-4, atol=1e-5
    )
    assert rows["bps_above_slow"][~heard].isna().all()
    pooled = parsed(evaluation)["tasks"][score][predictor]["bps_above_slow"]
    assert pooled == pytest.approx(bits.sum() / spikes.sum(), rel=1e-4, abs=1e-6)


def test_a_drift_that_all_share_is_worth_nothing_above_it():
    drift = 1 + 0.8 * np.sin(np.arange(200) * 2 * np.pi / 200)
    rates = np.broadcast_to(0.8 * drift[:, None, None], (200, BINS, 6))
    counts = np.random.default_rng(9).poisson(rates)
    session = Session.from_counts(counts, ["CA1"] * 3 + ["DG"] * 3, rates=rates, id="drifting")
    (row,) = rows_of(
        scored(session, tasks=("inter-region",)).summary(), "inter-region", "oracle"
    ).to_dict("records")
    assert row["bps_pooled"] > 0.1
    assert abs(row["bps_above_slow"]) < 0.02
    assert row["bps_above_slow_high"] < row["bps_pooled_low"]


def test_the_horizon_is_that_of_forecasts(evaluation, session, model, predicted):
    ahead = evaluation.horizon()
    assert ahead["predictor"].unique().tolist() == PREDICTORS
    assert sorted(ahead["start"].unique()) == pytest.approx([-0.26, -0.22])
    test = session.split().test
    hidden = np.zeros(session.counts.shape[1:], bool)
    hidden[12:] = True
    early = np.exp(
        model.predict(session.counts[test], hidden, task="causal", session=session, trials=test)
    )
    for start, first, rates in (
        (-0.22, 14, predicted["forward"]["model"]),
        (-0.26, 12, early[:, 12:]),
    ):
        counts = session.counts[test][:, first:]
        mean = np.broadcast_to(counts.mean(axis=(0, 1)), counts.shape)
        gain = poisson.logpmf(counts, rates) - poisson.logpmf(counts, mean)
        spikes = counts.sum(axis=(0, 2))
        rows = ahead[(ahead["predictor"] == "model") & np.isclose(ahead["start"], start)]
        assert rows["spikes"].tolist() == spikes.tolist()
        np.testing.assert_allclose(
            rows["bps_pooled"], gain.sum(axis=(0, 2)) / spikes / np.log(2), rtol=1e-4, atol=1e-5
        )
    found = parsed(evaluation)["horizon"]
    assert [len(part["seconds_ahead"]) for part in found] == [10, 12]
    assert [list(part["bps_pooled"]) for part in found] == [PREDICTORS, PREDICTORS]
    pooled = parsed(evaluation)["tasks"]["forward"]
    for name, bits in found[0]["bps_pooled"].items():
        assert np.average(bits, weights=found[0]["spikes"]) == pytest.approx(
            pooled[name]["bps_pooled"], rel=1e-4
        )


def test_without_the_forward_test_there_is_no_horizon(session):
    found = scored(session, tasks=("inter-region",))
    assert found.horizon().empty
    assert parsed(found)["horizon"] == []
    assert "forecasts" not in str(found)


def test_each_unit_says_what_of_it_can_be_predicted(evaluation, session):
    fano, ceiling = reliability(session)
    for score, predictor in (("forward", "model"), ("co-smoothing", "oracle")):
        rows = rows_of(evaluation.table, score, predictor)
        np.testing.assert_array_equal(rows["fano"], fano)
        np.testing.assert_array_equal(rows["ceiling"], ceiling)
    assert (evaluation.summary()["units_fano_below_1"] == (fano < 1).sum()).all()


# Slow levels


def test_model_and_baselines_know_slow_levels_unless_told_otherwise():
    session = recorded()
    slow = np.exp(np.sin(np.arange(session.n_trials)[:, None] / 15 + np.arange(session.n_units)))
    rates = session.rates * slow[:, None]
    counts = np.random.default_rng(4).poisson(rates).astype(np.uint8)
    drifting = replace(session, counts=counts, rates=rates.astype(np.float32))
    on, off = (
        evaluate(
            modelled(drifting), drifting, tasks=("inter-region",), slow_levels=slow, resamples=20
        )
        for slow in (True, False)
    )
    known, unknown = (parsed(found)["tasks"]["inter-region"] for found in (on, off))
    assert list(known) == ["model", *BASELINES, "oracle"]
    assert list(unknown) == [
        "model",
        *(name for name in BASELINES if name != "slow-rate"),
        "oracle",
    ]
    for name in ("model", "psth", "shrinkage", "ridge-ar"):
        assert known[name]["bps_pooled"] > unknown[name]["bps_pooled"] + 0.02
    for name in ("mean-rate", "oracle"):
        assert known[name] == unknown[name]


# What is in it


def test_json_has_what_is_promised(evaluation, session):
    found = parsed(evaluation)
    assert found["session"] == session.id
    assert found["quick"] is False
    assert found["trials"] == len(session.split().test) == 10
    assert found["units"] == 13
    assert list(found["tasks"]) == list(SCORES)
    for task in found["tasks"].values():
        assert list(task) == PREDICTORS
        for row in task.values():
            assert {"bps", "bps_pooled", "d2"} <= row.keys()
            assert all(isinstance(row[key], float) for key in ("bps", "bps_pooled", "d2"))
    readouts = found["readouts"]
    assert list(readouts) == ["choice", "block", "wheel-speed", "whisker-motion-energy"]
    of_labels = {"accuracy", "chance", "ridge_accuracy"}
    assert readouts["choice"].keys() == {*of_labels, "on_errors"}
    assert readouts["block"].keys() == of_labels
    for name in ("wheel-speed", "whisker-motion-energy"):
        assert readouts[name].keys() == {"r2", "ridge_r2"}
    assert all(isinstance(v, float) for row in readouts.values() for v in row.values())


def test_units_with_few_spikes_are_listed(evaluation, session):
    found = parsed(evaluation)["few_spikes"]
    assert list(found) == sorted(SCORES)
    for score in SCORES:
        few = shown(session, score).sum(axis=(0, 1)) < 20
        assert found[score] == sorted(session.units["uuid"][few])
        assert f"{score}: {few.sum()} units have fewer than 20 spikes" in str(evaluation)
    assert len(found["co-smoothing"]) == 2


def test_20_spikes_are_not_few():
    counts = np.zeros((20, BINS, 3))
    counts[:, 0] = 1
    counts[3, 0, 1] = 0
    session = Session.from_counts(counts, ["CA1"] * 3, id="counted")
    found = scored(session, tasks=("co-smoothing",), trials=np.arange(20))
    assert found.table["spikes"].tolist() == [20, 19, 20]
    assert parsed(found)["few_spikes"] == {"co-smoothing": ["counted/1"]}


def test_the_text_shows_everything(evaluation, session, model):
    text = str(evaluation)
    first, *lines = text.splitlines()
    assert session.id in first
    assert "10 test trials, 13 units" in first
    assert "quick" not in text
    cells = [line.split() for line in lines]
    for score in SCORES:
        for predictor in PREDICTORS:
            (line,) = (c for c in cells if c[:2] == [score, predictor])
            row = parsed(evaluation)["tasks"][score][predictor]
            assert line[2:4] == [f"{row['bps']:.3f}", f"{row['bps_pooled']:.3f}"]
            assert line[-2:] == [f"{row['bps_above_slow']:.3f}", f"{row['share']:.0%}"]
    ahead = evaluation.horizon().query("predictor == 'model'")["bps_pooled"]
    (line,) = (line for line in lines if line.startswith("forecasts"))
    assert f"{ahead.iloc[0]:.3f} after 0.02 s" in line
    low = (reliability(session)[1] < 0.1).sum()
    assert low
    assert f"{low} units repeat little by condition (ceiling below 0.1)" in lines
    accuracy = evaluation.readouts["choice"]["accuracy"]
    assert any(line.startswith("choice") and f"{accuracy:.3f}" in line for line in lines)
    (note,) = model.notes_on(session)
    assert note in lines
    assert any(line.startswith("temporal: The model is not fine-tuned") for line in lines)


def test_without_true_rates_there_is_no_oracle_and_no_share(session):
    found = parsed(scored(replace(session, rates=None)))
    for task in found["tasks"].values():
        assert list(task) == ["model"]
        assert "share" not in task["model"]


def test_some_tasks_and_some_trials(session, model):
    chosen = [7, 3, 11]
    found = evaluate(
        model, session, trials=chosen, tasks=("forward",), baselines=False, resamples=20
    )
    assert found.table["task"].unique().tolist() == ["forward"]
    assert found.trials.tolist() == chosen
    spikes = session.counts[chosen, LAST].sum(axis=(0, 1))
    assert rows_of(found.table, "forward", "model")["spikes"].tolist() == spikes.tolist()


def test_another_seed_is_another_split(session, model):
    found = evaluate(model, session, seed=7, baselines=False, tasks=("forward",), resamples=20)
    assert found.trials.tolist() == session.split(7).test.tolist()
    assert found.trials.tolist() != session.split().test.tolist()


def test_the_same_twice_is_the_same(session, model, temporal, evaluation):
    again = mtm.evaluate(model, session, others={"temporal": temporal}, resamples=200)
    assert again.to_json() == evaluation.to_json()


def test_quick_says_so_and_holds_out_groups():
    session = recorded(regions=["CA1"] * 45, spare=False)
    model = modelled(session)
    options = {"tasks": ("co-smoothing",), "baselines": False, "resamples": 20}
    exact = evaluate(model, session, **options)
    quick = evaluate(model, session, quick=True, **options)
    assert parsed(quick)["quick"] is True
    assert "quick" in str(quick).splitlines()[0]
    assert "not exact" in str(quick).splitlines()[0]
    test = session.split().test
    rates = held_out_rates(model, session, "co-smoothing", test, quick=True)
    own, null, _ = log_likelihoods(session.counts[test], rates)
    pooled = (own - null).sum() / np.log(2) / session.counts[test].sum()
    assert parsed(quick)["tasks"]["co-smoothing"]["model"]["bps_pooled"] == pytest.approx(pooled)
    assert not np.allclose(quick.table["bps"][:45], exact.table["bps"][:45], atol=1e-5)


# Readouts


@pytest.mark.parametrize("says_right", [True, False])
def test_readouts_that_the_model_has_are_used(session, says_right):
    model = modelled(session)
    train = session.split().train
    seen = model.seen(session, train, Mask.nothing(session))
    latents, past = seen.latents, seen.past
    around = Basis.fit(latents, 3)
    n_features = around(latents[:1]).shape[2]
    model.readouts[session.id] = Readouts(
        Decoder(
            around,
            Basis.fit(past, 2),
            traces={"wheel-speed": Linear(np.zeros(7 * n_features), np.float64(0.25))},
            trials={
                "choice-by-trial": Linear(
                    np.zeros(8 * n_features), np.float64(0.2 if says_right else -0.2)
                )
            },
        )
    )
    kept = dict(model.readouts)
    test = session.split().test[1:]
    found = evaluate(
        model, session, trials=test, baselines=False, tasks=("forward",), resamples=20
    ).readouts
    speed = session.behaviour["wheel-speed"][test].astype(float)
    right = (session.trials["choice"].iloc[test] == -1).mean()
    assert found.keys() == {"choice", "wheel-speed"}
    assert right != 0.5
    accuracy = right if says_right else 1 - right
    chance = max(right, 1 - right)
    of_all = {name: found["choice"][name] for name in ("accuracy", "chance")}
    assert of_all == pytest.approx({"accuracy": accuracy, "chance": chance})
    expected = 1 - ((speed - 0.25) ** 2).sum() / ((speed - speed.mean()) ** 2).sum()
    assert found["wheel-speed"]["r2"] == pytest.approx(expected, rel=1e-5)
    assert model.readouts == kept


def test_without_readouts_they_are_fitted_on_training_trials_and_not_kept(session):
    model = modelled(session)
    test = session.split().test
    truth = session.behaviour["wheel-speed"][test].astype(float)
    room = ((truth - truth.mean()) ** 2).sum()

    def missed(shift: float) -> float:
        """Squared error after a shift of the test trials alone."""
        speed = session.behaviour["wheel-speed"].copy()
        speed[test] += np.float32(shift)
        moved = replace(session, behaviour={"wheel-speed": speed})
        found = evaluate(model, moved, baselines=False, tasks=("forward",), resamples=20)
        assert not model.readouts
        return (1 - found.readouts["wheel-speed"]["r2"]) * room

    # If the predictions stay, the error is a parabola whose curvature is known.
    curvature = missed(2.0) + missed(-2.0) - 2 * missed(0.0)
    assert curvature == pytest.approx(2 * truth.size * 4.0, rel=1e-3)


def test_other_splits_before_do_not_show_in_the_readouts(session):
    options = {"baselines": False, "tasks": ("forward",), "resamples": 20}
    model = modelled(session)
    evaluate(model, session, **options)
    after = evaluate(model, session, seed=3, **options).readouts
    assert after == evaluate(modelled(session), session, seed=3, **options).readouts


def test_published_decoding_is_another(session, model, evaluation):
    found = evaluate(
        model,
        session,
        published_decoding=True,
        baselines=False,
        tasks=("forward",),
        resamples=20,
    )
    assert found.readouts.keys() == {"choice", "wheel-speed", "whisker-motion-energy"}
    assert found.readouts["wheel-speed"] != evaluation.readouts["wheel-speed"]


# Odd sessions, mistakes


def bare(counts: np.ndarray, regions: list[str]) -> Session:
    return Session.from_counts(counts, regions, id="bare")


COUNTS = np.random.default_rng(4).poisson(0.5, (20, BINS, 5))


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(bare(COUNTS, ["CA1", "CA1", "DG", "LP", "LP"]), id="nothing but counts"),
        pytest.param(bare(COUNTS[:, :, :1], ["CA1"]), id="one unit"),
        pytest.param(bare(COUNTS, ["CA1"] * 5), id="one region"),
        pytest.param(bare(COUNTS[:3], ["CA1"] * 5), id="three trials"),
    ],
)
@pytest.mark.parametrize("preset", ["default", "published"])
def test_odd_sessions_are_scored(session, preset):
    found = evaluate(modelled(session, preset), session, resamples=20)
    tasks = parsed(found)["tasks"]
    assert list(tasks) == list(SCORES)
    for task in tasks.values():
        assert list(task) == ["model", *BASELINES]
        assert np.isfinite([row["bps"] for row in task.values()]).all()
    assert parsed(found)["readouts"] == {}
    assert len(str(found).splitlines()) > 16


def test_silence_has_no_scores():
    found = evaluate(
        modelled(bare(COUNTS * 0, ["CA1"] * 5)), bare(COUNTS * 0, ["CA1"] * 5), resamples=20
    )
    assert found.table["bps"].isna().all()
    for task in parsed(found)["tasks"].values():
        for row in task.values():
            assert row["bps"] is row["bps_pooled"] is row["d2"] is row["bps_low"] is None
            assert row["units"] == 0
    assert "nan" in str(found)


def test_behaviour_that_is_all_missing_is_left_out(session):
    nothing = np.full((session.n_trials, BINS), np.nan, np.float32)
    table = session.trials.assign(choice=np.nan, probabilityLeft=0.5)
    found = scored(
        replace(session, trials=table, behaviour={"wheel-speed": nothing}), tasks=("forward",)
    )
    assert found.readouts == {}


def test_two_trials_leave_none_to_test():
    session = bare(COUNTS[:2], ["CA1"] * 5)
    with pytest.raises(MtmError, match="bare has no test trials"):
        evaluate(modelled(session), session)
    found = evaluate(modelled(session), session, trials=[0, 1], resamples=20)
    assert len(found.table) == len(SCORES) * (1 + len(BASELINES)) * 5


@pytest.mark.parametrize("name", ["model", "oracle", *BASELINES, ""])
def test_another_model_cannot_take_a_name_of_ours(session, model, temporal, name):
    with pytest.raises(MtmError, match="cannot be called"):
        evaluate(model, session, others={name: temporal})


def test_a_test_that_is_not_there(session, model):
    with pytest.raises(MtmError, match="no test 'cosmoothing'; there are co-smoothing, forward"):
        evaluate(model, session, tasks=("cosmoothing",))


def test_another_window_is_an_error(session, temporal):
    moved = replace(session, window=(0.0, BINS * 0.02))
    with pytest.raises(WeightsError, match=r"-0\.5 to -0\.02 s, .* 0 to 0\.48 s"):
        evaluate(modelled(moved), moved, others={"temporal": temporal}, baselines=False)


def test_progress_goes_from_0_to_1(session, model, temporal):
    seen = []
    evaluate(
        model,
        session,
        others={"temporal": temporal},
        resamples=20,
        progress=lambda fraction, text: seen.append((fraction, text)),
    )
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert max(np.diff(fractions)) < 0.25
    assert any("reduced-rank" in text for _, text in seen)


@pytest.mark.parametrize("after", [0.0, 0.1, 0.5, 0.9])
def test_cancelling_stops_it(session, model, after):
    seen = []

    def stop(fraction: float, text: str) -> None:
        seen.append(fraction)
        if fraction >= after:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluate(model, session, resamples=20, progress=stop)
    assert after <= seen[-1] <= after + 0.25
    assert all(fraction < after for fraction in seen[:-1])
