"""What the scripts that kill share: their options, what they train, a look at what is left."""

import argparse
from pathlib import Path

from napari_mtm.model.model import new_model
from napari_mtm.model.weights import load_model, save_model
from napari_mtm.recording.store import save_session
from napari_mtm.training.run import Run
from tests.training.waves import SMALL, waves

STORE, WEIGHTS = "s.mtm", "w.safetensors"


def asked(description: str | None, *, kills: int) -> argparse.Namespace:
    """Return what was asked for on the command line: `kills` and `seed`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def write_small(place: Path) -> None:
    """Write a session, and weights that do not know it."""
    save_session(waves(2), place / STORE)
    save_model(new_model(waves(1), sizes=SMALL, device="cpu"), place / WEIGHTS)


def look(folder: Path, states: tuple[str, ...]) -> bool:
    """Read everything that a killed run left, if there is one.

    Raises where something cannot be read, or where it says that it is in no such state.
    """
    if not Run.is_in(folder):
        return False
    run = Run(folder)
    if run.status.state not in states:
        raise SystemExit(f"a killed run says that it is {run.status.state}")
    run.losses()
    run.checkpoint()
    for path in folder.glob("*.safetensors"):
        if path.name != "checkpoint.safetensors":
            load_model(path, device="cpu")
    return True
