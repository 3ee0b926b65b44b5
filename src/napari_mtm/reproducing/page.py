"""The page of the paper's comparisons: a table with intervals, what it says of claims, figures."""

from collections.abc import Sequence
from pathlib import Path

from napari_mtm.files import replacing
from napari_mtm.reproducing.arms import FEW, FEW_TRIALS, SIMULATED, SimulatedScale
from napari_mtm.reproducing.figures import (
    against_each_other,
    by_number_of_others,
    by_region,
    can_draw,
    save_figures,
)
from napari_mtm.reproducing.study import Result
from napari_mtm.reproducing.tables import Claim, claim_table, score_table

CLAIMS = (
    Claim(
        "the paper: MtM above temporal masking",
        "mtm",
        "temporal",
        ("co-smoothing", "intra-region", "inter-region"),
    ),
    Claim("the paper: the prompt helps", "mtm", "mtm, no prompt"),
    Claim(
        "ours: default above published, equal steps",
        "default",
        "mtm, as many steps as ours",
        least=0.05,
    ),
    Claim("ours: default above published, which has all its steps", "default", "mtm"),
    Claim("ours: default above reduced-rank regression", "default", "reduced-rank"),
    Claim(
        "the paper: other animals help, all trials",
        "default, pretrained",
        "default",
    ),
    Claim(
        "ours: with other animals, a third of the steps is enough",
        "default, pretrained, a third of the steps",
        "default",
    ),
    Claim(
        "the paper: other animals help, 40 trials",
        "default, pretrained" + FEW_TRIALS,
        "default" + FEW_TRIALS,
        least=0.03,
    ),
)


def write_page(results: Sequence[Result], scale: SimulatedScale, out: Path, data: str) -> str:
    """Write `results.md`, and a folder of its figures beside it; return the text."""
    figures = _draw(results, scale, out)
    text = "\n".join(
        [
            "# Results",
            "",
            _introduction(scale, data),
            "",
            *score_table(results, (*SIMULATED.arms, *SIMULATED.references)),
            "",
            "## What holds",
            "",
            *claim_table(results, CLAIMS),
            "",
            *(f"![{path.stem}]({path.parent.name}/{path.name})" for path in figures),
            "",
        ]
    )
    with replacing(out / "results.md") as file:
        file.write(text.encode())
    return text


def _introduction(scale: SimulatedScale, data: str) -> str:
    way = "with units held out in groups (quick)" if scale.quick else "each unit held out"
    seeds = f"{scale.seeds} seeds"
    if scale.seeds > 1:
        once = [f"“{name}”" for name, arm in SIMULATED.arms.items() if arm.once]
        seeds += f" (one of {' and '.join(once)})"
    return (
        f"{data} Every network has width {scale.width} and {scale.layers} layers and is trained "
        f"on the animal that it is scored on, the paper's for {scale.paper_steps} steps of 16 "
        f"trials and ours for {scale.steps}, or a third of them on {FEW} trials spread over the "
        f"session, after {scale.pretraining_steps} steps on the others where it is pretrained; "
        f"{seeds}. Of each training the weights are kept that do best on the validation trials. "
        "Scores are bits per spike of the test trials, pooled over units, "
        f"{way}: mean, and 95% interval over animals and seeds."
    )


def _draw(results: Sequence[Result], scale: SimulatedScale, out: Path) -> list[Path]:
    """Draw the figures; none without matplotlib."""
    if not can_draw():
        return []
    figures = against_each_other(
        results,
        [
            ("temporal", "mtm"),
            ("mtm", "default"),
            ("default", "default, pretrained"),
            ("default" + FEW_TRIALS, "default, pretrained" + FEW_TRIALS),
        ],
    )
    arms = {2: "default, pretrained on 2", scale.pretraining: "default, pretrained"}
    figures["by-number-of-other-animals"] = by_number_of_others(results, arms, "default")
    figures["by-region"] = by_region(results)
    return save_figures(figures, out / "figures")
