"""Processes that share work."""

import os
import signal
import time
from concurrent.futures import as_completed
from functools import partial

import pytest

from napari_mtm.processes import pool


def test_work_is_shared_and_begins_as_told(tmp_path):
    with pool(2, partial(os.chdir, tmp_path)) as running:
        assert running.submit(os.getcwd).result() == str(tmp_path)
        tasks = [running.submit(pow, k, 2) for k in range(5)]
        assert sorted(task.result() for task in as_completed(tasks)) == [0, 1, 4, 9, 16]


def _stop_in_the_middle() -> None:
    with pool(2) as running:
        tasks = [running.submit(time.sleep, 120) for _ in range(4)]
        while not any(task.running() for task in tasks):
            time.sleep(0.01)
        raise KeyboardInterrupt


def test_an_end_before_its_time_ends_the_processes():
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _stop_in_the_middle()
    assert time.monotonic() - start < 60


def test_ctrl_c_is_for_whoever_began_them():
    with pool(1) as running:
        assert running.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN


def test_a_process_that_dies_is_told():
    with pytest.raises(Exception, match="terminated abruptly"), pool(1) as running:
        running.submit(os._exit, 3).result()
