"""Animals differ in everything but the brain; their spikes follow their true rates."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mtm.errors import PreparationError
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.regions import to_beryl
from napari_mtm.recording.simulation.animal import Recipe, simulate_animal
from napari_mtm.recording.simulation.areas import AREAS, REPEATED_SITE


@pytest.fixture(scope="module")
def animal():
    return simulate_animal(Recipe(seed=3, units=120, trials=120), 0)


@pytest.fixture(scope="module")
def session(animal):
    return prepare(animal.recording, Preparation(units="all"))


def bits_per_spike(counts, rates, null):
    gain = counts * np.log(rates / null) - rates + null
    return gain.sum() / counts.sum() / np.log(2)


def test_same_recipe_same_animal_other_number_other_animal(animal):
    again, other = (simulate_animal(Recipe(seed=3, units=120, trials=120), n) for n in (0, 1))
    assert again.recording.id == animal.recording.id
    for one, two in zip(again.recording.probes, animal.recording.probes, strict=True):
        np.testing.assert_array_equal(one.times, two.times)
        pd.testing.assert_frame_equal(one.units, two.units)
    assert other.recording.id != animal.recording.id
    assert len(other.truth.base) == len(animal.truth.base)
    assert not np.allclose(other.truth.base, animal.truth.base)


def test_there_are_as_many_good_units_as_asked_for_and_others(animal):
    units = pd.concat([p.units for p in animal.recording.probes])
    assert (units["label"] == 1).sum() == 120
    rest = units[units["label"] < 1]
    assert 25 <= len(rest) <= 36  # 30%, less those near-silent ones that never fired
    assert (rest["firing_rate"] < 0.2).sum() > 5
    assert (rest["firing_rate"] > 2.0).sum() > 5


def test_two_probes_cross_all_areas(session):
    assert {r.name for r in session.regions} >= set(REPEATED_SITE)
    assert set(session.units["probe"]) == {"probe00", "probe01"}
    # Along a probe, areas lie in their order from the surface down.
    for _, units in session.units[session.units["region"] != "root"].groupby("probe"):
        means = units.groupby("region")["depth"].mean()
        assert means.reindex(list(REPEATED_SITE)).dropna().is_monotonic_decreasing


def test_spikes_add_up_to_the_true_rates(session):
    observed = session.counts.sum(axis=(0, 1), dtype=float)
    expected = session.rates.sum(axis=(0, 1), dtype=float)
    z = (observed - expected) / np.sqrt(np.maximum(expected, 1))
    assert np.abs(z).mean() < 1.1  # 0.8 for a normal z
    assert np.abs(z).max() < 5


def test_spikes_follow_the_true_rates_in_time(session):
    """Where the true rate is high there are as many more spikes as it says."""
    rates, counts = session.rates.ravel(), session.counts.ravel()
    edges = np.quantile(rates, np.linspace(0, 1, 11))
    decile = np.clip(np.searchsorted(edges, rates, side="right") - 1, 0, 9)
    for k in range(2, 10):
        assert counts[decile == k].mean() == pytest.approx(rates[decile == k].mean(), rel=0.08)


def test_single_units_are_refractory(animal):
    for probe in animal.recording.probes:
        for cluster in probe.units.index[probe.units["label"] == 1]:
            gaps = np.diff(probe.times[probe.clusters == cluster])
            assert (gaps >= 0.002).all()


def test_no_simple_prediction_beats_the_oracle(session):
    counts = session.counts.astype(float)
    null = np.maximum(counts.mean(axis=(0, 1)), 1e-9)
    oracle = bits_per_spike(counts, np.maximum(session.rates, 1e-9), null)
    shifted = np.maximum(np.roll(session.rates, 1, axis=0), 1e-9)
    smoothed = np.maximum(session.rates.mean(axis=0)[None] + 0 * counts, 1e-9)
    assert 0.6 < oracle < 1.6
    assert bits_per_spike(counts, shifted, null) < oracle - 0.3
    assert bits_per_spike(counts, smoothed, null) < oracle - 0.3


def test_units_have_private_slow_dynamics(animal, session):
    """A good share of the oracle is lost without what no other unit shows."""
    shared = replace(animal.truth, slow=animal.truth.slow * 0)
    edges = session.trials["stimOn_times"].to_numpy()[:, None] - 0.5 + 0.02 * np.arange(101)
    rates = shared.rates(edges, session.units["uuid"].tolist())
    counts = session.counts.astype(float)
    mean = np.maximum(counts.mean(axis=(0, 1)), 1e-9)
    rates = rates * mean / np.maximum(rates.mean(axis=(0, 1)), 1e-9)
    whole = bits_per_spike(counts, np.maximum(session.rates, 1e-9), mean)
    without = bits_per_spike(counts, np.maximum(rates, 1e-9), mean)
    assert 0.5 * whole < without < 0.92 * whole


def test_rates_match_the_real_ones_of_each_region(real_data):
    real = pd.read_parquet(real_data / "reproducible_ephys_tables" / "clusters_re_147.pqt")
    real = real[(real["label"] == 1) & (real["firing_rate"] > 0)]
    real = real.assign(region=to_beryl(real["acronym"].tolist()))
    animals = [simulate_animal(Recipe(seed=9, units=600, trials=10), n).recording for n in range(3)]
    units = pd.concat([p.units for a in animals for p in a.probes])
    units = units[units["label"] == 1]
    for region in REPEATED_SITE:
        ours = np.log(units.loc[units["region"] == region, "firing_rate"])
        theirs = np.log(real.loc[real["region"] == region, "firing_rate"])
        assert ours.mean() == pytest.approx(theirs.mean(), abs=0.35)
        assert ours.std() == pytest.approx(theirs.std(), rel=0.25)


def test_regions_of_one_animal_are_its_own_choice():
    recipe = Recipe(seed=0, units=40, trials=3, areas=("MRN", "VISp", "SCm"))
    session = prepare(simulate_animal(recipe, 0).recording, Preparation(units="all"))
    assert {r.name for r in session.regions} - {"root"} == {"VISp", "SCm", "MRN"}


@pytest.mark.parametrize("areas", [("CA1", "nowhere"), (), ("CA1", "CA1")])
def test_regions_that_cannot_be_simulated(areas):
    with pytest.raises(PreparationError, match="must be some of VISp, VISa"):
        Recipe(areas=areas)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", 2**32), ("seed", 10**30), ("seed", 1.0), ("seed", "1")]
    + [(name, value) for name in ("units", "trials") for value in (0, 10_001, 10**30, 2.5, None)],
)
def test_recipes_that_make_no_sense(name, value):
    with pytest.raises(PreparationError, match=f"The {name} of a simulation must be a whole"):
        Recipe(**{name: value})


def test_the_highest_seed():
    one, other = (simulate_animal(Recipe(2**32 - 1, 2, 1), n).recording for n in (0, 1))
    assert one.id != other.id


def test_the_smallest_animal():
    recording = simulate_animal(Recipe(units=1, trials=1, areas=("LP",)), 0).recording
    assert sum(len(p.units) for p in recording.probes) >= 1


def test_area_labels_are_the_atlas():
    from napari_mtm.recording.regions import locate

    for area in AREAS.values():
        for acronym, atlas_id, _ in area.layers:
            assert locate(np.array([atlas_id, -atlas_id])) == ([acronym] * 2, [area.name] * 2)
        assert sum(share for *_, share in area.layers) == pytest.approx(1.0, abs=0.02)
