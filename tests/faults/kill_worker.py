"""Kill a fine-tuning in a process of its own, or whoever started it, at random moments.

    python -m tests.faults.kill_worker --kills 30

Each time the process that trains is killed, and as often the one that started it (SIGKILL).
It ends with one line: how many of each there were, that every folder could be read, that no
process was left, and whether what was killed so often learned just what an undisturbed
training does. Exits with 1 where any of that is not so.
"""

import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import TypeAdapter

from napari_mtm.training.messages import Assignment
from napari_mtm.training.run import Run
from napari_mtm.training.settings import Settings
from tests.faults.killing import STORE, WEIGHTS, asked, look, write_small

SETTINGS = Settings(steps=3000, check_every=100)
_LATEST = 8.0
_PATIENCE = 60.0

PROGRAM = """
import sys, time
from pydantic import TypeAdapter
from napari_mtm.training.messages import Assignment
from napari_mtm.training.worker import Worker
worker = Worker(TypeAdapter(Assignment).validate_json(sys.argv[1]))
print(worker.pid, flush=True)
while worker.ended is None:
    worker.look()
    time.sleep(0.05)
worker.close()
print(worker.ended.how, worker.ended.message)
"""


def main() -> None:
    """Kill, look, go on."""
    options = asked(__doc__, kills=30)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_small(place)
        found = {"child": 0, "program": 0}
        took = _finish(place, "whole")
        for kill in range(2 * options.kills):
            whom = ("child", "program")[kill % 2]
            _kill(place, whom, chance.uniform(0.3, 1.0) * min(took, _LATEST))
            found[whom] += look(place / "killed", ("interrupted", "stopped", "finished"))
        _finish(place, "killed")
        same = Run(place / "killed").losses() == Run(place / "whole").losses()
    print(
        f"{options.kills} kills of the training and {options.kills} of the program, "
        f"{found['child']} and {found['program']} of them with a run on disk, all readable and "
        f"resumed, no process left; losses {'equal' if same else 'DIFFER from'} those of an "
        "undisturbed run"
    )
    sys.exit(not same)


def _start(place: Path, name: str) -> tuple["subprocess.Popen[str]", psutil.Process]:
    """Start a program that starts a training; return both."""
    assignment = Assignment(
        place / STORE, str(place / WEIGHTS), place / name, "full", SETTINGS, "cpu"
    )
    text = TypeAdapter(Assignment).dump_json(assignment).decode()
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, text], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    return program, psutil.Process(int(program.stdout.readline()))


def _finish(place: Path, name: str) -> float:
    """Train to the end; return the seconds that took."""
    start = time.monotonic()
    program, _ = _start(place, name)
    said, _ = program.communicate()
    if said.split() != ["finished"]:
        raise SystemExit(f"a training that nobody killed ended so: {said}")
    return time.monotonic() - start


def _kill(place: Path, whom: str, after: float) -> None:
    """Kill one of the two after some time, and see that neither is left."""
    program, child = _start(place, "killed")
    time.sleep(after)
    with suppress(psutil.NoSuchProcess):  # it may be through already
        (child if whom == "child" else program).kill()
    said, _ = program.communicate()
    try:
        child.wait(_PATIENCE)
    except psutil.TimeoutExpired:
        raise SystemExit("a training goes on though its program is gone") from None
    if whom == "child" and said.split()[0] not in ("killed", "finished"):
        raise SystemExit(f"of a killed training the program says: {said}")


if __name__ == "__main__":
    main()
