"""What each part of the default model is worth on real sessions: train without it, and score.

    python tools/ablate.py run OUT.jsonl STORE ...    prepared sessions, every variant
    python tools/ablate.py table OUT.jsonl            write the table of docs/model.md

Every variant is trained on the same trials for the same steps; shares of the linear expert are
chosen on validation trials, and test trials are scored in quick mode. Results are added to
OUT.jsonl as they come: a run that was stopped goes on where it was.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mtm.masking.sampling import DEFAULT, PUBLISHED
from napari_mtm.masking.tasks import SCORES, TASKS
from napari_mtm.metrics import tally
from napari_mtm.model.grid import Grid
from napari_mtm.model.model import Blend, Model
from napari_mtm.model.network import Default, DefaultSizes
from napari_mtm.model.units import Units
from napari_mtm.recording.opening import open_session
from napari_mtm.recording.session import Session
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.loop import train
from napari_mtm.training.objective import Objective
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson
from napari_mtm.training.validation import Exam, calibrate

PAGE = Path(__file__).parents[1] / "docs" / "model.md"
SAME = DefaultSizes()
DEFAULTS = Settings()
ALONE = {
    "the network alone": Blend((0.0,) * len(TASKS), (0.0,) * len(TASKS)),
    "the expert alone": Blend((1.0,) * len(TASKS), (1.0,) * len(TASKS)),
}


class NoTransformer(Default):
    """Without the transformer."""

    def latents(
        self,
        inputs: Tensor,
        prompt: Tensor,  # noqa: ARG002
        session: str,  # noqa: ARG002
        *,
        causal: bool,
        strict: bool = False,  # noqa: ARG002
    ) -> Tensor:
        """Return the components for latents."""
        smooth, _, _ = self.components(inputs, causal=causal)
        return F.pad(smooth, (0, self.sizes.head - self.sizes.rank))


class NoSmoothing(Default):
    """The components reach the transformer only as they are."""

    def components(self, inputs: Tensor, *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return nothing for the smoothed ones."""
        smooth, components, seen = super().components(inputs, causal=causal)
        return smooth * 0, components, seen


class DroppedInputs(Default):
    """A third of what is seen is dropped at random while it learns, and the rest made up for it."""

    def activity(self, counts: Tensor) -> Tensor:
        """Return activity, of which some is dropped in training."""
        return F.dropout(super().activity(counts), 0.3, self.training)


@dataclass(frozen=True)
class Variant:
    """A network and how it is trained."""

    network: Callable[[int], Default]
    settings: Settings = DEFAULTS
    started: bool = True


def _ours(**changes: Any) -> Callable[[int], Default]:
    return lambda bins: Default(replace(SAME, bins=bins, **changes))


def _masks(**changes: Any) -> Settings:
    return replace(DEFAULTS, objective=Objective(recipe=replace(DEFAULT, **changes)))


VARIANTS = {
    "default": Variant(_ours()),
    "no own past": Variant(_ours(own=0)),
    "no future blocks": Variant(_ours(), _masks(future=0.0)),
    "half of the causal masks random": Variant(_ours(), _masks(future=0.5)),
    "inputs dropped in training": Variant(lambda bins: DroppedInputs(replace(SAME, bins=bins))),
    "no weight decay": Variant(_ours(), replace(DEFAULTS, decay=0.0)),
    "64 wide, 2 layers": Variant(_ours(width=64, layers=2, hidden=128)),
    "48 components": Variant(_ours(rank=48)),
    "no transformer": Variant(lambda bins: NoTransformer(replace(SAME, bins=bins))),
    "no smoothing": Variant(lambda bins: NoSmoothing(replace(SAME, bins=bins))),
    "no closed-form start": Variant(_ours(), started=False),
    "no RoPE": Variant(_ours(rope=False)),
    "the paper's masks": Variant(_ours(), replace(DEFAULTS, objective=Objective(recipe=PUBLISHED))),
}


def main() -> None:
    """Run variants, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("out", type=Path)
    parser.add_argument("stores", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    if options.what == "table":
        _write_table([json.loads(line) for line in options.out.read_text().splitlines()])
    else:
        for found in _run_all(options):
            print(found, flush=True)


def _run_all(options: argparse.Namespace) -> Iterator[str]:
    """Run the variants that a file does not hold yet."""
    known = options.out.read_text().splitlines() if options.out.exists() else []
    done = {(r["variant"], r["session"], r["seed"]) for r in map(json.loads, known)}
    sessions = [open_session(store) for store in options.stores]
    for seed in range(options.seeds):
        for name in options.only:
            for session in sessions:
                if (name, session.id, seed) in done:
                    continue
                for variant, scores in _run(session, name, options.steps, seed).items():
                    about = {"variant": variant, "session": session.id, "seed": seed}
                    line = json.dumps({**about, "steps": options.steps, **scores})
                    with options.out.open("a") as file:
                        file.write(line + "\n")
                    yield line


def _run(session: Session, name: str, steps: int, seed: int) -> dict[str, dict[str, float]]:
    """Train a variant, and score it; of the default also its two halves alone."""
    variant = VARIANTS[name]
    torch.manual_seed(seed)
    network = variant.network(session.n_bins)
    network.add_session(Units.of(session), neutral=False)
    model = Model(network, Grid.of(session))
    if not variant.started:
        model.trained.add(session.id)  # taken for known, it is not started
    split = session.split()
    model.teach(session, split.train)
    lesson = Lesson(session, split.train)
    train(model, {session.id: lesson}, replace(variant.settings, steps=steps, seed=seed))
    null = session.counts[split.train].mean(axis=(0, 1), dtype="float32")
    model.attach(session)
    calibrate(model, [Exam.of(session, split.validation, null)])
    found = {name: _scores(model, session)}
    if name == "default":
        for half, blend in ALONE.items():
            model.blends[session.id] = blend
            found[half] = _scores(model, session)
    return found


def _scores(model: Model, session: Session) -> dict[str, float]:
    """Pooled bits per spike on the test trials."""
    found: dict[str, float] = {}
    test = session.split().test
    for score in SCORES:
        rates = held_out_rates(model, session, score, test, quick=True)
        counted = tally(session.counts[test], rates, scored_entries(session, score))
        found[score] = round(float(counted.pooled_bits_per_spike()), 4)
    return found


def _write_table(results: list[dict[str, Any]]) -> None:
    """Put the means between the page's marks, each with how far it is from the default's."""
    by_variant: dict[str, dict[tuple[str, int], dict[str, Any]]] = defaultdict(dict)
    for result in results:
        by_variant[result["variant"]][result["session"], result["seed"]] = result
    default = by_variant["default"]
    sessions, steps = {key[0] for key in default}, {r["steps"] for r in results}
    heading = (
        f"Bits per spike, pooled over units, on the test trials of {len(sessions)} real sessions, "
        f"after {', '.join(map(str, sorted(steps)))} steps of 16 trials from scratch, units held "
        "out in groups. In brackets: the change from the default with the same seed, and in how "
        "many of the sessions it is a gain."
    )
    lines = [
        heading,
        "",
        "| | seeds | " + " | ".join(SCORES) + " |",
        "|---" * (len(SCORES) + 2) + "|",
    ]
    for name in ["default", *ALONE, *VARIANTS]:
        of_variant = by_variant.pop(name, {})
        if of_variant:
            seeds = len({seed for _, seed in of_variant})
            cells = [_cell(name, score, of_variant, default) for score in SCORES]
            lines.append(f"| {name} | {seeds} | " + " | ".join(cells) + " |")
    before, rest = PAGE.read_text().split("<!-- ablation -->")
    _, after = rest.split("<!-- /ablation -->")
    table = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- ablation -->\n{table}\n<!-- /ablation -->{after}")


def _cell(
    name: str,
    score: str,
    of_variant: dict[tuple[str, int], dict[str, Any]],
    default: dict[tuple[str, int], dict[str, Any]],
) -> str:
    mean = sum(result[score] for result in of_variant.values()) / len(of_variant)
    if name == "default":
        return f"{mean:.3f}"
    changes: dict[str, list[float]] = defaultdict(list)
    for key, result in of_variant.items():
        if key in default:
            changes[key[0]].append(result[score] - default[key][score])
    by_session = [sum(some) / len(some) for some in changes.values()]
    change = sum(by_session) / len(by_session)
    gains = sum(one > 0 for one in by_session)
    return f"{mean:.3f} ({change:+.3f}, {gains} of {len(by_session)})"


if __name__ == "__main__":
    main()
