"""Real recordings open: spikes without trials or regions, and a real wheel."""

import numpy as np
import pytest

from napari_mtm import Session, open_session
from napari_mtm.recording.traces import Trace, wheel_velocity


def test_a_real_recording_without_trials_is_cut_into_windows(real_data, own_cache):
    folder = real_data / "ibllib_ephys_test"
    times, clusters = (np.load(folder / f"spikes.{name}.npy") for name in ("times", "clusters"))
    session = open_session(folder)
    assert session.align == "any-time"
    assert session.n_units == 289
    assert session.n_bins == 100
    assert session.n_trials == 59
    assert session.window == (0.0, 2.0)
    assert any("no region labels" in note for note in session.notes)
    # Each spike inside the windows is counted once, for its own unit.
    start = session.trials["intervals_0"][0]
    inside = (times >= start) & (times < start + 59 * 2.0)
    total = np.bincount(clusters[inside], minlength=clusters.max() + 1)
    ids = session.units["cluster"].to_numpy()
    np.testing.assert_array_equal(session.counts.sum(axis=(0, 1), dtype=int), total[ids])
    rates = np.bincount(clusters)[ids] / np.ptp(times)
    np.testing.assert_allclose(session.units["firing_rate"], rates)


def test_the_same_recording_from_arrays(real_data):
    folder = real_data / "ibllib_ephys_test"
    spikes = [np.load(folder / f"spikes.{name}.npy") for name in ("times", "clusters")]
    session = Session.from_spikes(*spikes, window=(0.0, 2.0))
    assert session.counts.shape == (59, 100, 289)
    assert session.split().test.size == 11


def test_a_real_wheel(real_data):
    folder = real_data / "ibllib_wheel_test"
    times, position = (np.load(folder / f"wheel.{name}.npy") for name in ("timestamps", "position"))
    velocity = wheel_velocity(Trace.clean(times, position), times[None, [0, -1]])
    # Velocity adds up to the way that was gone, and is found in the real movements.
    way = np.cumsum(velocity.values) / 1000
    assert way[-1] == pytest.approx(position[-1] - position[0], abs=0.05)
    moves = np.load(folder / "wheelMoves.intervals.npy")
    moving = np.zeros(len(velocity.times), dtype=bool)
    for start, stop in moves:
        moving |= (velocity.times >= start) & (velocity.times <= stop)
    speed = np.abs(velocity.values)
    assert speed[moving].mean() > 20 * speed[~moving].mean()


def test_a_real_wheel_as_brainbox_filters_it(real_data):
    wheel = pytest.importorskip("brainbox.behavior.wheel", reason="ibllib is not installed")
    folder = real_data / "ibllib_wheel_test"
    times, position = (np.load(folder / f"wheel.{name}.npy") for name in ("timestamps", "position"))
    even, at = wheel.interpolate_position(times, position, freq=1000)
    expected, _ = wheel.velocity_filtered(even, 1000)
    ours = wheel_velocity(Trace.clean(times, position), times[None, [0, -1]])
    np.testing.assert_allclose(ours.times, at)
    np.testing.assert_allclose(ours.values, expected, atol=1e-9)
