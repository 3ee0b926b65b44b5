"""The raster's data is the session's counts in the order of the rows, cut on demand."""

import numpy as np
import pytest

from napari_mtm import Session
from napari_mtm.ui.layers.raster import RasterData, brightest, raster_style, row_height


@pytest.fixture
def data():
    counts = np.random.default_rng(0).poisson(2, (4, 6, 5)).astype(np.uint8)
    rows = np.array([3, 0, 4])
    return RasterData(counts, rows), counts[:, :, rows].transpose(0, 2, 1)


KEYS = [
    2,
    -1,
    (2,),
    slice(1, 3),
    (slice(2, 3), slice(None), slice(None)),
    (1, 2),
    (1, 2, 3),
    (1, slice(0, 2)),
    (slice(None), 1),
    (slice(None), 1, 4),
    (slice(1, 3), slice(1, None), 5),
    (slice(1, 3), 2, slice(2, 5)),
    (3, slice(None), 0),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_cuts_as_an_array_does(data, key):
    raster, whole = data
    np.testing.assert_array_equal(raster[key], whole[key])


def test_is_an_array_in_shape_and_whole(data):
    raster, whole = data
    assert raster.shape == whole.shape == (4, 3, 6)
    assert raster.dtype == np.uint8
    assert raster.ndim == 3
    assert raster.size == whole.size
    np.testing.assert_array_equal(np.asarray(raster), whole)


def test_stepping_reads_one_trial_only(data):
    """Of a memory-mapped session, nothing but the trial that is shown is touched."""
    whole = np.zeros((4, 6, 5), dtype=np.uint8)

    class Spy:
        shape, dtype, asked = whole.shape, whole.dtype, []

        def __getitem__(self, key):
            self.asked.append(key)
            return whole[key]

    raster = RasterData(Spy(), np.arange(5))
    raster[slice(2, 3), slice(None), slice(None)]
    assert Spy.asked == [slice(2, 3)]


def test_rows_fill_a_canvas_of_any_shape(sample):
    for height, width in ((600, 800), (1000, 300), (200, 2000)):
        row = row_height(sample, sample.n_units, width / height)
        assert row * sample.n_units / 2.0 == pytest.approx(height / width)


def test_style_names_axes_units_and_simulated(sample):
    layer = raster_style(sample, sample.n_units, dark=True, aspect=1.5).as_layer()
    assert layer["axis_labels"] == ("trial", "unit", "time")
    assert layer["units"] == ("pixel", "pixel", "s")
    assert "(simulated)" in layer["name"]
    assert layer["translate"][-1] == pytest.approx(-0.49)  # the middle of the first bin
    assert raster_style(sample, 1, dark=False, aspect=1).colormap != layer["colormap"]


def test_brightness_has_a_floor_and_ignores_outliers(sample):
    silent = Session.from_counts(np.zeros((3, 4, 2)), ["CA1"] * 2)
    assert brightest(silent) == 2
    loud = np.ones((10, 100, 20), dtype=int)
    loud[0, 0, 0] = 200
    assert brightest(Session.from_counts(loud, ["CA1"] * 20)) == 2
    assert 2 <= brightest(sample) <= 8
