"""Processes share work, cost each other nothing, and are gone when whoever began them is."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from napari_mtm.processes import Death, share


def done(jobs, work, workers, **about):
    """What each job came to."""
    found = dict(filter(None, share(jobs, work, workers, **about)))
    return [found[place] for place in range(len(jobs))]


def square(number: int) -> int:
    return number * number


def threads(_job: int) -> str:
    return os.environ["OPENBLAS_NUM_THREADS"]


def hears_ctrl_c(_job: int) -> bool:
    return signal.getsignal(signal.SIGINT) != signal.SIG_IGN


def die(code: int) -> None:
    if code:
        os._exit(code)


def refuse(number: int) -> int:
    if number == 2:
        raise OSError(28, "No space left on device")
    return number


def sleep_beside(folder: Path, job: int) -> None:
    """Leave a sign of work that is not finished."""
    (folder / f"{job}-{os.getpid()}").touch()
    time.sleep(120)


def remove(folder: Path, job: int, process: int) -> None:
    (folder / f"{job}-{process}").unlink()


def test_work_is_shared():
    assert done(range(5), square, 2) == [0, 1, 4, 9, 16]
    assert done([], square, 2) == []
    assert active_children() == []


def test_a_job_begins_once_it_can():
    now, order = [3], []
    for ended in share([1, 2, 3], square, 1, ready=lambda job: job in now):
        if ended is None:
            now.append(1) if order == [2] else None
            continue
        order.append(ended[0])
        now.append(2 if ended[0] == 0 else 0)
    assert order == [2, 0, 1]


def test_each_process_has_its_threads_and_none_hears_ctrl_c():
    assert done([0], threads, 1, threads=3) == ["3"]
    assert done([0], hears_ctrl_c, 1) == [False]


def test_a_process_that_dies_costs_its_own_job_only():
    assert done([0, 3, 0], die, 1) == [None, Death(3), None]


def test_what_goes_wrong_there_is_raised_here():
    with pytest.raises(OSError, match="No space left on device") as raised:
        done([1, 2, 3], refuse, 1)
    assert raised.value.errno == 28
    assert "in refuse" in raised.value.__notes__[0]
    assert active_children() == []


def test_an_end_before_its_time_ends_the_processes_and_tidies_up(tmp_path):
    working = share(range(4), partial(sleep_beside, tmp_path), 2, tidy=partial(remove, tmp_path))
    while len(list(tmp_path.iterdir())) < 2:
        assert next(working) is None
    start = time.monotonic()
    working.close()
    assert time.monotonic() - start < 60
    assert active_children() == []
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from napari_mtm.processes import share
from tests.test_processes import remove, sleep_beside
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tidy = partial(remove, folder)
    for _ in share(range(2), partial(sleep_beside, folder), 2, tidy=tidy):
        pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_killed_leaves_no_process_and_nothing_half_done(tmp_path, number):
    signs = tmp_path / "signs"
    signs.mkdir()
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    root = str(Path(__file__).parents[1])
    program = subprocess.Popen(
        [sys.executable, script, signs], env={**os.environ, "PYTHONPATH": root}
    )
    try:
        while len(list(signs.iterdir())) < 2:
            time.sleep(0.02)
            assert program.poll() is None
        children = psutil.Process(program.pid).children(recursive=True)
        assert len(children) >= 2
    finally:
        program.send_signal(number)
    assert program.wait(60) == -number
    _, left = psutil.wait_procs(children, 60)
    assert left == []
    assert list(signs.iterdir()) == []
