"""One job at a time off the Qt thread, with progress, cancelling and errors in words."""

import gc
import threading
import time
from unittest.mock import Mock
from weakref import ref

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject

from napari_mtm.errors import Cancelled, SourceError
from napari_mtm.ui.qt.jobs import Jobs, report


@pytest.fixture
def jobs(qtbot) -> Jobs:
    return Jobs()


@pytest.fixture
def notes():
    """What napari would show."""
    seen: list = []
    notification_manager.notification_ready.connect(seen.append)
    yield seen
    notification_manager.notification_ready.disconnect(seen.append)


def test_work_runs_elsewhere_and_its_result_comes_back_here(jobs, qtbot):
    threads, results = [], []

    def work(progress):
        threads.append(threading.current_thread())
        progress(0.5, "half")
        return 7

    def done(result):
        threads.append(threading.current_thread())
        results.append(result)

    with qtbot.waitSignals([jobs.started, jobs.progressed, jobs.finished]):
        jobs.run("counting", work, done)
        assert jobs.running
    assert results == [7]
    assert threads[0] is not threading.main_thread()
    assert threads[1] is threading.main_thread()
    assert not jobs.running


def test_progress_is_told_now_and_then_however_often_it_is_reported(jobs, qtbot):
    told, results = [], []
    jobs.progressed.connect(lambda fraction, message: told.append(message))

    def work(progress):
        end = time.monotonic() + 0.5
        reported = 0
        while time.monotonic() < end:
            progress(0.5, f"report {reported}")
            reported += 1
        return reported

    with qtbot.waitSignal(jobs.finished):
        jobs.run("busy", work, results.append)
    assert results[0] > 1000
    assert 3 <= len(told) <= 25
    assert told[-1] == f"report {results[0] - 1}"


def test_what_is_reported_before_a_long_silence_is_told(jobs, qtbot):
    told, first, hold = [], threading.Event(), threading.Event()

    def tell(fraction, message):
        told.append(message)
        first.set()

    def work(progress):
        progress(0.1, "opening")
        first.wait(5)
        progress(0.2, "reading")
        progress(0.3, "binning")
        hold.wait(5)

    jobs.progressed.connect(tell)

    jobs.run("silent", work, Mock())
    qtbot.waitUntil(lambda: bool(told) and told[-1] == "binning")
    assert jobs.running
    with qtbot.waitSignal(jobs.finished):
        hold.set()


def run_endless(jobs: Jobs, done: Mock) -> threading.Event:
    """Run a job that goes on until it is stopped; return what is set then."""
    stopped = threading.Event()

    def work(progress):
        try:
            while True:
                progress(0.1, "on and on")
                time.sleep(0.005)
        except Cancelled:
            stopped.set()
            raise

    jobs.run("endless", work, done)
    return stopped


def test_a_cancelled_job_stops_and_gives_nothing(jobs, qtbot, notes):
    done = Mock()
    stopped = run_endless(jobs, done)
    with qtbot.waitSignal(jobs.finished):
        jobs.cancel()
    assert stopped.wait(5)
    qtbot.wait(50)
    assert not done.called
    assert notes == []


def test_what_is_cancelled_after_its_window_went_was_stopped(jobs, qtbot):
    done = Mock()
    stopped = run_endless(jobs, done)
    with qtbot.waitSignal(jobs.destroyed):
        jobs.deleteLater()
    jobs.cancel()
    assert stopped.wait(5)
    assert not done.called


@pytest.mark.parametrize("cancelled", [False, True])
def test_who_waits_for_a_job_goes_with_its_window(cancelled, qtbot):
    class Panel(QObject):
        def __init__(self):
            super().__init__()
            self.jobs = Jobs(self)

        def done(self, result):
            pass

    hold, panel = threading.Event(), Panel()
    panel.jobs.run("slow", lambda progress: hold.wait(5), panel.done)
    gone = ref(panel)
    if cancelled:
        panel.jobs.cancel()
    gc.disable()
    try:
        with qtbot.waitSignal(panel.destroyed):
            panel.deleteLater()
        del panel
        assert gone() is None
    finally:
        gc.enable()
        hold.set()


def test_a_new_job_replaces_the_old_one(jobs, qtbot):
    hold, results = threading.Event(), []

    def slow(progress):
        hold.wait(5)
        return "slow"  # never looks whether it was cancelled

    jobs.run("slow", slow, results.append)
    with qtbot.waitSignal(jobs.finished):  # of the old one
        jobs.run("fast", lambda progress: "fast", results.append)
    hold.set()
    qtbot.waitUntil(lambda: not jobs.running)
    qtbot.wait(100)
    assert results == ["fast"]


def test_our_errors_are_shown_in_their_words(jobs, qtbot, notes):
    def work(progress):
        raise SourceError("The file is damaged. Fetch it again.")

    with qtbot.waitSignal(jobs.finished):
        jobs.run("failing", work, Mock())
    assert [n.message for n in notes] == ["The file is damaged. Fetch it again."]


def test_bugs_are_shown_with_their_traceback(notes, monkeypatch):
    monkeypatch.delenv("NAPARI_EXIT_ON_ERROR", raising=False)
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError as error:
        report(error)
    assert len(notes) == 1
    assert "a bug" in notes[0].message
