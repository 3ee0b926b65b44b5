"""Validation: fixed masks, and scores that follow from the definition."""

import math

import numpy as np
import pytest
import torch

from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.model import Blend, new_model
from napari_mtm.recording.session import Session
from napari_mtm.training.loop import train
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson
from napari_mtm.training.validation import Exam, calibrate, validate
from tests.training.waves import SMALL, waves


def exam(session: Session, size: int = 24) -> Exam:
    split = session.split()
    null = session.counts[split.train].mean(axis=(0, 1)).astype(np.float32)
    return Exam.of(session, split.validation, null, size=size)


class Told:
    """A model that answers with rates it was told."""

    def __init__(self, rates: np.ndarray) -> None:
        self.rates = rates

    def predict(self, counts, hidden, *, task, session, trials) -> np.ndarray:
        return np.log(np.broadcast_to(self.rates, counts.shape)).astype(np.float32)


def test_masks_are_always_the_same() -> None:
    session = waves()
    one, other = exam(session), exam(session)
    for task in TASKS:
        assert np.array_equal(one.hidden[task], other.hidden[task])
        assert np.array_equal(one.scored[task], other.scored[task])


def test_each_task_hides_what_it_is_about() -> None:
    session = waves()
    found = exam(session)
    regions = np.asarray(session.units["region"])
    for task in TASKS:
        hidden, scored = found.hidden[task], found.scored[task]
        assert scored.any()
        assert not (scored & ~hidden).any()
    forward = found.hidden["causal"]
    assert forward[:, -10:].all()
    assert not forward[:, :-10].any()
    for trial in found.hidden["inter-region"]:
        assert len(set(regions[trial.all(axis=0)])) == 1
        assert trial.all(axis=0).sum() == trial.any(axis=0).sum() == 5
    for hidden, scored in zip(
        found.hidden["intra-region"], found.scored["intra-region"], strict=True
    ):
        outside = regions[~hidden.any(axis=0)]
        assert len(set(outside)) <= 1
        assert set(regions[scored.any(axis=0)]) <= set(outside) or not len(outside)


def test_the_null_scores_nothing_and_the_truth_something() -> None:
    session = waves()
    found = exam(session)
    nothing = found.bits_per_spike(Told(found.null))
    assert nothing == pytest.approx(dict.fromkeys(TASKS, 0.0), abs=1e-6)
    trials = np.resize(session.split().validation, len(found.counts))
    truth = found.bits_per_spike(Told(session.rates[trials]))
    assert all(value > 0.2 for value in truth.values())


def test_a_score_is_the_gain_in_bits_for_every_spike() -> None:
    """Twice the rate of a null of 1: each spike gains a bit, each bin costs 1 / ln 2 of one."""
    counts = np.random.default_rng(0).poisson(1.0, (10, 40, 6)).astype(np.uint8)
    session = Session.from_counts(counts, ["CA1"] * 6)
    found = Exam.of(session, np.arange(10), np.ones(6, np.float32), size=10)
    told = found.bits_per_spike(Told(np.full(6, 2.0)))
    for task in TASKS:
        entries = found.scored[task].sum()
        spikes = counts[found.scored[task]].sum()
        assert told[task] == pytest.approx(1 - entries / math.log(2) / spikes, rel=1e-4)


def test_sessions_count_alike_and_silence_has_no_score() -> None:
    session, silent = waves(), Session.from_counts(np.zeros((20, 40, 4)), ["CA1"] * 4)
    model = new_model([session, silent], sizes=SMALL, device="cpu")
    heard = exam(session)
    model.attach(session)
    model.attach(silent)
    alone = validate(model, [heard])
    assert validate(model, [heard, exam(silent)]) == alone
    assert validate(model, [exam(silent)]) == {}


# How much of the linear expert counts


def larger_exam(session: Session) -> Exam:
    """One of as many trials as it takes to choose by."""
    split = session.split()
    trials = np.concatenate([split.validation, split.test])
    return Exam.of(session, trials, session.counts[split.train].mean(axis=(0, 1)), size=20)


def test_a_network_that_knows_nothing_leaves_all_to_the_expert() -> None:
    session = waves()
    model = new_model(session, sizes=SMALL, device="cpu")
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    model.teach(session, session.split().train)
    found = larger_exam(session)
    calibrate(model, [found])
    blend = model.blends[session.id]
    for task in ("neuron", "inter-region"):
        assert blend.at(task)[0] > 0.8


@pytest.mark.parametrize("task", TASKS)
def test_no_other_shares_score_better(task: str) -> None:
    session = waves()
    model = new_model(session, sizes=SMALL, device="cpu")
    train(model, {session.id: Lesson(session, session.split().train)}, Settings(steps=40))
    found = larger_exam(session)
    calibrate(model, [found])
    best = found.bits_per_spike(model)[task]
    rng = np.random.default_rng(0)
    for _ in range(8):
        expert, drift = rng.integers(0, 9) / 8, rng.integers(0, 3) / 2
        model.blends[session.id] = Blend((expert,) * 4, (drift,) * 4)
        assert found.bits_per_spike(model)[task] <= best + 1e-4


def test_few_validation_trials_say_nothing() -> None:
    session = waves()
    split = session.split()
    model = new_model(session, sizes=SMALL, device="cpu")
    model.teach(session, split.train)
    null = session.counts[split.train].mean(axis=(0, 1)).astype(np.float32)
    calibrate(model, [Exam.of(session, split.validation[:3], null)])
    assert not model.blends
