"""How long a fine-tuning will take here, measured in a trial of a few seconds."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from napari_mtm.model.model import Model
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session
from napari_mtm.training.finetuning import SCOPES, trainer_of, trial_steps, with_session
from napari_mtm.training.loop import own_randomness
from napari_mtm.training.pretraining import exams_of
from napari_mtm.training.run import Scope
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson
from napari_mtm.training.validation import TRIALS, Exam, validate

SECONDS = 2.0
"""How long steps are tried, all scopes together."""

_FEW = 8
"""Trials of a validation that is timed; a whole one takes as many times as long."""


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of a fine-tuning take.

    Attributes
    ----------
    begin
        Giving the session's units a start.
    step
        A step, by scope.
    check
        A validation.

    """

    begin: float
    step: Mapping[Scope, float]
    check: float

    def seconds(self, settings: Settings, scope: str) -> float:
        """Return how long a fine-tuning takes, all in all."""
        checks = settings.steps / settings.check_every if settings.check_every else 1
        known = {str(name): value for name, value in self.step.items()}
        whole = self.begin + checks * self.check
        if scope in known:
            return whole + settings.steps * known[scope]
        trials = sum(trial_steps(settings) * value + self.check for value in known.values())
        return whole + settings.steps * max(known.values()) + trials


def measure(
    model: Model,
    session: Session,
    settings: Settings,
    *,
    seconds: float = SECONDS,
    progress: Progress = silent,
) -> Pace:
    """Try what a fine-tuning of a model on a session would do; both are left as they are."""
    lessons = {session.id: Lesson(session, session.split().train)}
    progress(0.0, "measuring how long it takes")
    start = time.perf_counter()
    started = with_session(model, lessons[session.id], settings.seed, part(progress, 0.0, 0.9))
    begin = time.perf_counter() - start
    step: dict[Scope, float] = {}
    for scope in SCOPES:
        tried = copy.deepcopy(started)
        trainer = trainer_of(tried, lessons, replace(settings, steps=1), scope)
        with own_randomness(tried):
            trainer.advance()  # the first takes longer than any other
            _settled(tried)
            start, steps = time.perf_counter(), 0
            while time.perf_counter() - start < seconds / len(SCOPES):
                trainer.advance()
                _settled(tried)
                steps += 1
                progress(0.9, "measuring how long it takes")
        step[scope] = (time.perf_counter() - start) / steps
    started.network.eval()
    return Pace(begin, step, _seconds_of_check(started, session, lessons))


def _seconds_of_check(model: Model, session: Session, lessons: Mapping[str, Lesson]) -> float:
    exams = exams_of(model, lessons)
    if not exams:
        return 0.0
    few = Exam.of(session, session.split().validation, exams[0].null, size=_FEW)
    start = time.perf_counter()
    validate(model, [few])
    return (time.perf_counter() - start) * TRIALS / _FEW


def _settled(model: Model) -> None:
    """Wait until a GPU is through."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
