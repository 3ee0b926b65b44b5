"""Write the table of Beryl regions that the package ships, from iblatlas.

Run it again when iblatlas changes its atlas; a test compares the two.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from iblatlas.regions import BrainRegions

TABLE = Path(__file__).parents[1] / "src" / "napari_mtm" / "recording" / "beryl.csv"


def region_table() -> pd.DataFrame:
    """Acronym, full name, graph order and Allen colour of every Beryl region."""
    atlas = BrainRegions()
    rows = np.unique(atlas.mappings["Beryl"])
    table = pd.DataFrame(
        {
            "acronym": atlas.acronym[rows],
            "name": atlas.name[rows],
            "order": atlas.order[rows].astype(int),
            "colour": ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in atlas.rgb[rows]],
        }
    )
    return table.drop_duplicates("acronym").sort_values(["order", "acronym"], ignore_index=True)


if __name__ == "__main__":
    region_table().to_csv(TABLE, index=False)
