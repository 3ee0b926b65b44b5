"""Runs on disk: resumed as if never stopped, readable whatever happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mtm.errors import Cancelled, StoreError, TrainingError, WeightsError
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.model import new_model
from napari_mtm.recording.session import Session
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.loop import Report
from napari_mtm.training.objective import Objective, Teacher
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.run import Run, holding
from napari_mtm.training.settings import Settings
from tests.training.waves import SMALL, waves

QUICK = Settings(steps=20, check_every=10)


def stop_at(step: int):
    def watch(report: Report) -> None:
        if report.step >= step:
            raise Cancelled

    return watch


def test_a_run_keeps_what_it_did(tmp_path: Path) -> None:
    session = waves()
    run = pretrain([session], tmp_path / "run", sizes=SMALL, settings=QUICK, device="cpu")
    again = Run(tmp_path / "run")
    assert again.about == run.about
    assert again.about.settings == QUICK
    assert again.about.environment["torch"] == torch.__version__
    assert list(again.losses()) == list(range(1, 21))
    kinds = [kind for losses in again.losses().values() for kind in losses]
    assert all(kinds.count(task) == 5 for task in TASKS)
    assert list(again.validations()) == [0, 10, 20]
    status = again.status
    assert (status.state, status.step, status.steps) == ("finished", 20, 20)
    means = {s: np.mean(list(v.values())) for s, v in again.validations().items()}
    assert status.best_step == max(means, key=means.__getitem__)
    assert status.best == pytest.approx(max(means.values()))
    counts, hidden = session.counts[:2], np.zeros(session.counts.shape[1:], bool)
    for which in ("best", "last", "start"):
        rates = again.model(which, device="cpu").predict(counts, hidden, session=session)
        assert np.isfinite(rates).all()


@pytest.mark.parametrize("objective", ["mtm", "temporal"])
def test_a_run_that_was_stopped_goes_on_as_if_it_never_had(tmp_path: Path, objective: str) -> None:
    session = waves()
    settings = Settings(steps=30, check_every=10, objective=Objective(masking=objective))

    def go(folder: str, **options) -> Run:
        return pretrain(
            [session], tmp_path / folder, sizes=SMALL, settings=settings, device="cpu", **options
        )

    whole = go("whole")
    with pytest.raises(Cancelled):
        go("cut", watch=stop_at(10))
    assert Run(tmp_path / "cut").status.state == "stopped"
    cut = go("cut", resume=True)
    assert cut.losses() == whole.losses()
    assert cut.validations() == whole.validations()
    ours, theirs = (
        torch.cat([p.flatten() for p in run.model("last", device="cpu").network.parameters()])
        for run in (cut, whole)
    )
    assert torch.equal(ours, theirs)


def test_a_run_is_not_begun_twice(tmp_path: Path) -> None:
    pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=1), device="cpu")
    with pytest.raises(TrainingError, match="already"):
        pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=1), device="cpu")


def test_a_run_of_other_sessions_is_not_resumed(tmp_path: Path) -> None:
    pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=1), device="cpu")
    with pytest.raises(TrainingError, match="other sessions"):
        pretrain([waves(1)], tmp_path, resume=True, device="cpu")


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run in"):
        Run(tmp_path)


def test_two_do_not_train_in_one_folder(tmp_path: Path) -> None:
    run = pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=1), device="cpu")
    with holding(run.folder), pytest.raises(TrainingError, match="being trained already"):
        pretrain([waves()], tmp_path, resume=True, device="cpu")


def test_two_that_begin_together_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    """The second comes while the first has not written anything yet."""
    model = new_model(waves(1), sizes=SMALL, device="cpu")
    second: list[str] = []

    def meanwhile(_fraction: float, _message: str) -> None:
        if not second:
            assert not Run.is_in(tmp_path / "run")
            with pytest.raises(TrainingError) as refused:
                finetune(model, waves(3), tmp_path / "run", scope="full", settings=QUICK)
            second.append(str(refused.value))

    run = finetune(model, waves(2), tmp_path / "run", settings=QUICK, progress=meanwhile)
    assert "is being trained already" in second[0]
    assert run.status.state == "finished"
    assert [about.id for about in Run(tmp_path / "run").about.sessions] == ["waves2"]


def test_what_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    model = new_model(waves(1), sizes=SMALL, device="cpu")
    other = Session.from_counts(np.ones((9, 7, 2)), ["CA1"] * 2, bin_size=0.01)
    with pytest.raises(WeightsError, match="works on bins of 20 ms"):
        finetune(model, other, tmp_path / "run", settings=QUICK)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(WeightsError):
        finetune(model, other, tmp_path / "mine", settings=QUICK)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"]


def test_a_run_of_another_kind_is_not_resumed(tmp_path: Path) -> None:
    session = waves()
    model = new_model(session, sizes=SMALL, device="cpu")
    finetune(model, session, tmp_path / "tuned", scope="units", settings=QUICK)
    before = (tmp_path / "tuned" / "status.json").read_bytes()
    with pytest.raises(TrainingError, match="is a fine-tuning; go on with it as such"):
        pretrain([session], tmp_path / "tuned", resume=True, device="cpu")
    assert (tmp_path / "tuned" / "status.json").read_bytes() == before
    pretrain([session], tmp_path / "new", sizes=SMALL, settings=Settings(steps=1), device="cpu")
    with pytest.raises(TrainingError, match="is a pretraining"):
        finetune(model, session, tmp_path / "new", resume=True)


# What is damaged on disk


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped at step 10."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Cancelled):
        pretrain([waves()], folder, sizes=SMALL, settings=QUICK, device="cpu", watch=stop_at(10))
    return folder


@pytest.fixture
def copy(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def resume(folder: Path) -> Run:
    return pretrain([waves()], folder, resume=True, device="cpu")


@pytest.mark.parametrize("place", [0.05, 0.5, 0.999])
def test_a_checkpoint_with_a_flipped_bit_is_not_trained_on(copy: Path, place: float) -> None:
    path = copy / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors is damaged"):
        resume(copy)
    path.unlink()
    assert resume(copy).status.state == "finished"


def wider(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1), tensor.reshape(-1)])


@pytest.mark.parametrize("kind", ["weights", "average", "exp_avg", "exp_avg_sq", "step"])
@pytest.mark.parametrize(
    "change", [wider, lambda t: t.reshape(-1)[:0], lambda t: t.double(), lambda t: None]
)
def test_a_checkpoint_of_another_shape_is_refused_before_it_is_used(
    copy: Path, kind: str, change: Callable[[torch.Tensor], torch.Tensor | None]
) -> None:
    """It could come from a run of other sizes; an optimiser would write beyond its end."""
    run = Run(copy)
    tensors, standing = run.checkpoint()
    name = next(name for name in tensors if name.startswith(f"{kind}/"))
    changed = change(tensors.pop(name))
    run.save_checkpoint(tensors if changed is None else {**tensors, name: changed}, standing)
    with pytest.raises(TrainingError, match="The checkpoint does not fit this run"):
        resume(copy)


def test_a_checkpoint_with_more_in_it_or_beyond_the_end_is_refused(copy: Path) -> None:
    run = Run(copy)
    tensors, standing = run.checkpoint()
    run.save_checkpoint({**tensors, "exp_avg/nobody": torch.zeros(3)}, standing)
    with pytest.raises(TrainingError, match=r"does not fit this run \(exp_avg/nobody\)"):
        resume(copy)
    run.save_checkpoint(tensors, standing.model_copy(update={"step": 21}))
    with pytest.raises(TrainingError, match=r"does not fit this run \(its step\)"):
        resume(copy)


@pytest.mark.parametrize(
    "line",
    [b"{", b"\xff\xfe", b"[" * 100_000, b'{"step": "three", "losses": {}}', b"5", b"", b"null"],
    ids=range(7),
)
def test_a_bad_line_in_the_log_costs_that_line_only(copy: Path, line: bytes) -> None:
    lines = (copy / "log.jsonl").read_bytes().split(b"\n")
    (copy / "log.jsonl").write_bytes(b"\n".join([*lines[:4], line, *lines[4:]]))
    before = Run(copy).losses()
    assert list(before) == list(range(1, 11))
    run = resume(copy)
    assert list(run.losses()) == list(range(1, 21))
    assert {step: run.losses()[step] for step in before} == before


@pytest.mark.parametrize("name", ["steps", "batch", "rate", "seed", "objective"])
def test_a_setting_that_is_gone_is_damage_not_a_default(copy: Path, name: str) -> None:
    about = json.loads((copy / "run.json").read_text())
    del about["settings"][name]
    (copy / "run.json").write_text(json.dumps(about))
    with pytest.raises(TrainingError, match=f"run.json is damaged: settings lacks '{name}'"):
        Run(copy)


def test_a_setting_that_makes_no_sense_is_refused(copy: Path) -> None:
    about = json.loads((copy / "run.json").read_text())
    about["settings"]["averaging"] = 2
    (copy / "run.json").write_text(json.dumps(about))
    with pytest.raises(TrainingError, match=r"run\.json is damaged: The setting averaging must be"):
        Run(copy)


def test_half_a_line_in_the_log_is_ignored(tmp_path: Path) -> None:
    run = pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=3), device="cpu")
    before = run.log()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "los')
    assert run.log() == before


def test_training_stops_early_without_gain(tmp_path: Path) -> None:
    settings = Settings(steps=60, check_every=5, patience=2, rate=0.0)
    run = pretrain([waves()], tmp_path, sizes=SMALL, settings=settings, device="cpu")
    assert (run.status.state, run.status.step, run.status.best_step) == ("finished", 10, 0)
    assert "early" in run.status.message


def test_a_session_without_validation_trials_keeps_the_last_weights(tmp_path: Path) -> None:
    session = waves(trials=2)
    assert not len(session.split().validation)
    run = pretrain([session], tmp_path, sizes=SMALL, settings=QUICK, device="cpu")
    assert run.status.best is None
    ours, last = (
        torch.cat([p.flatten() for p in run.model(which, device="cpu").network.parameters()])
        for which in ("best", "last")
    )
    assert torch.equal(ours, last)


def test_a_loss_that_is_not_finite_fails_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Teacher.loss
    monkeypatch.setattr(Teacher, "loss", lambda *asked: loss(*asked) * torch.nan)
    with pytest.raises(TrainingError, match="smaller learning rate"):
        pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=99), device="cpu")
    status = Run(tmp_path).status
    assert status.state == "failed"
    assert "smaller learning rate" in status.message
    weights = Run(tmp_path).model(device="cpu").network.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


CHILD = """
import sys
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.settings import Settings
from tests.training.waves import SMALL, waves

print("ready", flush=True)
pretrain([waves()], sys.argv[1], sizes=SMALL, device="cpu", resume=True,
         settings=Settings(steps=100_000, check_every=20),
         watch=lambda report: print(report.step, flush=True))
"""


def child(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_killed_it_is_marked_and_goes_on(tmp_path: Path) -> None:
    with child(tmp_path) as process:
        until(process, 40)
        assert Run(tmp_path).status.state == "running"
        process.kill()
    run = Run(tmp_path)
    assert run.status.state == "interrupted"
    saved = run.status.step
    assert saved >= 40
    half_written = tmp_path / f".last.safetensors-{process.pid}-x"
    half_written.touch()
    (tmp_path / ".mine").touch()
    with child(tmp_path) as process:
        assert until(process, 0) == saved + 10
        process.kill()
    assert not half_written.exists()
    assert (tmp_path / ".mine").exists()


def test_ctrl_c_saves_and_ends(tmp_path: Path) -> None:
    with child(tmp_path) as process:
        until(process, 10)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in error
    run = Run(tmp_path)
    assert run.status.state == "stopped"
    tensors, standing = run.checkpoint()
    assert standing.step == run.status.step == max(run.losses())
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def until(process: subprocess.Popen[str], step: int) -> int:
    """Wait until a child is at a step or beyond; return it."""
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            if line.strip().isdigit() and int(line) >= step:
                return int(line)
    finally:
        timer.cancel()
    raise AssertionError(process.stderr.read())


def test_a_disk_that_is_full_fails_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("Cannot write x: No space left on device.")

    monkeypatch.setattr(Run, "save_checkpoint", full)
    with pytest.raises(StoreError, match="No space left"):
        pretrain([waves()], tmp_path, sizes=SMALL, settings=QUICK, device="cpu")
    monkeypatch.undo()
    assert Run(tmp_path).status.state == "failed"
    again = pretrain([waves()], tmp_path, resume=True, device="cpu")
    assert again.status.state == "finished"


def test_a_status_is_whole_json(tmp_path: Path) -> None:
    pretrain([waves()], tmp_path, sizes=SMALL, settings=Settings(steps=1), device="cpu")
    for name in ("run.json", "status.json"):
        json.loads((tmp_path / name).read_text())
