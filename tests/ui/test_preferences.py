"""Preferences: those of the manifest, what is made of them, and from when on they hold."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from napari.layers import Labels
from napari.settings import get_plugin_settings
from npe2 import PluginManager

from napari_mtm import Session
from napari_mtm.masking.painting import PREDICTED
from napari_mtm.recording.preparation import Preparation
from napari_mtm.ui.coordinator import coordinator_of, raster
from napari_mtm.ui.docks.predict.hide_panel import HidePanel
from napari_mtm.ui.docks.session.dock import SessionDock
from napari_mtm.ui.docks.session.open_dialog import Request
from napari_mtm.ui.plugin import open_sample
from napari_mtm.ui.preferences import Preferences, preferences
from tests.ui.test_live import Fake
from tests.ui.waiting import until


@pytest.fixture
def settings():
    """Settings of the plugin as napari keeps them, put back afterwards."""
    PluginManager.instance().discover()
    found = get_plugin_settings("napari-mtm")
    before = found.model_dump()
    yield found
    for group, values in before.items():
        for name, value in values.items():
            setattr(getattr(found, group), name, value)


def test_as_they_come_from_the_manifest(settings):
    found = preferences()
    assert (found.device, found.threads, found.throttle_ms, found.cache) == (None, None, 30, None)
    for ours, theirs in zip(found.label_colours.values(), _usual(), strict=True):
        assert ours == pytest.approx(theirs, abs=0.01)


def _usual():
    return Preferences().label_colours.values()


def test_what_a_person_set(settings, tmp_path):
    settings.model.device = "cpu"
    settings.model.threads = 3
    settings.model.throttle_ms = 100
    settings.colours.predicted = "#ff0080"
    settings.storage.cache = str(tmp_path)
    found = preferences()
    assert (found.device, found.threads, found.throttle_ms) == ("cpu", 3, 100)
    assert found.label_colours[1] == pytest.approx((1, 0, 128 / 255))
    assert found.cache == Path(tmp_path)


@pytest.mark.parametrize("text", ["", "red", "#12", "#gggggg"])
def test_what_is_no_colour_changes_nothing(settings, text):
    settings.colours.taken = text
    assert preferences().taken == Preferences().taken


def test_where_napari_does_not_know_the_plugin():
    with patch("napari.settings.get_plugin_settings", side_effect=KeyError):
        assert preferences() == Preferences()


# From the next session


def another(session) -> Session:
    """A few units of a session, under another id."""
    return Session.from_counts(session.counts[:, :, :9], session.units["region"][:9], id="another")


def colours_of(coordinator, panel) -> set[tuple[float, ...]]:
    """The colours in which what is hidden and predicted is drawn, wherever that is."""
    labels = [layer for layer in coordinator.viewer.layers if isinstance(layer, Labels)]
    drawn = [layer.colormap.map(PREDICTED)[:3] for layer in labels]
    icon = panel.labels.button(PREDICTED).icon().pixmap(10, 10).toImage().pixelColor(5, 5)
    return {tuple(np.round(colour, 2)) for colour in (*drawn, icon.getRgbF()[:3])}


@pytest.mark.parametrize("how", ["in its layers", "in a layer of its own"])
def test_colours(settings, viewer, sample, qtbot, how):
    """Those of the mask, of outlines around it, and of the buttons that choose them."""
    coordinator = coordinator_of(viewer)
    panel = HidePanel(coordinator)
    qtbot.addWidget(panel)
    settings.colours.predicted = "#0000ff"
    coordinator.show(sample)
    coordinator.cells.add()
    assert colours_of(coordinator, panel) == {(0, 0, 1)}
    settings.colours.predicted = "#00ff00"
    coordinator.cells.set_shown("fine-tuned", True)
    coordinator.masks.toggle_region("CA1")
    assert colours_of(coordinator, panel) == {(0, 0, 1)}
    if how == "in its layers":
        coordinator.show(another(sample))
    else:  # as napari adds what a reader or a sample gives
        data, keywords = raster(another(sample), viewer)
        viewer.add_image(data, **keywords)
    coordinator.cells.add()
    assert coordinator.session.id == "another"
    assert colours_of(coordinator, panel) == {(0, 1, 0)}


def test_how_often_the_model_is_asked_in_a_stroke(settings, viewer, sample, qtbot):
    coordinator, other = coordinator_of(viewer), another(sample)
    live, fakes = coordinator.live, {s.id: Fake(s) for s in (sample, other)}
    requests = []
    live.asked.connect(lambda: requests.append(1))
    for session, milliseconds, least, most in ((sample, 2000, 1, 1), (other, 10, 4, 9)):
        settings.model.throttle_ms = milliseconds
        coordinator.show(session)
        live.use(lambda session=session: fakes[session.id])
        until(lambda: live.answer is not None and not live.stale)
        requests.clear()
        layer = coordinator.masks.layer
        with layer.block_history():  # as the mouse paints
            for k in range(8):
                layer.paint((3, 10 + 5 * k), 1)
                qtbot.wait(25)
            asked = len(requests)
        assert least <= asked <= most
    assert live.close(20)


def test_where_the_model_is_asked_and_on_how_many_threads(settings, viewer, sample, monkeypatch):
    loads, threads = [], []

    def load(source, device):
        loads.append((source, device))
        return Fake(sample)

    monkeypatch.setattr("napari_mtm.model.weights.load_model", load)
    monkeypatch.setattr("napari_mtm.ui.models.use_threads", threads.append)
    coordinator = coordinator_of(viewer)
    live = coordinator.live

    def open_again() -> list[tuple[str, str | None]]:
        """Open the session; return what is loaded for it."""
        loads.clear()
        coordinator.show(replace(sample))
        until(lambda: not live.loading and live.answer is not None and not live.stale)
        return list(loads)

    coordinator.models.begin()
    assert open_again() == [("sample", None)]
    settings.model.device = "cpu"
    assert loads == [("sample", None)]
    assert open_again() == [("sample", "cpu")]
    assert open_again() == []
    settings.model.threads = 3
    assert open_again() == [("sample", "cpu")]
    assert threads == [None, None, 3]
    coordinator.models.choose("/of a person/mine.safetensors")
    until(lambda: live.source == "/of a person/mine.safetensors")
    settings.model.device = "best"
    assert open_again() == [("/of a person/mine.safetensors", None)]
    assert live.name == "mine"
    assert live.close(20)


def test_where_prepared_sessions_are_kept(settings, viewer, alf, tmp_path, qtbot, monkeypatch):
    def kept() -> list[int]:
        """How many are in each of three folders."""
        folders = (tmp_path / name for name in ("one", "two", "named"))
        return [len(list(folder.glob("*.mtm"))) for folder in folders]

    def open_in(dock) -> None:
        dock.open(Request(str(alf), None, Preparation()))
        until(lambda: not dock.jobs.running)

    monkeypatch.delenv("NAPARI_MTM_CACHE")
    dock = SessionDock(viewer)
    qtbot.addWidget(dock)
    settings.storage.cache = str(tmp_path / "one")
    open_in(dock)
    assert kept() == [1, 0, 0]
    settings.storage.cache = str(tmp_path / "two")
    open_in(dock)
    assert kept() == [1, 1, 0]
    open_sample()
    assert kept() == [1, 2, 0]
    monkeypatch.setenv("NAPARI_MTM_CACHE", str(tmp_path / "named"))
    open_in(dock)
    assert kept() == [1, 2, 1]
