"""What is compared with what, and how each result comes about."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.errors import TrainingError
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.metrics import tally
from napari_mtm.model.model import Model, new_model
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import replacing
from napari_mtm.scoring.baselines import ReducedRank
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.finetuning import with_session
from napari_mtm.training.loop import train
from napari_mtm.training.objective import Objective
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson

Arm = Literal[
    "temporal",
    "mtm",
    "mtm, no prompt",
    "default",
    "default, pretrained on 2",
    "default, pretrained",
    "default, few trials",
    "default, pretrained, few trials",
    "reduced-rank",
    "oracle",
]

TRAINED: tuple[Arm, ...] = (
    "temporal",
    "mtm",
    "mtm, no prompt",
    "default",
    "default, pretrained on 2",
    "default, pretrained",
    "default, few trials",
    "default, pretrained, few trials",
)
REFERENCES: tuple[Arm, ...] = ("reduced-rank", "oracle")

FEW = 40
"""Training trials where they are few."""


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes
    ----------
    animals, pretraining
        Simulated animals that are held out, and that are pretrained on.
    units, trials
        Of each simulated animal.
    seeds
        Trainings of each model on each held-out animal.
    steps, pretraining_steps
        Of each training on a held-out animal, and of pretraining.
    rate
        Learning rate of the paper's models, whose own is made for many more steps.
    width, layers
        Of all networks.
    quick
        Whether units are held out in groups, which is not exact.

    """

    animals: int = 4
    pretraining: int = 8
    units: int = 120
    trials: int = 250
    seeds: int = 3
    steps: int = 1000
    pretraining_steps: int = 3000
    rate: float = 5e-4
    width: int = 128
    layers: int = 4
    quick: bool = False


FULL = Scale()
QUICK = Scale(
    animals=1,
    pretraining=3,
    units=40,
    trials=100,
    seeds=1,
    steps=150,
    pretraining_steps=300,
    width=64,
    layers=2,
    quick=True,
)


@dataclass(frozen=True)
class Result:
    """Scores of one arm on one animal, in bits per spike by test.

    `bps` is as published, `pooled` over units, `regions` the latter by region.
    """

    arm: Arm
    animal: str
    seed: int
    bps: Mapping[Score, float]
    pooled: Mapping[Score, float]
    regions: Mapping[str, Mapping[Score, float]]


def compare(
    held_out: Sequence[Session],
    others: Sequence[Session],
    scale: Scale,
    out: Path,
    *,
    device: str | torch.device | None = None,
    progress: Progress = silent,
) -> list[Result]:
    """Work out every result that `out` does not hold yet; return all.

    `others` are pretrained on, none of them held out.
    """
    out.mkdir(parents=True, exist_ok=True)
    _record(scale, out / "scale.json")
    path = out / "results.jsonl"
    found = _read(path)
    with replacing(path) as whole:  # without a line that was cut off
        whole.write("".join(json.dumps(asdict(r)) + "\n" for r in found).encode())
    done = {(r.arm, r.animal, r.seed) for r in found}
    asked = list(_asked(held_out, scale))
    for i, (arm, session, seed) in enumerate(asked):
        if (arm, session.id, seed) in done:
            continue
        told = part(progress, i / len(asked), (i + 1) / len(asked))
        told(0.0, f"{arm}, {session.title}, seed {seed}")
        rates = _predictor(arm, session, others, scale, seed, out, device, told)
        if rates is None:
            continue
        result = _scored(arm, session, seed, rates)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        found.append(result)
    return found


def _asked(held_out: Sequence[Session], scale: Scale) -> Iterator[tuple[Arm, Session, int]]:
    for session in held_out:
        for arm in REFERENCES:
            yield arm, session, 0
        for seed in range(scale.seeds):
            for arm in TRAINED:
                yield arm, session, seed


_Rates = Callable[[Score], npt.NDArray[np.float32]]


def _predictor(
    arm: Arm,
    session: Session,
    others: Sequence[Session],
    scale: Scale,
    seed: int,
    out: Path,
    device: str | torch.device | None,
    progress: Progress,
) -> _Rates | None:
    """Return what predicts the test trials of a session, None where there is no such thing."""
    test = session.split().test
    if arm == "oracle":
        truth = session.rates
        return None if truth is None else lambda _: truth[test]
    if arm == "reduced-rank":
        fitted = ReducedRank.fit(session, session.split(), progress)
        return lambda score: fitted.rates(score, test)
    model = _trained(arm, session, others, scale, seed, out, device, progress)
    return lambda score: held_out_rates(model, session, score, test, quick=scale.quick)


def _trained(
    arm: Arm,
    session: Session,
    others: Sequence[Session],
    scale: Scale,
    seed: int,
    out: Path,
    device: str | torch.device | None,
    progress: Progress,
) -> Model:
    trials = session.split().train
    if arm.endswith("few trials"):
        trials = trials[:FEW]
    lessons = {session.id: Lesson(session, trials)}
    if arm in ("temporal", "mtm", "mtm, no prompt"):
        sizes = published_sizes(session.n_bins, scale, prompts=arm == "mtm")
        objective = Objective.published("temporal" if arm == "temporal" else "mtm")
        settings = replace(
            Settings.published(objective, steps=scale.steps, rate=scale.rate), seed=seed
        )
        model = new_model(session, "published", sizes=sizes, seed=seed, device=device)
    else:
        settings = Settings(steps=scale.steps, seed=seed, check_every=0)
        if arm.startswith("default, pretrained"):
            some = others[:2] if arm == "default, pretrained on 2" else others
            known = _pretrained(some, scale, seed, out, device)
            model = with_session(known, lessons[session.id], seed)
        else:
            model = new_model(
                session, sizes=default_sizes(session.n_bins, scale), seed=seed, device=device
            )
    train(model, lessons, settings, progress=progress)
    return model


def _pretrained(
    others: Sequence[Session],
    scale: Scale,
    seed: int,
    out: Path,
    device: str | torch.device | None,
) -> Model:
    """Return a model taught on the other animals, once for each seed."""
    settings = Settings(steps=scale.pretraining_steps, seed=seed, check_every=0)
    folder = out / f"pretrained-{len(others)}-{seed}"
    if not (Run.is_in(folder) and Run(folder).status.state == "finished"):
        sizes = default_sizes(others[0].n_bins, scale)
        pretrain(others, folder, sizes=sizes, settings=settings, resume=True, device=device)
    return Run(folder).model("last", device=device)


def default_sizes(bins: int, scale: Scale) -> DefaultSizes:
    """Return the sizes of our network in a study."""
    width = scale.width
    return DefaultSizes(bins=bins, width=width, layers=scale.layers, hidden=2 * width)


def published_sizes(bins: int, scale: Scale, *, prompts: bool) -> PublishedSizes:
    """Return sizes of the paper's network that cost as much as ours."""
    width = scale.width
    return PublishedSizes(
        bins=bins,
        width=width,
        layers=scale.layers,
        heads=DefaultSizes().heads,
        hidden=2 * width,
        channels=width,
        inner=2 * width,
        prompts=prompts,
    )


def _scored(arm: Arm, session: Session, seed: int, rates: _Rates) -> Result:
    counts = session.counts[session.split().test]
    bps: dict[Score, float] = {}
    pooled: dict[Score, float] = {}
    regions: dict[str, dict[Score, float]] = {region.name: {} for region in session.regions}
    for score in SCORES:
        counted = tally(counts, rates(score), scored_entries(session, score))
        bps[score] = round(float(counted.mean_bits_per_spike()), 5)
        pooled[score] = round(float(counted.pooled_bits_per_spike()), 5)
        for region in session.regions:
            found = float(
                counted.units(np.arange(session.n_units)[region.units]).pooled_bits_per_spike()
            )
            if np.isfinite(found):
                regions[region.name][score] = round(found, 5)
    return Result(arm, session.id, seed, bps, pooled, regions)


def _record(scale: Scale, path: Path) -> None:
    """Write a study's scale down at its beginning, and hold it to it when it goes on."""
    if path.exists():
        begun = Scale(**json.loads(path.read_text(encoding="utf-8")))
        if begun != scale:
            raise TrainingError(
                f"{path.parent} holds a study of another scale. Choose another folder."
            )
    with replacing(path) as file:
        file.write(json.dumps(asdict(scale), indent=1).encode())


def _read(path: Path) -> list[Result]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [Result(**json.loads(line)) for line in lines]
