"""How each result of a study comes about, and how what was worked out is kept."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.errors import StoreError, TrainingError, in_short
from napari_mtm.files import new_folder, replacing
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.metrics import tally
from napari_mtm.model.model import Model, new_model
from napari_mtm.processes import Death, share
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split
from napari_mtm.records import dump, read, read_lines, write
from napari_mtm.reproducing.arms import FEW, REFERENCES, Arm, Reference, Scale, Study, spread
from napari_mtm.scoring.decoding import beside_ridge, decode_session
from napari_mtm.scoring.held_out import held_out_rates, scored_entries
from napari_mtm.training.finetuning import with_session
from napari_mtm.training.loop import begin, steps_of
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer
from napari_mtm.training.validation import Exam, calibrate, validate

_LOOKS = 12
"""How often a training is validated, to keep its best weights."""


@dataclass(frozen=True)
class Fold:
    """Sessions that are held out together, and those of other animals, to pretrain on.

    `name` tells folds of one study apart.
    """

    held_out: Sequence[Session]
    others: Sequence[Session]
    name: str = ""

    def pretrained_on(self, arm: Arm) -> Sequence[Session]:
        """Return the sessions that an arm is pretrained on."""
        return self.others[: arm.others]


@dataclass(frozen=True)
class Result:
    """Scores of one arm on one session, in bits per spike by test.

    `bps` is as published, `pooled` over units, `regions` the latter by region. `curve` is
    the mean over tasks of the validation scores, by the step at which it was looked at.
    `readouts` is what is decoded of behaviour, as an `Evaluation` has it.
    """

    arm: str
    session: str
    seed: int
    bps: Mapping[Score, float]
    pooled: Mapping[Score, float]
    regions: Mapping[str, Mapping[Score, float]]
    curve: Mapping[str, float] = field(default_factory=dict)
    readouts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What a study has one result for."""
        return self.arm, self.session, self.seed


@dataclass(frozen=True)
class _Pretraining:
    """A model to be taught on other animals."""

    arm: Arm
    others: Sequence[Session]
    seed: int
    scale: Scale
    folder: Path
    device: str | None

    def work(self) -> None:
        pretrain(
            self.others,
            self.folder,
            preset=self.arm.preset,
            sizes=self.arm.sizes(self.others[0].n_bins, self.scale),
            settings=self.arm.pretraining(self.scale, self.seed),
            resume=True,
            device=self.device,
        )


@dataclass(frozen=True)
class _Training:
    """An arm to be trained and scored on a session; `start` is the run of its pretraining."""

    name: str
    arm: Arm
    session: Session
    seed: int
    scale: Scale
    start: Path | None
    device: str | None

    def work(self) -> Result:
        arm, session, quick = self.arm, self.session, self.scale.quick
        split = _split(session, few=arm.few)
        lesson = Lesson(session, split.train)
        if self.start is not None:
            pretrained = Run(self.start).model("last", device=self.device)
            model = with_session(pretrained, lesson, self.seed)
        else:
            sizes = arm.sizes(session.n_bins, self.scale)
            model = new_model(session, arm.preset, sizes=sizes, seed=self.seed, device=self.device)
        curve = _train_to_the_best(model, lesson, arm.settings(self.scale, self.seed))
        found = _scored(
            (self.name, session, self.seed),
            lambda score: held_out_rates(model, session, score, split.test, quick=quick),
        )
        decoded = decode_session(model, session, split, split.test)
        decoded = beside_ridge(decoded, session, split, split.test)
        return replace(found, curve=curve, readouts=_known(decoded))


@dataclass(frozen=True)
class _Measuring:
    """A reference to be scored on a session."""

    name: str
    reference: Reference
    session: Session

    def work(self) -> Result | None:
        """Return the result, None where true rates are not known."""
        session = self.session
        split = _split(session, few=self.reference.few)
        if self.reference.baseline is not None:
            fitted = self.reference.baseline.fit(session, split)
            return _scored((self.name, session, 0), lambda score: fitted.rates(score, split.test))
        if session.rates is None:
            return None
        truth = session.rates[split.test]
        return _scored((self.name, session, 0), lambda _: truth)


_Job = _Pretraining | _Training | _Measuring


def _split(session: Session, *, few: bool) -> Split:
    split = session.split()
    return replace(split, train=spread(split.train, FEW)) if few else split


def _scored(
    what: tuple[str, Session, int], rates: Callable[[Score], npt.NDArray[np.float32]]
) -> Result:
    """Score the rates of an arm on a session's test trials."""
    arm, session, seed = what
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
    return Result(arm, session.id, seed, bps, pooled, regions)


_Name = TypeVar("_Name", bound=str)


def _keep(scores: dict[_Name, float], name: _Name, value: npt.ArrayLike) -> None:
    """Keep a score that has a value: where nothing fired, there is none."""
    if np.isfinite(value):
        scores[name] = round(float(np.asarray(value)), 5)


def _known(readouts: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """What is decoded of behaviour, as far as it has values."""
    found: dict[str, dict[str, float]] = {name: {} for name in readouts}
    for name, scores in readouts.items():
        for score, value in scores.items():
            _keep(found[name], score, value)
    return found


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
    folds: Sequence[Fold],
    study: Study,
    scale: Scale,
    out: Path,
    *,
    device: str | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> list[Result]:
    """Work out every result that `out` does not hold yet; return all.

    With several `workers`, that many processes share the work.
    """
    new_folder(out)
    _hold_to(scale, out / "scale.json", "of another scale")
    _hold_to(_Sessions.of(folds), out / "sessions.json", "of other sessions")
    path = out / "results.jsonl"
    found = _read(path)
    with replacing(path) as whole:  # without a line that was cut off or damaged
        whole.write(b"".join(dump(result) + b"\n" for result in found))
    done = {result.key for result in found}
    jobs = list(_jobs(folds, study, scale, out, device, done))
    for result in _all_done(jobs, workers, progress):
        if result is not None:
            try:
                with path.open("ab") as file:
                    file.write(dump(result) + b"\n")
            except OSError as error:
                raise StoreError(f"Cannot write {path}: {in_short(error)}.") from None
            found.append(result)
    return found


def _jobs(
    folds: Sequence[Fold],
    study: Study,
    scale: Scale,
    out: Path,
    device: str | None,
    done: set[tuple[str, str, int]],
) -> Iterator[_Job]:
    """Yield what is left to do, each pretraining before what needs it.

    All sessions with one seed come before the next: a study that is cut short has all sessions.
    """
    for name in study.references:
        for fold in folds:
            for session in fold.held_out:
                if (name, session.id, 0) not in done:
                    yield _Measuring(name, REFERENCES[name], session)
    pretrained: set[Path] = set()
    for name, arm, fold, session, seed in _trainings(folds, study, scale):
        if (name, session.id, seed) in done:
            continue
        others = fold.pretrained_on(arm)
        start = pretrained_folder(out, fold, arm, seed) if others else None
        if start is not None and start not in pretrained:
            pretrained.add(start)
            if not (Run.is_in(start) and Run(start).status.state == "finished"):
                yield _Pretraining(arm, others, seed, scale, start, device)
        yield _Training(name, arm, session, seed, scale, start, device)


def _trainings(
    folds: Sequence[Fold], study: Study, scale: Scale
) -> Iterator[tuple[str, Arm, Fold, Session, int]]:
    for seed in range(scale.seeds):
        for name, arm in study.arms.items():
            if seed and arm.once:
                continue
            for fold in folds:
                for session in fold.held_out:
                    yield name, arm, fold, session, seed


def _all_done(jobs: Sequence[_Job], workers: int, progress: Progress) -> Iterator[Result | None]:
    """Yield what jobs come to, as they end."""

    def told(k: int) -> None:
        progress(k / max(len(jobs), 1), f"{k} of {len(jobs)} done")

    told(0)
    if workers == 1:
        for k, job in enumerate(jobs):
            yield job.work()
            told(k + 1)
        return
    awaited = {job.folder for job in jobs if isinstance(job, _Pretraining)}

    def ready(job: _Job) -> bool:
        return not (isinstance(job, _Training) and job.start in awaited)

    threads = max((os.cpu_count() or 1) // workers, 1)
    k = 0
    for ended in share(jobs, _work, workers, threads=threads, ready=ready):
        if ended is not None:
            place, result = ended
            if isinstance(result, Death):
                raise TrainingError(
                    "A process that worked was killed, as happens where memory runs out. The same "
                    "command with fewer workers goes on with the study."
                )
            job = jobs[place]
            if isinstance(job, _Pretraining):
                awaited.discard(job.folder)
            yield result
            k += 1
        told(k)


def _work(job: _Job) -> Result | None:
    return job.work()


def pretrained_folder(out: Path, fold: Fold, arm: Arm, seed: int) -> Path:
    """Where the network of an arm is that was taught on a fold's other animals with a seed."""
    words = [quote(fold.name, safe="")] if fold.name else []
    if arm.preset != "default":
        words += [arm.preset, arm.masking, *([] if arm.prompts else ["unprompted"])]
    words += [str(len(fold.pretrained_on(arm))), str(seed)]
    return out / "-".join(["pretrained", *words])


@dataclass(frozen=True)
class _Sessions:
    """Trials, bins and units of the sessions of a study, by id."""

    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, folds: Sequence[Fold]) -> "_Sessions":
        sessions = (s for fold in folds for s in (*fold.held_out, *fold.others))
        return cls({session.id: session.counts.shape for session in sessions})


def _hold_to(record: Scale | _Sessions, path: Path, what: str) -> None:
    """Write down what a study is of at its beginning, and hold it to it when it goes on."""
    if path.exists() and read(type(record), path, TrainingError) != record:
        raise TrainingError(f"{path.parent} holds a study {what}. Choose another folder.")
    write(path, record)


def _read(path: Path) -> list[Result]:
    if not path.exists():
        return []
    found = {r.key: r for r in read_lines(Result, path, TrainingError)}
    return list(found.values())
