"""What napari calls: the reader for stores and session folders, and the sample."""

import h5py
import numpy as np
import pytest
from npe2 import PluginManager

from napari_mtm import open_session, save_session
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.layers.raster import RasterData
from napari_mtm.ui.plugin import get_reader, open_sample


@pytest.fixture
def plugins():
    """What is installed, napari's own readers among it, as napari finds it."""
    found = PluginManager()
    found.discover()
    return found


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("picture.png", ["napari"]),
        ("stack.tif", ["napari"]),
        ("array.npy", ["napari"]),
        ("table.csv", ["napari"]),
        ("notes.txt", []),
        ("no suffix", []),
        ("session.mtm", ["napari-mtm"]),
        ("lab 2024-02-03_002.MTM", ["napari-mtm"]),
        ("sub-1_ses-2.nwb", ["napari-mtm"]),
        ("data.h5", ["napari"]),
        ("data.npz", ["napari"]),
    ],
)
def test_files_have_one_reader_and_stores_have_ours(plugins, tmp_path, name, readers):
    (tmp_path / name).touch()
    path = str(tmp_path / name)
    assert [r.plugin_name for r in plugins.iter_compatible_readers([path])] == readers


def test_session_folders_are_ours_to_read(plugins, alf):
    """Napari takes all folders itself, so that both may be meant."""
    readers = plugins.iter_compatible_readers([str(alf)])
    assert {r.plugin_name for r in readers} == {"napari", "napari-mtm"}


def test_the_reader_takes_stores_and_session_folders_only(sample, alf, tmp_path):
    store = tmp_path / "any name"
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "image.0001.tif").touch()
    (tmp_path / "picture.png").touch()
    save_session(sample, store)
    (tmp_path / "other.mtm").write_bytes(b"of another program")
    assert get_reader(str(store)) is not None
    assert get_reader(str(tmp_path / "other.mtm")) is None
    assert get_reader(str(alf)) is not None
    assert get_reader(str(tmp_path / "stack")) is None
    assert get_reader(str(tmp_path / "picture.png")) is None
    assert get_reader(str(tmp_path / "none")) is None
    assert get_reader([str(store)]) is None


def test_the_reader_takes_other_formats_by_what_is_in_them(phy, tmp_path):
    with h5py.File(tmp_path / "some.nwb", "w") as file:
        assert get_reader(str(tmp_path / "some.nwb")) is None  # of nobody's format yet
        file.attrs["nwb_version"] = "2.7.0"
    for path in (tmp_path / "some.nwb", phy):
        assert get_reader(str(path)) is not None
    (tmp_path / "damaged.nwb").write_text("words")
    assert get_reader(str(tmp_path / "damaged.nwb")) is not None  # it says what is wrong


@pytest.mark.parametrize("kind", ["store", "alf", "phy"])
def test_reading_without_a_window_gives_the_raster(kind, alf, phy, tmp_path, own_cache, viewer):
    session = open_session(phy if kind == "phy" else alf)
    path = tmp_path / "session.mtm"
    save_session(session, path)
    source = str({"store": path, "alf": alf, "phy": phy}[kind])
    ((data, keywords, layer_type),) = get_reader(source)(source)
    assert layer_type == "image"
    assert isinstance(data, RasterData)
    coordinator = coordinator_of(viewer)
    viewer.add_image(data, **keywords)
    assert coordinator.session == session


def test_the_sample_is_a_layer_that_says_it_is_simulated():
    ((data, keywords, _),) = open_sample()
    assert "(simulated)" in keywords["name"]
    assert data.dtype == np.uint8
