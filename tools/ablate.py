"""What each part of the default model is worth: train without it, score on test trials.

    python tools/ablate.py run OUT.json --seed 31     one simulated animal, every variant
    python tools/ablate.py table OUT.json ...         write the table of docs/model.md

Every variant is trained on the same trials for the same steps and scored by the exact
tests. Results are added to OUT.json as they come: a run that was stopped goes on where
it was.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mtm.files import replacing
from napari_mtm.masking.sampling import DEFAULT, PUBLISHED
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.metrics import tally
from napari_mtm.model.grid import Grid
from napari_mtm.model.model import Model
from napari_mtm.model.network import Default, DefaultSizes, Published, PublishedSizes
from napari_mtm.model.units import Units
from napari_mtm.recording.opening import open_session
from napari_mtm.recording.session import Session
from napari_mtm.recording.simulation.animal import Recipe as Animal
from napari_mtm.recording.simulation.cache_writer import simulate
from napari_mtm.scoring.baselines import ReducedRank
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.loop import train
from napari_mtm.training.objective import Objective
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson

PAGE = Path(__file__).parents[1] / "docs" / "model.md"
SAME = DefaultSizes()
DEFAULTS = Settings()
THEIRS = Settings.published(rate=5e-4)  # few steps need a faster rate than the paper's


class PastTheTransformer(Default):
    """The components also go straight to the rates."""

    def latents(
        self, inputs: Tensor, prompt: Tensor, session: str, *, causal: bool, strict: bool = False
    ) -> Tensor:
        """Return latents to the first of which the components are added."""
        deep = super().latents(inputs, prompt, session, causal=causal, strict=strict)
        smooth, _, _ = self.components(inputs, causal=causal)
        return deep + F.pad(smooth, (0, self.sizes.head - self.sizes.rank))


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


@dataclass(frozen=True)
class Variant:
    """A network and how it is trained."""

    network: Callable[[int], Default | Published]
    settings: Settings = DEFAULTS
    started: bool = True


def _ours(**changes: Any) -> Callable[[int], Default]:
    return lambda bins: Default(replace(SAME, bins=bins, **changes))


def _theirs(bins: int) -> Published:
    size = SAME
    return Published(
        PublishedSizes(
            bins=bins,
            width=size.width,
            layers=size.layers,
            heads=size.heads,
            hidden=size.hidden,
            channels=128,
            inner=256,
        )
    )


VARIANTS = {
    "default": Variant(_ours()),
    "no transformer": Variant(lambda bins: NoTransformer(replace(SAME, bins=bins))),
    "no smoothing": Variant(lambda bins: NoSmoothing(replace(SAME, bins=bins))),
    "with a way past the transformer": Variant(
        lambda bins: PastTheTransformer(replace(SAME, bins=bins))
    ),
    "no closed-form start": Variant(_ours(), started=False),
    "no own past": Variant(_ours(own=0)),
    "no RoPE": Variant(_ours(rope=False)),
    "four tasks a step": Variant(_ours(), replace(DEFAULTS, batch=4, batches=4)),
    "the paper's masks": Variant(_ours(), replace(DEFAULTS, objective=Objective(recipe=PUBLISHED))),
    "no future blocks": Variant(
        _ours(),
        replace(DEFAULTS, objective=Objective(recipe=replace(DEFAULT, future=0.0))),
    ),
    "published": Variant(_theirs, THEIRS),
    "published, temporal masks": Variant(
        _theirs, replace(THEIRS, objective=Objective.published("temporal"))
    ),
}


def main() -> None:
    """Run variants, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    if options.what == "run":
        _run_all(options.files[0], options.seed, options.steps)
    else:
        _write_table([json.loads(file.read_text()) for file in options.files])


def _run_all(out: Path, seed: int, steps: int) -> None:
    """Run the variants that a file does not hold yet."""
    found = json.loads(out.read_text()) if out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        (path,) = simulate(Path(folder) / "cache", Animal(seed, units=120, trials=250), animals=1)
        session = open_session(path)
        found.setdefault("animal", {"name": session.name, "seed": seed, "steps": steps})
        if "reduced-rank" not in found:
            found |= _references(session)
        for name, variant in VARIANTS.items():
            if name not in found:
                found[name] = _run(session, variant, steps)
                print(name, found[name], flush=True)
                with replacing(out) as file:
                    file.write(json.dumps(found, indent=1).encode())


def _write_table(animals: list[dict[str, dict[str, float]]]) -> None:
    """Put the mean over animals between the page's marks, each beside its cost."""
    names = [name for name in (*VARIANTS, "reduced-rank", "oracle") if name in animals[0]]
    means = {
        name: {score: sum(a[name][score] for a in animals) / len(animals) for score in SCORES}
        for name in names
    }
    steps = {int(a["animal"]["steps"]) for a in animals}
    heading = (
        f"Bits per spike, pooled over units, on the test trials of {len(animals)} simulated "
        f"animals (120 units, about 155 training trials), after {steps.pop()} steps of 16 trials "
        "from scratch, one seed. In brackets: the change from the default."
    )
    lines = [
        heading,
        "",
        "| | " + " | ".join(SCORES) + " |",
        "|---" * (len(SCORES) + 1) + "|",
    ]
    for name in names:
        cells = []
        for score in SCORES:
            value = means[name][score]
            change = value - means["default"][score]
            bracket = (
                f" ({change:+.3f})" if name.startswith(("no ", "with ", "four ", "the ")) else ""
            )
            cells.append(f"{value:.3f}{bracket}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = PAGE.read_text()
    before, rest = text.split("<!-- ablation -->")
    _, after = rest.split("<!-- /ablation -->")
    table = "\n".join(lines)
    PAGE.write_text(f"{before}<!-- ablation -->\n{table}\n<!-- /ablation -->{after}")


def _references(session: Session) -> dict[str, dict[str, float]]:
    split = session.split()
    baseline = ReducedRank.fit(session, split)
    found = {"reduced-rank": _scores(session, lambda score: baseline.rates(score, split.test))}
    if session.rates is not None:
        truth = session.rates[split.test]
        found["oracle"] = _scores(session, lambda _: truth)
    return found


def _run(session: Session, variant: Variant, steps: int) -> dict[str, float]:
    torch.manual_seed(0)
    network = variant.network(session.n_bins)
    network.add_session(Units.of(session), neutral=False)
    model = Model(network, Grid.of(session))
    if not variant.started:
        model.trained.add(session.id)  # taken for known, it is not started
    split = session.split()
    start = time.perf_counter()
    train(model, {session.id: Lesson(session, split.train)}, replace(variant.settings, steps=steps))
    seconds = time.perf_counter() - start
    found = _scores(session, lambda score: held_out_rates(model, session, score, split.test))
    return {**found, "seconds": round(seconds)}


def _scores(session: Session, rates: Callable[[Score], npt.ArrayLike]) -> dict[str, float]:
    """Pooled bits per spike on the test trials."""
    found: dict[str, float] = {}
    for score in SCORES:
        counted = tally(
            session.counts[session.split().test], rates(score), scored_entries(session, score)
        )
        found[score] = round(float(counted.pooled_bits_per_spike()), 4)
    return found


if __name__ == "__main__":
    main()
