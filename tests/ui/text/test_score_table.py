"""The table of scores: which trials, the model beside a baseline and the oracle, and why none."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mtm import Mask, Session
from napari_mtm.live.engine import Answer, Decoded, Request
from napari_mtm.live.whole import WholeScores
from napari_mtm.metrics import tally
from napari_mtm.model.reconstruction import Reconstruction
from napari_mtm.ui.text.score_table import Row, score_table, trial_row, whole_row
from tests.ui.tables import cells


def bits(counts, rates) -> float:
    """Bits per spike of units pooled, against each unit's mean: (entries, units)."""
    mean = counts.mean(axis=0)
    gained = np.where(counts > 0, counts * np.log(rates / mean), 0.0).sum() - rates.sum()
    return float((gained + counts.sum()) / np.log(2) / counts.sum())


def live_of(session, mask, trial, *, baseline=None, decoded=True) -> SimpleNamespace:
    """What is known after an answer, whose rates are a quarter right."""
    counts = session.counts[[trial]]
    rates = (0.25 * counts + 0.1).astype(np.float32)
    found = Reconstruction(
        session.id, mask, "neuron", np.array([trial]), ("a",) * session.n_units, counts, rates, {}
    )
    request = Request(session, mask, trial, baseline=baseline)
    behaviour = None
    if decoded:
        behaviour = Decoded(request, {}, {}, baseline and np.full(counts.shape, 0.2, np.float32))
    return SimpleNamespace(
        answer=Answer(request, found, 0.01), scores=found.scores(), behaviour=behaviour
    )


@pytest.fixture
def session() -> Session:
    rng = np.random.default_rng(0)
    rates = rng.gamma(2.0, 0.1, (30, 20, 4))
    return Session.from_counts(rng.poisson(rates), ["CA1"] * 4, rates=rates)


def test_the_trial_on_screen(session):
    trial = int(session.split().test[0])
    mask = Mask.neurons(session, [1, 2])
    row = trial_row(live_of(session, mask, trial, baseline=lambda *_: None))
    assert row.title == "test trial"
    counts = session.counts[trial][:, [1, 2]].astype(float)
    expected = {
        "model": bits(counts, 0.25 * counts + 0.1),
        "baseline": bits(counts, np.full_like(counts, 0.2)),
        "oracle": bits(counts, session.rates[trial][:, [1, 2]]),
    }
    assert row.scores == pytest.approx(expected, abs=1e-5)
    assert trial_row(live_of(session, mask, int(session.split().train[0]))).title == (
        "training trial"
    )


def test_a_baseline_that_is_to_come_and_one_that_is_not(session):
    mask = Mask.neurons(session, [1, 2])
    coming = trial_row(live_of(session, mask, 0, baseline=lambda *_: None, decoded=False))
    assert coming.scores["baseline"] is None
    assert cells(score_table([coming]))[1][2] == "…"
    assert "baseline" not in trial_row(live_of(session, mask, 0)).scores


def test_nothing_scored_and_no_spikes(session):
    assert trial_row(live_of(session, Mask.nothing(session), 0)).why == "nothing is scored"
    hidden = np.zeros((session.n_bins, session.n_units), bool)
    silent = tuple(np.argwhere(session.counts[0] == 0)[0])
    hidden[silent] = True
    assert trial_row(live_of(session, Mask.from_array(session, hidden), 0)).why == "no spikes there"
    assert trial_row(SimpleNamespace(answer=None)) is None


@pytest.mark.parametrize("total", [3, 6])
def test_the_test_trials(session, total):
    trials = session.split().test[:3]
    counts = session.counts[trials]
    tallies = {
        name: tally(counts, np.full(counts.shape, rate))
        for name, rate in (("model", 0.2), ("baseline", 0.3), ("oracle", 0.21))
    }
    row = whole_row(WholeScores(trials, total, tallies), total)
    assert row.title == ("3 test trials" if total == 3 else "test, 3 of 6")
    flat = counts.reshape(-1, 4).astype(float)
    assert row.scores["model"] == pytest.approx(bits(flat, np.full_like(flat, 0.2)), abs=1e-6)
    assert row.scores["baseline"] == pytest.approx(bits(flat, np.full_like(flat, 0.3)), abs=1e-6)


def test_the_test_trials_without_scores(session):
    trials = session.split().test[:3]
    counts = session.counts[trials]
    rates = np.full(counts.shape, 0.2)
    nothing = np.zeros((session.n_bins, session.n_units), bool)
    assert whole_row(None, 3).why == "not scored yet"
    assert whole_row(None, 0).why == "there are none"
    unscored = {"model": tally(counts, rates, nothing)}
    assert whole_row(WholeScores(trials, 3, unscored), 3).why == "nothing is scored"
    silent = {"model": tally(np.zeros_like(counts), rates)}
    assert whole_row(WholeScores(trials, 3, silent), 3).why == "no spikes there"


def test_what_is_written():
    rows = [
        Row("test trial", {"model": 0.5, "baseline": -0.251, "oracle": 1.0}),
        Row("9 test trials", {"model": 0.25, "baseline": 0.2}),
        Row("others", {}, "nothing is scored"),
    ]
    assert cells(score_table(rows)) == [
        ["", "model", "baseline", "oracle"],
        ["test trial", "+0.50", "−0.25", "1.00 (50%)"],
        ["9 test trials", "+0.25", "+0.20", ""],
        ["others", "nothing is scored"],
    ]
    assert cells(score_table(rows[2:])) == [["others", "nothing is scored"]]
    for model, oracle in ((0.1, -0.5), (-0.1, 0.5)):  # no share is written that says nothing
        row = Row("a", {"model": model, "oracle": oracle})
        assert "(" not in cells(score_table([row]))[1][2]
