"""Preferences: those of the manifest, and what is made of them."""

from pathlib import Path
from unittest.mock import patch

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManager

from napari_mtm.ui.preferences import Preferences, preferences


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


def test_colours_are_those_of_the_mask(settings, viewer, sample):
    from napari_mtm.ui.coordinator import coordinator_of

    settings.colours.predicted = "#00ff00"
    coordinator = coordinator_of(viewer)
    coordinator.show(sample)
    assert tuple(coordinator.masks.layer.colormap.map(1))[:3] == pytest.approx((0, 1, 0))


def test_where_napari_does_not_know_the_plugin():
    with patch("napari.settings.get_plugin_settings", side_effect=KeyError):
        assert preferences() == Preferences()
