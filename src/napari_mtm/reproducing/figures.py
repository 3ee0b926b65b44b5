"""The figures of a study."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_mtm.files import new_folder, replacing
from napari_mtm.masking.tasks import SCORES
from napari_mtm.reproducing.study import Result
from napari_mtm.reproducing.tables import Claim, interval, paired, pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#2a6fbb", "#d9822b", "#999999"


def can_draw() -> bool:
    """Whether there is matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def save_figures(figures: Mapping[str, "Figure"], folder: Path) -> list[Path]:
    """Write figures by name into a folder; return their files."""
    paths = []
    for name, figure in figures.items():
        path = new_folder(folder) / f"{name}.svg"
        with replacing(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
        paths.append(path)
    return paths


def against_each_other(
    results: Sequence[Result], arms: Iterable[tuple[str, str]]
) -> dict[str, "Figure"]:
    """Draw one figure for each two arms, x and y, by a name that says which."""
    return {
        f"{y} against {x}".replace(", ", "-").replace(" ", "-"): against(results, x, y)
        for x, y in arms
    }


def against(results: Sequence[Result], x_arm: str, y_arm: str) -> "Figure":
    """Draw a point per session and seed, and the line on which both arms are alike."""
    figure, axes = _panels()
    for axis, score in zip(axes, SCORES, strict=True):
        found = list(pairs(results, x_arm, y_arm, score).values())
        both = np.array(found).reshape(-1, 2)
        axis.scatter(both[:, 0], both[:, 1], s=24, color=_BLUE, alpha=0.8)
        if len(both):
            ends = [both.min(), both.max()]
            axis.plot(ends, ends, color=_GREY, linewidth=1)
        axis.set_xlabel(x_arm)
    axes[0].set_ylabel(f"{y_arm}\nbits/spike")
    return figure


def by_number_of_others(results: Sequence[Result], arms: Mapping[int, str], base: str) -> "Figure":
    """Draw what is gained by how many other animals were pretrained on."""
    figure, axes = _panels()
    for axis, score in zip(axes, SCORES, strict=True):
        gains = {
            n: gain
            for n, arm in arms.items()
            if (gain := paired(results, Claim("", arm, base), score))
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


def by_region(results: Sequence[Result]) -> "Figure":
    """Draw scores by region, the mean over sessions and seeds."""
    figure, axes = _panels()
    arms = {"temporal": _GREY, "mtm": _ORANGE, "default": _BLUE}
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


def _panels() -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    axes = list(figure.subplots(1, len(SCORES)))
    for axis, score in zip(axes, SCORES, strict=True):
        axis.set_title(score)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes
