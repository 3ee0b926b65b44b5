"""The wheel filter is IBL's, and bins hold the mean of a trace between its samples."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtm.recording.binning import bin_edges
from napari_mtm.recording.traces import Trace, bin_average, wheel_velocity

TICK = 2 * np.pi / 1024


def whole(t):
    """One bin over all samples."""
    return np.array([[t[0], t[-1]]])


def encoder(position):
    """What an encoder sends of a position in rad at each millisecond: a sample per tick."""
    ticks = np.floor(position / TICK)
    sent = np.flatnonzero(np.diff(ticks, prepend=ticks[0] - 1))
    return sent / 1000, ticks[sent] * TICK


def turned(stop: float, rest: tuple[float, float] = (0.0, 0.0)):
    """Position at each millisecond until `stop` of a wheel turned to and fro, but for a rest."""
    t = np.arange(0, stop, 0.001)
    turning = (t < rest[0]) | (t >= rest[1])
    return np.cumsum(np.where(turning, 3 * np.sin(2 * np.pi * t / 4), 0)) / 1000


def test_velocity_of_a_slow_sine():
    t = np.arange(0, 20, 0.01)
    velocity = wheel_velocity(Trace(t, np.sin(2 * np.pi * t)), whole(t))
    inside = (velocity.times > 1) & (velocity.times < 19)
    expected = 2 * np.pi * np.cos(2 * np.pi * velocity.times[inside])
    np.testing.assert_allclose(velocity.values[inside], expected, atol=0.05)


def test_frequencies_above_the_corner_are_removed():
    t = np.arange(0, 20, 0.001)
    slow, fast = (wheel_velocity(Trace(t, np.sin(2 * np.pi * f * t)), whole(t)) for f in (5, 80))
    middle = slice(5000, 15000)
    assert np.abs(slow.values[middle]).max() == pytest.approx(2 * np.pi * 5, rel=0.01)
    assert np.abs(fast.values[middle]).max() < 0.01 * 2 * np.pi * 80


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_a_wheel_too_short_to_filter_is_empty(n):
    t = np.arange(n) * 0.005
    assert len(wheel_velocity(Trace(t, t), np.array([[0.0, 1.0]])).times) == 0


def test_a_wheel_at_rest_sends_nothing_and_has_no_velocity():
    rest = (20.0, 420.0)
    t, position = encoder(turned(440, rest))
    assert np.diff(t).max() > 399  # so nothing is known of the rest but that it was one
    edges = bin_edges(np.array([5.0, 19.0, 100.0, 300.0, 425.0]), 100, 0.02)
    moving, stopping, early, late, again = bin_average(
        wheel_velocity(Trace.clean(t, position), edges), edges
    )
    middle = (np.arange(100) + 0.5) * 0.02
    np.testing.assert_allclose(moving, 3 * np.sin(2 * np.pi * (5 + middle) / 4), atol=0.15)
    np.testing.assert_allclose(again, 3 * np.sin(2 * np.pi * (425 + middle) / 4), atol=0.15)
    assert np.abs(stopping[55:]).max() < 0.05
    assert np.abs(early).max() < 1e-3
    assert np.abs(late).max() < 1e-3


def test_where_a_wheel_turned_without_samples_nothing_is_known():
    t, position = encoder(turned(40))
    edges = bin_edges(np.array([10.0, 15.0, 17.0, 21.0]), 100, 0.02)
    lost = (t > 16) & (t < 18)
    assert np.ptp(position[lost]) > 3
    complete, damaged = (
        bin_average(wheel_velocity(Trace.clean(t[k], position[k]), edges), edges)
        for k in (t >= 0, ~lost)
    )
    begin, end = t[t <= 16].max(), t[t >= 18].min()
    expected = (edges[:, 1:] > begin) & (edges[:, :-1] < end)
    np.testing.assert_array_equal(np.isnan(damaged), expected)
    for row in (0, 3):  # some seconds away the filter knows no more of it
        np.testing.assert_allclose(damaged[row], complete[row], atol=1e-6)


@pytest.mark.parametrize(("ticks", "known"), [(0, True), (2, True), (-3, False), (3, False)])
def test_two_ticks_over_a_silence_are_a_wheel_at_rest(ticks, known):
    t, position = encoder(turned(40, (18.0, 24.0)))
    after = t > 20
    position[after] += position[~after][-1] + ticks * TICK - position[after][0]
    edges = bin_edges(np.array([19.0]), 100, 0.02)
    binned = bin_average(wheel_velocity(Trace.clean(t, position), edges), edges)
    assert np.isnan(binned).tolist() == [[not known] * 100]


@pytest.mark.parametrize(
    "outlier", [-1.7e308, -1e300, -1.7e9, -1e5, 1e5, 1.7e9, 1e16, 1e300, 1.7e308, np.inf]
)
def test_a_wheel_time_out_of_place_costs_neither_memory_nor_values(outlier):
    t, position = encoder(turned(40))
    edges = bin_edges(np.arange(2, 36, 3.0), 100, 0.02)
    expected = bin_average(wheel_velocity(Trace.clean(t, position), edges), edges)
    assert np.isfinite(expected).all()
    tracemalloc.start()
    trace = Trace.clean(np.append(t, outlier), np.append(position, 7.0))
    found = bin_average(wheel_velocity(trace, edges), edges)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    assert peak < 30e6


def test_a_wheel_that_rests_for_days_costs_no_memory():
    t, position = encoder(turned(40))
    edges = bin_edges(np.arange(2, 58, 3.0), 100, 0.02)
    tracemalloc.start()
    trace = Trace.clean(np.append(t, 1e6), np.append(position, position[-1] + TICK))
    found = bin_average(wheel_velocity(trace, edges), edges)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    resting = edges[:, :-1] > t[-1] + 0.2
    assert resting.sum() > 500
    np.testing.assert_allclose(found[resting], 0, atol=1e-3)
    assert peak < 30e6


@pytest.mark.parametrize(
    "clock", [lambda t: 1000 * t + 1e6, lambda t: 1.7e9 + t, lambda t: 1.6e16 * t + 1e16]
)
def test_a_wheel_on_another_clock_costs_no_memory(clock):
    t, position = encoder(turned(600))
    edges = bin_edges(np.arange(2, 590, 5.0), 100, 0.02)
    tracemalloc.start()
    found = bin_average(wheel_velocity(Trace.clean(clock(t), position), edges), edges)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isnan(found).all()
    assert peak < 80 * len(t) + 30e6


def test_windows_far_apart_cost_the_memory_of_what_lies_around_them():
    moving = np.arange(0, 200, 0.01)
    t = np.where(moving < 100, moving, moving + 1e6)  # with a rest between
    edges = bin_edges(np.array([1e6 + 140, 40.0]), 100, 0.02)  # in any order
    tracemalloc.start()
    found = bin_average(wheel_velocity(Trace(t, np.sin(moving)), edges), edges)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    np.testing.assert_allclose(found, np.cos(middle - [[1e6], [0]]), atol=1e-2)
    assert peak < 30e6


def test_the_part_of_a_wheel_that_is_filtered_does_not_matter():
    t, position = encoder(turned(400))
    early, late = (bin_edges(np.array([start]), 100, 0.02) for start in (5.0, 300.0))
    both = np.concatenate([early, late])
    wheel = Trace.clean(t + 0.0004, position)
    expected = bin_average(wheel_velocity(wheel, whole(t)), both)
    for k, edges in enumerate((early, late)):
        found = bin_average(wheel_velocity(wheel, edges), edges)
        np.testing.assert_allclose(found[0], expected[k], atol=1e-6)


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
    averages = bin_average(Trace(times, np.ones(8)).broken(0.25), edges)
    np.testing.assert_array_equal(np.isnan(averages), [[False, False, True, True, True, False]])


@pytest.mark.parametrize("outlier", [-1.7e308, -1e300, -1e16, 1e16, 1e300, 1.7e308])
def test_a_frame_out_of_place_does_not_blur_the_others(outlier):
    times = np.arange(0, 10, 0.1)
    edges = bin_edges(np.array([1.0, 5.0]), 20, 0.1)
    trace = Trace.clean(np.append(times, [outlier, -outlier]), np.append(times**2, [1e3, 1e3]))
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    found = bin_average(trace.broken(0.25), edges)
    # The mean of a straight line from a² to b² lies (b - a)² / 4 above the square of the middle.
    np.testing.assert_allclose(found, middle**2 + 0.1**2 / 4, rtol=1e-6)


def test_frames_at_nearly_one_time_do_no_harm():
    trace = Trace(np.array([0.0, 5e-324, 1.0]), np.array([0.0, 4.0, 4.0]))
    averages = bin_average(trace, np.array([[0.0, 0.5, 1.0]]))
    np.testing.assert_array_equal(averages, [[4.0, 4.0]])


def test_an_empty_trace_is_missing_everywhere():
    averages = bin_average(Trace(np.empty(0), np.empty(0)), np.zeros((2, 4)))
    assert averages.shape == (2, 3)
    assert np.isnan(averages).all()


def test_clean_sorts_and_drops_what_is_no_number():
    trace = Trace.clean(
        [2.0, 1.0, np.nan, 3.0, 1.0, -np.inf, 4.0, 5.0],
        [20.0, 10.0, 5.0, np.nan, 11.0, 1.0, np.inf, -1.7e308],
    )
    assert trace.times.tolist() == [1.0, 2.0]
    assert trace.values.tolist() == [10.0, 20.0]
    with pytest.raises(ValueError, match="2 times for 3 values"):
        Trace.clean([1, 2], [1, 2, 3])
