"""What napari calls: the reader for stores and folders, and the sample."""

import numpy as np
import pytest

from napari_mtm import open_session, save_session
from napari_mtm.ui.contributions import get_reader, open_sample
from napari_mtm.ui.coordinator import coordinator_of
from napari_mtm.ui.raster import RasterData


def test_the_reader_takes_stores_and_session_folders_only(sample, alf, tmp_path):
    store = tmp_path / "any name"
    save_session(sample, store)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "folder").mkdir()
    assert get_reader(str(store)) is not None
    assert get_reader(str(alf)) is not None
    assert get_reader(str(tmp_path / "picture.png")) is None
    assert get_reader(str(tmp_path / "folder")) is None
    assert get_reader(str(tmp_path / "none")) is None
    assert get_reader([str(store)]) is None


@pytest.mark.parametrize("kind", ["store", "folder"])
def test_reading_without_a_window_gives_the_raster(kind, alf, tmp_path, own_cache, viewer):
    session = open_session(alf)
    path = tmp_path / "store"
    save_session(session, path)
    source = str(path if kind == "store" else alf)
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
