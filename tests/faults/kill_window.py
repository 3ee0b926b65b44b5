"""Kill napari at random moments while it fine-tunes, and see that the next one goes on.

    python -m tests.faults.kill_window --kills 30

Each time napari is opened on the same session, a fine-tuning is begun with a click, or with a
click on what it offers where the last was cut off, and some time later napari is killed
(SIGKILL). It needs a screen; Xvfb will do. It ends with one line: how many kills there were and
how many of them were followed by an offer, that every folder could be read, that no process was
left, and whether what was cut off so often learned just what an undisturbed training does.
Exits with 1 where any of that is not so.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from napari_mtm.training.run import Run
from tests.faults.killing import STORE, WEIGHTS, asked, look, write_small

STEPS = 3000
_LATEST = 8.0
_PATIENCE = 120.0

PROGRAM = """
import sys
from functools import partial
from napari_mtm.ui.launch import choose_qt, window
choose_qt()
import napari
from qtpy.QtCore import QTimer
from napari_mtm import load_model
from napari_mtm.recording.preparation import Preparation
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.docks.finetune.dock import FinetuneDock

session, weights, steps, cut_off = sys.argv[1:]
viewer = window(session, one=None, preparation=Preparation())
coordinator = coordinator_of(viewer)
coordinator.live.use(partial(load_model, weights, device="cpu"), "small", weights)
viewer.show()
dock = viewer.window._qt_window.findChild(FinetuneDock)
dock.parent().raise_()
dock.plan.steps.setValue(int(steps))
finetuning, clicked, told = coordinator.finetuning, False, False

def look():
    global clicked, told
    button = dock.runs.offer_button if cut_off else dock.plan.start_button
    if not clicked and button.isVisible() and button.isEnabled():
        button.click()
        clicked = True
    elif clicked and not told and finetuning._watched is not None:
        print(finetuning._watched.worker.pid, flush=True)
        told = True
    elif told and not finetuning.at_work:
        print(finetuning.phase, flush=True)
        viewer.close()

timer = QTimer()
timer.timeout.connect(look)
timer.start(20)
napari.run()
"""


class Place:
    """Where a program finds its session, its weights and its runs."""

    def __init__(self, folder: Path, name: str) -> None:
        self.runs = folder / name
        self.given = str(folder / STORE), str(folder / WEIGHTS), str(STEPS)
        self.offers = 0

    def start(self) -> tuple["subprocess.Popen[str]", psutil.Process]:
        """Open napari and begin, or go on; return it and the process that trains."""
        cut_off = any(run.status.state == "interrupted" for run in self.found())
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *self.given, "cut off" * cut_off],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NAPARI_MTM_RUNS": str(self.runs)},
        )
        assert program.stdout is not None
        said = (line.strip() for line in program.stdout)  # napari prints messages, too
        number = next((line for line in said if line.isdigit()), None)
        if number is None:
            raise SystemExit("napari did not begin, or offered nothing to go on with")
        self.offers += cut_off
        return program, psutil.Process(int(number))

    def finish(self) -> Run:
        """Train to the end; return the run."""
        program, _ = self.start()
        said, _ = program.communicate()
        if "finished" not in said.split("\n"):
            raise SystemExit(f"a training that nobody killed ended so: {said}")
        return self.found()[-1]

    def kill(self, after: float) -> None:
        """Begin, and kill napari some time later; see that nothing is left of it."""
        program, child = self.start()
        time.sleep(after)
        program.kill()
        program.communicate()
        with suppress(psutil.NoSuchProcess):
            try:
                child.wait(_PATIENCE)
            except psutil.TimeoutExpired:
                raise SystemExit("a training goes on though its napari is gone") from None
        for run in self.found():
            look(run.folder, ("interrupted", "finished"))

    def found(self) -> list[Run]:
        """Return the runs that there are, by age."""
        return [Run(path.parent) for path in sorted(self.runs.glob("*/*/run.json"))]


def main() -> None:
    """Kill, look, go on."""
    options = asked(__doc__, kills=30)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_small(Path(folder))
        undisturbed, killed = Place(Path(folder), "undisturbed"), Place(Path(folder), "killed")
        for _ in range(options.kills):
            killed.kill(chance.uniform(0.0, _LATEST))
        killed.finish()
        losses = undisturbed.finish().losses()
        same = all(run.losses() == losses for run in killed.found())
        runs = len(killed.found())
    print(
        f"{options.kills} kills of napari in {runs} fine-tunings, {killed.offers} of them offered "
        "and resumed when it was opened next, all readable, no process left; losses "
        f"{'equal' if same else 'DIFFER from'} those of an undisturbed run"
    )
    sys.exit(not same)


if __name__ == "__main__":
    main()
