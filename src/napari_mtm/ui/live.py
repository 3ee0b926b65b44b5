"""The model of one viewer, live: it is asked when the mask or the trial changes."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakMethod, finalize

from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QElapsedTimer, Qt, QTimer

from napari_mtm.errors import MtmError
from napari_mtm.live.engine import (
    Answer,
    Decoded,
    Engine,
    Failed,
    Finished,
    Fitted,
    Fitting,
    Load,
    Loaded,
    News,
    Predict,
    Request,
    Step,
    Steps,
    Traces,
)
from napari_mtm.live.readouts import fit_readouts_in_steps, readouts_lack
from napari_mtm.live.whole import WholeScores, score_whole
from napari_mtm.recording.session import Session
from napari_mtm.ui.qt.bell import Bell
from napari_mtm.ui.qt.jobs import report

if TYPE_CHECKING:
    from napari_mtm.model.model import Model
    from napari_mtm.model.reconstruction import Scores
    from napari_mtm.ui.coordinator import Coordinator

STALE_MS = 150
"""What is shown is dimmed when its successor takes longer."""

_WHOLE = "test trials"
_READOUTS = "readouts"


class Origin(NamedTuple):
    """How a model is called, and where another process can load it.

    That is a file, or the name of shipped weights; empty where it is not to be had.
    """

    name: str
    source: str


@dataclass(frozen=True)
class Weights:
    """A model: its `Origin`, and how to have it."""

    name: str
    source: str
    load: Load


@dataclass(frozen=True)
class Ready:
    """Gives a model that was loaded before."""

    model: "Model"

    def __call__(self) -> "Model":
        """Return the model."""
        return self.model


class Live:
    """Asks an engine what stands behind the mask, and keeps the newest answer."""

    asked = Signal()
    """The model is asked."""
    answered = Signal(object)
    """An `Answer` that is the newest."""
    decoded = Signal(object)
    """The `Decoded` of the newest answer."""
    scored = Signal()
    """The scores over the test trials went on, or there are none any more."""
    status_changed = Signal()
    """The model, what it is doing, or whether it is asked at all."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._engine: Engine | None = None
        self._news: deque[News] = deque()
        self._bell: Bell | None = None
        self._throttle = _timer(coordinator.preferences.throttle_ms, self._on_throttle, once=True)
        self._stale_timer = _timer(STALE_MS, self._on_stale, once=True)
        self._shown = QElapsedTimer()  # since an answer was shown
        self._shown.start()
        self._works: dict[str, Steps] = {}
        self._heard: dict[str, WeakMethod[Callable[[object], None]]] = {}
        self._session: Session | None = None
        self._wanted: Request | None = None
        self._pending = False
        self._seen: dict[int, Traces] = {}  # what is decoded of test trials with nothing hidden
        self._load: Load | None = None
        self._coming: dict[Load, Weights] = {}  # models that are on their way
        self.there: Weights | None = None
        self.model: Model | None = None
        self.name = self.source = ""
        self.doing = self.fitting = ""
        self.on = True
        self.answer: Answer | None = None
        self._scores: Scores | None = None
        self.baseline: tuple[str, Predict] | None = None
        self.behaviour: Decoded | None = None
        self.whole: WholeScores | None = None
        coordinator.session_changed.connect(self._on_session)
        coordinator.extended.connect(self._on_extended)
        coordinator.trial_changed.connect(self.ask_if_on)
        coordinator.masks.changed.connect(self._on_mask)
        coordinator.masks.stroked.connect(self._on_stroke)
        coordinator.masks.prompt_changed.connect(self._on_mask)

    @property
    def loading(self) -> bool:
        """Whether a model is on its way."""
        return self._load is not None

    @property
    def newest(self) -> Origin | None:
        """The model that is on its way, or else the one that is there."""
        newest = self.weights
        return None if newest is None else Origin(newest.name, newest.source)

    @property
    def weights(self) -> Weights | None:
        """The model that is on its way, or else the one that is there, to be asked again later."""
        if self._load is not None:
            return self._coming[self._load]
        return self.there

    @property
    def stale(self) -> bool:
        """Whether what is shown is not what was asked for last."""
        return self._wanted is not None

    @property
    def scores(self) -> "Scores":
        """Scores of the newest answer, worked out once."""
        assert self.answer is not None
        if self._scores is None:
            self._scores = self.answer.reconstruction.scores()
        return self._scores

    @property
    def preliminary(self) -> bool:
        """Whether the newest answer is the network's alone, until the linear expert is there."""
        return self.answer is not None and self.answer.preliminary

    @property
    def dropped(self) -> int:
        """Requests that a newer one took the place of."""
        return self._engine.dropped if self._engine is not None else 0

    def use(self, load: Load, name: str = "a model", source: str = "") -> None:
        """Load a model off the Qt thread, and ask it from then on; its `Origin` is told with it."""
        engine = self._started()
        self.fitting = ""
        self._load = partial(load)  # one that is asked for twice comes twice
        self._coming[self._load] = Weights(name, source, load)
        self.doing = f"Loading: {name}…"
        engine.use(self._load)
        self.status_changed.emit()

    def set_on(self, on: bool) -> None:
        """Ask with every change, or only when `once` is called."""
        if on != self.on:
            self.on = on
            self.status_changed.emit()
            if on:
                self.ask_if_on()
            if on and self.whole is None:
                self._forget_whole()

    def once(self) -> None:
        """Ask now."""
        session, engine = self._session, self._engine
        if session is None or engine is None or not self._fits():
            return
        masks = self._coordinator.masks
        baseline = self.baseline[1] if self.baseline is not None else None
        request = Request(
            session,
            masks.mask,
            self._coordinator.trial,
            masks.prompt,
            baseline,
            decode=not masks.stroke_goes_on,  # in the middle of one, the next move comes first
        )
        self._wanted = request
        self._pending = False
        if not self._stale_timer.isActive():
            self._stale_timer.start()
        engine.ask(request)
        self.asked.emit()

    def ask_if_on(self) -> None:
        """Ask, unless live is switched off; then what is shown is stale."""
        if self.on:
            self.once()
        elif self.model is not None and self.answer is not None:
            self._coordinator.cells.set_stale(True)

    def score_test_trials(self) -> None:
        """Score the mask on all test trials, while nothing else is asked."""
        self.whole = None
        self._begin_scoring()
        self.scored.emit()

    def _begin_scoring(self) -> None:
        session = self._session
        if session is None or not self._fits():
            return
        masks, baseline = self._coordinator.masks, self.baseline
        painting, prompt = masks.painting, masks.prompt
        predict = baseline[1] if baseline is not None else None
        seen = self._seen

        def steps(model: "Model") -> Iterator[WholeScores]:
            trials = session.split().test
            return score_whole(
                model, session, painting, trials, prompt=prompt, baseline=predict, seen=seen
            )

        self._begin(_WHOLE, steps)

    @property
    def scoring(self) -> bool:
        """Whether the test trials are being scored."""
        return _WHOLE in self._works

    def stop_scoring(self) -> None:
        """Leave the scores over the test trials as far as they are."""
        self._forget(_WHOLE)
        self.scored.emit()

    def work(
        self, name: str, steps: Steps, heard: Callable[[object], None], *, ahead: bool = False
    ) -> None:
        """Take steps on the model while nothing is asked; `heard`, held weakly, hears each.

        A work of the same name is given up. Without a model nothing is done. What is `ahead`
        does not wait for the scores over the test trials.
        """
        if self.model is None:
            return
        self._heard[name] = WeakMethod(heard)
        self._begin(name, steps, ahead=ahead)

    def _begin(self, name: str, steps: Steps, *, ahead: bool = False) -> None:
        if self._engine is not None:
            self._works[name] = steps
            self._engine.work(name, steps, ahead=ahead)

    def _forget(self, name: str) -> None:
        self._works.pop(name, None)
        if self._engine is not None:
            self._engine.forget(name)

    def set_baseline(self, baseline: tuple[str, Predict] | None) -> None:
        """Compare with another baseline: its name, and what predicts with it."""
        self.baseline = baseline
        self.ask_if_on()
        self._forget_whole()

    def close(self, timeout: float | None = None) -> bool:
        """Stop the engine; return whether its thread ended within `timeout` seconds."""
        engine, self._engine, self.model = self._engine, None, None
        self.there = None
        self._wanted = None
        self._works.clear()
        for timer in (self._throttle, self._stale_timer):
            if isalive(timer):  # where Python ends with the window open, they may go first
                timer.stop()
        if self._bell is not None:
            self._bell.close()
        return engine is None or engine.close(timeout)

    def _started(self) -> Engine:
        if self._engine is None:
            # The thread touches no Qt object: it may outlive the window.
            news: deque[News] = deque()
            bell = self._bell = Bell(self._look)
            self._news = news
            self._engine = Engine(partial(_tell, news, bell.ring))
            finalize(self._coordinator.viewer, self._engine.close, 0.0)
        return self._engine

    def _look(self) -> None:
        """Hear what the engine told, one thing at a time: the mouse has its turn in between."""
        while self._news:
            news, later = self._news.popleft(), tuple(self._news)
            if not any(_replaces(one, news) for one in later):
                if later and self._bell is not None:
                    self._bell.ring()
                self._on_news(news)
                return

    def _on_session(self) -> None:
        self.answer = self._scores = self.behaviour = self.whole = self._wanted = None
        self.baseline, self._seen, self.fitting = None, {}, ""
        self._session = self._coordinator.session
        self._throttle.setInterval(self._coordinator.preferences.throttle_ms)
        self._works.clear()
        if self._engine is not None:
            self._engine.forget_all()
        self._prepare()
        if not self._fits():
            self._coordinator.cells.remove()
        self.scored.emit()
        self.status_changed.emit()

    def _prepare(self) -> None:
        """Make the model and the session that are there ready for each other."""
        model, session = self.model, self._session
        if model is None:
            return
        if not self.loading:
            self.doing = self.misfit
        if session is None:
            return
        if not self._fits():
            self.answer = self._scores = self.behaviour = self._wanted = None
            self._coordinator.cells.set_stale(True)
            self._forget_whole()
            return
        self._coordinator.cells.add()
        self._fit_readouts()
        self.ask_if_on()
        self._forget_whole()

    def _on_extended(self) -> None:
        """Decode further behaviour; what was predicted of the session stands."""
        self._session = self._coordinator.session
        self._fit_readouts()

    def _fit_readouts(self) -> None:
        """Fit decoders of what the session holds and the model does not decode."""
        model, session = self.model, self._session
        if model is None or session is None or not self._fits():
            return
        if readouts_lack(model, session):
            self._begin(_READOUTS, lambda model: fit_readouts_in_steps(model, session))

    @property
    def misfit(self) -> str:
        """Why the model cannot be asked about the session; empty where it can."""
        if self.model is None or self._session is None:
            return ""
        try:
            self.model.check(self._session)
        except MtmError as error:
            return str(error)
        return ""

    def _fits(self) -> bool:
        return self.model is not None and not self.misfit

    def _on_mask(self) -> None:
        if self._session is self._coordinator.session:  # else all begins anew in a moment
            if not (self.on and self._is_asked()):
                self.ask_if_on()
            self._forget_whole()

    def _is_asked(self) -> bool:
        """Whether just this was asked last, and all of it."""
        last = self._wanted or (self.answer.request if self.answer is not None else None)
        masks, trial = self._coordinator.masks, self._coordinator.trial
        return last is not None and (
            last.session is self._session
            and last.decode
            and (last.trial, last.prompt) == (trial, masks.prompt)
            and last.mask == masks.mask
        )

    def _forget_whole(self) -> None:
        self.whole = None
        self._forget(_WHOLE)
        if self.on:
            self._begin_scoring()
        self.scored.emit()

    def _on_stroke(self) -> None:
        if not self.on or self.model is None:
            return
        if self._throttle.isActive():
            self._pending = True
        else:
            self._throttle.start()
            self.once()

    def _on_throttle(self) -> None:
        if self._pending:
            self._pending = False
            self._throttle.start()
            self.once()

    def _on_stale(self) -> None:
        if self._wanted is not None:
            self._coordinator.cells.set_stale(True)
            self.status_changed.emit()

    def _on_news(self, news: News) -> None:
        if self._engine is None:
            return
        if isinstance(news, Loaded):
            self._on_loaded(news)
        elif isinstance(news, Answer):
            self._on_answer(news)
        elif isinstance(news, Fitting | Fitted):
            self._on_expert(news)
        elif isinstance(news, Decoded):
            if self.answer is not None and news.request is self.answer.request:
                self.behaviour = news
                self._coordinator.cells.show_baseline(
                    None if news.baseline is None else news.baseline[0]
                )
                self.decoded.emit(news)
        elif isinstance(news, Step):
            self._on_step(news)
        elif isinstance(news, Finished):
            self._on_finished(news)
        else:
            self._on_failure(news)

    def _on_loaded(self, loaded: Loaded) -> None:
        self.model = loaded.model
        coming = self._coming[loaded.load]
        self.name, self.source = coming.name, coming.source
        self.there = Weights(self.name, self.source, Ready(loaded.model))
        self._seen = {}
        if loaded.load is self._load:  # else another is on its way already
            self._load, self.doing = None, ""
            self._coming.clear()
        for name in tuple(self._works):
            self._forget(name)  # it is at work on the model that was there before
        self._prepare()
        self.status_changed.emit()

    def _on_answer(self, answer: Answer) -> None:
        """Show an answer, if it is of what is on screen.

        One that a newer request waits behind is shown while a stroke goes on, and now and then;
        else the newest is a moment away, and drawing this one would only delay it.
        """
        request = answer.request
        if not self._coordinator.shows(request.session):
            return
        if self._wanted is request:
            self._wanted = None
            self._stale_timer.stop()
        elif not self._coordinator.masks.stroke_goes_on and self._shown.elapsed() < STALE_MS:
            return
        else:
            self._stale_timer.start()
        if request.trial != self._coordinator.trial:
            return
        if not self.loading:
            self.doing = ""
        self.answer, self._scores, self.behaviour = answer, None, None
        self._shown.start()
        self._coordinator.cells.show(answer)
        self.answered.emit(answer)
        self.status_changed.emit()

    def _on_expert(self, news: Fitting | Fitted) -> None:
        """Say how far the linear expert is; once it is there, ask again."""
        if self.loading or not self._coordinator.shows(news.session):
            return
        if isinstance(news, Fitting):
            self.fitting = f"Fitting the {news.message}, {news.fraction:.0%}"
        else:
            self.fitting = ""
            if self.preliminary:
                self.once()
        self.status_changed.emit()

    def _on_step(self, step: Step) -> None:
        if self._works.get(step.name) is not step.work:
            return  # given up, but told already
        if isinstance(step.value, WholeScores):
            self.whole = step.value
            self.scored.emit()
        elif step.name in self._heard:
            heard = self._heard[step.name]()
            if heard is not None:
                heard(step.value)

    def _on_finished(self, finished: Finished) -> None:
        if self._works.get(finished.name) is not finished.work:
            return
        del self._works[finished.name]
        if finished.name == _READOUTS:
            self._seen = {}
            self.ask_if_on()
            self._forget_whole()
        elif finished.name == _WHOLE:
            self.scored.emit()

    def _on_failure(self, failed: Failed) -> None:
        if failed.of is self._load:
            self._load = None
            self._coming.clear()
        elif isinstance(failed.of, Request):
            answered = self.answer.request if self.answer is not None else None
            if failed.of not in (self._wanted, answered):
                return
            if failed.of is self._wanted:
                self._wanted = None
                self._stale_timer.stop()
        elif isinstance(failed.of, Session):
            if not self._coordinator.shows(failed.of):
                return
            self.fitting = ""
        elif failed.of in self._works.values():
            self._works = {name: work for name, work in self._works.items() if work != failed.of}
        else:
            return
        self.doing = str(failed.error)
        self.status_changed.emit()
        report(failed.error)


def _tell(heard: "deque[News]", ring: Callable[[], None], news: News) -> None:
    heard.append(news)
    ring()


def _replaces(later: News, news: News) -> bool:
    """Whether what is drawn of some news would be drawn over at once by later ones."""
    if isinstance(news, Answer):
        return isinstance(later, Answer)
    if isinstance(news, Fitting):
        return isinstance(later, Fitting | Fitted)
    if isinstance(news, Step) and isinstance(later, Step):
        return isinstance(news.value, WholeScores) and later.work is news.work
    return False


def _timer(milliseconds: int, slot: Callable[[], None], *, once: bool = False) -> QTimer:
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setSingleShot(once)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer
