"""The page: means over animals, paired differences, and what is said of a claim."""

from pathlib import Path

import numpy as np
import pytest

from napari_mtm.masking.tasks import SCORES
from napari_mtm.reproducing.page import CLAIMS, Claim, interval, paired, write_page
from napari_mtm.reproducing.study import QUICK, TRAINED, Result


def result(arm, animal, seed, value) -> Result:
    scores = dict.fromkeys(SCORES, value)
    return Result(arm, animal, seed, scores, scores, {"CA1": scores, "DG": {}})


def test_animals_count_alike_however_many_seeds_they_have() -> None:
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


def test_differences_are_between_the_same_animal_and_seed() -> None:
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


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.2, "| holds |"), (0.01, "| does not |"), (-0.2, "| does not |")]
)
def test_a_claim_holds_by_as_much_as_it_says(tmp_path: Path, gain: float, verdict: str) -> None:
    equal = "mtm, as many steps as ours"
    results = [result(equal, "a", 0, 0.5), result("default", "a", 0, 0.5 + gain)]
    text = write_page(results, QUICK, tmp_path, "Data.")
    claim = next(c for c in CLAIMS if (c.better, c.worse) == ("default", equal))
    line = next(line for line in text.splitlines() if claim.text in line)
    assert line.endswith(verdict)
    assert f"{gain:+.3f} ({gain:+.3f} to {gain:+.3f})" in line


def test_the_page_shows_every_arm_and_its_figures(tmp_path: Path) -> None:
    results = [result(arm, "a", 0, 0.5) for arm in TRAINED]
    text = write_page(results, QUICK, tmp_path, "Data.")
    assert (tmp_path / "results.md").read_text() == text
    for arm in TRAINED:
        assert f"| {arm} |" in text
    pictures = [line for line in text.splitlines() if line.startswith("![")]
    for line in pictures:
        assert (tmp_path / line[line.index("(") + 1 : -1]).stat().st_size > 1000
    assert pictures
