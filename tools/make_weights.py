"""Make the weights in the package, from nothing.

    python tools/make_weights.py [--work FOLDER]

Simulates animals (none of them the sample's), pretrains the default model on them, and
fine-tunes it on the training trials of the sample. What is in FOLDER already is not made
again; a training that was stopped goes on.
"""

import argparse
import tempfile
from pathlib import Path

from napari_mtm.model.weights import load_model, save_model, shipped_file
from napari_mtm.recording.opening import open_session
from napari_mtm.recording.simulation.animal import Recipe as Animal
from napari_mtm.recording.simulation.cache_writer import simulate
from napari_mtm.terminal import training
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.pretraining import pretrain
from napari_mtm.training.settings import Settings

ANIMALS = 12
SEED = 1000
PRETRAINING = Settings(steps=6000, check_every=500, seed=1)
TUNING = Settings(steps=1500, check_every=100, seed=1)


def main() -> None:
    """Pretrain, fine-tune, and write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for what is made on the way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _make(options.work or Path(temporary))


def _make(work: Path) -> None:
    cache = work / "animals"
    if not cache.exists():
        simulate(cache, Animal(SEED, units=150, trials=250), animals=ANIMALS)
    sessions = [open_session(path) for path in sorted(cache.glob("*/Subjects/*/*/*"))]
    sample = open_session("sample")
    if sample.id in {session.id for session in sessions}:
        raise SystemExit("the sample must not be trained on before it is shown")
    with training() as shown:
        run = pretrain(
            sessions,
            work / "pretrained",
            settings=PRETRAINING,
            resume=True,
            watch=shown.watch,
            device="cpu",
        )
    model = run.model(device="cpu")
    for session in sessions:  # what they taught stays; their own units are of no use elsewhere
        model.network.forget(session.id)
        model.trained.discard(session.id)
    save_model(model, shipped_file("pretrained"), half=True)
    with training() as shown:
        tuned = finetune(
            load_model("pretrained", device="cpu"),
            sample,
            work / "sample",
            settings=TUNING,
            resume=True,
            watch=shown.watch,
        )
    save_model(tuned.model(device="cpu"), shipped_file("sample"), half=True)


if __name__ == "__main__":
    main()
