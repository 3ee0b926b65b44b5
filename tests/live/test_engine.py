"""The engine: the newest request wins, whatever is slow, fails, is forgotten or closed."""

import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from queue import Queue

import numpy as np
import pytest

from napari_mtm import Mask, Session
from napari_mtm.live.engine import (
    IDLE_SECONDS,
    Answer,
    Decoded,
    Engine,
    Failed,
    Finished,
    Loaded,
    Request,
    Step,
)
from tests.going import until_gone

PATIENCE = 10.0
"""Seconds after which a test gives up."""

SESSION = Session.from_counts(np.ones((9, 5, 3)), ["CA1", "CA1", "LP"], id="asked")
MASK = Mask.region(SESSION, "LP")


class Told:
    """Keeps what an engine tells, with the time and the thread."""

    def __init__(self) -> None:
        self.news: list = []
        self.times: list[float] = []
        self.threads: set[threading.Thread] = set()
        self._changed = threading.Condition()

    def __call__(self, news) -> None:
        with self._changed:
            self.news.append(news)
            self.times.append(time.perf_counter())
            self.threads.add(threading.current_thread())
            self._changed.notify_all()

    def of(self, kind) -> list:
        with self._changed:
            return [n for n in self.news if isinstance(n, kind)]

    def wait(self, kind, n: int = 1) -> list:
        """Wait until there are n news of a kind."""
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: sum(isinstance(k, kind) for k in self.news) >= n, PATIENCE
            )
        assert arrived, self.news
        return self.of(kind)

    def time_of(self, news) -> float:
        return self.times[self.news.index(news)]


class Gate:
    """Holds back whoever passes until it is opened for one, or for good."""

    def __init__(self) -> None:
        self._reached: Queue[object] = Queue()
        self._passes = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self, what: object) -> None:
        self._reached.put(what)
        if not self._open.is_set():
            assert self._passes.acquire(timeout=PATIENCE)

    def reached(self) -> object:
        """Wait for the next to arrive."""
        return self._reached.get(timeout=PATIENCE)

    def let_one(self) -> None:
        self._passes.release()

    def open(self) -> None:
        self._open.set()
        self._passes.release(1000)


class Fake:
    """Answers with what it was asked; waits at its gates, and fails for trials that it is told."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.readouts: dict = {}
        self.calls: list[tuple] = []
        self.at_rates, self.at_behaviour = Gate(), Gate()
        self.no_rates: set[int] = set()
        self.no_behaviour: set[int] = set()
        self.at_behaviour.open()

    def lacks_expert(self, session):
        """Know all sessions."""
        return False

    def reconstruct(self, session, mask, trials, *, task=None, decode=True, learn=True):
        self.calls.append(("rates", session, mask, list(trials), task, decode))
        self.at_rates(trials[0])
        if trials[0] in self.no_rates:
            raise ValueError(f"no rates of {trials[0]}")
        return f"{self.name}: {trials[0]}"

    def decode(self, session, mask, trials, *, task=None, learn=True):
        self.calls.append(("behaviour", session, mask, list(trials), task))
        self.at_behaviour(trials[0])
        if trials[0] in self.no_behaviour:
            raise ValueError(f"no behaviour of {trials[0]}")
        return {"hidden": int(mask.hidden.sum()), "trial": trials[0]}

    def decoded(self) -> list[tuple]:
        return [call for call in self.calls if call[0] == "behaviour"]


def ask(engine: Engine, trial: int, **about) -> Request:
    request = Request(about.pop("session", SESSION), about.pop("mask", MASK), trial, **about)
    engine.ask(request)
    return request


def settle(engine: Engine) -> None:
    """Wait until the engine has no more to tell."""
    end = time.perf_counter() + PATIENCE
    while engine.busy:
        assert time.perf_counter() < end, "the engine does not come to rest"
        time.sleep(0.001)


def engine_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "napari-mtm engine"}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def model() -> Fake:
    return Fake()


@pytest.fixture
def engine(told, model) -> Iterator[Engine]:
    """An engine with the model, which waits at its gate."""
    before = engine_threads()
    engine = Engine(told)
    engine.use(lambda: model)
    told.wait(Loaded)
    yield engine
    model.at_rates.open()
    model.at_behaviour.open()
    assert engine.close(PATIENCE)
    assert engine_threads() <= before


# Requests


def test_an_answer_then_what_it_is_compared_with(engine, told, model):
    model.at_rates.open()
    request = ask(engine, 4, prompt="causal")
    (answer,), (decoded,) = told.wait(Answer), told.wait(Decoded)
    assert [type(n) for n in told.news] == [Loaded, Answer, Decoded]
    assert answer.request is decoded.request is request
    assert answer.reconstruction == "fake: 4"
    assert answer.seconds > 0
    assert decoded.masked == {"hidden": 5, "trial": 4}
    assert decoded.visible == {"hidden": 0, "trial": 4}
    assert decoded.baseline is None
    assert model.calls[0] == ("rates", SESSION, MASK, [4], "causal", False)
    assert model.calls[1] == ("behaviour", SESSION, MASK, [4], "causal")
    assert told.threads == engine_threads() & told.threads  # never on the caller's
    assert threading.current_thread() not in told.threads


def test_requests_are_numbered_in_order():
    numbers = [Request(SESSION, MASK, k).number for k in range(5)]
    assert numbers == sorted(set(numbers))


def test_the_newest_wins(engine, told, model):
    first = ask(engine, 0)
    assert model.at_rates.reached() == 0
    for trial in (1, 2, 3):
        ask(engine, trial)
    newest = ask(engine, 4)
    assert engine.busy
    model.at_rates.open()
    told.wait(Decoded)
    settle(engine)
    assert [a.request for a in told.of(Answer)] == [first, newest]
    assert [d.request for d in told.of(Decoded)] == [newest]
    assert engine.dropped == 3
    assert [call[3] for call in model.calls if call[0] == "rates"] == [[0], [4]]


def test_nothing_is_decoded_while_something_newer_waits(engine, told, model):
    ask(engine, 0)
    model.at_rates.reached()
    ask(engine, 1)
    model.at_rates.let_one()
    assert model.at_rates.reached() == 1
    assert not model.decoded()
    model.at_rates.let_one()
    told.wait(Decoded)
    assert {call[3][0] for call in model.decoded()} == {1}


def test_threads_take_turns_often_while_any_engine_answers(engine, told, model):
    usual = sys.getswitchinterval()
    other_told, other_model = Told(), Fake("other")
    other = Engine(other_told)
    other.use(lambda: other_model)
    try:
        ask(engine, 0)
        assert model.at_rates.reached() == 0
        assert sys.getswitchinterval() < usual / 10
        ask(other, 0)
        assert other_model.at_rates.reached() == 0
        model.at_rates.open()
        told.wait(Answer)
        settle(engine)
        assert sys.getswitchinterval() < usual / 10
        other_model.at_rates.open()
        other_told.wait(Answer)
        settle(other)
        assert sys.getswitchinterval() == pytest.approx(usual)
    finally:
        other_model.at_rates.open()
        other.close()


def test_rates_alone_are_told_where_no_more_is_wanted(engine, told, model):
    model.at_rates.open()
    ask(engine, 0, decode=False)
    told.wait(Answer)
    ask(engine, 1)
    (decoded,) = told.wait(Decoded)
    assert decoded.request.trial == 1
    assert not engine.busy


def test_decoding_waits_for_the_next_move_of_a_stroke(engine, told, model, monkeypatch):
    monkeypatch.setattr("napari_mtm.live.engine.DECODE_SECONDS", 0.5)
    model.at_rates.open()
    ask(engine, 0)
    told.wait(Answer)
    last = ask(engine, 1)
    asked = time.perf_counter()
    (decoded,) = told.wait(Decoded)
    assert decoded.request is last
    assert told.time_of(decoded) - asked > 0.45
    assert {call[3][0] for call in model.decoded()} == {1}


def test_what_is_being_decoded_is_told_though_something_newer_came(engine, told, model):
    model.at_rates.open()
    model.at_behaviour = Gate()
    first = ask(engine, 0)
    model.at_behaviour.reached()
    second = ask(engine, 1)
    model.at_behaviour.open()
    told.wait(Decoded, 2)
    assert [n.request for n in told.news[1:]] == [first, first, second, second]
    assert engine.dropped == 0


def test_many_who_ask_at_once_get_the_newest_last(engine, told, model):
    model.at_rates.open()
    asked = []

    def some() -> None:
        asked.extend(ask(engine, trial % 9) for trial in range(50))

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    newest = ask(engine, 8)
    settle(engine)
    answers = told.of(Answer)
    assert answers[-1].request is newest
    assert told.news[-1].request is newest
    assert isinstance(told.news[-1], Decoded)
    assert len(answers) + engine.dropped == len(asked) + 1
    assert len({id(a.request) for a in answers}) == len(answers)


# What is decoded from everything


def test_what_is_visible_is_decoded_once_for_a_trial(engine, told, model):
    model.at_rates.open()
    for n, trial in enumerate((0, 0, 1, 1, 0), 1):
        ask(engine, trial)
        assert told.wait(Decoded, n)[-1].visible["trial"] == trial
    seen = [call[3][0] for call in model.decoded() if not call[2].hidden.any()]
    assert seen == [0, 1, 0]


def test_another_cut_of_the_session_is_decoded_anew(engine, told, model):
    model.at_rates.open()
    ask(engine, 0)
    told.wait(Decoded)
    other = SESSION.select(units=[0, 2])
    assert other.id == SESSION.id
    ask(engine, 0, session=other, mask=Mask.nothing(other))
    told.wait(Decoded, 2)
    assert [call[1] is other for call in model.decoded()] == [False, False, True, True]


def test_new_readouts_decode_anew(engine, told, model):
    model.at_rates.open()
    ask(engine, 0)
    told.wait(Decoded)
    model.readouts[SESSION.id] = object()
    ask(engine, 0)
    told.wait(Decoded, 2)
    assert len(model.decoded()) == 4


# A baseline


def test_a_baseline_is_asked_for_the_same(engine, told, model):
    model.at_rates.open()

    def predict(hidden, trials):
        np.testing.assert_array_equal(hidden, MASK.hidden)
        return np.full((len(trials), 5, 3), float(trials[0]), np.float32)

    ask(engine, 7, baseline=predict)
    (decoded,) = told.wait(Decoded)
    assert decoded.baseline.shape == (1, 5, 3)
    assert (decoded.baseline == 7).all()


# Errors


def test_errors_are_told_and_the_next_request_is_answered(engine, told, model):
    model.at_rates.open()
    model.no_rates.add(1)
    model.no_behaviour.add(2)

    def predict(hidden, trials):
        raise KeyError("no baseline")

    failing = [ask(engine, 1)]
    told.wait(Failed, 1)
    failing.append(ask(engine, 2))
    told.wait(Failed, 2)
    failing.append(ask(engine, 3, baseline=predict))
    failures = told.wait(Failed, 3)
    good = ask(engine, 4)
    told.wait(Decoded)
    assert [f.of for f in failures] == failing
    assert [str(f.error) for f in failures[:2]] == ["no rates of 1", "no behaviour of 2"]
    assert isinstance(failures[2].error, KeyError)
    assert [a.request for a in told.of(Answer)] == [*failing[1:], good]
    settle(engine)


# Models


def test_what_is_asked_before_there_is_a_model_is_answered_with_it(told):
    engine, model = Engine(told), Fake()
    model.at_rates.open()
    ask(engine, 0)
    newest = ask(engine, 1)
    engine.work("count", lambda model: iter([model.name]))
    assert engine.busy
    time.sleep(0.05)
    assert not told.news
    engine.use(lambda: model)
    told.wait(Finished)
    assert [type(n) for n in told.news] == [Loaded, Answer, Decoded, Step, Finished]
    assert told.of(Answer)[0].request is newest
    assert engine.dropped == 1
    assert engine.close(PATIENCE)


def test_a_model_that_does_not_load_can_be_loaded_again(told):
    engine, model = Engine(told), Fake()
    model.at_rates.open()

    def broken():
        raise OSError("no such file")

    engine.use(broken)
    (failed,) = told.wait(Failed)
    assert failed.of is broken
    assert str(failed.error) == "no such file"
    settle(engine)
    request = ask(engine, 3)
    engine.use(lambda: model)
    told.wait(Decoded)
    (loaded,) = told.of(Loaded)
    assert loaded.model is model
    assert told.of(Answer)[0].request is request
    settle(engine)
    assert engine.close(PATIENCE)


def test_a_model_that_does_not_load_leaves_the_one_before(engine, told, model):
    model.at_rates.open()

    def broken():
        raise OSError("no such file")

    engine.use(broken)
    told.wait(Failed)
    ask(engine, 0)
    assert told.wait(Answer)[0].reconstruction == "fake: 0"


def test_another_model_answers_from_then_on(engine, told, model):
    other = Fake("other")
    other.at_rates.open()
    ask(engine, 0)
    model.at_rates.reached()
    engine.use(lambda: other)
    ask(engine, 0)
    model.at_rates.open()
    told.wait(Decoded)
    assert [a.reconstruction for a in told.of(Answer)] == ["fake: 0", "other: 0"]
    assert len(other.decoded()) == 2  # what is visible was decoded by the other model


def test_of_two_models_asked_for_at_once_the_last_is_used(told):
    gate = Gate()
    engine = Engine(told)

    def slow():
        gate("loading")
        return Fake("first")

    engine.use(slow)
    gate.reached()
    engine.use(lambda: Fake("second"))
    engine.use(lambda: Fake("third"))
    gate.open()
    told.wait(Loaded, 2)
    settle(engine)
    assert [n.model.name for n in told.of(Loaded)] == ["first", "third"]
    assert engine.close(PATIENCE)


# Background work


def steps(n: int, gate: Gate | None = None, name: str = "step"):
    """A work of n steps, which waits at the gate before each."""

    def work(model):
        for k in range(n):
            if gate is not None:
                gate(k)
            yield f"{name} {k}"

    return work


def test_work_is_told_step_by_step(engine, told, model):
    work = steps(3)
    engine.work("count", work)
    (finished,) = told.wait(Finished)
    assert [(s.name, s.value) for s in told.of(Step)] == [("count", f"step {k}") for k in range(3)]
    assert all(s.work is work for s in told.of(Step))
    assert (finished.name, finished.work) == ("count", work)
    settle(engine)


def test_work_is_given_the_model(engine, told, model):
    engine.work("look", lambda model: iter([model]))
    assert told.wait(Step)[0].value is model


def test_work_yields_to_requests(engine, told, model):
    model.at_rates.open()
    gate = Gate()
    engine.work("count", steps(3, gate))
    gate.reached()
    request = ask(engine, 5)
    asked = time.perf_counter()
    gate.open()
    told.wait(Finished)
    order = [type(n) for n in told.news[1:]]
    assert order == [Step, Answer, Decoded, Step, Step, Finished]
    assert told.of(Answer)[0].request is request
    second = told.of(Step)[1]
    assert told.time_of(second) - asked > IDLE_SECONDS - 0.01


def test_work_goes_on_by_itself_once_it_is_quiet(engine, told, model):
    model.at_rates.open()
    ask(engine, 0)
    told.wait(Decoded)
    began = time.perf_counter()
    engine.work("count", steps(1))
    told.wait(Finished)
    assert time.perf_counter() - began < 1.0


def test_several_works_are_all_done(engine, told, model):
    names = ("one", "two", "three")
    for name in names:
        engine.work(name, steps(4, name=name))
    told.wait(Finished, 3)
    for name in names:
        values = [s.value for s in told.of(Step) if s.name == name]
        assert values == [f"{name} {k}" for k in range(4)]
    settle(engine)


def test_what_is_ahead_waits_for_no_other_work(engine, told, model):
    gate = Gate()
    engine.work("long", steps(3, gate, name="long"))
    gate.reached()
    engine.work("ahead", steps(2, name="ahead"), ahead=True)
    gate.open()
    told.wait(Finished, 2)
    assert [s.value for s in told.of(Step)] == ["long 0", "ahead 0", "ahead 1", "long 1", "long 2"]
    engine.work("ahead", steps(1, name="last"))  # no longer
    told.wait(Finished, 3)


@pytest.mark.parametrize("what", ["forget", "forget_all"])
def test_forgotten_work_is_not_told_any_more(engine, told, model, what):
    gate = Gate()
    engine.work("count", steps(1000, gate))
    gate.reached()
    gate.let_one()
    gate.reached()
    told.wait(Step)
    if what == "forget":
        engine.forget("count")
        engine.forget("something else")
    else:
        engine.forget_all()
    gate.open()
    settle(engine)
    assert len(told.of(Step)) == 1
    assert not told.of(Finished)


def test_work_forgotten_before_it_began_never_begins(engine, told, model):
    ask(engine, 0)
    model.at_rates.reached()
    engine.work("count", steps(3))
    engine.forget("count")
    model.at_rates.open()
    told.wait(Decoded)
    settle(engine)
    assert not told.of(Step)


def test_work_of_the_same_name_takes_its_place(engine, told, model):
    gate = Gate()
    old, new = steps(1000, gate, "old"), steps(2, name="new")
    engine.work("count", old)
    gate.reached()
    engine.work("count", new)
    gate.open()
    told.wait(Finished)
    settle(engine)
    assert [s.value for s in told.of(Step)] == ["new 0", "new 1"]
    assert [f.work for f in told.of(Finished)] == [new]


def test_replacing_work_at_its_end_does_not_lose_the_new_one(engine, told, model):
    for k in range(300):
        engine.work("count", steps(1, name=str(k)))
        if k % 3:
            time.sleep(0.0005 * (k % 3))
    last = steps(1, name="last")
    engine.work("count", last)
    settle(engine)
    assert told.of(Step)[-1].value == "last 0"
    assert told.of(Finished)[-1].work is last


def broken_at_once(model):
    raise RuntimeError("broken at once")


def broken_later(model):
    yield 1
    raise RuntimeError("broken later")


@pytest.mark.parametrize("work", [broken_at_once, broken_later])
def test_a_failing_work_stops_nothing_else(engine, told, model, work):
    model.at_rates.open()
    engine.work("broken", work)
    engine.work("count", steps(2))
    told.wait(Finished)
    (failed,) = told.of(Failed)
    assert failed.of is work
    assert str(failed.error).startswith("broken")
    settle(engine)
    ask(engine, 1)
    told.wait(Decoded)
    settle(engine)


def test_a_request_is_taken_while_a_work_takes_long_to_begin(engine, told, model):
    """Whoever asks must not wait for the engine."""
    model.at_rates.open()
    gate = Gate()

    def slow(model):
        gate("begin")
        return iter([1])

    engine.work("slow", slow)
    gate.reached()
    began = time.perf_counter()
    ask(engine, 0)
    engine.work("other", steps(1))
    assert engine.busy
    assert time.perf_counter() - began < 1.0
    gate.open()
    told.wait(Finished, 2)


# Forgetting


def test_forgetting_all_drops_the_request_that_waits(engine, told, model):
    running = ask(engine, 0)
    model.at_rates.reached()
    ask(engine, 1)
    engine.forget_all()
    model.at_rates.open()
    settle(engine)
    assert [a.request for a in told.of(Answer)] == [running]


# Rest and end


def test_it_comes_to_rest(engine, told, model):
    assert not engine.busy
    ask(engine, 0)
    model.at_rates.reached()
    assert engine.busy
    model.at_rates.open()
    settle(engine)
    # Whoever sees that it rests has been told everything.
    assert [type(n) for n in told.news] == [Loaded, Answer, Decoded]


def test_closing_ends_the_thread_and_twice_is_fine(told):
    before = engine_threads()
    engine = Engine(told)
    assert len(engine_threads() - before) == 1
    assert engine.close(PATIENCE)
    assert engine_threads() == before
    assert engine.close()
    assert engine.close(0.0)
    assert not engine.busy


def test_closing_with_work_to_do(engine, told, model):
    ask(engine, 0)
    model.at_rates.reached()
    ask(engine, 1)
    engine.work("count", steps(1000))
    assert not engine.close(0.0)  # the pass that runs is not cut short
    assert not engine.busy
    model.at_rates.open()
    assert engine.close(PATIENCE)
    n = len(told.news)
    ask(engine, 2)
    engine.work("more", steps(1))
    engine.use(Fake)
    time.sleep(0.05)
    assert len(told.news) == n
    assert not engine.busy
    assert [a.request.trial for a in told.of(Answer)] == [0]


def test_closing_on_the_engines_own_thread_does_not_wait_for_itself():
    closed = threading.Event()

    def tell(news) -> None:
        engine.close()
        closed.set()

    engine = Engine(tell)
    engine.use(Fake)
    assert closed.wait(PATIENCE)
    assert engine.close(PATIENCE)


def test_a_closed_engine_holds_no_model(told):
    engine, model = Engine(told), Fake()
    gone = weakref.ref(model)
    engine.use(lambda model=model: model)
    told.wait(Loaded)
    engine.work("count", lambda model: iter(range(1000)))
    told.wait(Step)
    assert engine.close(PATIENCE)
    told.news.clear()
    del model
    until_gone(gone)


def test_an_engine_closed_in_the_middle_of_a_pass_goes_once_that_ends(told, model):
    engine = Engine(told)
    engine.use(lambda: model)
    told.wait(Loaded)
    ask(engine, 0)
    model.at_rates.reached()
    ask(engine, 1)
    assert not engine.close(0.0)  # as a window does, which waits for nobody
    gone = weakref.ref(engine)
    del engine
    model.at_rates.open()
    until_gone(gone)  # and what it told


BUSY_AT_THE_END = """
import time
import torch
from napari_mtm.live.engine import Engine

def work(model):
    while True:
        torch.rand(400, 400) @ torch.rand(400, 400)
        yield

steps = []
engine = Engine(steps.append)
engine.use(lambda: "a model")
engine.work("busy", work)
while len(steps) < 20:
    time.sleep(0.01)
"""


def test_a_process_ends_well_while_the_engine_is_busy():
    ended = subprocess.run(
        [sys.executable, "-c", BUSY_AT_THE_END], capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr


def test_threads_are_torchs_own_again_after_another_number():
    """In a process of its own, where a machine of many cores is played, and then one of two."""
    code = (
        "import os, torch; os.cpu_count = lambda: 999; print(torch.get_num_threads())\n"
        "from napari_mtm.live.engine import use_threads\n"
        "for number in (None, 1, None): use_threads(number); print(torch.get_num_threads())\n"
        "os.cpu_count = lambda: 2; use_threads(None); print(torch.get_num_threads())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, *used = done.stdout.split()
    assert used == [own, "1", own, "1"]
