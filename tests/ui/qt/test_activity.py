"""Jobs that take long are seen in napari's activity dock, and gone from it when they end."""

import threading

import pytest
from napari.utils import progress
from qtpy.QtCore import QTimer

from napari_mtm.ui.qt.activity import Activity
from napari_mtm.ui.qt.jobs import Jobs


@pytest.fixture
def jobs(qtbot):
    jobs = Jobs()
    Activity(jobs)
    return jobs


def bars() -> dict[str, int]:
    """What napari's bars say, and how far they are, in percent."""
    return {bar.desc.rstrip(": "): bar.n for bar in progress._all_instances}


def test_a_job_is_shown_until_it_ends(jobs, qtbot):
    go_on = threading.Event()

    def work(report) -> None:
        report(0.25, "reading probe00")
        assert go_on.wait(20)

    jobs.run("opening", work, lambda _: None)
    qtbot.waitUntil(lambda: bars() == {"reading probe00": 25})
    go_on.set()
    qtbot.waitUntil(lambda: bars() == {})


def test_a_cancelled_job_is_gone_from_it(jobs, qtbot):
    def work(report) -> None:
        while True:
            report(0.5, "reading")

    jobs.run("opening", work, lambda _: None)
    qtbot.waitUntil(lambda: bars() == {"reading": 50})
    jobs.cancel()
    qtbot.waitUntil(lambda: bars() == {})


def test_a_short_job_is_not_shown(jobs, qtbot):
    seen: list[dict[str, int]] = []
    timer = QTimer()
    timer.timeout.connect(lambda: seen.append(bars()))
    timer.start(20)
    with qtbot.waitSignal(jobs.finished):
        jobs.run("opening", lambda report: report(0.5, "reading"), lambda _: None)
    qtbot.wait(500)
    assert seen
    assert not any(seen)
