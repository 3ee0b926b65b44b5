"""Make the sample session again: one simulated animal, as a ONE cache."""

import shutil
from pathlib import Path

from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.cache_writer import simulate

SAMPLE = Path(__file__).parents[1] / "sample_data"
RECIPE = Recipe(seed=176, units=110, trials=250)

if __name__ == "__main__":
    shutil.rmtree(SAMPLE, ignore_errors=True)
    simulate(SAMPLE, RECIPE)
