"""Use the program at random for as long as an hour of a person, and see that nothing breaks.

    python -m tests.faults.random_use --actions 10000

It ends with one line: how many actions there were, what went wrong, how much the memory grew
from the first tenth (25 actions at least) to the end, how many more files are open, and which
threads are left. Memory is what is resident; after each tenth both that and the part of it that
the process wrote itself are printed, without pages of libraries, which are read in as they are
used. Exits with 1 where anything was heard (exceptions, warnings, what Qt and napari complain of),
where the answer that is shown is not that of the mask, where memory grew by 5% or more, or where
files or a thread are left. A failure is printed with its action's number: the same `--seed` and as
many `--actions` do the same again, and `--trace` says what each was.
"""

import argparse
import ctypes
import gc
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari_mtm.ui.heap import keep_memory_together

keep_memory_together()  # as the command line does, before anything else

# isort: split
from tests.conftest import trials  # a home folder of its own, before napari is imported

# isort: split
import numpy as np
import psutil

from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import save_session
from napari_mtm.ui.launch import window
from tests.faults.acts import act
from tests.faults.holding import wrong, wrong_at_last
from tests.faults.listening import Troubles, listening
from tests.faults.person import Person, settle, wait_until

CHECK_EVERY = 25
MOST_GROWTH = 0.05
MOST_FILES = 20
_MIB = 2**20
_THREADS_END = 20.0


@dataclass(frozen=True)
class Memory:
    """Bytes that the process holds, and how many of them it wrote itself."""

    resident: int
    written: int

    def __str__(self) -> str:
        return f"{self.resident / _MIB:.0f} ({self.written / _MIB:.0f})"


def _n_files() -> int:
    """How many files and sockets are open."""
    count: Callable[[], int] = getattr(psutil.Process(), "num_fds", lambda: 0)  # not on Windows
    return count()


@dataclass(frozen=True)
class Figure:
    """What came of it, with the memory after each tenth of the actions."""

    actions: int
    seed: int
    seconds: float
    troubles: Sequence[str]
    memory: Sequence[Memory]
    files: int
    threads: Sequence[str]

    @property
    def growth(self) -> float:
        """Share by which the resident memory grew from the first tenth to the end."""
        return self.memory[-1].resident / self.memory[0].resident - 1

    def __str__(self) -> str:
        tenths = ", ".join(str(memory) for memory in self.memory)
        return (
            f"{self.actions} actions (seed {self.seed}) in {self.seconds:.0f} s: "
            f"{len(self.troubles)} errors, memory {self.growth:+.1%} (MiB after each tenth, and "
            f"written: {tenths}), {self.files} files and {len(self.threads)} threads left"
        )


def some_sessions(folder: Path) -> tuple[Session | Path, ...]:
    """One region and no trials table; bins that the shipped models do not take; a store."""
    draw = np.random.default_rng(0)
    one = Session.from_counts(draw.poisson(0.3, (30, 100, 12)), ["CA1"] * 12, id="one region")
    regions = ["CA1"] * 6 + ["LP"] * 5 + ["VISa"] * 4
    other = Session.from_counts(
        draw.poisson(0.5, (20, 50, 15)), regions, trials=trials(20), bin_size=0.04, id="other bins"
    )
    fits = Session.from_counts(
        draw.poisson(0.2, (24, 100, 15)), regions, trials=trials(24), id="a store"
    )
    path = folder / "store.mtm"
    save_session(fits, path)
    return one, other, path


def use(
    actions: int,
    seed: int,
    troubles: Troubles,
    *,
    trace: Callable[[str], None] = lambda line: None,
) -> Figure:
    """Open the program, use it, close it."""
    before, files = set(threading.enumerate()), 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        viewer = window("sample", one=None, preparation=Preparation())
        viewer.show()
        viewer.window.resize(1366, 768)
        settle(0.1)
        person = Person(viewer, some_sessions(Path(folder)))
        person.come_home()
        files = _n_files()
        memory = _act_all(person, actions, seed, troubles, trace)
        person.come_home()
        settle(1.0)
        gc.collect()
        settle(0.1)
        files = _n_files() - files
        del person
        viewer.close()
        del viewer
        wait_until(lambda: not _new(before), _THREADS_END)
    threads = [thread.name for thread in _new(before)]
    seconds = time.monotonic() - start
    return Figure(actions, seed, seconds, tuple(troubles), memory, files, threads)


def _act_all(
    person: Person, actions: int, seed: int, troubles: Troubles, trace: Callable[[str], None]
) -> list[Memory]:
    """Act, and look now and then; return the memory that is taken after each tenth."""
    start = time.monotonic()
    tenth = max(actions // 10, CHECK_EVERY)
    memory = []
    for number in range(actions):
        troubles.at = f"seed {seed}, action {number}"
        _try(partial(act, person, f"{seed}/{number}"), troubles)
        trace(f"{number} {time.monotonic() - start:.2f} {person.done}")
        troubles.at += f" ({person.done})"
        if number % CHECK_EVERY == CHECK_EVERY - 1:
            _try(lambda: [troubles.hear(what) for what in wrong(person)], troubles)
        if number % tenth == tenth - 1 or number == actions - 1:
            memory.append(_memory_at_home(person))
            trace(f"after {number + 1}: {memory[-1]} MiB")
    troubles.at = f"seed {seed}, at the end"
    for what in (*wrong(person), *wrong_at_last(person)):
        troubles.hear(what)
    return memory


def _try(act: Callable[[], Any], troubles: Troubles) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001  kept, and the person goes on
        troubles.hear_exception(error)


def _new(before: set[threading.Thread]) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t not in before]


def _memory_at_home(person: Person) -> Memory:
    """Take the memory in a state that can be compared."""
    person.come_home()
    settle(1.0)
    gc.collect()
    settle(0.1)
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    taken = psutil.Process().memory_info()
    return Memory(int(taken.rss), int(taken.rss - getattr(taken, "shared", 0)))


def main() -> None:
    """Use it, and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trace", action="store_true", help="say what each action was")
    options = parser.parse_args()
    from napari.qt import get_qapp

    get_qapp()
    with listening() as troubles:
        trace = (lambda line: print(line, flush=True)) if options.trace else (lambda line: None)
        figure = use(options.actions, options.seed, troubles, trace=trace)
    print(figure)
    left = figure.files > MOST_FILES or figure.threads
    sys.exit(bool(figure.troubles or left or figure.growth >= MOST_GROWTH))


if __name__ == "__main__":
    main()
