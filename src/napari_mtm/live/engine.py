"""One thread that owns the live model: it answers the newest request, and works on when idle.

What it finds is told to one listener, on the engine's thread; how far the linear expert of a
session is, that is fitted beside it, on that one's.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from napari_mtm.live.learning import Learning
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task
from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.model.model import Model
    from napari_mtm.model.readouts import Readouts
    from napari_mtm.model.reconstruction import Reconstruction

DECODE_SECONDS, IDLE_SECONDS = 0.05, 0.4
"""How long after a request decoding and background work wait.

The next move of a stroke, and the next stroke, find the engine free.
"""

_TURN = 1e-4
"""Seconds between turns of threads while a request is answered."""

Traces: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
Predict: TypeAlias = Callable[
    [npt.NDArray[np.bool_], npt.NDArray[np.intp]], npt.NDArray[np.float32]
]
"""Rates of some trials, (trials, bins, units), from what `hidden` (bins, units) leaves visible."""
Steps: TypeAlias = Callable[["Model"], Iterator[object]]
Load: TypeAlias = Callable[[], "Model"]

_numbers = count(1)


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked: one trial under one mask; `prompt` None for the mask's own.

    A `baseline` is asked for the same, after the model. Without `decode` rates are all that
    is wanted.
    """

    session: Session
    mask: Mask
    trial: int
    prompt: Task | None = None
    baseline: Predict | None = None
    decode: bool = True
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that was asked for is ready."""

    model: "Model"
    load: Load


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model made of a request, and how long the pass took.

    It is `preliminary` where the network says it alone, until the linear expert of the session
    is there.
    """

    request: Request
    reconstruction: "Reconstruction"
    seconds: float
    preliminary: bool = False


@dataclass(frozen=True, eq=False)
class Fitting:
    """The linear expert of a session is being fitted: the share that is done, and what it is."""

    session: Session
    fraction: float
    message: str


@dataclass(frozen=True, eq=False)
class Fitted:
    """The linear expert of a session is there: answers are no longer preliminary."""

    session: Session


@dataclass(frozen=True, eq=False)
class Decoded:
    """What else there is to a request.

    Behaviour decoded from what it left visible, and from everything; the rates of its
    baseline, (1, bins, units).
    """

    request: Request
    masked: Traces
    visible: Traces
    baseline: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """A piece of background work, told with what `work` was given."""

    name: str
    work: Steps
    value: object


@dataclass(frozen=True, eq=False)
class Finished:
    """A background work came to its end."""

    name: str
    work: Steps


@dataclass(frozen=True, eq=False)
class _Visible:
    """Behaviour decoded from everything, and what it follows from."""

    session: Session
    trial: int
    readouts: "Readouts | None"
    traces: Traces

    def of(self, session: Session, trial: int, readouts: "Readouts | None") -> bool:
        return self.session is session and self.trial == trial and self.readouts is readouts


@dataclass(frozen=True, eq=False)
class Failed:
    """Something went wrong with a request, a background work, an expert, or loading the model.

    An expert is told by its session.
    """

    of: "Request | Steps | Session | Load"
    error: Exception


News: TypeAlias = Loaded | Answer | Fitting | Fitted | Decoded | Step | Finished | Failed


class Engine:
    """Asks a model on a thread of its own; holds at most one request that waits.

    A newer request takes the place of one that waits. An answer is always told with its
    request, so that a listener can tell what is no longer wanted. Each request is answered
    with rates first; behaviour is decoded after that, unless something newer comes.

    Where the linear expert of a session takes long to fit, that is done beside it: requests
    are answered by the network alone meanwhile, and background works wait.
    """

    def __init__(self, tell: Callable[[News], None]) -> None:
        self._tell = tell
        self._wake = threading.Condition()
        self._load: Load | None = None
        self._request: Request | None = None
        self._decoding: Request | None = None
        self._works: dict[str, Steps] = {}
        self._running: dict[str, tuple[Steps, Iterator[object]]] = {}
        self._ahead: set[str] = set()
        self._asked_at = 0.0
        self._closed = self._at_work = False
        self._model: Model | None = None
        self._visible: _Visible | None = None
        self._learning: Learning | None = None
        self._learned = False
        self._untold: Learning | None = None
        self._current: Request | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="napari-mtm engine", daemon=True)
        self._thread.start()
        _engines.add(self)

    @property
    def busy(self) -> bool:
        """Whether there is more to be told."""
        with self._wake:
            waiting = self._load, self._request, self._decoding, self._untold
            return not self._closed and bool(
                self._at_work
                or any(task is not None for task in waiting)
                or self._works
                or self._running
                or self._learns
            )

    @property
    def _learns(self) -> bool:
        """Whether an expert is still to come."""
        return self._learning is not None and not self._learned

    def use(self, load: Load) -> None:
        """Load a model on the engine's thread, and answer with it from then on."""
        with self._wake:
            self._load = load
            self._unlearn()
            self._wake.notify()

    def ask(self, request: Request) -> None:
        """Ask; a request that waits is dropped."""
        with self._wake:
            self.dropped += self._request is not None
            self._request = request
            self._decoding = None
            self._asked_at = time.perf_counter()
            self._wake.notify()

    def work(self, name: str, steps: Steps, *, ahead: bool = False) -> None:
        """Take steps while no request waits; a work of the same name is given up.

        One comes after the other, in the order they were begun in, or `ahead` of all.
        """
        with self._wake:
            self._works[name] = steps
            self._running.pop(name, None)
            self._ahead.discard(name)
            if ahead:
                self._ahead.add(name)
            self._wake.notify()

    def forget(self, name: str) -> None:
        """Give up a background work."""
        with self._wake:
            self._works.pop(name, None)
            self._running.pop(name, None)

    def forget_all(self) -> None:
        """Drop the request that waits, and all background work."""
        with self._wake:
            self._unlearn()
            self._request = self._decoding = None
            self._works.clear()
            self._running.clear()

    def close(self, timeout: float | None = None) -> bool:
        """Stop; wait for what is running at most `timeout` seconds. Return whether it ended."""
        with self._wake:
            self._closed = True
            learning = self._learning
            self._unlearn()
            self._wake.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        learned = learning is None or learning.join(timeout)
        return learned and not self._thread.is_alive()

    def _unlearn(self) -> None:
        """Give up the expert that is being fitted."""
        if self._learning is not None:
            self._learning.cancel()
        self._learning = self._untold = self._current = None

    def _run(self) -> None:
        while (task := self._next()) is not None:
            task()
            with self._wake:
                self._at_work = False
        # Whoever holds a closed engine holds no more.
        self._load = self._model = self._visible = None
        self.forget_all()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; None once closed."""
        with self._wake:
            while not self._closed:
                task = self._waiting()
                if task is not None:
                    self._at_work = True
                    return task
                self._wake.wait(self._rest() if self._model is not None else None)
        return None

    def _rest(self) -> float | None:
        """Seconds until what can wait may be done; None where there is nothing."""
        if self._decoding is None and (self._learns or not (self._works or self._running)):
            return None
        rest = IDLE_SECONDS if self._decoding is None else DECODE_SECONDS
        return self._asked_at + rest - time.perf_counter()

    def _waiting(self) -> Callable[[], None] | None:
        """Take what is to be done first."""
        if self._load is not None:
            load, self._load = self._load, None
            return partial(self._take, load)
        if self._model is None:
            return None
        if self._untold is not None:
            learning, self._untold = self._untold, None
            return partial(self._tell_learned, learning)
        if self._request is not None:
            request, self._request = self._request, None
            self._current = request
            return partial(self._answer, request)
        return self._later()

    def _later(self) -> Callable[[], None] | None:
        """Take what is done once nothing was asked for a while."""
        rest = self._rest()
        if rest is None or rest > 0:
            return None
        if self._decoding is not None:
            request, self._decoding = self._decoding, None
            return partial(self._decode, request)
        return self._step

    def _take(self, load: Load) -> None:
        try:
            model = load()
        except Exception as error:  # noqa: BLE001  told to the listener
            self._tell(Failed(load, error))
            return
        self._model, self._visible = model, None
        self._tell(Loaded(model, load))

    def _answer(self, request: Request) -> None:
        assert self._model is not None
        try:
            # What the model learns of a session once tells nothing of how quick it is.
            alone = self._is_alone(request)
            start = time.perf_counter()
            with _short_turns:
                found = self._model.reconstruct(
                    request.session,
                    request.mask,
                    [request.trial],
                    task=request.prompt,
                    decode=False,
                    learn=False,
                )
        except Exception as error:  # noqa: BLE001  told to the listener
            self._tell(Failed(request, error))
            return
        self._tell(Answer(request, found, time.perf_counter() - start, alone))
        with self._wake:
            if self._request is None and request.decode:
                self._decoding = request

    def _is_alone(self, request: Request) -> bool:
        """Whether a request finds no linear expert, which is being fitted then."""
        model, session = self._model, request.session
        assert model is not None
        if not model.lacks_expert(session):
            return False
        with self._wake:
            if self._closed or self._current is not request:  # given up meanwhile
                return True
            learning = self._learning
            if learning is None or not learning.of(model, session):
                if learning is not None:
                    learning.cancel()
                learning = self._learning = self._learn(model, session)
        learning.wait()
        return model.lacks_expert(session)

    def _learn(self, model: "Model", session: Session) -> Learning:
        def ended() -> None:
            with self._wake:
                if self._learning is learning:
                    self._learned, self._untold = True, learning
                    self._wake.notify()

        def told(fraction: float, message: str) -> None:
            self._tell(Fitting(session, fraction, message))

        self._learned = False
        learning = Learning(model, session, told, ended)
        return learning

    def _tell_learned(self, learning: Learning) -> None:
        self._visible = None  # without it nothing may have been decoded
        error = learning.error
        self._tell(Failed(learning.session, error) if error else Fitted(learning.session))

    def _decode(self, request: Request) -> None:
        model, session, trial = self._model, request.session, request.trial
        assert model is not None
        readouts = model.readouts.get(session.id)
        visible, baseline = self._visible, None
        try:
            masked = model.decode(session, request.mask, [trial], task=request.prompt, learn=False)
            if visible is None or not visible.of(session, trial, readouts):
                traces = model.decode(session, Mask.nothing(session), [trial], learn=False)
                visible = self._visible = _Visible(session, trial, readouts, traces)
            if request.baseline is not None:
                baseline = request.baseline(request.mask.hidden, np.array([trial]))
        except Exception as error:  # noqa: BLE001  told to the listener
            self._tell(Failed(request, error))
            return
        self._tell(Decoded(request, masked, visible.traces, baseline))

    def _step(self) -> None:
        """Take a step of the first background work."""
        assert self._model is not None
        with self._wake:
            waiting = list(self._works.items())
            self._works.clear()
            # Nothing runs while the lock is held: what a work begins with may take a while.
            self._running.update(
                {name: (work, _begun(work, self._model)) for name, work in waiting}
            )
            if not self._running:
                return
            name = next((n for n in self._running if n in self._ahead), next(iter(self._running)))
            work, steps = self._running[name]
        try:
            step: News = Step(name, work, next(steps))
        except StopIteration:
            self._tell_of(name, steps, Finished(name, work), last=True)
        except Exception as error:  # noqa: BLE001  told to the listener
            self._tell_of(name, steps, Failed(work, error), last=True)
        else:
            self._tell_of(name, steps, step)

    def _tell_of(
        self, name: str, steps: Iterator[object], news: News, *, last: bool = False
    ) -> None:
        """Tell of a work that was not given up meanwhile."""
        with self._wake:
            running = self._running.get(name)
            if running is None or running[1] is not steps:
                return
            if last:
                del self._running[name]
        self._tell(news)


# A process that ends while the thread is inside a library would be aborted. An engine that is
# closed with no time to wait for its thread, as with its window, is held here no longer than that.
_engines: "WeakSet[Engine]" = WeakSet()


@atexit.register
def _close_all() -> None:
    for engine in tuple(_engines):
        engine.close()


class _Turns:
    """Lets threads take turns often while any engine of the process answers.

    After each of its operations torch waits for Python's lock. While another thread draws
    or follows the mouse, it would wait the usual 5 ms each time: a pass of 6 ms takes 100.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answering, self._usual = 0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._answering == 0:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(_TURN)
            self._answering += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._answering -= 1
            if self._answering == 0:
                sys.setswitchinterval(self._usual)


_short_turns = _Turns()


def _begun(work: Steps, model: "Model") -> Iterator[object]:
    yield from work(model)


def use_threads(number: int | None) -> None:
    """Let torch use so many threads of the CPU; None for its own number, but one core to draw with.

    Threads that share their cores with others wait for each other, which can take ten times as
    long as a pass on one.
    """
    import torch

    own, spare = _own_threads(), max((os.cpu_count() or 1) - 1, 1)
    torch.set_num_threads(number or min(own, spare))


@cache
def _own_threads() -> int:
    """How many threads torch takes by itself, asked before it is told another number."""
    import torch

    return torch.get_num_threads()
