"""Every order shows each unit once; each puts first what it says."""

import sys

import numpy as np
import pytest

from napari_mtm import Session
from napari_mtm.recording.ordering import ORDERS


@pytest.mark.parametrize("name", ORDERS)
def test_every_unit_once(name, sample):
    assert sorted(ORDERS[name](sample)) == list(range(sample.n_units))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("n_units", [1, 2, 3])
def test_few_silent_units(name, n_units):
    session = Session.from_counts(np.zeros((1, 1, n_units)), ["CA1"] * n_units)
    assert sorted(ORDERS[name](session)) == list(range(n_units))


def test_by_region_the_surface_is_on_top(sample):
    units = sample.units.iloc[ORDERS["region"](sample)]
    assert units["region"].tolist() == sample.units["region"].tolist()
    for _, group in units.groupby("region"):
        assert (group["depth"].diff().dropna() <= 0).all()


def test_by_depth_each_probe_from_the_surface_down(sample):
    units = sample.units.iloc[ORDERS["depth"](sample)]
    assert units["probe"].is_monotonic_increasing
    for _, group in units.groupby("probe"):
        assert (group["depth"].diff().dropna() <= 0).all()


def test_by_rate_the_most_active_first(sample):
    assert sample.units["firing_rate"].iloc[ORDERS["rate"](sample)].is_monotonic_decreasing


def test_units_without_a_depth_lie_lowest():
    session = Session.from_spikes(
        np.linspace(0, 20, 400), np.arange(400) % 3, depths={0: 5.0, 2: 9.0}, align="any-time"
    )
    for name in ("region", "depth"):
        depths = session.units["depth"].iloc[ORDERS[name](session)].tolist()
        assert depths[:2] == [9.0, 5.0]
        assert np.isnan(depths[2])


def test_units_that_fire_together_lie_together(monkeypatch):
    monkeypatch.setitem(sys.modules, "rastermap", None)  # our own order, not rastermap's
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 30)
    drive = rng.gamma(0.5, 2.0, (40, 20, 3))
    counts = rng.poisson(np.repeat(drive, 5, axis=1)[:, :, groups])
    counts[:, :, 4] = 0
    order = ORDERS["similarity"](Session.from_counts(counts, ["CA1"] * 30))
    assert order[-1] == 4  # silent
    changes = np.count_nonzero(np.diff(groups[order[:-1]]))
    assert changes == 2  # three groups in one piece each


def test_rastermap_orders_where_it_is_installed(sample, monkeypatch):
    """With a stand-in: what it is given, and what is done with its answer."""

    class Rastermap:
        def __init__(self, **settings):
            assert settings["n_clusters"] is None
            assert 0 < settings["n_PCs"] < sample.n_units

        def fit(self, activity):
            assert activity.shape[0] == sample.n_units
            assert activity.std(axis=1) == pytest.approx(1, abs=1e-3)
            self.isort = np.arange(sample.n_units)[::-1]
            return self

    monkeypatch.setitem(sys.modules, "rastermap", type(sys)("rastermap"))
    sys.modules["rastermap"].Rastermap = Rastermap
    np.testing.assert_array_equal(ORDERS["similarity"](sample), np.arange(sample.n_units)[::-1])
