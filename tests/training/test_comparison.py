"""Before and after on the test trials: the numbers are those of an evaluation of each."""

import math
from pathlib import Path

import numpy as np
import pytest

from napari_mtm.masking.tasks import SCORES
from napari_mtm.metrics import bootstrap, tally
from napari_mtm.model.model import new_model
from napari_mtm.model.weights import load_model, save_model
from napari_mtm.scoring.evaluate import evaluate
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.comparison import Interval, compare, comparison_of, save_comparison
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.loop import train
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from tests.training.waves import SMALL, lesson, waves

SESSION = waves(2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = new_model(waves(1), sizes=SMALL, device="cpu")
    train(model, lesson(waves(1)), Settings(steps=20))
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_model(model, path)
    return path


@pytest.fixture(scope="module")
def run(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finetune(
        load_model(weights, device="cpu"),
        SESSION,
        tmp_path_factory.mktemp("run") / "run",
        scope="full",
        settings=Settings(steps=60, check_every=20),
        weights=str(weights),
    )


def test_before_and_after_are_scored_as_an_evaluation_does(run: Run, weights: Path) -> None:
    model = run.model("best", device="cpu")
    found = compare(run, SESSION, model)
    for which, name in ((load_model(weights, device="cpu"), "before"), (model, "after")):
        scores = evaluate(which, SESSION, quick=True).summary().set_index(["task", "predictor"])
        for task in SCORES:
            row = scores.loc[(task, "model")]
            assert found.tasks[task][name].value == pytest.approx(row["bps_pooled"], abs=1e-5)
            assert found.tasks[task][name].low == pytest.approx(row["bps_pooled_low"], abs=1e-4)
    assert not found.started
    assert found.trials == len(SESSION.split().test)
    assert {"psth", "reduced-rank", "oracle"} <= found.tasks["forward"].keys()
    assert found.value("inter-region", "after") > found.value("inter-region", "before")


def test_the_gain_is_of_the_same_trials(run: Run, weights: Path) -> None:
    """Each resampled set of trials is the same for both: narrower than for two of them."""
    found = compare(run, SESSION, run.model("best", device="cpu")).tasks["co-smoothing"]
    gain, before, after = found["gain"], found["before"], found["after"]
    assert gain.value == pytest.approx(after.value - before.value)
    assert gain.low < gain.value < gain.high
    trials = SESSION.split().test
    bins = scored_entries(SESSION, "co-smoothing").any(axis=1)
    counts = SESSION.counts[trials][:, bins]
    tallies = []
    for model in (load_model(weights, device="cpu"), run.model("best", device="cpu")):
        rates = held_out_rates(model, SESSION, "co-smoothing", trials, quick=True)
        tallies.append(tally(counts, rates[:, bins]))
    rng = np.random.default_rng(0)
    share = np.full(len(trials), 1 / len(trials))
    draws = rng.multinomial(len(trials), share, size=1000).astype(float)
    differences = [
        float(tallies[1].pooled_bits_per_spike(w) - tallies[0].pooled_bits_per_spike(w))
        for w in draws
    ]
    assert gain.low == pytest.approx(np.quantile(differences, 0.025), abs=1e-5)
    assert gain.high == pytest.approx(np.quantile(differences, 0.975), abs=1e-5)
    assert bootstrap(tallies[1], "bps_pooled", over=tallies[1]) == (0.0, 0.0)


def test_where_the_weights_before_are_gone_it_is_the_start(run: Run, tmp_path: Path) -> None:
    run.about.weights = str(tmp_path / "gone.safetensors")
    assert compare(run, SESSION, run.model("best", device="cpu")).started


def test_it_is_kept_with_the_run_and_goes_when_the_run_goes_on(run: Run) -> None:
    assert comparison_of(run) is None
    found = compare(run, SESSION, run.model("best", device="cpu"))
    save_comparison(run, found)
    assert comparison_of(run) == found
    finetune(run.model("start", device="cpu"), SESSION, run.folder, resume=True)
    assert comparison_of(run) is None


def test_what_has_no_value_is_none() -> None:
    assert Interval.of(math.nan, 0.0, math.inf) == Interval(value=None, low=0.0, high=None)
