"""What each part of the default model is worth: train without it, score on test trials.

    python tools/ablate.py OUT.json [--steps 1000] [--animals 2] [--only NAME ...]

Trains every variant on simulated animals, same steps, same trials, and scores the exact
tests. Results are added to OUT.json as they come, so that a run that is stopped goes on
where it was; `docs/ablation.md` shows them as a table.
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
from torch import Tensor

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
from napari_mtm.recording.store import replacing
from napari_mtm.scoring.baselines import ReducedRank
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.loop import Settings, train
from napari_mtm.training.objective import ALL_TASKS, Objective

SEED = 31
SAME = DefaultSizes()
OURS = Settings()
THEIRS = Settings.published(rate=5e-4)  # few steps need a faster rate than the paper's


class OnlyTransformer(Default):
    """Without the linear path to the rates."""

    def latents(
        self, inputs: Tensor, prompt: Tensor, session: str, *, causal: bool, strict: bool = False
    ) -> Tensor:
        """Return latents in which the linear path says nothing."""
        latents = super().latents(inputs, prompt, session, causal=causal, strict=strict)
        linear, deep = torch.split(latents, [self.sizes.rank, self.sizes.head], dim=-1)
        return torch.cat([linear * 0, deep], dim=-1)


class OnlyLinear(Default):
    """Without the transformer."""

    def latents(
        self, inputs: Tensor, prompt: Tensor, session: str, *, causal: bool, strict: bool = False
    ) -> Tensor:
        """Return latents in which the transformer says nothing."""
        latents = super().latents(inputs, prompt, session, causal=causal, strict=strict)
        linear, deep = torch.split(latents, [self.sizes.rank, self.sizes.head], dim=-1)
        return torch.cat([linear, deep * 0], dim=-1)


@dataclass(frozen=True)
class Variant:
    """A network and how it is trained."""

    network: Callable[[int], Default | Published]
    settings: Settings = OURS


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
    "no linear path": Variant(lambda bins: OnlyTransformer(replace(SAME, bins=bins))),
    "no transformer": Variant(lambda bins: OnlyLinear(replace(SAME, bins=bins))),
    "rank 12": Variant(_ours(rank=12)),
    "rank 48": Variant(_ours(rank=48)),
    "no presence channels": Variant(_ours(presence=0)),
    "no own past": Variant(_ours(own=0)),
    "no RoPE": Variant(_ours(rope=False)),
    "no dropout": Variant(_ours(dropout=0.0)),
    "one task a batch": Variant(
        _ours(), replace(OURS, objective=replace(ALL_TASKS, masking="one-task"))
    ),
    "sum of errors": Variant(
        _ours(), replace(OURS, objective=replace(ALL_TASKS, masking="one-task", mean=False))
    ),
    "the paper's masks": Variant(
        _ours(), replace(OURS, objective=replace(ALL_TASKS, recipe=PUBLISHED))
    ),
    "no future blocks": Variant(
        _ours(),
        replace(OURS, objective=replace(ALL_TASKS, recipe=replace(DEFAULT, future=0.0))),
    ),
    "published": Variant(_theirs, THEIRS),
    "published, temporal masks": Variant(
        _theirs, replace(THEIRS, objective=Objective.published("temporal"))
    ),
}


def main() -> None:
    """Run the variants that OUT.json does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--animals", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        recipe = Animal(SEED, units=150, trials=250)
        paths = simulate(Path(folder) / "cache", recipe, animals=options.animals)
        sessions = [open_session(path) for path in paths]
    for session in sessions:
        name = session.name
        found = results.setdefault(name, {})
        if "reduced-rank" not in found:
            found |= _references(session)
        for variant in options.only:
            if variant not in found:
                found[variant] = _run(session, VARIANTS[variant], options.steps)
                print(name, variant, found[variant], flush=True)
            with replacing(options.out) as file:
                file.write(json.dumps(results, indent=1).encode())


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
    split = session.split()
    start = time.perf_counter()
    train(model, {session.id: (session, split.train)}, replace(variant.settings, steps=steps))
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
