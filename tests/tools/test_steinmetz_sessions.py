"""Sessions from npz files: counts, regions, trials with IBL's signs, and units that fire enough."""

from pathlib import Path

import numpy as np
import pytest

from napari_mtm.recording.regions import to_beryl
from napari_mtm.recording.store import open_store
from napari_mtm.recording.trials import chose_right, reaction_times
from tools import steinmetz_sessions
from tools.steinmetz_sessions import read_session


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """Two trials of 4 bins of 10 ms and 3 units, of which the last never fires."""
    counts = np.zeros((2, 4, 3), np.uint8)
    counts[0, :, 0] = [1, 2, 0, 3]
    counts[1, :, 1] = [0, 0, 200, 100]
    path = tmp_path / "in" / "session07_Cori_2016-12-14.npz"
    path.parent.mkdir()
    np.savez(
        path,
        counts=counts,
        regions=np.array(["SCsg", "ACA", "CA1"]),
        bin_size=0.01,
        bin_times=np.array([10.0, 20.0])[:, None] + 0.005 + 0.01 * np.arange(4),
        window=np.array([0.0, 0.04]),
        contrast_left=np.array([1.0, 0.0], np.float32),
        contrast_right=np.array([0.5, 0.0], np.float32),
        feedback_type=np.array([1, -1], np.int8),
        choice=np.array([1, -1], np.int8),
        reaction_time_ms=np.array([150.0, np.inf], np.float32),
        response_time=np.array([0.5, 0.75], np.float32),
        gocue_time=np.array([0.25, 0.25], np.float32),
        feedback_time=np.array([0.5, 1.0], np.float32),
        mouse="Cori",
        date="2016-12-14",
        session=7,
    )
    return path


def test_counts_regions_and_trials_are_those_of_the_file(npz: Path) -> None:
    session = read_session(npz, min_rate=0.0)
    assert session.id == "steinmetz-session07-Cori-2016-12-14"
    assert session.name == "Cori 2016-12-14"
    assert session.window == (0.0, 0.04)
    assert session.bin_size == 0.02
    by_cluster = {cluster: i for i, cluster in enumerate(session.units["cluster"])}
    assert session.counts[0, :, by_cluster[0]].tolist() == [3, 3]
    assert session.counts[1, :, by_cluster[1]].tolist() == [0, 255]  # 300 do not fit
    assert session.saturated == 1
    units = session.units.set_index("cluster")
    assert units["acronym"].to_dict() == {0: "SCsg", 1: "ACA", 2: "CA1"}
    assert units["region"].to_dict() == {0: "SCs", 1: "ACA", 2: "CA1"}
    assert [region.name for region in session.regions] == ["CA1", "SCs", "ACA"]
    assert any("ACA" in note for note in session.notes)
    trials = session.trials
    assert trials["stimOn_times"].tolist() == pytest.approx([10.0, 20.0])
    assert trials["feedback_times"].tolist() == pytest.approx([10.5, 21.0])
    np.testing.assert_allclose(reaction_times(trials), [0.15, np.nan])
    assert chose_right(trials).tolist() == [0.0, 1.0]
    np.testing.assert_allclose(trials["contrastLeft"], [1.0, np.nan])
    np.testing.assert_allclose(trials["contrastRight"], [0.5, np.nan])


def test_units_that_hardly_fire_are_left_out(npz: Path) -> None:
    # 6 and 255 spikes in 0.08 s
    assert set(read_session(npz, min_rate=74.9).units["cluster"]) == {0, 1}
    assert set(read_session(npz, min_rate=75.1).units["cluster"]) == {1}


def test_a_folder_becomes_stores(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["steinmetz_sessions.py", str(npz.parent), str(out)])
    steinmetz_sessions.main()
    (store,) = out.glob("*.mtm")
    assert open_store(store) == read_session(npz)
    assert "Nature 576:266" in (out / "about.txt").read_text()


def test_real_choices_are_right_where_they_were_rewarded(real_data: Path) -> None:
    for path in sorted((real_data / "steinmetz").glob("*.npz"))[::4]:
        session = read_session(path)
        trials = session.trials
        left, right = (trials[f"contrast{side}"].fillna(0) for side in ("Left", "Right"))
        answered = (left != right) & (trials["choice"] != 0)
        correct = chose_right(trials) == (right > left)
        assert answered.sum() > 50
        assert (correct == (trials["feedbackType"] == 1))[answered].all()
        acronyms, regions = (session.units[name].to_numpy() for name in ("acronym", "region"))
        beryl = np.array(to_beryl(acronyms.tolist()))
        placed = beryl != "root"  # else Beryl divides a region more finely than it is known
        assert regions[placed].tolist() == beryl[placed].tolist()
        assert regions[~placed].tolist() == acronyms[~placed].tolist()
        assert session.units["firing_rate"].min() >= 0.5
