"""Held-out tests: the fast passes are the plain ones, and no unit sees itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mtm import Mask, Model, Session, new_model
from napari_mtm.errors import Cancelled, WeightsError
from napari_mtm.masking.tasks import SCORES
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.scoring.held_out import held_out_rates, scored_entries

BINS = 24
REGIONS = ["VISa"] * 4 + ["CA1"] * 5 + ["DG"] + ["LP"] * 3
PRESETS = ("published", "default")
OF_UNITS = ("co-smoothing", "intra-region")
SIZES = {
    "published": PublishedSizes(
        bins=BINS, width=16, layers=2, heads=2, hidden=24, channels=10, inner=20
    ),
    "default": DefaultSizes(
        bins=BINS, width=16, layers=2, heads=2, hidden=24, rank=6, head=6, reach=5
    ),
}


def recorded(regions=REGIONS, n_trials: int = 20, seed: int = 0) -> Session:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.5, (n_trials, BINS, len(regions)))
    return Session.from_counts(counts, regions, id=f"recorded-{len(regions)}")


TRIALS = recorded().split().test[[2, 0, 1]]


def with_silence() -> Session:
    """Units silent in all trials or in some, and a trial in which all are."""
    session = recorded()
    counts = session.counts.copy()
    counts[:, :, 2] = 0
    counts[TRIALS[:2], :, 6] = 0
    counts[TRIALS[2]] = 0
    return replace(session, counts=counts)


def stirred(session: Session, preset: str) -> Model:
    """A model in which no parameter is left at 0."""
    model = new_model(session, preset, sizes=SIZES[preset], device="cpu")
    model.trained.add(session.id)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def hidden_for(session: Session, score: str, unit: int) -> np.ndarray:
    """What a test keeps from the model where it asks for a unit."""
    if score == "forward":
        return Mask.forward(session).hidden
    regions = session.units["region"].to_numpy()
    if score == "inter-region":
        return Mask.region(session, regions[unit]).hidden
    hidden = np.zeros((session.n_bins, session.n_units), dtype=bool)
    hidden[:, unit] = True
    if score == "intra-region":
        hidden[:, regions != regions[unit]] = True
    return hidden


PROMPTS = {
    "co-smoothing": "neuron",
    "forward": "causal",
    "intra-region": "intra-region",
    "inter-region": "inter-region",
}


def plain(model: Model, session: Session, score: str, trials=TRIALS) -> np.ndarray:
    """Log rates by one pass of the model per unit."""
    columns = [
        model.predict(
            session.counts[trials],
            hidden_for(session, score, unit),
            task=PROMPTS[score],
            session=session,
            trials=trials,
        )[:, :, unit]
        for unit in range(session.n_units)
    ]
    return np.stack(columns, axis=2)


def changed(session: Session, entries: np.ndarray) -> Session:
    """The session with other counts at some entries (bins, units) of the trials asked about."""
    counts = session.counts.copy()
    counts[TRIALS] = np.where(entries, counts[TRIALS] + 3, counts[TRIALS])
    return replace(session, counts=counts)


def column(session: Session, unit: int) -> np.ndarray:
    entries = np.zeros((session.n_bins, session.n_units), dtype=bool)
    entries[:, unit] = True
    return entries


class Spy:
    """Counts the passes of a network; those with more rows than fit run out of memory."""

    def __init__(self, model: Model, monkeypatch, fits: int = 10**9, after: int = 0) -> None:
        self.rows: list[int] = []
        self.refused = 0
        latents = model.network.latents

        def watched(inputs, *rest, **named):
            if len(inputs) > fits and len(self.rows) >= after:
                self.refused += 1
                raise torch.OutOfMemoryError
            self.rows.append(len(inputs))
            return latents(inputs, *rest, **named)

        monkeypatch.setattr(model.network, "latents", watched)


# Exact


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(recorded(), id="several regions"),
        pytest.param(recorded(["CA1"] * 6), id="one region"),
        pytest.param(recorded(["CA1", "LP", "DG"]), id="units alone in their region"),
        pytest.param(recorded(["LP"]), id="one unit"),
        pytest.param(with_silence(), id="silent units"),
        pytest.param(Session.from_counts(np.zeros((20, BINS, 3)), ["CA1"] * 3), id="silence"),
    ],
)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("score", SCORES)
def test_the_fast_way_is_the_plain_way(score, preset, session):
    model = stirred(session, preset)
    found = np.log(held_out_rates(model, session, score, TRIALS))
    expected = plain(model, session, score)
    assert found.shape == (3, BINS, session.n_units)
    entries = scored_entries(session, score)
    np.testing.assert_allclose(found[:, entries], expected[:, entries], atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_more_trials_than_go_at_once(preset):
    session = recorded(["CA1"] * 2 + ["LP"], n_trials=70)
    model = stirred(session, preset)
    trials = np.arange(70)
    for score in OF_UNITS:
        found = np.log(held_out_rates(model, session, score, trials))
        np.testing.assert_allclose(found, plain(model, session, score, trials), atol=1e-4)


def test_forward_scores_the_last_200_ms_and_the_others_all():
    session = recorded()
    for score in SCORES:
        first = BINS - 10 if score == "forward" else 0
        entries = scored_entries(session, score)
        assert entries[first:].all()
        assert not entries[:first].any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("score", SCORES)
def test_what_is_hidden_changes_nothing_and_what_is_visible_does(score, preset):
    session = recorded()
    model = stirred(session, preset)
    entries = scored_entries(session, score)
    before = held_out_rates(model, session, score, TRIALS)
    lone = session.units.index[session.units["region"] == "DG"][0]
    for unit in range(session.n_units):
        own = entries & column(session, unit)
        hidden = hidden_for(session, score, unit)
        other = held_out_rates(model, changed(session, hidden), score, TRIALS)
        np.testing.assert_allclose(other[:, own], before[:, own], rtol=1e-4)
        if score == "intra-region" and unit == lone:
            np.testing.assert_array_equal(other[:, own], before[:, own])
            continue
        other = held_out_rates(model, changed(session, ~hidden), score, TRIALS)
        assert np.abs(np.log(other / before)[:, own]).max() > 1e-2


@pytest.mark.parametrize("preset", PRESETS)
def test_silent_units_cost_the_published_preset_no_passes(preset, monkeypatch):
    session = with_silence()
    model = stirred(session, preset)
    spy = Spy(model, monkeypatch)
    held_out_rates(model, session, "co-smoothing", TRIALS)
    heard = int(session.counts[TRIALS].any(axis=1).sum())
    assert heard < session.n_units * len(TRIALS)
    expected = len(TRIALS) + heard if preset == "published" else session.n_units * len(TRIALS)
    assert sum(spy.rows) == expected


def test_the_network_is_left_as_it_was():
    session = recorded()
    model = stirred(session, "default")
    for training in (True, False):
        model.network.train(training)
        held_out_rates(model, session, "co-smoothing", TRIALS)
        assert all(module.training == training for module in model.network.modules())


# Quick


@pytest.mark.parametrize("preset", PRESETS)
def test_quick_holds_out_every_unit_once_in_20_passes(preset, monkeypatch):
    session = recorded(["CA1"] * 27 + ["LP"] * 16)
    model = stirred(session, preset)
    spy = Spy(model, monkeypatch)
    found = held_out_rates(model, session, "co-smoothing", TRIALS, quick=True)
    assert sum(spy.rows) == 20 * len(TRIALS)
    # Units that do not hear of each other are held out together.
    together = np.zeros((session.n_units, session.n_units), dtype=bool)
    for unit in range(session.n_units):
        own = np.arange(session.n_units) == unit
        other = held_out_rates(
            model, changed(session, own[None]), "co-smoothing", TRIALS, quick=True
        )
        together[unit] = np.abs(np.log(other / found)).max(axis=(0, 1)) < 1e-4
    np.testing.assert_array_equal(together, together.T)
    groups = np.unique(together, axis=0)
    np.testing.assert_array_equal(groups.sum(axis=0), 1)
    assert set(groups.sum(axis=1)) == {2, 3}
    for group in groups[:3]:
        hidden = np.broadcast_to(group, (session.n_bins, session.n_units))
        rates = model.predict(
            session.counts[TRIALS], hidden, task="neuron", session=session, trials=TRIALS
        )
        np.testing.assert_allclose(np.log(found)[:, :, group], rates[:, :, group], atol=1e-4)
    assert np.abs(np.log(found) - plain(model, session, "co-smoothing")).max() > 1e-3


def test_quick_within_regions_hides_the_others_too(monkeypatch):
    session = recorded(["CA1"] * 25 + ["LP"] * 3 + ["DG"])
    model = stirred(session, "default")
    spy = Spy(model, monkeypatch)
    found = held_out_rates(model, session, "intra-region", TRIALS, quick=True)
    assert sum(spy.rows) == (20 + 3 + 1) * len(TRIALS)
    for name in ("CA1", "LP", "DG"):
        home = (session.units["region"] == name).to_numpy()
        other = held_out_rates(
            model, changed(session, ~home[None]), "intra-region", TRIALS, quick=True
        )
        np.testing.assert_array_equal(other[:, :, home], found[:, :, home])


@pytest.mark.parametrize("score", OF_UNITS)
@pytest.mark.parametrize("preset", PRESETS)
def test_quick_never_shows_a_unit_to_itself(preset, score):
    session = recorded(["CA1"] * 21 + ["LP"] * 5)
    model = stirred(session, preset)
    before = held_out_rates(model, session, score, TRIALS, quick=True)
    for unit in range(session.n_units):
        other = changed(session, column(session, unit))
        after = held_out_rates(model, other, score, TRIALS, quick=True)
        np.testing.assert_allclose(after[:, :, unit], before[:, :, unit], rtol=1e-4)
        assert np.abs(np.log(after / before)).max() > 1e-3


@pytest.mark.parametrize("score", SCORES)
def test_quick_is_exact_where_there_are_no_more_units_than_groups(score):
    session = recorded()
    model = stirred(session, "default")
    exact = held_out_rates(model, session, score, TRIALS)
    quick = held_out_rates(model, session, score, TRIALS, quick=True)
    np.testing.assert_allclose(np.log(quick), np.log(exact), atol=1e-4)


# Memory, progress


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("score", SCORES)
def test_running_out_of_memory_changes_no_result(score, preset, after, monkeypatch):
    session = recorded(n_trials=20)
    model = stirred(session, preset)
    trials = np.arange(20)
    expected = held_out_rates(model, session, score, trials)
    spy = Spy(model, monkeypatch, fits=3, after=after)
    found = held_out_rates(model, session, score, trials)
    assert spy.refused > 0
    assert len(spy.rows) > after
    np.testing.assert_allclose(np.log(found), np.log(expected), atol=1e-5)


def test_no_memory_at_all_is_an_error_of_ours(monkeypatch):
    session = recorded()
    model = stirred(session, "default")
    Spy(model, monkeypatch, fits=0)
    with pytest.raises(WeightsError, match="not enough memory"):
        held_out_rates(model, session, "co-smoothing", TRIALS)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("score", SCORES)
def test_progress_goes_from_0_to_1(score, preset, quick):
    session = recorded(n_trials=20)
    model = stirred(session, preset)
    seen = []
    held_out_rates(
        model, session, score, np.arange(20), quick=quick, progress=lambda f, _: seen.append(f)
    )
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    if score != "forward":
        assert len(set(seen)) > 3


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("score", [s for s in SCORES if s != "forward"])
def test_cancelling_stops_the_passes(score, quick, monkeypatch):
    session = recorded(n_trials=20)
    model = stirred(session, "default")
    trials = np.arange(20)
    spy = Spy(model, monkeypatch)
    held_out_rates(model, session, score, trials, quick=quick)
    whole = len(spy.rows)

    def stop(fraction: float, text: str) -> None:
        if fraction > 0.2:
            raise Cancelled

    training = model.network.training
    with pytest.raises(Cancelled):
        held_out_rates(model, session, score, trials, quick=quick, progress=stop)
    assert len(spy.rows) - whole < 0.6 * whole
    assert model.network.training == training
