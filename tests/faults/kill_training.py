"""Kill a training at random moments, and see that every folder can be read and goes on.

    python -m tests.faults.kill_training --kills 50

It ends with one line: how many kills there were, how many found a run on disk, and whether
the run that was killed so often learned just what an undisturbed one does. Exits with 1 where
anything could not be read or resumed.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from napari_mtm.recording.store import save_session
from napari_mtm.training.run import Run
from tests.faults.killing import asked, look
from tests.training.waves import waves

STEPS = 3000

CHILD = """
import sys
from napari_mtm.recording.opening import open_session
from napari_mtm.training import loop
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.settings import Settings
from tests.training.waves import SMALL

loop.SAVE_SECONDS = 0.2
pretrain([open_session(sys.argv[1])], sys.argv[2], sizes=SMALL, device="cpu", resume=True,
         settings=Settings(steps=int(sys.argv[3]), check_every=50))
"""


def main() -> None:
    """Kill, look, go on."""
    options = asked(__doc__, kills=50)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        store, killed, whole = (Path(folder) / name for name in ("s.mtm", "killed", "whole"))
        save_session(waves(), store)
        took = _finish(_start(store, whole))
        found = 0
        for _ in range(options.kills):
            process = _start(store, killed)
            time.sleep(chance.uniform(0.5, 1.0) * min(took, 8.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
            found += look(killed, ("interrupted", "finished"))
        _finish(_start(store, killed))
        same = Run(killed).losses() == Run(whole).losses()
    print(
        f"{options.kills} kills, {found} of them with a run on disk, all readable and resumed; "
        f"losses {'equal' if same else 'DIFFER from'} those of an undisturbed run"
    )
    sys.exit(not same)


def _start(store: Path, out: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(store), str(out), str(STEPS)]
    return subprocess.Popen(command, env=environment)


def _finish(process: "subprocess.Popen[bytes]") -> float:
    start = time.monotonic()
    if process.wait() != 0:
        raise SystemExit("a training that nobody killed failed")
    return time.monotonic() - start


if __name__ == "__main__":
    main()
