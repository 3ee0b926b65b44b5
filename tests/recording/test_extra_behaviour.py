"""Licks, pupil and paws: what IBL's own loader reads of files, on the bins of a session."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session, open_session, save_session
from napari_mtm.errors import Cancelled, PreparationError, SourceError
from napari_mtm.recording import extra_behaviour
from napari_mtm.recording.extra_behaviour import extend, lick_rate, offered, speed, with_traces
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.store import store_of
from napari_mtm.recording.traces import Trace, bin_average
from tests.conftest import write_alf
from tests.extra_files import LICKS, write_extra
from tests.recording.test_alf import EID, write_tables
from tests.running import children

NAMES = ("lick-rate", "pupil-diameter", "paw-speed-left", "paw-speed-right")
MIDDLES = (np.arange(100) + 0.5) * 0.02 - 0.5


def middles(session: Session) -> np.ndarray:
    """The middle of each bin in seconds, (trials, bins)."""
    return session.trials["stimOn_times"].to_numpy()[:, None] + MIDDLES


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A session folder with licks, pupil, and paws seen by both cameras."""
    root = tmp_path_factory.mktemp("extra")
    folder = root / "lab" / "Subjects" / "MOUSE" / "2024-02-03" / "002"
    write_alf(folder)
    write_extra(folder)
    return folder


@pytest.fixture(scope="module")
def extended(folder, tmp_path_factory) -> Session:
    """The session with all that IBL's code reads of it by its id, but that licks are damaged."""
    if not extra_behaviour.is_available():
        pytest.skip("ibllib is not installed")
    shutil.copytree(folder.parents[4], root := tmp_path_factory.mktemp("one") / "cache")
    licks = root / folder.relative_to(folder.parents[4]) / "alf" / "licks.times.npy"
    licks.write_bytes(licks.read_bytes()[:200])
    write_tables(root, licks.parents[1])
    return extend(open_session(EID, one=root), EID, one=root)


@pytest.fixture
def session(folder) -> Session:
    return open_session(folder)


# What IBL's code reads


def test_the_pupil(extended):
    expected = 30 + 5 * np.sin(middles(extended))
    np.testing.assert_allclose(extended.behaviour["pupil-diameter"], expected, atol=2e-3)


def test_the_speed_of_the_paw_that_a_camera_sees_near(extended):
    t = middles(extended)
    left, right = (extended.behaviour[f"paw-speed-{side}"] for side in ("left", "right"))
    unsure = (t > 9.95) & (t < 11.05)
    surely_unsure = (t > 10.05) & (t < 10.95)
    np.testing.assert_allclose(left[~unsure], 50 * np.abs(np.cos(t[~unsure])), atol=0.6)
    assert surely_unsure.sum() > 20
    assert np.isnan(left[surely_unsure]).all()
    np.testing.assert_allclose(right, 70, rtol=1e-4)


def test_what_cannot_be_read_is_said_and_the_rest_is_there(extended):
    assert extended.traces[3:] == ("paw-speed-left", "paw-speed-right", "pupil-diameter")
    (note,) = extended.notes
    assert note.startswith("lick-rate could not be read: ")
    assert "licks.times.npy is damaged or cut short" in note


def test_all_else_of_the_session_is_as_it_was(extended, folder):
    before = replace(open_session(folder), id=EID)
    kept = {name: extended.behaviour[name] for name in before.behaviour}
    assert replace(extended, behaviour=kept, notes=()) == replace(
        before, units=extended.units, notes=()
    )


def test_a_store_keeps_further_behaviour(session, tmp_path):
    save_session(session, tmp_path / "s.mtm")
    opened = open_session(tmp_path / "s.mtm")
    assert store_of(opened) == tmp_path / "s.mtm"
    extended = with_traces(opened, {"lick-rate": line()})
    assert store_of(extended) is None  # it does not hold all of it
    save_session(extended, tmp_path / "more.mtm")
    assert open_session(tmp_path / "more.mtm") == extended


# What can be read, and what is refused


def test_what_the_files_of_a_session_can_give(alf, folder):
    assert offered(find_source(folder)) == NAMES
    assert offered(find_source(alf)) == ()
    np.save(alf / "alf" / "licks.times.npy", LICKS)
    pd.DataFrame({"x": [1.0]}).to_parquet(alf / "alf" / "_ibl_rightCamera.dlc.pqt")
    assert offered(find_source(alf)) == ("lick-rate",)  # nobody knows when the frames were
    np.save(alf / "alf" / "_ibl_rightCamera.times.npy", [1.0])
    assert offered(find_source(alf)) == ("lick-rate", "paw-speed-left", "paw-speed-right")


def test_without_ibllib_a_sentence_says_what_is_missing(session, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "brainbox", None)
    assert not extra_behaviour.is_available()
    with pytest.raises(SourceError, match=r"not installed: pip install 'napari-mtm\[ibl\]'"):
        extend(session, folder)


def test_files_without_further_behaviour(alf):
    session = open_session(alf)
    with pytest.raises(SourceError, match="no files here that tell of licks, pupil or paws"):
        extend(session, alf)
    with pytest.raises(SourceError, match="no files here that tell of lick-rate"):
        extend(session, alf, names=["lick-rate"])


def test_files_of_another_session(session, sample_path):
    with pytest.raises(SourceError, match="The files are those of session"):
        extend(session, sample_path)


def test_reading_ends_at_once_when_it_is_cancelled(session, folder):
    told = []

    def stop(fraction, message):
        told.append(message)
        if len(told) > 6:
            raise Cancelled

    if not extra_behaviour.is_available():
        pytest.skip("ibllib is not installed")
    with pytest.raises(Cancelled):
        extend(session, folder, progress=stop)
    assert len(told) == 7
    assert not children("brainbox_child")


def test_a_process_that_is_killed_is_said(session, folder):
    def kill(fraction, message):
        for pid in children("brainbox_child"):
            os.kill(pid, signal.SIGKILL)

    if not extra_behaviour.is_available():
        pytest.skip("ibllib is not installed")
    with pytest.raises(SourceError, match="was ended by signal 9; try again"):
        extend(session, folder, progress=kill)


def test_the_process_ends_with_whoever_started_it(folder):
    if not extra_behaviour.is_available():
        pytest.skip("ibllib is not installed")
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_mtm.recording.brainbox_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    process.stdin.write(b'{"files": {}, "wanted": {"lick-rate": ["licks", "times", ""]}}\n')
    process.stdin.close()
    assert process.wait(10) == 1
    assert process.stdout.read() == b""
    process.stdout.close()


# Averages over bins


def line(begin=0.0, end=60.0) -> Trace:
    t = np.arange(begin, end, 0.1)
    return Trace(t, 3 + 2 * t)


def test_traces_are_averaged_over_the_bins_of_the_session(session):
    found = with_traces(session, {"a line": line()})
    np.testing.assert_allclose(found.behaviour["a line"], 3 + 2 * middles(session), rtol=1e-5)
    assert found.traces == (*session.traces, "a line")
    assert "a line" not in session.behaviour


def test_windows_at_another_event(folder):
    session = open_session(folder, align="feedback_times", window=(-1.0, 0.5), bin_size=0.05)
    starts = session.trials["feedback_times"].to_numpy()[:, None] - 1
    found = with_traces(session, {"a line": line()}).behaviour["a line"]
    expected = 3 + 2 * (starts + (np.arange(30) + 0.5) * 0.05)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_windows_at_any_time(folder):
    session = open_session(folder, align="any-time")
    assert session.n_trials > 20
    starts = session.trials["intervals_0"].to_numpy()[:, None]
    found = with_traces(session, {"a line": line()}).behaviour["a line"]
    expected = 3 + 2 * (starts + (np.arange(100) + 0.5) * 0.02)
    inside = np.isfinite(found)
    assert inside.mean() > 0.95
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-5)


def test_gaps_of_a_camera_are_not_bridged(session):
    t = np.concatenate([np.arange(0, 20, 0.1), np.arange(20.3, 60, 0.1)])
    found = with_traces(session, {"a line": Trace(t, 0 * t)}).behaviour["a line"]
    at = middles(session)
    expected = (at > 19.9) & (at < 20.3)
    assert expected.sum() == 20
    np.testing.assert_array_equal(np.isnan(found), expected)


def test_a_trace_on_another_clock_is_said(session):
    found = with_traces(session, {"a line": line(1000, 1060)})
    assert found.notes[-1].startswith("There is no a line in any window")


def test_a_session_that_does_not_say_when_its_windows_begin():
    session = Session.from_counts(np.ones((3, 10, 2)), ["CA1", "LP"])
    with pytest.raises(PreparationError, match="does not say when its windows begin"):
        with_traces(session, {"a line": line()})


# Licks and speeds


def test_a_lick_counts_over_a_gaussian():
    licks = np.array([2.0, 2.1234, 7.5])
    trace = lick_rate(licks, 0.0, 10.0)
    edges = np.arange(0, 9.99, 0.02)[None]
    found = bin_average(trace, edges)[0]
    at = (edges[0, 1:] + edges[0, :-1]) / 2
    apart = at[:, None] - licks
    expected = np.exp(-(apart**2) / 2 / 0.05**2).sum(axis=1) / 0.05 / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found, expected, atol=0.15)
    assert found.sum() * 0.02 == pytest.approx(3, abs=1e-3)
    assert found[(at > 3) & (at < 7)].max() == 0


def test_without_a_lick_nobody_licked():
    trace = lick_rate(np.empty(0), 0.0, 10.0)
    assert trace.times[[0, -1]].tolist() == [0, 10]
    assert (trace.values == 0).all()


@pytest.mark.parametrize("wrong", [1e9, -1e9, 1e300, 1.7e308])
def test_licks_on_another_clock_cost_no_memory(wrong):
    with pytest.raises(SourceError, match="which is no recording"):
        lick_rate(np.array([wrong, -wrong]), 0.0, 60.0)


def test_speed_between_frames():
    times = np.array([0.0, 0.5, 1.0, 1.0, 3.0, 4.0, 5.0])
    x = np.array([0.0, 3.0, 3.0, 9.0, 9.0, np.nan, 0.0])
    y = np.array([0.0, 4.0, 4.0, 9.0, 5.0, 0.0, 0.0])
    trace = speed(times, x, y)
    assert trace.times.tolist() == [0.25, 0.75, 2.0]
    assert trace.values.tolist() == [10, 0, 2]
