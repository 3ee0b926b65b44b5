"""Fine-tuning: a model learns one session more, and the one it came from stays as it was."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mtm.errors import Cancelled, TrainingError, WeightsError
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.model import Blend, Model, new_model
from napari_mtm.model.seen import seen
from napari_mtm.recording.session import Session
from napari_mtm.scoring.held_out import held_out_rates
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.loop import Report, train
from napari_mtm.training.settings import Settings
from napari_mtm.training.validation import Exam
from tests.training.waves import SMALL, lesson, waves

QUICK = Settings(steps=30, check_every=10)


@pytest.fixture(scope="module")
def pretrained() -> Model:
    session = waves(1)
    model = new_model(session, sizes=SMALL, device="cpu")
    train(model, lesson(session), Settings(steps=60))
    return model


def shared(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.shared().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def co_smoothing(model: Model, session: Session) -> float:
    from napari_mtm.metrics import tally

    test = session.split().test
    rates = held_out_rates(model, session, "co-smoothing", test)
    return float(tally(session.counts[test], rates).pooled_bits_per_spike())


def test_a_session_is_learned(pretrained: Model, tmp_path: Path) -> None:
    session = waves(2)
    tuned = finetune(pretrained, session, tmp_path / "run", settings=QUICK).model(device="cpu")
    blended = co_smoothing(tuned, session)
    alone = Blend((0.0,) * len(TASKS), (0.0,) * len(TASKS))  # the network, without linear experts
    tuned.blends[session.id] = alone
    untaught = copy.deepcopy(pretrained)
    untaught.blends[session.id] = alone
    assert co_smoothing(tuned, session) > co_smoothing(untaught, session) + 0.1
    assert blended > co_smoothing(tuned, session)
    assert tuned.knows(session)
    assert session.id in tuned.readouts
    assert not tuned.notes_on(session)


def test_the_model_that_was_given_is_left_alone(pretrained: Model, tmp_path: Path) -> None:
    session = waves(2)
    weights, known = shared(pretrained), set(pretrained.network.sessions)
    finetune(pretrained, session, tmp_path / "run", settings=QUICK)
    assert same(shared(pretrained), weights)
    assert not pretrained.knows(session)
    assert set(pretrained.network.sessions) == known


def test_a_session_that_was_only_looked_at_is_started_afresh(
    pretrained: Model, tmp_path: Path
) -> None:
    session = waves(3)
    attached = new_model(waves(1), sizes=SMALL, device="cpu")
    attached.attach(session)  # neutral
    start = finetune(attached, session, tmp_path, settings=QUICK).model("start", device="cpu")
    assert bool(start.network.loadings(session.id).read.any())


def test_units_alone_leave_what_sessions_share(pretrained: Model, tmp_path: Path) -> None:
    session = waves(2)
    run = finetune(pretrained, session, tmp_path, scope="units", settings=QUICK)
    start, last = run.model("start", device="cpu"), run.model("last", device="cpu")
    assert same(shared(start), shared(last))
    assert not same(
        {"": start.network.loadings(session.id).read}, {"": last.network.loadings(session.id).read}
    )
    whole = finetune(pretrained, session, tmp_path / "whole", scope="full", settings=QUICK)
    assert not same(shared(start), shared(whole.model("last", device="cpu")))


def test_low_rank_updates_move_the_transformer_alone(pretrained: Model, tmp_path: Path) -> None:
    session = waves(2)
    run = finetune(pretrained, session, tmp_path, scope="lora", settings=QUICK)
    start, last = (shared(run.model(which, device="cpu")) for which in ("start", "last"))
    moved = {name for name in start if not torch.equal(start[name], last[name])}
    assert moved == {
        name for name in start if name.startswith("trunk") and start[name].ndim == 2
    } - {"trunk.norm.weight"}
    for name in moved:
        change = last[name] - start[name]
        assert torch.linalg.matrix_rank(change, rtol=1e-3) <= 8
        assert change.abs().max() > 1e-4


def test_low_rank_updates_go_on_as_if_never_stopped(pretrained: Model, tmp_path: Path) -> None:
    session = waves(2)

    def stop(report: Report) -> None:
        if report.step == 10:
            raise Cancelled

    whole = finetune(pretrained, session, tmp_path / "whole", scope="lora", settings=QUICK)
    with pytest.raises(Cancelled):
        finetune(pretrained, session, tmp_path / "cut", scope="lora", settings=QUICK, watch=stop)
    cut = finetune(pretrained, session, tmp_path / "cut", resume=True)
    assert cut.losses() == whole.losses()
    ours, theirs = (shared(run.model("last", device="cpu")) for run in (cut, whole))
    assert same(ours, theirs)


def test_the_scope_is_chosen_by_validation(
    pretrained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.3, 0.2])
    monkeypatch.setattr(
        "napari_mtm.training.finetuning.validate", lambda *_: {"neuron": next(scores)}
    )
    run = finetune(pretrained, waves(2), tmp_path, settings=QUICK)
    assert run.about.scope == "lora"


def test_other_sessions_keep_their_units(pretrained: Model, tmp_path: Path) -> None:
    run = finetune(pretrained, waves(2), tmp_path, scope="full", settings=QUICK)
    kept = run.model("last", device="cpu").network.own("waves1")
    before = pretrained.network.own("waves1")
    assert all(torch.equal(a, b) for a, b in zip(kept, before, strict=True))


def test_a_known_session_goes_on_from_where_it_was(pretrained: Model, tmp_path: Path) -> None:
    start = finetune(pretrained, waves(1), tmp_path, settings=QUICK).model("start", device="cpu")
    ours, theirs = (model.network.loadings("waves1").read for model in (start, pretrained))
    assert torch.equal(ours, theirs)


def test_trials_and_those_it_is_chosen_by_can_be_given(
    pretrained: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = waves(2)
    asked = []
    of = Exam.of
    monkeypatch.setattr(
        Exam, "of", lambda one, trials, *a, **k: asked.append(trials) or of(one, trials, *a, **k)
    )
    run = finetune(
        pretrained,
        session,
        tmp_path,
        scope="units",
        settings=QUICK,
        trials=np.arange(20),
        validation=[30, 31, 32],
    )
    assert [trials.tolist() for trials in asked] == [[30, 31, 32]]
    for which in ("best", "last"):
        found = seen(run.model(which, device="cpu"), session)
        assert found is not None
        assert np.flatnonzero(found).tolist() == [*range(20), 30, 31, 32]
    start = seen(run.model("start", device="cpu"), session)
    assert start is not None
    assert np.flatnonzero(start).tolist() == list(range(20))


def test_by_default_a_session_is_seen_but_for_its_test_trials(
    pretrained: Model, tmp_path: Path
) -> None:
    session = waves(2)
    run = finetune(pretrained, session, tmp_path, scope="units", settings=QUICK)
    found = seen(run.model(device="cpu"), session)
    assert found is not None
    assert np.flatnonzero(~found).tolist() == session.split().test.tolist()


def test_stopped_it_goes_on(pretrained: Model, tmp_path: Path) -> None:
    def stop(report: Report) -> None:
        if report.step == 10:
            raise Cancelled

    session = waves(2)
    whole = finetune(pretrained, session, tmp_path / "whole", settings=QUICK)
    with pytest.raises(Cancelled):
        finetune(pretrained, session, tmp_path / "cut", settings=QUICK, watch=stop)
    cut = finetune(pretrained, session, tmp_path / "cut", resume=True)
    assert cut.losses() == whole.losses()


def test_few_trials_can_be_asked_for(pretrained: Model, tmp_path: Path) -> None:
    session = waves(2)
    chosen = session.split().train[:3]
    run = finetune(pretrained, session, tmp_path, settings=QUICK, trials=chosen)
    assert run.about.sessions[0].trials == 3


def test_what_does_not_fit_is_refused(pretrained: Model, tmp_path: Path) -> None:
    fine = Session.from_counts(np.ones((9, 40, 4), np.uint8), ["CA1"] * 4, bin_size=0.01)
    with pytest.raises(WeightsError, match="Open the session anew with bins of 20 ms"):
        finetune(pretrained, fine, tmp_path / "fine", settings=QUICK)
    finetune(pretrained, waves(2), tmp_path / "run", settings=Settings(steps=1))
    with pytest.raises(TrainingError, match="of other sessions"):
        finetune(pretrained, waves(3), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("trials", "regions"),
    [(3, ["CA1"] * 4), (30, ["CA1"]), (30, ["CA1", "DG"]), (2, ["CA1"] * 3)],
)
def test_small_sessions_train(
    pretrained: Model, tmp_path: Path, trials: int, regions: list[str]
) -> None:
    counts = np.random.default_rng(0).poisson(0.5, (trials, 40, len(regions)))
    session = Session.from_counts(counts, regions)
    run = finetune(pretrained, session, tmp_path, settings=QUICK)
    assert run.status.state == "finished"
    rates = run.model(device="cpu").predict(
        session.counts, np.zeros((40, len(regions)), bool), session=session
    )
    assert np.isfinite(rates).all()


def test_a_session_without_spikes_trains(pretrained: Model, tmp_path: Path) -> None:
    session = Session.from_counts(np.zeros((20, 40, 3)), ["CA1"] * 3)
    run = finetune(pretrained, session, tmp_path, settings=QUICK)
    assert run.status.step == 30
    assert run.status.best is None


def test_what_comes_before_the_first_step_is_told(pretrained: Model, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    begun: list[int] = []

    def progress(fraction: float, message: str) -> None:
        assert not begun
        told.append((fraction, message))

    settings = Settings(steps=3, check_every=0)
    finetune(
        pretrained,
        waves(2, trials=100),
        tmp_path / "run",
        scope="full",
        settings=settings,
        watch=lambda report: begun.append(report.step),
        progress=progress,
    )
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.1
    assert 0.9 < fractions[-1] <= 1
    said = " ".join(message for _, message in told)
    for words in ("linear expert", "starting the units", "expert counts", "validating the start"):
        assert words in said


@pytest.mark.parametrize("where", ["linear expert", "starting the units", "validating the start"])
def test_it_can_be_cancelled_before_the_first_step(
    pretrained: Model, tmp_path: Path, where: str
) -> None:
    def cancel(_fraction: float, message: str) -> None:
        if where in message:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        finetune(
            pretrained, waves(2), tmp_path / "run", scope="full", settings=QUICK, progress=cancel
        )
    run = finetune(
        pretrained, waves(2), tmp_path / "run", scope="full", settings=QUICK, resume=True
    )
    assert run.status.state == "finished"
