"""A tiny study from nothing: every arm is there, and nothing is worked out twice."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pandas as pd
import psutil
import pytest

from napari_mtm.errors import SourceError, TrainingError
from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.cache_writer import simulate
from napari_mtm.reproducing.arms import QUICK, SIMULATED
from napari_mtm.reproducing.reproduce import paper_sessions, reproduce

TINY = replace(
    QUICK,
    animals=1,
    pretraining=3,
    units=12,
    trials=40,
    steps=4,
    paper_steps=4,
    pretraining_steps=4,
    width=16,
    layers=1,
)


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    text = reproduce(tmp_path, scale=TINY, device="cpu")
    arms = (*SIMULATED.arms, *SIMULATED.references)
    for arm in arms:
        assert f"| {arm} |" in text
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) == len(arms)
    path.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])
    told: list[str] = []
    again = reproduce(
        tmp_path, scale=TINY, device="cpu", progress=lambda _, message: told.append(message)
    )
    assert again == text
    assert told[-1] == "1 of 1 done"
    assert len(path.read_text().splitlines()) == len(lines)
    with pytest.raises(TrainingError, match="another scale"):
        reproduce(tmp_path, scale=replace(TINY, steps=5), device="cpu")


def test_processes_that_share_the_work_find_the_same(tmp_path: Path) -> None:
    found = []
    for name, workers in (("alone", 1), ("shared", 2)):
        reproduce(tmp_path / name, scale=TINY, device="cpu", workers=workers)
        lines = (tmp_path / name / "results.jsonl").read_text().splitlines()
        results = [json.loads(line) for line in lines]
        found.append({r["arm"]: r["pooled"] for r in results})
    alone, shared = found
    assert alone.keys() == shared.keys()
    for arm, scores in alone.items():  # threads are shared otherwise, and round otherwise
        assert shared[arm] == pytest.approx(scores, abs=1e-3)


PROGRAM = """
import sys
from dataclasses import replace
from napari_mtm.reproducing.reproduce import reproduce
from tests.reproducing.test_reproduce import TINY
if __name__ == "__main__":
    endless = replace(TINY, steps=1_000_000, paper_steps=1_000_000)
    reproduce(sys.argv[1], scale=endless, device="cpu", workers=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_ends_a_study_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    script, out = tmp_path / "program.py", tmp_path / "out"
    script.write_text(PROGRAM)
    root = str(Path(__file__).parents[2])
    program = subprocess.Popen([sys.executable, script, out], env=os.environ | {"PYTHONPATH": root})
    try:
        found = out / "results.jsonl"
        references = len(SIMULATED.references)  # come first; what is begun then never ends
        while not found.exists() or len(found.read_text().splitlines()) < references:
            time.sleep(0.05)
            assert program.poll() is None
        children = psutil.Process(program.pid).children(recursive=True)
        assert len(children) >= 2
    finally:
        program.send_signal(number)
    assert program.wait(60) == -number
    assert psutil.wait_procs(children, 60)[1] == []


def test_the_papers_sessions_are_taken_from_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    simulate(cache, Recipe(5, units=12, trials=40), animals=3)
    eids = list(pd.read_parquet(cache / "sessions.pqt").index)
    listed = {"held_out": [str(UUID(int=5)), eids[0]], "training": eids[1:]}
    monkeypatch.setattr("napari_mtm.reproducing.reproduce.paper_sessions", lambda: listed)
    text = reproduce(tmp_path / "out", scale=TINY, one=cache, device="cpu")
    assert "1 of the paper's held-out sessions, and 2 others" in text
    assert "| default, pretrained |" in text


def test_the_papers_sessions_are_5_and_the_rest_of_its_table() -> None:
    listed = paper_sessions()
    assert len(listed["held_out"]) == 5
    assert len({*listed["held_out"], *listed["training"]}) == 40


def test_a_cache_without_the_papers_sessions_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        reproduce(tmp_path / "out", scale=TINY, one=tmp_path / "nowhere", device="cpu")
