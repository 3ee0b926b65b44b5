"""Beryl names, anatomical order, and colours that tell neighbours apart."""

import numpy as np
import pandas as pd
import pytest
from iblatlas.regions import BrainRegions

from napari_mtm.recording import regions
from napari_mtm.recording.regions import locate, region_order, runs_of_regions, to_beryl


@pytest.fixture(scope="module")
def atlas() -> BrainRegions:
    return BrainRegions()


def test_the_shipped_table_is_the_atlas(atlas):
    table = pd.read_csv(regions.__file__.replace("regions.py", "beryl.csv"), keep_default_na=False)
    rows = np.unique(atlas.mappings["Beryl"])
    assert set(table["acronym"]) == set(atlas.acronym[rows])
    first = {a: i for i, a in reversed(list(enumerate(atlas.acronym)))}
    for row in table.itertuples():
        i = first[row.acronym]
        assert row.name == atlas.name[i]
        assert row.order == atlas.order[i]
        assert bytes.fromhex(row.colour[1:]) == bytes(atlas.rgb[i])


def test_finer_labels_become_beryl_names():
    assert to_beryl(["VISa2/3", "VISa6a", "DG-mo", "CA1", "or", "no such place"]) == [
        "VISa",
        "VISa",
        "DG",
        "CA1",
        "root",
        "unknown",
    ]


def test_atlas_ids_of_both_hemispheres(atlas):
    acronyms, beryl = locate(np.array([-382, 382, -312782562, 997, 0, 424242]))
    assert acronyms == ["CA1", "CA1", "VISa5", "root", "void", "unknown"]
    assert beryl == ["CA1", "CA1", "VISa", "root", "void", "unknown"]


def test_order_follows_the_graph_and_unknown_comes_last(atlas):
    names = ["unknown", "SCm", "PO", "root", "VISa", "LP", "DG", "CA1"]
    ordered = [names[i] for i in np.argsort(region_order(names), kind="stable")]
    assert ordered == ["root", "VISa", "CA1", "DG", "LP", "PO", "SCm", "unknown"]


def test_runs_have_slices_that_tile_the_units():
    runs = runs_of_regions(["root", "CA1", "CA1", "LP"])
    assert [(r.name, r.units, r.size) for r in runs] == [
        ("root", slice(0, 1), 1),
        ("CA1", slice(1, 3), 2),
        ("LP", slice(3, 4), 1),
    ]
    assert runs[1].full_name == "Field CA1"
    assert runs_of_regions([]) == ()


def test_colours_are_the_atlas_where_neighbours_differ():
    visa, ca1 = runs_of_regions(["VISa", "CA1"])
    assert visa.colour == (0, 159, 172)
    assert ca1.colour == (126, 208, 75)


def test_neighbours_never_share_a_colour():
    # In the atlas all thalamic nuclei share nearly one colour, and many regions one exactly.
    every = sorted(regions._beryl(), key=lambda n: regions._beryl()[n].order)
    colours = np.array([r.colour for r in runs_of_regions(every)])
    assert (np.abs(np.diff(colours, axis=0)).max(axis=1) >= 40).all()


@pytest.mark.parametrize("name", ["root", "void", "unknown"])
def test_what_is_no_region_is_grey(name):
    (run,) = runs_of_regions([name])
    assert len(set(run.colour)) == 1
