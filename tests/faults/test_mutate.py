"""A short run over damaged files; `tests.faults.mutate` does it for thousands."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytest.importorskip("resource", reason="limits of a process are not to be had here")

# Instead of opening a mutant, its process does the worst.
WORST = """
import os, signal, time, warnings
from napari_mtm.errors import MtmError
from tests.faults.mutating import mutants, mutations, targets, workers

def abort(folder): os.abort()
def hang(folder): time.sleep(60)
def hang_deaf(folder):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(60)
def take_memory(folder): bytearray(2**29)
def warn(folder): warnings.warn("a warning")
def fail(folder): {}["key"]
def refuse_in_few_words(folder): raise MtmError("")
def refuse_in_many_words(folder): raise MtmError("It is wrong. " * 4)
def refuse(folder): raise MtmError("It is damaged. Fetch it again.")
def open_as_another(folder): return "another"
def open_(folder): return "as it was"

content = {"store": {"s.mtm": b"x" * 99}, "weights": {"w.safetensors": b"y" * 99}}
numbers = (n for n in range(999) if mutants.kind_of(n) == "store")
number = next(n for n in numbers if mutants.mutant(0, n, content).mutation in mutations.BYTES)
for look in (abort, hang, hang_deaf, take_memory, warn, fail, refuse_in_few_words,
             refuse_in_many_words, refuse, open_as_another, open_):
    targets.TARGETS["store"] = targets.Target(1, ("*.mtm",), {"look": look}, sealed=("look",))
    originals = workers.Originals(content, {"store": {"look": "as it was"}})
    limits = workers.Limits(seconds=0.2, memory=100)
    (report,) = workers.open_all([number], 0, originals, limits, processes=2)
    (verdict,) = report.verdicts
    print(look.__name__, verdict.failure.kind if verdict.failure else verdict.outcome, sep=": ")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_damaged_files_are_refused_or_open_as_they_should():
    done = run("-m", "tests.faults.mutate", "--mutants", "150")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "150 mutants" in done.stdout


def test_what_goes_wrong_is_found():
    done = run("-c", WORST)
    assert done.stdout.splitlines() == [
        "abort: killed by SIGABRT",
        "hang: TooLong",
        "hang_deaf: no answer",
        "take_memory: MemoryError",
        "warn: UserWarning",
        "fail: KeyError",
        "refuse_in_few_words: refused in bad words: empty",
        "refuse_in_many_words: refused in bad words: too many sentences",
        "refuse: refused",
        "open_as_another: opened with other data",
        "open_: equal",
    ], done.stderr
