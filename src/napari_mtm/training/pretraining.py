"""Pretraining: one model taught on many sessions, as a run."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from napari_mtm.model.model import Model, Preset, new_model
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.model.seen import remember
from napari_mtm.recording.session import Session
from napari_mtm.training.loop import Watch, begin, carry_out, unwatched
from napari_mtm.training.run import Run, Taught, holding
from napari_mtm.training.settings import Settings
from napari_mtm.training.trainer import Lesson, Trainer
from napari_mtm.training.validation import TRIALS, Exam
from napari_mtm.training.world import joined

FEWEST = 4
"""Validation trials of a session, however many sessions there are."""


def pretrain(
    sessions: Sequence[Session],
    out: str | Path,
    *,
    preset: Preset = "default",
    sizes: PublishedSizes | DefaultSizes | None = None,
    settings: Settings | None = None,
    sources: Mapping[str, str] | None = None,
    resume: bool = False,
    watch: Watch = unwatched,
    device: str | torch.device | None = None,
) -> Run:
    """Train a new model on the training trials of sessions; return the run.

    Under torchrun all processes share the work, and call this alike.

    Parameters
    ----------
    sessions
        What to train on; all of the same window and bins.
    out
        Folder of the run.
    preset, sizes, settings
        The network, and how it is trained; by default as the preset has it. A run that
        is resumed keeps its own.
    sources
        Where each session can be opened again, by id; written down in the run.
    resume
        Go on with the run in `out` where there is one, as if it had never stopped.
    watch
        Told of progress; may raise Cancelled.

    """
    lessons = {session.id: Lesson(session, session.split().train) for session in sessions}
    with joined() as world, holding(out) if world.leads else nullcontext():
        if world.leads and not (resume and Run.is_in(out)):
            Run.must_be_new(out)
            chosen = settings or Settings.of(preset)
            model = new_model(sessions, preset, sizes=sizes, device=device, seed=chosen.seed)
            begin(model, lessons)
            known = sources or {}
            records = [taught(lesson, known.get(name)) for name, lesson in lessons.items()]
            Run.begin(out, model, kind="pretrain", settings=chosen, sessions=records)
        world.wait()
        run = Run(out)
        run.must_be("pretrain", lessons)
        model = run.model("start", device=device)
        trainer = Trainer(model, lessons, run.about.settings, world=world)
        exams = exams_of(model, lessons) if world.leads else []
        carry_out(run, trainer, exams, watch=watch, world=world)
    return run


def exams_of(model: Model, lessons: Mapping[str, Lesson]) -> list[Exam]:
    """Return the exams of sessions that have validation trials, which the model remembers."""
    size = max(FEWEST, TRIALS // len(lessons))
    found = []
    for name, lesson in lessons.items():
        chosen = lesson.validation
        trials = lesson.session.split().validation if chosen is None else chosen
        if len(trials):
            remember(model, lesson.session, trials)
            model.attach(lesson.session)
            null = model.network.sessions[name].rates
            found.append(Exam.of(lesson.session, trials, null, size=size))
    return found


def taught(lesson: Lesson, source: str | None = None) -> Taught:
    """Describe a lesson for a run's record."""
    session = lesson.session
    return Taught(id=session.id, title=session.title, source=source, trials=len(lesson.trials))
