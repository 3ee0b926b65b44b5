"""Compare simulated animals with real ones: figures and tables of docs/simulation.md.

    python tools/compare_simulation.py FOLDER

FOLDER holds real tables: `ibllib_trials_test/trials_*.csv` and
`reproducible_ephys_tables/clusters_re_147.pqt`.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from napari_mtm.recording.regions import to_beryl
from napari_mtm.recording.simulation.animal import Animal, Recipe, simulate_animal
from napari_mtm.recording.simulation.areas import REPEATED_SITE

mpl.use("agg")
import matplotlib.pyplot as plt

PAGE = Path(__file__).parents[1] / "docs" / "simulation.md"
IMAGES = PAGE.parent / "images"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONTRASTS = (0.0, 0.0625, 0.125, 0.25, 1.0)
REAL, SIMULATED = "0.55", "#c0392b"


def main(folder: Path) -> None:
    """Write the figures and the tables."""
    real_trials = [
        pd.read_csv(f) for f in sorted((folder / "ibllib_trials_test").glob("trials_*.csv"))
    ]
    trained = [t for t in real_trials if (t["task_protocol"] == "biased").all()]
    animals = [simulate_animal(Recipe(seed=1, units=150, trials=600), n) for n in range(6)]
    simulated_trials = [a.behaviour.trials for a in animals]
    _put("behaviour", _behaviour_table(trained, simulated_trials))
    _draw_behaviour(trained, simulated_trials)
    real_units = pd.read_parquet(folder / "reproducible_ephys_tables" / "clusters_re_147.pqt")
    _put("rates", _compare_rates(real_units, animals))


def _response(trials: pd.DataFrame) -> pd.Series:
    return (trials["response_times"] - trials["stimOn_times"]).dropna()


def _signed(trials: pd.DataFrame) -> pd.Series:
    return trials["contrastRight"].fillna(-trials["contrastLeft"])


def _correct(trials: pd.DataFrame) -> pd.Series:
    """Share of correct trials by contrast."""
    contrast = trials["contrastRight"].fillna(trials["contrastLeft"])
    return (trials["feedbackType"] > 0).groupby(contrast).mean()


def _put(name: str, table: str) -> None:
    """Put a table between its marks in the page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(f"<!-- {name} -->")
    _, after = rest.split("<!-- end -->", 1)
    text = f"{before}<!-- {name} -->\n{table}\n<!-- end -->{after}"
    PAGE.write_text(text, encoding="utf-8")


def _behaviour_table(real: list[pd.DataFrame], simulated: list[pd.DataFrame]) -> str:
    """Compare ranges over sessions, as a Markdown table."""
    rows = ["| lowest, median and highest session | real | simulated |", "|---|---|---|"]
    for quantile in QUANTILES:
        cells = [
            _range([float(_response(t).quantile(quantile)) for t in s]) for s in (real, simulated)
        ]
        rows.append(f"| response time, {quantile:.0%} of trials (s) | {' | '.join(cells)} |")
    for contrast in CONTRASTS:
        cells = [_range([_correct(t)[contrast] for t in s]) for s in (real, simulated)]
        rows.append(f"| correct at {contrast:.2%} contrast | {' | '.join(cells)} |")
    cells = [_range([_interval(t) for t in s]) for s in (real, simulated)]
    rows.append(f"| median time between stimuli (s) | {' | '.join(cells)} |")
    return "\n".join(rows)


def _interval(trials: pd.DataFrame) -> float:
    """Median seconds from one stimulus to the next."""
    return float(trials["stimOn_times"].diff().median())


def _range(values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in np.quantile(values, [0, 0.5, 1]))


def _draw_behaviour(real: list[pd.DataFrame], simulated: list[pd.DataFrame]) -> None:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for sessions, colour, name in ((real, REAL, "real"), (simulated, SIMULATED, "simulated")):
        for k, trials in enumerate(sessions):
            label = name if k == 0 else None
            response = np.sort(_response(trials))
            share = np.linspace(0, 1, len(response))
            left.plot(response, share, color=colour, lw=1, alpha=0.7, label=label)
            contrast = _correct(trials)
            middle.plot(
                range(len(contrast)),
                contrast,
                "o-",
                color=colour,
                ms=3,
                lw=1,
                alpha=0.7,
                label=label,
            )
        together = pd.concat(sessions)
        for block, style in ((0.2, "-"), (0.8, "--")):
            part = together[together["probabilityLeft"] == block]
            chose_right = (part["choice"] == -1).groupby(_signed(part)).mean()
            side = "right" if block == 0.2 else "left"
            right.plot(
                chose_right.index * 100,
                chose_right,
                style,
                color=colour,
                label=f"{name}, {side} block",
            )
    left.set(xscale="log", xlim=(0.05, 60), xlabel="response time (s)", ylabel="share of trials")
    middle.set(xlabel="contrast (%)", ylabel="share correct", ylim=(0.3, 1.02))
    middle.set_xticks(range(5), ["0", "6.25", "12.5", "25", "100"])
    right.set(xlabel="signed contrast (%)", ylabel="chose right")
    for axis in (left, middle, right):
        axis.legend(frameon=False, fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "simulated-behaviour.png", dpi=130)


def _compare_rates(real: pd.DataFrame, animals: list[Animal]) -> str:
    """Draw the distributions of firing rates, and return their table."""
    real = real[(real["label"] == 1) & (real["firing_rate"] > 0)]
    real = real.assign(region=to_beryl(real["acronym"].tolist()))
    units = pd.concat([p.units for a in animals for p in a.recording.probes])
    units = units[units["label"] == 1]
    figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), sharey=True, layout="constrained")
    bins = np.linspace(-5, 5, 31)
    rows = ["| region | real | simulated |", "|---|---|---|"]
    for axis, region in zip(axes, REPEATED_SITE, strict=True):
        cells = []
        for table, colour, name in ((real, REAL, "real"), (units, SIMULATED, "simulated")):
            rates = np.log(table.loc[table["region"] == region, "firing_rate"])
            axis.hist(
                rates,
                bins,
                density=True,
                histtype="step",
                color=colour,
                lw=1.5,
                label=f"{name} ({len(rates)})",
            )
            cells.append(f"{rates.mean():.2f} ± {rates.std():.2f}")
        rows.append(f"| {region} | {' | '.join(cells)} |")
        axis.set(title=region, xlabel="spikes/s")
        axis.set_xticks(np.log([0.01, 0.1, 1, 10, 100]), ["0.01", "0.1", "1", "10", "100"])
        axis.legend(frameon=False, fontsize=6, loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("density")
    figure.savefig(IMAGES / "simulated-rates.png", dpi=130)
    return "\n".join(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
