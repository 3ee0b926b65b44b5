"""A tiny study of prepared sessions of two animals, and what sessions it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_mtm.errors import SourceError, TrainingError
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import save_session
from napari_mtm.reproducing.arms import REAL, REAL_QUICK, Arm, Study
from napari_mtm.reproducing.real import by_animal, folds, reproduce_real
from napari_mtm.reproducing.study import compare, pretrained_folder
from napari_mtm.training.run import Run

TINY = replace(REAL_QUICK, steps=3, paper_steps=3, pretraining_steps=3, width=16, layers=1)


def recorded(name: str, seed: int, *, bins: int = 12, id: str | None = None) -> Session:
    """60 trials of 9 units in two regions, with choices."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"choice": rng.permutation(np.repeat([-1.0, 1.0], 30))})
    session = Session.from_counts(
        rng.poisson(1.0, (60, bins, 9)),
        ["CA1", "DG", "CA1"] * 3,
        trials=table,
        id=id or f"{name}/{seed}",
        window=(0.0, bins * 0.02),
    )
    return replace(session, name=name)


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    return [recorded("B 2020-01-01", 0), recorded("A 2020-01-02 002", 1)]


@pytest.fixture(scope="module")
def stores(sessions: list[Session], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    for i, session in enumerate(sessions):
        save_session(session, folder / f"{i}.mtm")
    (folder / "about.txt").write_text("Made up\nof noise.\n")
    return folder


def test_animals_are_left_out_in_turn(sessions: list[Session]) -> None:
    third = recorded("A 2020-01-01 001", 2)
    first, second = folds(by_animal([*sessions, third]))
    assert (first.name, [s.name for s in first.held_out]) == (
        "A",
        ["A 2020-01-01 001", "A 2020-01-02 002"],
    )
    assert [s.name for s in first.others] == ["B 2020-01-01"]
    assert [s.name for s in second.held_out] == ["B 2020-01-01"]
    assert [s.name for s in second.others] == ["A 2020-01-01 001", "A 2020-01-02 002"]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "two; these sessions are of B"),
        ([recorded("noise", 5)], "not known which animal noise is of"),
        ([recorded("A 2020-01-01", 0, bins=10)], "12 bins of 20 ms from 0 to 0.24 s, but A"),
        ([recorded("A 2020-01-01", 0, id="B 2020-01-01/0")], "there twice"),
    ],
)
def test_sessions_that_make_no_study_are_refused(
    sessions: list[Session], others: list[Session], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        by_animal([sessions[0], *others])


def test_no_sessions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no prepared sessions"):
        reproduce_real([tmp_path], tmp_path / "out", scale=TINY)


def test_a_study_of_stores(stores: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = reproduce_real([stores], out, scale=TINY, device="cpu")
    assert (out / "results-real.md").read_text() == text
    assert "Made up of noise. 2 sessions of 2 animals (A 1, B 1), 18 units and 120 trials" in text
    references = [name for name in REAL.references if name != "oracle"]  # no rates are known
    for arm in (*REAL.arms, *references):
        assert f"| {arm} |" in text
    lines = (out / "results.jsonl").read_text().splitlines()
    assert len(lines) == 2 * (len(REAL.arms) + len(references))
    (choice,) = {
        line["readouts"]["choice"]["chance"]
        for line in map(json.loads, lines)
        if line["arm"] in REAL.arms
    }
    assert choice == 0.5
    for picture in (line for line in text.splitlines() if line.startswith("![")):
        assert (out / picture[picture.index("(") + 1 : -1]).stat().st_size > 1000
    told: list[str] = []
    again = reproduce_real(
        [stores], out, scale=TINY, device="cpu", progress=lambda _, message: told.append(message)
    )
    assert again == text
    assert told[-1] == "2 of 2 done"  # the true rates alone, asked for again
    with pytest.raises(TrainingError, match="another scale"):
        reproduce_real([stores], out, scale=replace(TINY, seeds=2), device="cpu")


def test_what_is_pretrained_has_seen_no_session_of_the_animal(
    sessions: list[Session], tmp_path: Path
) -> None:
    arm = Arm(others=None)
    held = folds(by_animal([*sessions, recorded("A 2020-01-01 001", 2)]))
    compare(held, Study({"p": arm}, ()), TINY, tmp_path, device="cpu", workers=2)
    for fold in held:
        run = Run(pretrained_folder(tmp_path, fold, arm, 0))
        assert [s.id for s in run.about.sessions] == [s.id for s in fold.others]
        assert not {s.id for s in run.about.sessions} & {s.id for s in fold.held_out}
    with pytest.raises(TrainingError, match="other sessions"):
        compare(folds(by_animal(sessions)), Study({"p": arm}, ()), TINY, tmp_path, device="cpu")


def test_animals_and_networks_never_share_what_is_pretrained(
    sessions: list[Session], tmp_path: Path
) -> None:
    held = folds(
        by_animal([*sessions, recorded("A B 2020-01-01", 3), recorded("A_B 2020-01-01", 4)])
    )
    folders = {
        pretrained_folder(tmp_path, fold, arm, seed)
        for fold in held
        for arm in (Arm(), Arm("published"), Arm("published", "temporal"))
        for seed in (0, 1)
    }
    assert len(folders) == 4 * 3 * 2
