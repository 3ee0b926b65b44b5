"""The wheel filter is IBL's, and bins hold the mean of a trace between its samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtm.recording.traces import Trace, bin_average, wheel_velocity


def test_velocity_of_a_slow_sine():
    t = np.arange(0, 20, 0.01)
    velocity = wheel_velocity(Trace(t, np.sin(2 * np.pi * t)))
    inside = (velocity.times > 1) & (velocity.times < 19)
    expected = 2 * np.pi * np.cos(2 * np.pi * velocity.times[inside])
    np.testing.assert_allclose(velocity.values[inside], expected, atol=0.05)


def test_frequencies_above_the_corner_are_removed():
    t = np.arange(0, 20, 0.001)
    slow, fast = (wheel_velocity(Trace(t, np.sin(2 * np.pi * f * t))) for f in (5, 80))
    middle = slice(5000, 15000)
    assert np.abs(slow.values[middle]).max() == pytest.approx(2 * np.pi * 5, rel=0.01)
    assert np.abs(fast.values[middle]).max() < 0.01 * 2 * np.pi * 80


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_a_wheel_too_short_to_filter_is_empty(n):
    t = np.arange(n) * 0.005
    assert len(wheel_velocity(Trace(t, t)).times) == 0


def test_mean_of_a_straight_line_is_its_middle():
    trace = Trace(np.array([0.0, 3.0, 10.0]), np.array([0.0, 6.0, 20.0]))
    edges = np.array([[0.0, 1.0, 2.5, 7.0, 10.0]])
    np.testing.assert_allclose(bin_average(trace, edges), [[1.0, 3.5, 9.5, 17.0]], rtol=1e-6)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=20),
    st.floats(0.0, 3.0),
    st.floats(0.01, 2.0),
)
def test_mean_matches_a_fine_sum(values, start, width):
    times = np.linspace(0, 10, len(values))
    edges = start + width * np.arange(4)[None]
    fine = start + width * (np.arange(3000) + 0.5) / 1000
    expected = np.interp(fine, times, values).reshape(3, 1000).mean(axis=1)
    averages = bin_average(Trace(times, np.array(values)), edges)[0]
    np.testing.assert_allclose(averages, expected, atol=2e-3)


def test_bins_beyond_the_samples_are_missing():
    trace = Trace(np.array([1.0, 2.0]), np.array([5.0, 5.0]))
    averages = bin_average(trace, np.array([[0.5, 1.0, 1.5, 2.0, 2.5]]))
    np.testing.assert_array_equal(averages, [[np.nan, 5.0, 5.0, np.nan]])


def test_bins_that_touch_a_gap_are_missing():
    times = np.array([0, 0.1, 0.2, 0.3, 5.0, 5.1, 5.2, 5.3])
    edges = np.array([[0.0, 0.15, 0.28, 0.35, 4.9, 5.05, 5.2]])
    averages = bin_average(Trace(times, np.ones(8)), edges, max_gap=0.25)
    np.testing.assert_array_equal(np.isnan(averages), [[False, False, True, True, True, False]])


def test_an_empty_trace_is_missing_everywhere():
    averages = bin_average(Trace(np.empty(0), np.empty(0)), np.zeros((2, 4)))
    assert averages.shape == (2, 3)
    assert np.isnan(averages).all()


def test_clean_sorts_and_drops_what_is_no_number():
    trace = Trace.clean([2.0, 1.0, np.nan, 3.0, 1.0], [20.0, 10.0, 5.0, np.nan, 11.0])
    assert trace.times.tolist() == [1.0, 2.0]
    assert trace.values.tolist() == [10.0, 20.0]
    with pytest.raises(ValueError, match="2 times for 3 values"):
        Trace.clean([1, 2], [1, 2, 3])
