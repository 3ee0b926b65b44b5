"""The tables: means over sessions, paired differences, and what is said of a claim."""

import numpy as np
import pytest

from napari_mtm.masking.tasks import SCORES
from napari_mtm.reproducing.study import Result
from napari_mtm.reproducing.tables import Claim, claim_table, interval, paired, score_table


def result(arm: str, session: str, seed: int, value: float) -> Result:
    scores = dict.fromkeys(SCORES, value)
    return Result(arm, session, seed, scores, scores, {"CA1": scores, "DG": {}})


def test_sessions_count_alike_however_many_seeds_they_have() -> None:
    values = {("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 6.0}
    low, mean, high = interval(values)
    assert mean == pytest.approx(4.0)
    assert 1.0 <= low < mean < high <= 6.0


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        values = {(str(i), 0): v for i, v in enumerate(rng.normal(2.0, 1.0, 25))}
        low, _, high = interval(values)
        covered += low <= 2.0 <= high
    assert 50 <= covered <= 60


def test_differences_are_between_the_same_session_and_seed() -> None:
    results = [
        result("mtm", "a", 0, 1.0),
        result("mtm", "a", 1, 2.0),
        result("mtm", "b", 0, 5.0),
        result("temporal", "a", 0, 0.5),
        result("temporal", "a", 1, 0.5),
    ]
    claim = Claim("", "mtm", "temporal")
    assert paired(results, claim, "forward") == {("a", 0): 0.5, ("a", 1): 1.5}


def test_a_reference_has_one_result_for_all_seeds() -> None:
    results = [
        result("default", "a", 0, 1.0),
        result("default", "a", 1, 2.0),
        result("reduced-rank", "a", 0, 0.5),
    ]
    claim = Claim("", "default", "reduced-rank")
    assert paired(results, claim, "forward") == {("a", 0): 0.5, ("a", 1): 1.5}


def test_sessions_above_are_counted_by_their_means_over_seeds() -> None:
    values = {"a": (0.5, 0.1), "b": (-0.1, -0.1), "c": (0.3, -0.2)}
    results = [
        result("default", session, seed, 1.0 + value)
        for session, some in values.items()
        for seed, value in enumerate(some)
    ] + [result("reduced-rank", session, 0, 1.0) for session in values]
    lines = list(claim_table(results, [Claim("higher", "default", "reduced-rank", ("forward",))]))
    cells = [cell.strip() for cell in lines[-1].split("|")]
    assert cells[1] == "higher"
    assert cells[3].startswith("+0.083 (")  # (0.3 - 0.1 + 0.05) / 3
    assert cells[3].endswith(", 2 of 3")
    assert cells[2] == cells[4] == cells[5] == ""
    assert cells[6] == "holds"


def test_a_test_without_a_score_has_an_empty_cell() -> None:
    some = Result("default", "a", 0, {}, {"forward": 0.25}, {})
    *_, line = score_table([some], ["mtm", "default"])
    assert line == "| default |  | 0.250 (0.250 to 0.250) |  |  |"
