"""The page: what is said of each claim, every arm, and figures."""

from pathlib import Path

import pytest

from napari_mtm.reproducing.arms import QUICK, SIMULATED
from napari_mtm.reproducing.page import CLAIMS, write_page
from tests.reproducing.test_tables import result


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
    results = [result(arm, "a", 0, 0.5) for arm in SIMULATED.arms]
    text = write_page(results, QUICK, tmp_path, "Data.")
    assert (tmp_path / "results.md").read_text() == text
    for arm in SIMULATED.arms:
        assert f"| {arm} |" in text
    pictures = [line for line in text.splitlines() if line.startswith("![")]
    for line in pictures:
        assert (tmp_path / line[line.index("(") + 1 : -1]).stat().st_size > 1000
    assert pictures
