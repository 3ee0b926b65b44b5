"""Processes that open one mutant after another, and may die of it without ending the run."""

import contextlib
import faulthandler
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import torch

from tests.faults.mutating.mutants import Files, Mutant, mutant
from tests.faults.mutating.originals import WRITERS
from tests.faults.mutating.targets import TARGETS, use_folder
from tests.faults.mutating.verdicts import Failure, Verdict, judge, place_of_dead

_MIB = 2**20
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files are written: in memory where there is such a place, for none outlives the run."""
_GRACE = 2.0
"""Seconds after the limit at which a process ends itself that does not answer to the alarm."""

# All that is slow the first time is done in the process that the others are forked from.
_FORK = get_context("fork")


@dataclass(frozen=True)
class Limits:
    """What a mutant may cost: seconds for each look, and MiB beyond the process at rest."""

    seconds: float
    memory: float


@dataclass(frozen=True)
class Originals:
    """Files of all kinds, undamaged, and what each look gives for them."""

    files: Mapping[str, Files]
    expected: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Report:
    """What came of a mutant, and the seconds of the CPU that it took."""

    mutant: Mutant
    verdicts: list[Verdict]
    seconds: float


def write_originals() -> Originals:
    """Write files of all kinds, and look at them; what is slow the first time is then done."""
    torch.set_num_threads(1)
    pa.set_memory_pool(pa.system_memory_pool())  # others set a gigabyte aside
    files: dict[str, dict[str, bytes]] = {}
    expected: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=_MEMORY) as place:
        for kind, write in WRITERS.items():
            folder = Path(place) / kind
            folder.mkdir()
            use_folder(folder)
            write(folder)
            files[kind] = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            expected[kind] = {name: look(folder) for name, look in TARGETS[kind].looks.items()}
    return Originals(files, expected)


def open_all(
    numbers: Iterable[int], seed: int, originals: Originals, limits: Limits, *, processes: int
) -> Iterator[Report]:
    """Open mutants in some processes; yield what came of each, as they end."""
    waiting = iter(numbers)
    workers: list[_Worker] = []
    try:
        while True:
            while len(workers) < processes and (number := next(waiting, None)) is not None:
                workers.append(_Worker(seed, originals, limits))
                workers[-1].give(number)
            if not workers:
                return
            soonest = min(worker.deadline for worker in workers)
            wait([worker.connection for worker in workers], max(soonest - time.monotonic(), 0))
            for worker in list(workers):
                report = worker.look()
                if report is None:
                    continue
                yield report
                number = None if worker.spent else next(waiting, None)
                if number is None:
                    worker.end()
                    workers.remove(worker)
                else:
                    worker.give(number)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that opens mutants, as the process sees it that started it."""

    def __init__(self, seed: int, originals: Originals, limits: Limits) -> None:
        self._seed, self._originals, self._limits = seed, originals, limits
        self.connection, theirs = _FORK.Pipe()
        self._folder = Path(tempfile.mkdtemp(dir=_MEMORY))
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115  closed by `end`
        self._process = _FORK.Process(
            target=_serve,
            args=(theirs, self._last_words.fileno(), self._folder, seed, originals, limits),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self.spent = False
        self.deadline = self._number = 0

    def give(self, number: int) -> None:
        """Let it open a mutant."""
        self._number = number
        looks = len(TARGETS[self._mutant.kind].looks)
        self.deadline = time.monotonic() + (looks + 1) * (self._limits.seconds + _GRACE)
        with contextlib.suppress(OSError):  # one that is gone says so by its end
            self.connection.send(number)

    @property
    def _mutant(self) -> Mutant:
        return mutant(self._seed, self._number, self._originals.files)

    def look(self) -> Report | None:
        """Return what came of the mutant in hand, None while it is being opened."""
        late = time.monotonic() >= self.deadline
        if not self.connection.poll() and not late:
            return None
        with contextlib.suppress(EOFError, OSError):
            if self.connection.poll():
                verdicts, seconds = self.connection.recv()
                self.spent = any(spending(verdict) for verdict in verdicts)
                return Report(self._mutant, verdicts, seconds)
        self.spent = True
        self._process.kill()
        self._process.join()
        self._last_words.seek(0)
        words = self._last_words.read().decode(errors="replace")
        late = late or "Timeout (" in words
        how = "no answer" if late else _how_it_died(self._process.exitcode or 0)
        failure = Failure(how, place_of_dead(words), "the process is gone", words[-12_000:])
        return Report(self._mutant, [Verdict("", "failure", failure)], self._limits.seconds)

    def end(self) -> None:
        """End the process."""
        self.connection.close()
        self._process.kill()
        self._process.join()
        self._last_words.close()
        shutil.rmtree(self._folder)


def _how_it_died(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _serve(
    connection: Connection,
    last_words: int,
    folder: Path,
    seed: int,
    originals: Originals,
    limits: Limits,
) -> None:
    """Open mutants as they are asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(last_words, 2)
    faulthandler.enable(2)
    with contextlib.suppress(EOFError):
        while True:
            number = connection.recv()
            damaged = mutant(seed, number, originals.files)
            begun = time.process_time()
            verdicts = open_one(damaged, folder / "files", originals, limits)
            connection.send((verdicts, time.process_time() - begun))


def open_one(damaged: Mutant, folder: Path, originals: Originals, limits: Limits) -> list[Verdict]:
    """Write a mutant into a folder of its own, and judge each look at it."""
    verdicts: list[Verdict] = []
    target = TARGETS[damaged.kind]
    _clear(folder)
    damaged.write(folder, originals.files[damaged.kind])
    use_folder(folder)
    with _little_memory(limits.memory):
        for name, look in target.looks.items():
            faulthandler.dump_traceback_later(limits.seconds + _GRACE, exit=True)
            sealed = damaged.mutation.detectable and name in target.sealed
            expected = originals.expected[damaged.kind][name]
            verdict = judge(name, look, folder, expected, sealed=sealed, seconds=limits.seconds)
            faulthandler.cancel_dump_traceback_later()
            verdicts.append(verdict)
            if spending(verdict):
                break
    return verdicts


def spending(verdict: Verdict) -> bool:
    """Whether a process had better not go on after this."""
    return verdict.failure is not None and verdict.failure.kind in ("TooLong", "MemoryError")


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


@contextlib.contextmanager
def _little_memory(mib: float) -> Iterator[None]:
    """Let the process take no more than some MiB beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    at_rest = getattr(psutil.Process().memory_info(), "data", None)
    if at_rest is not None:  # elsewhere than on Linux nobody says, or keeps to it
        resource.setrlimit(resource.RLIMIT_DATA, (at_rest + int(mib * _MIB), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
