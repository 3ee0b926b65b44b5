"""Several processes that train together do what one does."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from napari_mtm.recording.store import save_session
from napari_mtm.training.run import Run
from tests.training.waves import waves


@pytest.fixture
def stores(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "stores"
    for seed in (1, 2, 3):
        save_session(waves(seed, trials=20), folder / f"{seed}.mtm")
    return sorted(folder.iterdir())


def pretrain(stores: list[Path], out: Path, *options: str, torchrun: tuple[str, ...] = ()):
    launcher = ["-m", "torch.distributed.run", *torchrun] if torchrun else []
    command = [sys.executable, *launcher, "-m", "napari_mtm", "pretrain", *map(str, stores)]
    return subprocess.Popen(
        [*command, "--out", str(out), "--batches", "2", "--device", "cpu", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]") -> str:
    out, error = process.communicate(timeout=180)
    assert process.returncode == 0, error
    return out


def weights(run: Run) -> torch.Tensor:
    parameters = run.model("last", device="cpu").network.parameters()
    return torch.cat([p.detach().flatten() for p in parameters])


def test_two_processes_learn_what_one_learns(stores: list[Path], tmp_path: Path) -> None:
    options = ("--steps", "8", "--check-every", "4")
    finished(pretrain(stores, tmp_path / "one", *options))
    two = ("--nproc-per-node", "2")
    told = finished(pretrain(stores, tmp_path / "two", *options, torchrun=two))
    assert told.count("finished, 8 of 8 steps") == 1
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    for ours, theirs in zip(two.losses().values(), one.losses().values(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert two.validations()[8] == pytest.approx(one.validations()[8], abs=1e-3)
    assert torch.allclose(weights(two), weights(one), atol=1e-3)


def test_a_worker_that_is_lost_costs_no_more_than_time(stores: list[Path], tmp_path: Path) -> None:
    options = ("--steps", "40", "--check-every", "5", "--resume")
    process = pretrain(
        stores,
        tmp_path / "run",
        *options,
        torchrun=("--nproc-per-node", "2", "--max-restarts", "2", "--monitor-interval", "0.5"),
    )
    path = tmp_path / "run" / "checkpoint.safetensors"
    deadline = time.monotonic() + 90
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(workers(process.pid)[-1], signal.SIGKILL)
    finished(process)
    run = Run(tmp_path / "run")
    assert run.status.state == "finished"
    assert list(run.losses()) == list(range(1, 41))
    finished(pretrain(stores, tmp_path / "whole", *options))
    whole = Run(tmp_path / "whole")
    assert run.losses()[40] == pytest.approx(whole.losses()[40], rel=1e-3)


LEAVE = """
import sys
from pathlib import Path
import torch
from napari_mtm.training.world import joined
def threads():
    return len(list(Path("/proc/self/task").iterdir()))
with joined() as world:
    before = threads()
    weights = torch.nn.Linear(2, 2)
    torch.optim.AdamW(weights.parameters())
    world.add_up(p.data for p in weights.parameters())
    world.wait()
sys.stdout.write(f"{before} {threads()}\\n")  # as one: both write to the same file
"""


def test_no_thread_is_left_when_they_part(tmp_path: Path) -> None:
    """One that goes on while Python ends may abort the process."""
    if not Path("/proc/self/task").exists():
        pytest.skip("threads are counted in /proc")
    script = tmp_path / "leave.py"
    script.write_text(LEAVE)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(script)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",  # numpy's own threads stay until Python ends
            "CUDA_VISIBLE_DEVICES": "",
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    )
    counts = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(counts) == 2
    assert all(before > 1 and after == 1 for before, after in counts)


def workers(parent: int) -> list[int]:
    """Processes that torchrun started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        text = stat.read_text()
        fields = re.sub(r"\(.*\)", "", text).split()
        if int(fields[2]) == parent:
            found.append(int(fields[0]))
    return sorted(found)
