"""How far the quick mode is from the exact tests: the figures of docs/model.md.

    python tools/measure_quick.py [--steps 600]

Trains the default model on the sample session and scores its test trials both ways.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from napari_mtm.masking.tasks import Score
from napari_mtm.metrics import Tally, tally
from napari_mtm.model.model import new_model
from napari_mtm.recording.opening import open_session
from napari_mtm.scoring.held_out import held_out_rates
from napari_mtm.training.loop import train
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson

PAGE = Path(__file__).parents[1] / "docs" / "model.md"
SCORES: tuple[Score, ...] = ("co-smoothing", "intra-region")
BUSY = 100
"""Units with at least so many test spikes are compared one by one."""


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    steps = parser.parse_args().steps
    session = open_session("sample")
    split = session.split()
    model = new_model(session)
    train(model, {session.id: Lesson(session, split.train)}, Settings(steps=steps))

    def scored(score: Score, *, quick: bool) -> tuple[Tally, float]:
        start = time.perf_counter()
        rates = held_out_rates(model, session, score, split.test, quick=quick)
        return tally(session.counts[split.test], rates), time.perf_counter() - start

    heading = (
        f"On the sample ({session.n_units} units, {len(split.test)} test trials), with a model "
        f"trained for {steps} steps, bits per spike:"
    )
    lines = [
        heading,
        "",
        "| test | exact, pooled | quick, pooled | difference by unit: median, largest | cost |",
        "|---|---|---|---|---|",
    ]
    for score in SCORES:
        exact, slow = scored(score, quick=False)
        quick, fast = scored(score, quick=True)
        busy = exact.spikes.sum(axis=0) >= BUSY
        apart = np.abs(exact.bits_per_spike() - quick.bits_per_spike())[busy]
        lines.append(
            f"| {score} | {float(exact.pooled_bits_per_spike()):.4f} | "
            f"{float(quick.pooled_bits_per_spike()):.4f} | "
            f"{np.median(apart):.4f}, {apart.max():.4f} | {fast / slow:.2f} |"
        )
    lines += [
        "",
        f"Units are those with at least {BUSY} test spikes; cost is time, quick to exact.",
    ]
    before, rest = PAGE.read_text().split("<!-- quick -->")
    _, after = rest.split("<!-- /quick -->")
    text = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- quick -->\n{text}\n<!-- /quick -->{after}")
    print(text)


if __name__ == "__main__":
    main()
