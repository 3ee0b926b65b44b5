"""Make the sample session anew: one simulated animal, as a ONE cache.

The committed one was made before the simulation's arithmetic came out the same everywhere: this
gives another animal of its kind, whose weights `make_weights.py` must make anew, too.
"""

import shutil
from pathlib import Path

from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.cache_writer import simulate

SAMPLE = Path(__file__).parents[1] / "sample_data"
RECIPE = Recipe(seed=176, units=110, trials=250)

if __name__ == "__main__":
    shutil.rmtree(SAMPLE, ignore_errors=True)
    simulate(SAMPLE, RECIPE)
