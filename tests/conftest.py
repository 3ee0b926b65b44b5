"""What all tests share: no home folder, no network, a small session on disk."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before anything imports Qt or napari.
# Several threads of linear algebra per process stand in each other's way on few cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("QT_API", "pyqt6")
_HOME = tempfile.mkdtemp(prefix="napari-mtm-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["HOME"] = _HOME
os.environ["XDG_CACHE_HOME"] = f"{_HOME}/.cache"
os.environ["XDG_CONFIG_HOME"] = f"{_HOME}/.config"
os.environ["NAPARI_MTM_CACHE"] = f"{_HOME}/prepared"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402

from napari_mtm.recording.opening import open_session, sample_folder  # noqa: E402
from napari_mtm.recording.session import Session  # noqa: E402

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def home() -> Path:
    """The home folder of the tests, which is empty when they begin."""
    return Path(_HOME)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real recordings beside the checkout."""
    folder = SHARED / "data" / "real"
    if not folder.is_dir():
        pytest.skip(f"there are no real recordings in {folder}")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers from the published model, beside the checkout."""
    folder = SHARED / "reference"
    if not folder.is_dir():
        pytest.skip(f"there are no reference numbers in {folder}")
    return folder


@pytest.fixture(scope="session")
def sample() -> Session:
    """The sample session."""
    return open_session("sample")


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """The ALF folder of the sample session."""
    return next(sample_folder().glob("*/Subjects/*/*/*"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test alone."""
    folder = tmp_path / "own-cache"
    monkeypatch.setenv("NAPARI_MTM_CACHE", str(folder))
    return folder


@pytest.fixture
def one_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder in which ONE keeps nothing yet; that anything is asked on stdin fails."""
    from one import params

    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(params, "CACHE_DIR_DEFAULT", str(folder / "Downloads" / "ONE"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("something was asked"))
    return folder


@pytest.fixture
def alf(tmp_path: Path) -> Path:
    """An ALF session folder: one probe, 5 clusters, 12 trials, wheel and left camera."""
    folder = tmp_path / "lab" / "Subjects" / "MOUSE" / "2024-02-03" / "002"
    write_alf(folder)
    return folder


def write_alf(folder: Path, probe: str = "probe00") -> None:
    """Write a small session with a probe; call again to add another probe."""
    rng = np.random.default_rng(len(probe) + ord(probe[-1]))
    alf = folder / "alf"
    sorting = alf / probe / "pykilosort"
    sorting.mkdir(parents=True)
    n = 2000
    np.save(sorting / "spikes.times.npy", np.sort(rng.uniform(0.1, 59.9, n)))
    np.save(sorting / "spikes.clusters.npy", rng.integers(0, 5, n).astype(np.uint32))
    np.save(sorting / "clusters.channels.npy", np.array([0, 2, 4, 6, 8]))
    np.save(sorting / "clusters.depths.npy", np.array([20.0, 60.0, 100.0, 140.0, 180.0]))
    metrics = pd.DataFrame({"cluster_id": range(5), "label": [1.0, 1.0, 2 / 3, 1.0, 0.0]})
    metrics.assign(firing_rate=n / 5 / 60).to_parquet(sorting / "clusters.metrics.pqt")
    uuids = pd.DataFrame({"uuids": [f"{probe}-unit-{k}" for k in range(5)]})
    uuids.to_csv(sorting / "clusters.uuids.csv", index=False)
    axial = 20.0 + 20.0 * np.arange(10)
    np.save(sorting / "channels.localCoordinates.npy", np.column_stack([axial * 0 + 43, axial]))
    np.save(sorting / "channels.mlapdv.npy", np.zeros((10, 3)))
    # CA1 and LP (left hemisphere), VISa5, a fibre tract
    ids = np.repeat([-382, 312782562, -218, 382, 776], 2)
    np.save(sorting / "channels.brainLocationIds_ccf_2017.npy", ids)
    np.save(sorting / "channels.rawInd.npy", np.arange(10))
    if (alf / "_ibl_trials.table.pqt").exists():
        return
    trials(12).to_parquet(alf / "_ibl_trials.table.pqt")
    t = np.arange(0, 60, 0.013)
    np.save(alf / "_ibl_wheel.timestamps.npy", t)
    np.save(alf / "_ibl_wheel.position.npy", np.sin(t))
    frames = np.arange(0, 60, 1 / 60)
    np.save(alf / "_ibl_leftCamera.times.npy", frames)
    np.save(alf / "leftCamera.ROIMotionEnergy.npy", 5 + np.cos(frames))


def trials(n: int) -> pd.DataFrame:
    """A trials table in which every trial passes the filter."""
    on = 2.0 + 4.5 * np.arange(n)
    right = np.arange(n) % 2 == 0
    return pd.DataFrame(
        {
            "intervals_0": on - 1,
            "intervals_1": on + 3,
            "stimOn_times": on,
            "goCue_times": on + 0.001,
            "firstMovement_times": on + 0.2,
            "response_times": on + 0.3,
            "feedback_times": on + 0.301,
            "choice": np.where(right, -1.0, 1.0),
            "feedbackType": np.where(np.arange(n) % 3 == 0, -1.0, 1.0),
            "rewardVolume": 1.5,
            "contrastLeft": np.where(right, np.nan, 0.25),
            "contrastRight": np.where(right, 1.0, np.nan),
            "probabilityLeft": 0.5,
        }
    )


@pytest.fixture
def phy(tmp_path: Path) -> Path:
    """A folder of Phy: three clusters within 20 s, two of them good."""
    folder = tmp_path / "phy"
    folder.mkdir()
    np.save(folder / "spike_times.npy", np.linspace(0, 20 * 30_000, 900).astype(np.int64))
    np.save(folder / "spike_clusters.npy", np.resize([0, 1, 2], 900))
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tgood\n1\tmua\n2\tgood\n")
    (folder / "params.py").write_text("sample_rate = 30000.\n")
    return folder
