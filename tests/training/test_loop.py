"""Training: the loss falls, masks are learned to be filled in, seeds decide everything."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mtm.errors import Cancelled, MtmError
from napari_mtm.masking.tasks import TASKS
from napari_mtm.metrics import tally
from napari_mtm.model.model import Blend, Model, new_model
from napari_mtm.model.network import DefaultSizes
from napari_mtm.recording.session import Session
from napari_mtm.scoring.held_out import held_out_rates
from napari_mtm.training.loop import begin, steps_of, train
from napari_mtm.training.objective import KINDS, Kind, Objective, Teacher
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer
from tests.training.waves import BINS, PAPER, SMALL, lesson, waves


def trained(session: Session, settings: Settings, *, sizes: object = SMALL) -> Model:
    preset = "default" if isinstance(sizes, DefaultSizes) else "published"
    model = new_model(session, preset, sizes=sizes, device="cpu")
    train(model, lesson(session), settings)
    return model


def co_smoothing(model: Model, session: Session) -> float:
    test = session.split().test
    rates = held_out_rates(model, session, "co-smoothing", test)
    return float(tally(session.counts[test], rates).pooled_bits_per_spike())


def test_our_model_learns_what_units_say_of_each_other() -> None:
    session = waves()
    test = session.split().test
    oracle = float(tally(session.counts[test], session.rates[test]).pooled_bits_per_spike())
    assert co_smoothing(trained(session, Settings(steps=150)), session) > 0.7 * oracle


def test_the_papers_model_learns_too() -> None:
    session = waves()
    settings = Settings.published(steps=400, rate=3e-3)
    assert co_smoothing(trained(session, settings, sizes=PAPER), session) > 0.2


def test_the_closed_form_start_alone_predicts() -> None:
    session = waves()
    assert co_smoothing(trained(session, Settings(steps=0)), session) > 0.1


def test_a_session_that_is_known_is_not_started_again() -> None:
    session = waves()
    model = trained(session, Settings(steps=5))
    before = model.network.loadings(session.id).read.clone()
    train(model, lesson(session), Settings(steps=0))
    assert torch.equal(model.network.loadings(session.id).read, before)


def test_the_seed_decides_everything() -> None:
    session = waves()

    def losses(seed: int) -> list[float]:
        model = new_model(session, sizes=SMALL, device="cpu")
        return train(model, lesson(session), Settings(steps=6, seed=seed))

    first = losses(1)
    torch.manual_seed(99)
    assert losses(1) == first
    assert losses(2) != first


def test_what_is_kept_is_an_average_of_the_weights() -> None:
    session = waves()

    def course(averaging: float) -> list[torch.Tensor]:
        """Weights that are kept after each step."""
        model = new_model(session, sizes=SMALL, device="cpu")
        begin(model, lesson(session))
        trainer = Trainer(model, lesson(session), Settings(steps=30, averaging=averaging))
        weights = next(model.network.parameters())
        seen = [weights.detach().clone()]
        for _ in steps_of(trainer):
            with trainer.averaged():
                seen.append(weights.detach().clone())
        assert torch.equal(weights, seen[-1])
        return seen

    raw, kept = course(0), course(0.5)
    expected = raw[0]
    for step, (weights, found) in enumerate(zip(raw[1:], kept[1:], strict=True)):
        share = min(0.5, (step + 1) / (step + 10))
        expected = share * expected + (1 - share) * weights
        torch.testing.assert_close(found, expected)
    assert not torch.equal(raw[-1], kept[-1])


def test_training_leaves_the_global_generator_alone() -> None:
    session = waves()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(session, Settings(steps=2))
    assert torch.equal(torch.rand(3), expected)


def test_two_sessions_are_both_learned() -> None:
    sessions = [waves(1), waves(2, units=6)]
    model = new_model(sessions, sizes=SMALL, device="cpu")
    train(
        model,
        {s.id: Lesson(s, s.split().train) for s in sessions},
        Settings(steps=150),
    )
    assert model.trained == {s.id for s in sessions}
    assert all(co_smoothing(model, s) > 0.3 for s in sessions)


def test_a_session_without_parameters_or_trials_is_refused() -> None:
    session, other = waves(1), waves(2)
    model = new_model(session, sizes=SMALL, device="cpu")
    with pytest.raises(MtmError, match="waves2 has no trials"):
        train(model, {other.id: Lesson(other, np.arange(3))}, Settings(steps=1))
    with pytest.raises(MtmError, match="waves1 has no trials"):
        train(model, {session.id: Lesson(session, np.arange(0))}, Settings(steps=1))


def test_progress_rises_and_can_cancel() -> None:
    session = waves()
    model = new_model(session, sizes=SMALL, device="cpu")
    seen: list[float] = []

    def report(fraction: float, message: str) -> None:
        seen.append(fraction)
        if fraction >= 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(model, lesson(session), Settings(steps=40), progress=report)
    assert seen == [0.25, 0.5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mean", [True, False])
def test_every_kind_of_mask_gives_a_finite_loss(kind: Kind, mean: bool) -> None:
    session = waves()
    model = new_model(session, sizes=SMALL, device="cpu")
    teacher = Teacher(model.network, session.id, Objective(mean=mean))
    counts = torch.as_tensor(session.counts[:8]).float()
    loss = teacher.loss(kind, counts, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)
    assert loss.requires_grad


def test_a_network_that_knows_the_counts_has_their_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that knows the counts has, per scored entry, the loss of the counts."""
    session = waves()
    model = new_model(session, sizes=SMALL, device="cpu")
    counts = torch.as_tensor(session.counts[:16]).float() + 1
    knows: Callable[..., torch.Tensor] = lambda *args: counts.log()  # noqa: E731
    monkeypatch.setattr("napari_mtm.training.objective.log_rates", knows)
    teacher = Teacher(model.network, session.id, Objective())
    mean = float(session.counts[session.split().train].mean())
    best = (counts - counts * counts.log()) / mean
    for task in TASKS:
        loss = float(teacher.loss(task, counts, torch.Generator().manual_seed(0)).detach())
        assert best.min() <= loss <= best.max()


def test_before_any_step_a_unit_is_forecast_from_its_own_past() -> None:
    """Units that are busy in some trials and quiet in others stay so."""
    rng = np.random.default_rng(3)
    level = rng.choice([0.1, 1.5], (60, 1, 8))
    counts = rng.poisson(np.broadcast_to(level, (60, BINS, 8)))
    session = Session.from_counts(counts, ["CA1"] * 8, id="levels")
    test = session.split().test

    def forward(own: int) -> float:
        sizes = replace(SMALL, own=own)
        model = trained(session, Settings(steps=0), sizes=sizes)
        model.blends[session.id] = Blend((0.0,) * 4, (0.0,) * 4)  # the network alone
        rates = held_out_rates(model, session, "forward", test)[:, -10:]
        return float(tally(session.counts[test][:, -10:], rates).pooled_bits_per_spike())

    assert forward(own=4) > forward(own=0) + 0.2
