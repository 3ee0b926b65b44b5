"""`python -m benchmarks NAME [--json FILE]`."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

# Works from a plain checkout, where nothing is installed.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from benchmarks.report import write

NAMES = {
    "bin": "spikes to counts, against a histogram per trial",
    "step": "stepping through trials, against a bare napari layer",
    "load": "opening the sample, a session of real size from each kind of files, and a large store",
    "simulate": "twelve simulated animals",
    "forward": "one trial and sixteen through both presets, against a plain network",
    "train": "training the paper's network, against the usual loop",
    "live": "from the end of a stroke to the new picture, against the network and napari alone",
    "live-while-training": "the same while the open session is fine-tuned, against a pause of it",
    "loo": "leave-one-out scoring, against the bare transformer",
    "real": "our network on real sessions, against reduced-rank regression",
}


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "name",
        choices=NAMES,
        metavar="NAME",
        help="; ".join(f"{name}: {text}" for name, text in NAMES.items()),
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        results = import_module(f"benchmarks.{options.name.replace('-', '_')}_").run()
    except ModuleNotFoundError as error:
        parser.exit(2, f"benchmarks: {options.name} needs {error.name}, which is not installed\n")
    except FileNotFoundError as error:
        parser.exit(2, f"benchmarks: {options.name} needs {error.filename}, which is not there\n")
    write(options.name, results, options.json)


if __name__ == "__main__":
    main()
