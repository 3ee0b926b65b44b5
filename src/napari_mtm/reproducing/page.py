"""The page that shows a study: a table with intervals, what it says of each claim, figures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.files import new_folder, replacing
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.reproducing.study import FEW, ONCE, REFERENCES, TRAINED, Arm, Result, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RESAMPLES = 2000
_BLUE, _ORANGE, _GREY = "#2a6fbb", "#d9822b", "#999999"


@dataclass(frozen=True)
class Claim:
    """That one arm scores higher than another, by at least so many bits per spike, pooled."""

    text: str
    better: Arm
    worse: Arm
    scores: tuple[Score, ...] = SCORES
    least: float = 0.0


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
        "default, pretrained, few trials",
        "default, few trials",
        least=0.03,
    ),
)


def write_page(results: Sequence[Result], scale: Scale, out: Path, data: str) -> str:
    """Write `results.md`, and a folder of its figures beside it; return the text."""
    figures = _draw(results, scale, out)
    text = "\n".join(
        [
            "# Results",
            "",
            _introduction(scale, data),
            "",
            *_table(results),
            "",
            "## What holds",
            "",
            *_claims(results),
            "",
            *(f"![{path.stem}]({path.parent.name}/{path.name})" for path in figures),
            "",
        ]
    )
    with replacing(out / "results.md") as file:
        file.write(text.encode())
    return text


def _introduction(scale: Scale, data: str) -> str:
    way = "with units held out in groups (quick)" if scale.quick else "each unit held out"
    seeds = f"{scale.seeds} seeds"
    if scale.seeds > 1:
        seeds += f" (one of {' and '.join(f'“{arm}”' for arm in ONCE)})"
    return (
        f"{data} Every network has width {scale.width} and {scale.layers} layers and is trained "
        f"on the animal that it is scored on, the paper's for {scale.paper_steps} steps of 16 "
        f"trials and ours for {scale.steps}, or a third of them on {FEW} trials, after "
        f"{scale.pretraining_steps} steps on the others where it is pretrained; {seeds}. Of each "
        "training the weights are kept that do best on the validation trials. Scores are bits "
        f"per spike of the test trials, pooled over units, {way}: mean, and 95% interval over "
        "animals and seeds."
    )


def _table(results: Sequence[Result]) -> Iterable[str]:
    yield "| | " + " | ".join(SCORES) + " |"
    yield "|---" * (len(SCORES) + 1) + "|"
    for arm in (*TRAINED, *REFERENCES):
        of_arm = [r for r in results if r.arm == arm]
        if not of_arm:
            continue
        cells = []
        for score in SCORES:
            low, mean, high = interval(
                {(r.animal, r.seed): r.pooled.get(score, math.nan) for r in of_arm}
            )
            cells.append(f"{mean:.3f} ({low:.3f} to {high:.3f})")
        yield f"| {arm} | " + " | ".join(cells) + " |"


def _claims(results: Sequence[Result]) -> Iterable[str]:
    yield "| claim | " + " | ".join(SCORES) + " | |"
    yield "|---" * (len(SCORES) + 2) + "|"
    for claim in CLAIMS:
        cells, verdicts = [], []
        for score in SCORES:
            differences = paired(results, claim, score)
            if score not in claim.scores or not differences:
                cells.append("")
                continue
            low, mean, high = interval(differences)
            cells.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f})")
            verdicts.append(mean >= claim.least)
        if verdicts:
            least = f" by {claim.least:g}" if claim.least else ""
            verdict = "holds" if all(verdicts) else "holds in part" if any(verdicts) else "does not"
            yield f"| {claim.text}{least} | " + " | ".join(cells) + f" | {verdict} |"


def paired(results: Sequence[Result], claim: Claim, score: Score) -> dict[tuple[str, int], float]:
    """Differences of a claim's arms by animal and seed; references have but one seed."""
    better, worse = (
        {(r.animal, r.seed): r.pooled.get(score, math.nan) for r in results if r.arm == arm}
        for arm in (claim.better, claim.worse)
    )
    if claim.worse in REFERENCES:
        return {
            key: value - worse[key[0], 0] for key, value in better.items() if (key[0], 0) in worse
        }
    return {key: value - worse[key] for key, value in better.items() if key in worse}


def interval(values: Mapping[tuple[str, int], float]) -> tuple[float, float, float]:
    """Return the mean over animals and a 95% interval around it.

    Animals are resampled, and within each its seeds.
    """
    animals: dict[str, list[float]] = {}
    for (animal, _), value in values.items():
        animals.setdefault(animal, []).append(value)
    of_animals = [np.asarray(found) for found in animals.values()]
    mean = float(np.mean([found.mean() for found in of_animals]))
    rng = np.random.default_rng(0)
    n = len(of_animals)
    drawn = rng.integers(n, size=(_RESAMPLES, n))
    means = np.zeros(drawn.shape)
    for i, found in enumerate(of_animals):
        seeds = rng.choice(found, (_RESAMPLES, n, len(found)))
        means = np.where(drawn == i, seeds.mean(axis=2), means)
    low, high = np.percentile(means.mean(axis=1), [2.5, 97.5])
    return float(low), mean, float(high)


def _draw(results: Sequence[Result], scale: Scale, out: Path) -> list[Path]:
    """Draw the figures; none without matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return []
    pairs: tuple[tuple[Arm, Arm], ...] = (
        ("temporal", "mtm"),
        ("mtm", "default"),
        ("default", "default, pretrained"),
        ("default, few trials", "default, pretrained, few trials"),
    )
    figures = {
        f"{y} against {x}".replace(", ", "-").replace(" ", "-"): _against(results, x, y)
        for x, y in pairs
    }
    figures["by-number-of-other-animals"] = _scaling(results, scale)
    figures["by-region"] = _by_region(results)
    folder = new_folder(out / "figures")
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.svg"
        with replacing(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
        paths.append(path)
    return paths


def _panels() -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    axes = list(figure.subplots(1, len(SCORES)))
    for axis, score in zip(axes, SCORES, strict=True):
        axis.set_title(score)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _against(results: Sequence[Result], x_arm: Arm, y_arm: Arm) -> "Figure":
    """Draw a point per animal and seed, and the line on which both are alike."""
    figure, axes = _panels()
    for axis, score in zip(axes, SCORES, strict=True):
        x, y = (
            {(r.animal, r.seed): r.pooled.get(score, math.nan) for r in results if r.arm == arm}
            for arm in (x_arm, y_arm)
        )
        pairs = np.array([(x[key], y[key]) for key in x if key in y]).reshape(-1, 2)
        axis.scatter(pairs[:, 0], pairs[:, 1], s=24, color=_BLUE, alpha=0.8)
        if len(pairs):
            ends = [pairs.min(), pairs.max()]
            axis.plot(ends, ends, color=_GREY, linewidth=1)
        axis.set_xlabel(x_arm)
    axes[0].set_ylabel(f"{y_arm}\nbits/spike")
    return figure


def _scaling(results: Sequence[Result], scale: Scale) -> "Figure":
    """Draw what is gained by how many other animals were pretrained on."""
    figure, axes = _panels()
    arms: dict[int, Arm] = {2: "default, pretrained on 2", scale.pretraining: "default, pretrained"}
    for axis, score in zip(axes, SCORES, strict=True):
        gains = {
            n: gain
            for n, arm in arms.items()
            if (gain := paired(results, Claim("", arm, "default"), score))
        }
        both = set.intersection(*map(set, gains.values())) if gains else set()
        if both:
            found = [interval({key: gain[key] for key in both}) for gain in gains.values()]
            low, mean, high = np.array([(0.0, 0.0, 0.0), *found]).T
            axis.errorbar([0, *gains], mean, [mean - low, high - mean], color=_BLUE, marker="o")
        axis.axhline(0.0, color=_GREY, linewidth=1)
        axis.set_xlabel("other animals")
    axes[0].set_ylabel("gain in bits/spike")
    return figure


def _by_region(results: Sequence[Result]) -> "Figure":
    """Draw scores by region, the mean over animals and seeds."""
    figure, axes = _panels()
    arms: dict[Arm, str] = {"temporal": _GREY, "mtm": _ORANGE, "default": _BLUE}
    names = sorted({name for r in results for name in r.regions})
    for axis, score in zip(axes, SCORES, strict=True):
        for i, (arm, color) in enumerate(arms.items()):
            values = [
                [
                    r.regions[name][score]
                    for r in results
                    if r.arm == arm and name in r.regions and score in r.regions[name]
                ]
                for name in names
            ]
            means = [float(np.mean(found)) if found else 0.0 for found in values]
            places = np.arange(len(names)) + 0.27 * (i - 1)
            axis.bar(places, means, 0.25, color=color, label=arm)
        axis.set_xticks(range(len(names)), names, rotation=45)
    axes[0].set_ylabel("bits/spike")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure
