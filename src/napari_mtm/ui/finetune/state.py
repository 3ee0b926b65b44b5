"""The fine-tuning of one viewer, as its panels show it.

A process of its own does the work; here is what it was asked and what it told. Works without
a window.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mtm.errors import MtmError
from napari_mtm.model.grid import Grid
from napari_mtm.recording.session import Session
from napari_mtm.ui.finetune.before_after import BeforeAfter, before_and_after
from napari_mtm.ui.finetune.course import AT_WORK, Choices, Course, Phase, threads
from napari_mtm.ui.finetune.pacing import Pacing
from napari_mtm.ui.finetune.shelf import Curves, Shelf
from napari_mtm.ui.opened import Tuned, find, same
from napari_mtm.ui.preferences import preferences
from napari_mtm.ui.qt.jobs import Jobs
from napari_mtm.ui.text.finetuning import cut_off_words, ended_words

if TYPE_CHECKING:
    from napari_mtm.training.messages import Assignment, News
    from napari_mtm.training.runs import Entry
    from napari_mtm.ui.coordinator import Coordinator
    from napari_mtm.ui.finetune.before_after import Which
    from napari_mtm.ui.finetune.watched import Watched
    from napari_mtm.ui.live import Weights


class Finetuning:
    """Starts, watches and ends fine-tunings on the session that is shown, one at a time.

    What came of one is kept with its session while another is shown.

    Attributes
    ----------
    phase
        What is going on.
    course
        The fine-tuning that is under way, or was last; None where there is none to show. It
        goes on when another session is shown.
    faster
        Whether a training uses all cores.
    shelf, pacing, weights
        The runs on the open session, how long one takes, and the weights before and after.

    """

    changed = Signal()
    """What goes on, or what can be done, is something else."""
    heard = Signal()
    """The training told of itself."""
    validated = Signal()
    """It told of a validation, or a run was read."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self.phase: Phase = "idle"
        self.course: Course | None = None
        self.shelf = Shelf(coordinator)
        self.pacing = Pacing(coordinator)
        self.weights = BeforeAfter(coordinator)
        self._watched: Watched | None = None
        self._starting = Jobs()
        self._of_live: tuple[object, ...] = ()
        self._offered: set[Path] = set()
        self.faster = False
        coordinator.session_changed.connect(self._on_session)
        coordinator.live.status_changed.connect(self._on_live)
        self.shelf.changed.connect(self._on_runs)

    @property
    def at_work(self) -> bool:
        """Whether a training goes on, or what comes before or after one."""
        return self.phase in AT_WORK

    @property
    def of_open_session(self) -> bool:
        """Whether the course is of the session that is shown."""
        session = self._coordinator.session
        return (
            self.course is not None and session is not None and same(self.course.session, session)
        )

    @property
    def why_not(self) -> str:
        """Why no fine-tuning can be begun; empty where one can."""
        session, live = self._coordinator.session, self._coordinator.live
        if session is None:
            return "Open a session to teach the model on it."
        if live.model is None:
            return "The model is being loaded…" if live.loading else "Choose a model first."
        if live.misfit:
            try:
                Grid.of(session).check_width(session)
            except MtmError as error:
                return str(error)
        if not len(session.split().train):
            return "This session has too few trials to train on."
        if not live.source and not live.misfit:
            return "The weights that are asked came from no file: choose others to begin with."
        return ""

    def start(self, choices: Choices) -> None:
        """Begin a new fine-tuning."""
        session, live = self._coordinator.session, self._coordinator.live
        if self.why_not or self.at_work or session is None or live.model is None:
            return
        from napari_mtm.training.messages import Assignment
        from napari_mtm.training.places import new_folder

        self.faster = choices.faster
        settings = choices.settings(live.model.preset)
        assignment = Assignment(
            Path(),
            choices.weights or live.source,
            new_folder(session.id),
            choices.scope,  # type: ignore[arg-type]
            settings,
            device=preferences().device,
            threads=threads(faster=self.faster),
        )
        self._begin(Course(session, assignment.out, settings.steps), assignment, "preparing")

    def resume(self, entry: "Entry") -> None:
        """Go on with a run of the open session, with its own settings."""
        self._go_on_with(entry, "fine-tune")

    def compare(self, entry: "Entry") -> None:
        """Score a run of the open session on test trials, before and after."""
        self._go_on_with(entry, "compare")

    def open(self, entry: "Entry") -> None:
        """Show what came of a run of the open session; the live view asks its weights."""
        session = self._coordinator.session
        if session is None or self.at_work:
            return
        self.course = _course_of(entry, session)
        self.course.how, self.course.comparison = entry.status.state, entry.comparison
        self._read_curves(self.course)
        self.weights.take(entry.folder)
        self._set_phase("finished")

    def pause(self) -> None:
        """Let the training wait after the step in hand."""
        if self._watched is not None and self.phase == "running":
            self._watched.worker.pause()

    def go_on(self) -> None:
        """End a pause."""
        if self._watched is not None and self.phase == "paused":
            self._watched.worker.go_on()
            self._set_phase("running")

    def stop(self) -> None:
        """End the training and keep its best weights; or end the comparison."""
        if self._watched is not None and self.course is not None and self.at_work:
            self._watched.worker.stop()
            self.course.skipped = self.phase == "comparing"
            self._set_phase("stopping")

    def cancel(self) -> None:
        """End the training and keep nothing of it."""
        if self._watched is not None and self.at_work:
            self._watched.worker.cancel()
            self._set_phase("stopping")
        elif self._starting.running:
            self._starting.cancel()
            self._take_up()

    def set_faster(self, *, faster: bool) -> None:
        """Let a training use all cores, or few; one that goes on, too."""
        self.faster = faster
        if self._watched is not None:
            self._watched.worker.use_threads(threads(faster=faster))

    def leave(self) -> None:
        """Let the training go on when this program is gone."""
        if self._watched is not None:
            self._watched.worker.leave()

    def put_away(self) -> None:
        """Go on with the weights that are shown; the run stays on the shelf."""
        self.course = None
        self.weights.forget()
        self._set_phase("idle")

    def discard(self) -> None:
        """Go back to the weights before, and delete the run."""
        course = self.course
        if course is not None and not self.at_work:
            self.weights.show("before")
            self.put_away()
            self.shelf.delete([course.folder])

    def save_as(self, path: Path) -> None:
        """Write the best weights to a file of a person's own."""
        if self.course is not None:
            folder = self.course.folder
            self.shelf.export(folder, path, lambda _: tell(f"The weights are in {path}."))

    def left(self) -> Tuned | None:
        """What came of one, when another session is shown; None where there is none to show."""
        if self.course is None or self.at_work:
            return None
        return Tuned(self.course, self.phase, self.weights.held)

    def close(self, timeout: float | None = None) -> bool:
        """Let go of all processes: a training that was not left alone saves and ends.

        Returns whether each ended within `timeout` seconds.
        """
        watched, self._watched = self._watched, None
        self._starting.cancel()
        self.shelf.close()
        ended = self.pacing.stop(timeout)
        return (watched is None or watched.let_go(timeout)) and ended

    def _go_on_with(self, entry: "Entry", work: str) -> None:
        session = self._coordinator.session
        if session is None or self.at_work:
            return
        from napari_mtm.training.messages import Assignment

        about = entry.about
        assignment = Assignment(
            Path(),
            about.weights or "",
            entry.folder,
            about.scope,
            about.settings,
            device=preferences().device,
            threads=threads(faster=self.faster),
            work=work,  # type: ignore[arg-type]
        )
        course = _course_of(entry, session)
        self._begin(course, assignment, "comparing" if work == "compare" else "preparing")
        self._read_curves(course)

    def _begin(self, course: Course, assignment: "Assignment", phase: Phase) -> None:
        """Find the session's store, and let a process begin."""
        from napari_mtm.training.runs import store_for
        from napari_mtm.ui.finetune.watched import Watched

        self.pacing.stop()
        self.weights.forget()
        self.course = course
        course.message = "looking for the session's file"
        self._set_phase(phase)

        def found(store: Path) -> None:
            self._watched = Watched(
                self._coordinator.viewer, replace(assignment, session=store), self._on_news
            )

        session = course.session
        self._starting.run(
            course.message,
            lambda _: store_for(session),
            found,
            lambda error: self._end("failed", str(error)),
        )

    def _on_news(self, news: "News") -> None:
        from napari_mtm.training.loop import Report
        from napari_mtm.training.messages import Comparing, Ended, Paused, Preparing

        course = self.course
        assert course is not None
        if isinstance(news, Ended):
            if self._watched is not None:
                self._watched.let_go()
            self._watched = None
            self._end(news.how, news.message)
        elif isinstance(news, Report):
            course.take(news)
            if self.phase == "preparing":
                self._set_phase("running")
            if news.validation is not None:
                self.validated.emit()
        elif isinstance(news, Preparing | Comparing):
            course.fraction, course.message = news.fraction, news.message
            if isinstance(news, Comparing) and self.phase != "comparing" and not course.skipped:
                self._set_phase("comparing")
        elif isinstance(news, Paused) and self.phase == "running":
            self._set_phase("paused")
        self.heard.emit()

    def _end(self, how: str, message: str) -> None:
        """Show what came of it, and say so whatever is on screen."""
        from napari_mtm.training.comparison import comparison_of
        from napari_mtm.training.run import Run

        course = self.course
        assert course is not None
        if how == "killed" and _is_trained(course.folder):
            how, message = "finished", "The comparison was cut off."
        course.how, course.message = how, message
        self.shelf.refresh()
        failed = how in ("failed", "killed")
        if not failed and (how == "cancelled" or not Run.is_in(course.folder)):
            self._take_up()
            return
        if not failed:
            course.comparison = comparison_of(Run(course.folder))
        phase: Phase = "failed" if failed else "finished"
        if self.of_open_session:
            if not failed:
                self.weights.take(course.folder)
            self._set_phase(phase)
            tell(ended_words(course), warn=failed)
            return
        tell(f"{ended_words(course)} {self._put_by(course, phase)}", warn=failed)
        self._take_up()

    def _put_by(self, course: Course, phase: Phase) -> str:
        """Keep what came of one with its session, which is not shown; return how to see it."""
        one = find(self._coordinator.opened, course.session)
        if one is None:
            return "Open that session again to see it."
        weights: dict[Which, Weights] = {}
        if phase == "finished":
            before = one.asked.weights if one.asked is not None else None
            weights = before_and_after(before, course.folder)
            if one.asked is not None:
                one.asked = replace(one.asked, weights=weights["after"])
        one.tuned = Tuned(course, phase, weights)
        return "Show that session to see it."

    def _take_up(self) -> None:
        """Show what came of one on the session that is shown, if that was kept."""
        current = self._coordinator.current
        tuned = current.tuned if current is not None else None
        if current is None or tuned is None:
            self.put_away()
            return
        current.tuned, self.course = None, tuned.course
        self.weights.hold(tuned.weights)
        self._set_phase(tuned.phase)

    def _read_curves(self, course: Course) -> None:
        def found(curves: Curves) -> None:
            if self.course is course:
                course.losses = {**curves[0], **course.losses}
                course.validations = {**curves[1], **course.validations}
                self.validated.emit()
                self.heard.emit()

        self.shelf.read(course.folder, found)

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self.changed.emit()

    def _on_session(self) -> None:
        self.pacing.stop()
        if self.at_work:
            self.changed.emit()
        else:
            self._take_up()

    def _on_runs(self) -> None:
        """Say once that a run was cut off, also where the panel is not on screen."""
        entry = self.shelf.interrupted
        if entry is not None and self.course is None and entry.folder not in self._offered:
            self._offered.add(entry.folder)
            tell(f"{cut_off_words(entry)} The fine-tune panel can resume it.")

    def _on_live(self) -> None:
        """Tell when there is another model, not of each answer."""
        live = self._coordinator.live
        of_live = live.loading, live.model is None, live.source, live.name
        if of_live != self._of_live:
            self._of_live = of_live
            self.changed.emit()


def _course_of(entry: "Entry", session: Session) -> Course:
    status, steps = entry.status, entry.about.settings.steps
    return Course(session, entry.folder, steps, status.step, best_step=status.best_step)


def _is_trained(folder: Path) -> bool:
    from napari_mtm.training.run import Run

    return Run.is_in(folder) and Run(folder).status.state == "finished"


def tell(message: str, *, warn: bool = False) -> None:
    """Show a message, whatever docks are open."""
    from napari.utils.notifications import show_info, show_warning

    (show_warning if warn else show_info)(message)
