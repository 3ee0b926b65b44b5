"""What is compared with what, and how each result comes about."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.errors import StoreError, TrainingError, in_short
from napari_mtm.files import new_folder, replacing
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.metrics import tally
from napari_mtm.model.model import Model, new_model
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.processes import Death, share
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session
from napari_mtm.records import dump, read, read_lines, write
from napari_mtm.scoring.baselines import ReducedRank
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.finetuning import with_session
from napari_mtm.training.loop import begin, steps_of
from napari_mtm.training.objective import Objective
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer
from napari_mtm.training.validation import Exam, calibrate, validate

Trained = Literal[
    "temporal",
    "mtm",
    "mtm, as many steps as ours",
    "mtm, no prompt",
    "default",
    "default, pretrained on 2",
    "default, pretrained",
    "default, pretrained, a third of the steps",
    "default, few trials",
    "default, pretrained, few trials",
]
Reference = Literal["reduced-rank", "oracle"]
Arm = Trained | Reference

TRAINED: tuple[Trained, ...] = get_args(Trained)
REFERENCES: tuple[Reference, ...] = get_args(Reference)

ONCE: tuple[Trained, ...] = ("mtm, no prompt", "default, pretrained on 2")
"""Arms that are trained with one seed, to save time for those with more."""

_LOOKS = 12

FEW = 40
"""Training trials where they are few, which are learnt by heart in a third of the steps."""


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
        Trainings of each model on each held-out animal, but of those in `ONCE`.
    steps, paper_steps, pretraining_steps
        Of each training of our network on a held-out animal, of the paper's, which needs
        more, and of pretraining. Of the first two the weights are kept that do best on the
        validation trials, looked at `_LOOKS` times.
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
    steps: int = 2500
    paper_steps: int = 5000
    pretraining_steps: int = 3000
    rate: float = 2e-3
    width: int = 64
    layers: int = 2
    quick: bool = False


FULL = Scale()
QUICK = Scale(
    animals=2,
    pretraining=3,
    units=60,
    trials=150,
    seeds=1,
    steps=400,
    paper_steps=400,
    pretraining_steps=800,
    quick=True,
)


@dataclass(frozen=True)
class Result:
    """Scores of one arm on one animal, in bits per spike by test.

    `bps` is as published, `pooled` over units, `regions` the latter by region. `curve` is
    the mean over tasks of the validation scores, by the step at which it was looked at.
    """

    arm: Arm
    animal: str
    seed: int
    bps: Mapping[Score, float]
    pooled: Mapping[Score, float]
    regions: Mapping[str, Mapping[Score, float]]
    curve: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pretraining:
    """A model to be taught on other animals, once for each seed."""

    others: Sequence[Session]
    seed: int
    scale: Scale
    out: Path
    device: str | None

    def work(self) -> None:
        """Do it, unless it was done."""
        folder = pretrained_folder(self.out, len(self.others), self.seed)
        if Run.is_in(folder) and Run(folder).status.state == "finished":
            return
        sizes = default_sizes(self.others[0].n_bins, self.scale)
        settings = Settings(steps=self.scale.pretraining_steps, seed=self.seed, check_every=0)
        pretrain(
            self.others, folder, sizes=sizes, settings=settings, resume=True, device=self.device
        )


@dataclass(frozen=True)
class _Comparison:
    """One arm on one held-out animal."""

    arm: Arm
    session: Session
    seed: int
    n_others: int
    scale: Scale
    out: Path
    device: str | None

    def work(self) -> Result | None:
        """Return the result, None where the arm does not exist for the animal."""
        session, test = self.session, self.session.split().test
        if self.arm == "oracle":
            truth = session.rates
            return None if truth is None else self._scored(lambda _: truth[test])
        if self.arm == "reduced-rank":
            fitted = ReducedRank.fit(session, session.split())
            return self._scored(lambda score: fitted.rates(score, test))
        model, curve = self._trained()
        quick = self.scale.quick
        found = self._scored(lambda score: held_out_rates(model, session, score, test, quick=quick))
        return replace(found, curve=curve)

    def _trained(self) -> tuple[Model, dict[str, float]]:
        arm, session, seed, scale = self.arm, self.session, self.seed, self.scale
        trials = session.split().train
        if arm.endswith("few trials"):
            trials = trials[:FEW]
        lesson = Lesson(session, trials)
        if arm == "temporal" or arm.startswith("mtm"):
            prompts = arm not in ("temporal", "mtm, no prompt")
            sizes = published_sizes(session.n_bins, scale, prompts=prompts)
            objective = Objective.published("temporal" if arm == "temporal" else "mtm")
            steps = scale.steps if arm.endswith("as ours") else scale.paper_steps
            settings = Settings.published(objective, steps=steps, rate=scale.rate)
            settings = replace(settings, seed=seed)
            model = new_model(session, "published", sizes=sizes, seed=seed, device=self.device)
        else:
            short = arm.endswith(("few trials", "a third of the steps"))
            steps = scale.steps // 3 if short else scale.steps
            settings = Settings(steps=steps, seed=seed)
            if arm.startswith("default, pretrained"):
                n = min(2, self.n_others) if arm.endswith("on 2") else self.n_others
                run = Run(pretrained_folder(self.out, n, seed))
                model = with_session(run.model("last", device=self.device), lesson, seed)
            else:
                own = default_sizes(session.n_bins, scale)
                model = new_model(session, sizes=own, seed=seed, device=self.device)
        return model, _train_to_the_best(model, lesson, settings)

    def _scored(self, rates: Callable[[Score], npt.NDArray[np.float32]]) -> Result:
        session = self.session
        counts = session.counts[session.split().test]
        bps: dict[Score, float] = {}
        pooled: dict[Score, float] = {}
        regions: dict[str, dict[Score, float]] = {region.name: {} for region in session.regions}
        for score in SCORES:
            counted = tally(counts, rates(score), scored_entries(session, score))
            _keep(bps, score, counted.mean_bits_per_spike())
            _keep(pooled, score, counted.pooled_bits_per_spike())
            for region in session.regions:
                units = np.arange(session.n_units)[region.units]
                _keep(regions[region.name], score, counted.units(units).pooled_bits_per_spike())
        return Result(self.arm, session.id, self.seed, bps, pooled, regions)


def _keep(scores: dict[Score, float], score: Score, value: npt.ArrayLike) -> None:
    """Keep a score that has a value: where nothing fired, there is none."""
    if np.isfinite(value):
        scores[score] = round(float(np.asarray(value)), 5)


def _train_to_the_best(model: Model, lesson: Lesson, settings: Settings) -> dict[str, float]:
    """Train, and keep the weights that are best on validation; return what it was by step."""
    session = lesson.session
    null = session.counts[lesson.trials].mean(axis=(0, 1), dtype=np.float32)
    exam = Exam.of(session, session.split().validation, null)
    begin(model, {session.id: lesson})
    curve: dict[str, float] = {}
    best: dict[str, torch.Tensor] = {}
    every = max(settings.steps // _LOOKS, 1)
    trainer = Trainer(model, {session.id: lesson}, settings)
    for step in steps_of(trainer):
        if step % every and step < settings.steps:
            continue
        with trainer.averaged():
            calibrate(model, [exam])
            scores = validate(model, [exam]).values()
            mean = sum(scores) / len(scores) if scores else -math.inf
            if not best or mean > max(curve.values(), default=-math.inf):
                best = {name: value.clone() for name, value in model.network.state_dict().items()}
        if math.isfinite(mean):
            curve[str(step)] = round(mean, 5)
    model.network.load_state_dict(best)
    calibrate(model, [exam])
    return curve


def compare(
    held_out: Sequence[Session],
    others: Sequence[Session],
    scale: Scale,
    out: Path,
    *,
    device: str | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Result]:
    """Work out every result that `out` does not hold yet; return all.

    `others` are pretrained on, none of them held out. With several `workers`, that many
    processes share the work.
    """
    new_folder(out)
    _record(scale, out / "scale.json")
    path = out / "results.jsonl"
    found = _read(path)
    with replacing(path) as whole:  # without a line that was cut off or damaged
        whole.write(b"".join(dump(result) + b"\n" for result in found))
    done = {(r.arm, r.animal, r.seed) for r in found}
    first = [
        _Pretraining(some, seed, scale, out, device)
        for seed in range(scale.seeds)
        for some in ([others, others[:2]] if len(others) > 2 and seed == 0 else [others])
    ]
    for _ in _all_done(first, workers, part(progress, 0.0, 0.2), "pretrained"):
        pass
    second = [
        _Comparison(arm, session, seed, len(others), scale, out, device)
        for arm, session, seed in _asked(held_out, scale)
        if (arm, session.id, seed) not in done
    ]
    for result in _all_done(second, workers, part(progress, 0.2, 1.0), "compared"):
        if result is not None:
            try:
                with path.open("ab") as file:
                    file.write(dump(result) + b"\n")
            except OSError as error:
                raise StoreError(f"Cannot write {path}: {in_short(error)}.") from None
            found.append(result)
    return found


def _asked(held_out: Sequence[Session], scale: Scale) -> Iterator[tuple[Arm, Session, int]]:
    """All animals with one seed before the next: a study that is cut short has all animals."""
    for session in held_out:
        for reference in REFERENCES:
            yield reference, session, 0
    for seed in range(scale.seeds):
        for session in held_out:
            for trained in TRAINED:
                if seed == 0 or trained not in ONCE:
                    yield trained, session, seed


_Job = TypeVar("_Job", _Pretraining, _Comparison)


def _all_done(
    jobs: Sequence[_Job], workers: int, progress: Progress, verb: str
) -> Iterator[Result | None]:
    """Yield what jobs come to, as they end."""

    def told(k: int) -> None:
        progress(k / max(len(jobs), 1), f"{verb} {k} of {len(jobs)}")

    told(0)
    if workers == 1:
        for k, job in enumerate(jobs):
            yield _work(job)
            told(k + 1)
        return
    threads = max((os.cpu_count() or 1) // workers, 1)
    k = 0
    for ended in share(jobs, _work, workers, threads=threads):
        if ended is not None:
            _, result = ended
            if isinstance(result, Death):
                raise TrainingError(
                    "A process that worked was killed, as happens where memory runs out. The same "
                    "command with fewer workers goes on with the study."
                )
            yield result
            k += 1
        told(k)


def _work(job: _Pretraining | _Comparison) -> Result | None:
    if isinstance(job, _Comparison):
        return job.work()
    job.work()
    return None


def pretrained_folder(out: Path, n: int, seed: int) -> Path:
    """Where the model taught on n animals with a seed is."""
    return out / f"pretrained-{n}-{seed}"


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


def _record(scale: Scale, path: Path) -> None:
    """Write a study's scale down at its beginning, and hold it to it when it goes on."""
    if path.exists() and read(Scale, path, TrainingError) != scale:
        raise TrainingError(f"{path.parent} holds a study of another scale. Choose another folder.")
    write(path, scale)


def _read(path: Path) -> list[Result]:
    if not path.exists():
        return []
    found = {(r.arm, r.animal, r.seed): r for r in read_lines(Result, path, TrainingError)}
    return list(found.values())
