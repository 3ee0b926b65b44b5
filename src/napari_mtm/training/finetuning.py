"""Fine-tuning: a model taught on one session more, as a run."""

import copy
from pathlib import Path

import numpy.typing as npt
import torch

from napari_mtm.errors import TrainingError
from napari_mtm.model.model import Model, chosen_trials
from napari_mtm.model.network import Network
from napari_mtm.model.units import Units
from napari_mtm.recording.session import Session
from napari_mtm.training.loop import Watch, begin, carry_out, own_randomness, unwatched
from napari_mtm.training.pretraining import exams_of, taught
from napari_mtm.training.run import Run, Scope
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer


def finetune(
    model: Model,
    session: Session,
    out: str | Path,
    *,
    scope: Scope = "full",
    settings: Settings | None = None,
    trials: npt.ArrayLike | None = None,
    source: str | None = None,
    resume: bool = False,
    watch: Watch = unwatched,
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
        Which weights move: those of the session's units alone, or all.
    settings
        How to train, by default as the model's preset has it; a run that is resumed keeps its own.
    trials
        What to train on, by default the session's training trials.
    source
        Where the session can be opened again; written down in the run.
    resume
        Go on with the run in `out` where there is one, as if it had never stopped.
    watch
        Told of progress; may raise Cancelled.

    """
    train = session.split().train if trials is None else chosen_trials(session, trials)
    lessons = {session.id: Lesson(session, train)}
    if not (resume and Run.is_in(out)):
        chosen = settings or Settings.of(model.preset)
        started = _started(model, lessons[session.id], chosen.seed)
        Run.begin(
            out,
            started,
            kind="finetune",
            settings=chosen,
            sessions=[taught(lessons[session.id], source)],
            scope=scope,
        )
    run = Run(out)
    if [about.id for about in run.about.sessions] != [session.id]:
        raise TrainingError(f"The run in {out} is of another session than {session.title}.")
    tuned = run.model("start", device=model.device)
    trainer = Trainer(
        tuned,
        lessons,
        run.about.settings,
        trainable=trainable(tuned.network, run.about.scope, session.id),
    )
    carry_out(run, trainer, exams_of(tuned, lessons), watch=watch)
    best = run.model("best", device=model.device)
    best.fit_readouts(session, train)
    run.save_model(best, "best")
    return run


def _started(model: Model, lesson: Lesson, seed: int) -> Model:
    """Return a copy of a model with a start for the session's units."""
    session = lesson.session
    model.grid.check(session)
    started = copy.deepcopy(model)
    network = started.network
    known = network.sessions.get(session.id)
    if known is not None and not (started.knows(session) and known.ids == Units.of(session).ids):
        network.forget(session.id)  # neutral, or other units
        started.trained.discard(session.id)
        known = None
    if known is None:
        with own_randomness(started):
            torch.manual_seed(seed)
            network.add_session(Units.of(session), neutral=False)
    begin(started, {session.id: lesson})
    return started


def trainable(network: Network, scope: Scope, session: str) -> set[str] | None:
    """Names of the parameters that move, None for all."""
    if scope == "full":
        return None
    own = {id(parameter) for parameter in network.own_parameters(session)}
    return {name for name, parameter in network.named_parameters() if id(parameter) in own}
