"""The loop: steps, validations, saves and reports, until the steps are done or someone stops it."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_mtm.errors import Cancelled, MtmError
from napari_mtm.masking.tasks import Task
from napari_mtm.model.model import Model
from napari_mtm.model.network import Default
from napari_mtm.model.seen import remember
from napari_mtm.progress import Progress, part, silent
from napari_mtm.training.low_rank import merged
from napari_mtm.training.objective import KINDS
from napari_mtm.training.run import Run, Standing, Status
from napari_mtm.training.settings import Settings
from napari_mtm.training.start import start
from napari_mtm.training.trainer import Lesson, Trainer, check
from napari_mtm.training.validation import Exam, calibrate, validate
from napari_mtm.training.world import ALONE, World

_Floats = npt.NDArray[np.float32]

_REPORT_STEPS = 10
SAVE_SECONDS = 30.0
"""A run that is killed loses at most about so much."""


@dataclass(frozen=True)
class Report:
    """What a run says of itself while it goes on.

    `losses` are means since the last report, `validation` is there where one was just
    made. Step 0 says what the start is worth; how long the rest takes is not known yet then.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    validation: Mapping[Task, float] | None
    best: float | None
    best_step: int | None
    trials_per_second: float
    seconds_left: float | None


Watch = Callable[[Report], None]


def unwatched(report: Report) -> None:
    """Look away."""


def train(
    model: Model,
    lessons: Mapping[str, Lesson],
    settings: Settings | None = None,
    *,
    progress: Progress = silent,
) -> list[float]:
    """Train a model in memory, without validation or record; return the loss of each step.

    Sessions that the weights were never trained on are first given a start in closed
    form. The model is left ready to predict.
    """
    settings = settings or Settings()
    begin(model, lessons)
    trainer = Trainer(model, lessons, settings)
    losses: list[Tensor] = []
    for step in steps_of(trainer, losses.append):
        if step % _REPORT_STEPS == 0:
            mean = float(losses[-1].nanmean())
            progress(step / settings.steps, f"training, loss {mean:.3f}")
    return [float(parts.nanmean()) for parts in losses]


def steps_of(trainer: Trainer, keep: Callable[[Tensor], None] = lambda _: None) -> Iterator[int]:
    """Take all steps of a trainer, yielding the number taken; `keep` is given the losses.

    In the end the model has the average of its weights; before that, within
    `trainer.averaged()`.
    """
    model = trainer.model
    try:
        while trainer.step < trainer.settings.steps:
            with own_randomness(model):
                keep(trainer.advance())
            yield trainer.step
    finally:
        trainer.settle()
        model.network.eval()


def begin(model: Model, lessons: Mapping[str, Lesson], progress: Progress = silent) -> None:
    """Give sessions that the weights do not know a start; from now on they know them.

    `progress` is told, and may raise Cancelled: the model is not to be used then.
    """
    check(model, lessons)
    for i, (name, lesson) in enumerate(lessons.items()):
        mine = part(progress, i / len(lessons), (i + 1) / len(lessons))
        model.teach(lesson.session, lesson.trials, part(mine, 0.0, 0.6))
        if isinstance(model.network, Default) and not model.knows(name):
            counts = torch.as_tensor(lesson.session.counts[lesson.trials], device=model.device)
            start(model.network, name, counts, part(mine, 0.6, 1.0))
        remember(model, lesson.session, lesson.trials)
    model.trained |= set(lessons)


def carry_out(
    run: Run,
    trainer: Trainer,
    exams: list[Exam],
    *,
    watch: Watch = unwatched,
    world: World = ALONE,
    progress: Progress = silent,
) -> None:
    """Train as a run asks, from its last checkpoint on.

    The model with the best mean over tasks of the validation scores is kept as the run's
    best; without exams it is the last. Ctrl-C, SIGTERM and a `watch` that raises
    Cancelled end it after the step in hand, with everything saved, and KeyboardInterrupt
    or Cancelled is raised. `progress` is told of the validation before the first step, and may
    raise Cancelled, too. Hold the run's folder meanwhile.
    """
    course = _Course(run, trainer, exams, watch, world, progress)
    with own_randomness(trainer.model), _asked_to_stop() as asked:
        try:
            course.go(asked)
        except Cancelled:
            course.end("stopped", "It was stopped.")
            raise
        except MtmError as error:
            with suppress(MtmError):  # a disk that is full will not take this either
                course.end("failed", str(error))
            raise


@dataclass
class _Course:
    """What carrying out a run keeps in mind."""

    run: Run
    trainer: Trainer
    exams: list[Exam]
    watch: Watch
    world: World
    progress: Progress = silent
    standing: Standing = field(default_factory=Standing)
    pending: list[Tensor] = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)
    reported_at: float = field(default_factory=time.monotonic)

    @property
    def settings(self) -> Settings:
        return self.trainer.settings

    def go(self, asked: threading.Event) -> None:
        self._resume()
        trainer, steps = self.trainer, self.settings.steps
        if not self.standing.step and self.world.leads:
            self._report_start()
        stop = False
        while trainer.step < steps and not stop:
            self.pending.append(trainer.advance())
            last = trainer.step == steps
            checking = last or self._due(self.settings.check_every)
            if self.world.leads and (checking or self._due(_REPORT_STEPS)):
                self._report(checking=checking)
            patience = self.settings.patience
            enough = bool(patience) and self.standing.without_gain >= patience
            if self.world.any(asked.is_set(), trainer.model.device):
                self.end("stopped", "It was stopped.")
                raise KeyboardInterrupt
            stop = checking and self.world.any(enough, trainer.model.device)
            if time.monotonic() - self.saved_at > SAVE_SECONDS:
                self._save()
        if self.world.leads and self.standing.best is None:
            with trainer.averaged():
                self.run.save_model(merged(trainer.model), "best")  # there is no other
        ended = "It stopped early, with no further gain." if stop else ""
        self.end("finished", ended)

    def end(self, state: str, message: str) -> None:
        """Save everything, and say how it ended."""
        if not self.world.leads:
            return
        if self.pending:
            self._write_losses()
        self.trainer.model.network.eval()
        if state != "failed":
            self._save()
        self._tell(state, message)

    def _resume(self) -> None:
        found = self.run.checkpoint()
        if found is not None:
            tensors, self.standing = found
            self.trainer.restore(tensors, self.standing.step)
        if self.world.leads:
            self.run.cut_log(self.trainer.step)
            self.run.forget_comparison()
            self._tell("running", "")

    def _due(self, every: int) -> bool:
        return bool(every) and self.trainer.step % every == 0

    def _report(self, *, checking: bool) -> None:
        """Write down the losses since the last time, validate where due, and report."""
        values, taken = self._write_losses()
        validation = self._check() if checking else None
        self.reported_at = time.monotonic()
        settings, step, n_steps = self.settings, self.trainer.step, len(values)
        drawn = ~np.isnan(values)
        sums = np.where(drawn, values, 0).sum(axis=0)
        means = np.where(drawn.any(axis=0), sums / drawn.sum(axis=0).clip(1), np.nan)
        self.watch(
            Report(
                step=step,
                steps=settings.steps,
                losses=_named(means),
                validation=validation,
                best=self.standing.best,
                best_step=self.standing.best_step,
                trials_per_second=n_steps * settings.batch * settings.batches / taken,
                seconds_left=(settings.steps - step) * taken / n_steps,
            )
        )

    def _report_start(self) -> None:
        """Validate what training starts with."""
        validation = self._check(self.progress)
        standing, steps = self.standing, self.settings.steps
        self.watch(Report(0, steps, {}, validation, standing.best, standing.best_step, 0.0, None))
        self.reported_at = time.monotonic()

    def _write_losses(self) -> tuple[_Floats, float]:
        """Write down the losses since the last time; return them, and the seconds they took."""
        taken = time.monotonic() - self.reported_at
        self.standing.seconds += taken
        values = torch.stack(self.pending).cpu().numpy()
        first = self.trainer.step - len(values) + 1
        self.run.add_to_log(
            [{"step": first + i, "losses": _named(row)} for i, row in enumerate(values)]
        )
        self.pending = []
        return values, taken

    def _check(self, progress: Progress = silent) -> Mapping[Task, float] | None:
        """Validate; keep the model where it is the best so far."""
        if not self.exams:
            return None
        model, step = self.trainer.model, self.trainer.step
        with self.trainer.averaged():
            calibrate(model, self.exams, part(progress, 0.0, 0.6))
            scores = validate(model, self.exams, part(progress, 0.6, 1.0))
            if not scores:
                return None
            score = sum(scores.values()) / len(scores)
            self.run.add_to_log([{"step": step, "validation": scores}])
            standing = self.standing
            if standing.best is None or score > standing.best:
                standing.best, standing.best_step, standing.without_gain = score, step, 0
                self.run.save_model(merged(model), "best")
            else:
                standing.without_gain += 1
        self._save()
        return scores

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.world.leads:
            return
        self.standing.step = self.trainer.step
        self.run.save_checkpoint(self.trainer.state(), self.standing)
        with self.trainer.averaged():
            self.run.save_model(merged(self.trainer.model), "last")
        self._tell("running", "")

    def _tell(self, state: str, message: str) -> None:
        self.run.set_status(
            Status(
                state=state,  # type: ignore[arg-type]
                step=self.trainer.step,
                steps=self.settings.steps,
                best=self.standing.best,
                best_step=self.standing.best_step,
                seconds=self.standing.seconds,
                message=message,
            )
        )


def _named(row: _Floats) -> dict[str, float]:
    """Losses by kind of mask, those that were drawn and are finite."""
    pairs = zip(KINDS, row.tolist(), strict=True)
    return {kind: value for kind, value in pairs if math.isfinite(value)}


@contextmanager
def own_randomness(model: Model) -> Iterator[None]:
    """Leave torch's global generators as they were."""
    device = model.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into a request; the second acts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
