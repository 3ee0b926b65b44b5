"""Fine-tunings by real processes: the same weights as on the command line, and none left."""

import psutil
import pytest
import torch

from napari_mtm import cli
from napari_mtm.model.weights import load_model
from napari_mtm.training.run import Run
from napari_mtm.ui.finetune.course import Choices
from napari_mtm.ui.finetune.state import Finetuning
from tests.ui.waiting import until

SHORT = Choices(steps=8, seed=5)


@pytest.fixture
def finetuning(ready, told) -> Finetuning:
    return ready.finetuning


@pytest.fixture
def one_thread():
    """What several threads add up is rounded in another order, and training makes that more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def process_of(finetuning: Finetuning) -> psutil.Process:
    return psutil.Process(finetuning._watched.worker.pid)


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_same_seed_gives_the_same_weights_as_on_the_command_line(
    finetuning, tmp_path, one_thread
):
    finetuning.start(SHORT)
    until(lambda: finetuning.phase == "comparing", 120)
    child = process_of(finetuning)
    finetuning.stop()  # the comparison alone
    until(lambda: finetuning.phase == "finished", 120)
    out = tmp_path / "by hand"
    arguments = ["--model", "pretrained", "--session", "sample", "--scope", "full"]
    numbers = ["--steps", "8", "--seed", "5", "--check-every", "2", "--out", str(out)]
    assert cli.main(["finetune", *arguments, *numbers]) == 0
    ours, theirs = Run(finetuning.course.folder), Run(out)
    assert ours.about.settings == theirs.about.settings
    assert ours.losses().keys() == theirs.losses().keys()
    for step, losses in theirs.losses().items():
        assert ours.losses()[step] == pytest.approx(losses, rel=1e-4)
    by_window = ours.model("best", device="cpu").network.state_dict()
    by_hand = theirs.model("best", device="cpu").network.state_dict()
    assert by_window.keys() == by_hand.keys()
    assert all(torch.allclose(by_window[k], by_hand[k], rtol=1e-3, atol=1e-5) for k in by_hand)
    # Each way's weights load in the other.
    assert load_model(out / "best.safetensors", device="cpu").readouts
    finetuning.shelf.refresh()
    until(lambda: finetuning.shelf.at(ours.folder) is not None)
    until(lambda: gone(child))


def test_a_child_that_is_killed_can_be_resumed(finetuning, told):
    finetuning.start(Choices(steps=100_000))
    until(lambda: finetuning.phase == "running", 120)
    process_of(finetuning).kill()
    until(lambda: finetuning.phase == "failed", 60)
    assert "SIGKILL" in told[-1]
    folder = finetuning.course.folder
    until(lambda: finetuning.shelf.interrupted is not None)
    finetuning.resume(finetuning.shelf.interrupted)
    until(lambda: finetuning.phase == "running", 120)
    assert finetuning.course.folder == folder
    child = process_of(finetuning)
    assert finetuning.close(120.0)
    assert Run(folder).status.state == "interrupted"
    assert gone(child)


def test_what_is_not_begun_is_cancelled_at_once(finetuning):
    finetuning.start(SHORT)
    finetuning.cancel()  # its store is being looked for
    assert finetuning.phase == "idle"
    finetuning.start(SHORT)
    until(lambda: finetuning._watched is not None)
    child = process_of(finetuning)
    finetuning.cancel()
    until(lambda: finetuning.phase == "idle" and gone(child), 120)
    assert finetuning.shelf.entries == ()
