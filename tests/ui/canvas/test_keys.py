"""Keys: bound where napari looks for them, none of napari's own taken, and written in the docs."""

import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.shortcuts import default_shortcuts

from napari_mtm import Session
from napari_mtm.ui.canvas.keys import KEYS, table
from napari_mtm.ui.coordinator import Hover

DOCS = Path(__file__).parents[3] / "docs" / "painting.md"


def press(target, key: str) -> None:
    """Press a key as napari does where `target` has it."""
    bound = {str(binding): act for binding, act in target.keymap.items()}
    bound[key.replace("Control", "Ctrl").replace("-", "+")](target)


def test_the_viewer_and_the_mask_layer_have_all(coordinator, viewer):
    for target in (viewer, coordinator.masks.layer):
        names = {str(binding) for binding in target.keymap}
        assert {key for key, _ in table()} <= names


def test_none_is_naparis_own():
    taken = {
        str(key)
        for name, keys in default_shortcuts.items()
        if not any(kind in name for kind in ("points", "shape", "surface", "tracks", "vertex"))
        and "activate_add" not in name
        and name not in ("napari:activate_direct_mode", "napari:activate_select_mode")
        for key in keys
    }
    taken |= {str(k) for kind in (Image, Labels) for k in kind.class_keymap}
    ours = {key for key, _ in table()} - {"Ctrl+Z", "Ctrl+Shift+Z"}
    assert not ours & taken


def test_undo_and_redo(coordinator, sample):
    name = sample.regions[0].name
    coordinator.masks.toggle_region(name)
    press(coordinator.masks.layer, "Control-Z")
    assert not coordinator.masks.mask.hidden.any()
    press(coordinator.viewer, "Control-Shift-Z")
    assert coordinator.masks.hides_region(name)


def test_keys_act_on_what_is_under_the_cursor(coordinator, viewer, sample):
    unit = sample.n_units // 2
    coordinator.last_hover = Hover(unit, 50, 0.5, 0)
    press(viewer, "U")
    assert np.flatnonzero(coordinator.masks.mask.hidden.all(axis=0)).tolist() == [unit]
    press(viewer, "H")
    region = sample.units["region"].iloc[unit]
    hidden = coordinator.masks.mask.hidden.all(axis=0)
    assert set(sample.units["region"][hidden]) == {region}
    assert hidden.sum() == (sample.units["region"] == region).sum()
    press(viewer, "J")
    assert coordinator.masks.mask.hidden.all(axis=1).tolist() == [False] * 50 + [True] * 50
    press(viewer, "I")
    assert coordinator.masks.mask.hidden.all(axis=1).tolist() == [True] * 50 + [False] * 50
    press(viewer, "K")
    assert not coordinator.masks.mask.hidden.any()


def test_off_the_raster_and_without_a_session_nothing_happens(coordinator, viewer):
    coordinator.last_hover = None
    changed = Mock()
    coordinator.masks.changed.connect(changed, check_nargs=False)
    for key in ("H", "Shift-H", "U", "J"):
        press(viewer, key)
    coordinator.close()
    changed.reset_mock()
    for key in KEYS:
        press(viewer, key.key)
    assert not changed.called


def test_the_label_is_switched(coordinator, viewer):
    press(viewer, "Q")
    assert coordinator.masks.layer.selected_label == 2
    press(viewer, "Q")
    assert coordinator.masks.layer.selected_label == 1


def test_live_is_switched(coordinator, viewer):
    press(viewer, "G")
    assert not coordinator.live.on
    press(viewer, "G")
    assert coordinator.live.on


def test_the_docs_have_the_same_table():
    written = re.findall(r"^\| `([^`]+)` \| (.+?) \|$", DOCS.read_text("utf-8"), flags=re.MULTILINE)
    assert tuple(written) == table()


@pytest.mark.parametrize("how", ["another session", "another order", "closed and opened"])
def test_what_was_under_the_cursor_is_forgotten_when_rows_change(coordinator, viewer, sample, how):
    heard = Mock()
    coordinator.last_hover = Hover(sample.n_units - 1, 50, 0.5, 0)
    coordinator.hovered.connect(heard)
    if how == "another session":
        coordinator.show(Session.from_counts(np.ones((12, 100, 5)), ["CA1"] * 5))
    elif how == "another order":
        coordinator.set_order("rate")
    else:
        coordinator.close()
        coordinator.show(sample)
    heard.assert_called_with(None)
    for key in ("H", "Shift-H", "U", "J"):
        press(viewer, key)
    assert not coordinator.masks.mask.hidden.any()
