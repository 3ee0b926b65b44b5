"""Fine-tuning: a model taught on one session more, as a run."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.errors import TrainingError
from napari_mtm.model.model import Model, chosen_trials, new_model
from napari_mtm.model.units import Units
from napari_mtm.model.weights import load_model
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session
from napari_mtm.training import NEW
from napari_mtm.training.loop import Watch, begin, carry_out, own_randomness, steps_of, unwatched
from napari_mtm.training.low_rank import add_updates
from napari_mtm.training.pretraining import exams_of, taught
from napari_mtm.training.run import Run, Scope, holding
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer
from napari_mtm.training.validation import calibrate, validate

SCOPES: tuple[Scope, ...] = ("units", "lora", "full")
TRIAL_SHARE, LONGEST_TRIAL = 0.1, 150
"""Steps that each scope is tried for: a share of those of the fine-tuning, and at most so many."""

_STARTED, _TRIED, _LEARNED = 0.6, 0.8, 0.85
"""How much of what comes before the first step is done after each of its parts."""


def finetune(
    model: Model,
    session: Session,
    out: str | Path,
    *,
    scope: Scope | Literal["auto"] = "auto",
    settings: Settings | None = None,
    trials: npt.ArrayLike | None = None,
    validation: npt.ArrayLike | None = None,
    source: str | None = None,
    weights: str | None = None,
    resume: bool = False,
    watch: Watch = unwatched,
    progress: Progress = silent,
) -> Run:
    """Fine-tune a copy of a model on one session; return the run.

    `run.model()` is the best of it by validation, with readouts fitted; the model given is
    left as it was.

    Parameters
    ----------
    model, session
        What to begin with, and what to train on.
    out
        Folder of the run.
    scope
        Which weights move: those of the session's units alone, low-rank updates of the
        transformer too, or all. "auto" tries each for a tenth of the steps, 150 at most,
        and takes the one with the best validation.
    settings
        How to train, by default as the model's preset has it; a run that is resumed keeps
        its own.
    trials
        What to train on, by default the session's training trials.
    validation
        What the best weights are chosen by, by default the session's validation trials.
    source
        Where the session can be opened again; written down in the run.
    weights
        Where the model can be loaded again; written down, too.
    resume
        Go on with the run in `out` where there is one, as if it had never stopped.
    watch
        Told of the training; may raise Cancelled.
    progress
        Told of what comes before it; may raise Cancelled.

    """
    if scope not in ("auto", *SCOPES):
        raise TrainingError(f"There is no scope {scope!r}; there are auto, {', '.join(SCOPES)}.")
    train = session.split().train if trials is None else chosen_trials(session, trials)
    chosen_by = None if validation is None else chosen_trials(session, validation)
    lessons = {session.id: Lesson(session, train, chosen_by)}
    with holding(out):
        if not (resume and Run.is_in(out)):
            Run.must_be_new(out)
            chosen = settings or Settings.of(model.preset)
            started = with_session(
                model, lessons[session.id], chosen.seed, part(progress, 0.0, _STARTED)
            )
            trying = part(progress, _STARTED, _TRIED)
            Run.begin(
                out,
                started,
                kind="finetune",
                settings=chosen,
                sessions=[taught(lessons[session.id], source)],
                scope=_best_scope(started, lessons, chosen, trying) if scope == "auto" else scope,
                weights=weights,
            )
        run = Run(out)
        run.must_be("finetune", lessons)
        tuned = run.model("start", device=model.device)
        # Where a run is resumed in another process, experts are fitted anew.
        learning = part(progress, _TRIED, _LEARNED)
        tuned.teach(session, tuned.trials_taught(session), learning)
        trainer = trainer_of(tuned, lessons, run.about.settings, run.about.scope)
        carry_out(
            run,
            trainer,
            exams_of(tuned, lessons),
            watch=watch,
            progress=part(progress, _LEARNED, 1.0),
        )
        fit_best(run, session, train, device=model.device)
    return run


def begun_with(weights: str, session: Session, device: str | torch.device | None = None) -> Model:
    """Load what a fine-tuning begins with: a file, shipped weights, or NEW, made for a session."""
    if weights == NEW:
        return new_model(session, device=device)
    return load_model(weights, device=device)


def fit_best(
    run: Run,
    session: Session,
    trials: npt.NDArray[np.intp] | None = None,
    *,
    device: str | torch.device | None = None,
) -> None:
    """Let the best weights of a run decode behaviour, too.

    The readouts are fitted on `trials`, by default the session's training trials.
    """
    best = run.model("best", device=device)
    best.fit_readouts(session, session.split().train if trials is None else trials)
    run.save_model(best, "best")


def with_session(model: Model, lesson: Lesson, seed: int, progress: Progress = silent) -> Model:
    """Return a copy of a model with a start for a session's units, from its lesson alone."""
    session = lesson.session
    model.check(session)
    started = copy.deepcopy(model)
    started.know_times_of(session)
    network = started.network
    known = network.sessions.get(session.id)
    units = Units.of(session, started.grid.first(session))
    same = known is not None and (known.ids, known.first) == (units.ids, units.first)
    if known is not None and not (started.knows(session) and same):
        network.forget(session.id)  # neutral, or other units
        started.trained.discard(session.id)
        known = None
    if known is None:
        with own_randomness(started):
            torch.manual_seed(seed)
            network.add_session(units, neutral=False)
    begin(started, {session.id: lesson}, progress)
    return started


def trainer_of(
    model: Model, lessons: dict[str, Lesson], settings: Settings, scope: Scope
) -> Trainer:
    """Return a trainer that moves what a scope says."""
    if scope == "full":
        return Trainer(model, lessons, settings)
    network = model.network
    own = {id(p) for session in lessons for p in network.own_parameters(session)}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in own}
    if scope == "lora":
        with own_randomness(model):
            torch.manual_seed(settings.seed)
            names |= add_updates(network)
    return Trainer(model, lessons, settings, trainable=names)


def trial_steps(settings: Settings) -> int:
    """Return for how many steps each scope is tried."""
    return min(max(round(TRIAL_SHARE * settings.steps), 1), LONGEST_TRIAL)


def _best_scope(
    started: Model, lessons: dict[str, Lesson], settings: Settings, progress: Progress
) -> Scope:
    """Try each scope in a short training of its own; all weights where nothing tells them apart."""
    exams = exams_of(started, lessons)
    short = replace(settings, steps=trial_steps(settings))
    found: dict[Scope, float] = {}
    for i, scope in enumerate(SCOPES):
        tried = copy.deepcopy(started)
        trainer = trainer_of(tried, lessons, short, scope)
        for step in steps_of(trainer):
            progress((i + step / short.steps) / len(SCOPES), f"trying to move {scope}")
        calibrate(tried, exams)
        scores = validate(tried, exams)
        if scores:
            found[scope] = sum(scores.values()) / len(scores)
    return max(found, key=found.__getitem__, default="full")
