"""Clicks on the raster: a unit and a time are selected, a menu offers what can be hidden."""

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_mtm.ui.canvas.pointing import choices
from napari_mtm.ui.coordinator import Hover


def mouse(viewer, *steps, button=1, modifiers=()):
    """Press, move and release at (row, seconds) and pixels."""
    acts = {
        "mouse_press": mouse_press_callbacks,
        "mouse_move": mouse_move_callbacks,
        "mouse_release": mouse_release_callbacks,
    }
    kinds = ("mouse_press", *["mouse_move"] * (len(steps) - 2), "mouse_release")
    for kind, (position, pos) in zip(kinds, steps, strict=True):
        event = SimpleNamespace(
            type=kind,
            button=button,
            buttons=[button],
            modifiers=modifiers,
            position=position,
            pos=np.array(pos),
            is_dragging=kind == "mouse_move",
            handled=False,
        )
        acts[kind](viewer, ReadOnlyWrapper(event, exceptions=("handled",)))


def at(coordinator, row: int, time: float):
    return (0.0, row * float(coordinator.layer.scale[-2]), time)


def click(coordinator, row, time, **how):
    place = (at(coordinator, row, time), (40, 50))
    mouse(coordinator.viewer, place, place, **how)


def test_a_click_selects_the_unit_and_moves_the_cursor(coordinator, viewer):
    click(coordinator, 7, 0.31)
    assert coordinator.selection == (int(coordinator.rows[7]),)
    assert coordinator.time == pytest.approx(0.3)
    click(coordinator, 9, 0.5)
    assert coordinator.selection == (int(coordinator.rows[9]),)


def test_shift_adds_and_takes_away(coordinator):
    click(coordinator, 7, 0.3)
    click(coordinator, 9, 0.3, modifiers=("Shift",))
    assert coordinator.selection == tuple(int(u) for u in coordinator.rows[[7, 9]])
    click(coordinator, 7, 0.3, modifiers=("Shift",))
    assert coordinator.selection == (int(coordinator.rows[9]),)


def test_a_drag_selects_nothing(coordinator, viewer):
    places = [(at(coordinator, 7, 0.3), (40, 50)), (at(coordinator, 9, 0.3), (40, 80))]
    mouse(viewer, places[0], places[1], places[1])
    assert coordinator.selection == ()


def test_off_the_raster_nothing_happens(coordinator):
    click(coordinator, -5, 0.3)
    assert coordinator.selection == ()


def test_while_painting_a_click_paints_only(coordinator):
    coordinator.masks.tool = "paint"
    click(coordinator, 7, 0.3)
    assert coordinator.selection == ()


def test_the_right_button_asks_for_a_menu(coordinator):
    heard = Mock()
    coordinator.menu_wanted.connect(heard)
    click(coordinator, 7, 0.3, button=2)
    (offered,) = heard.call_args.args
    region = coordinator.session.units["region"].iloc[coordinator.rows[7]]
    assert offered[0].text.startswith(f"Hide {region} (")
    assert coordinator.selection == ()


def test_what_the_menu_offers(coordinator, sample):
    masks = coordinator.masks
    unit = sample.n_units - 1
    region = str(sample.units["region"].iloc[unit])
    inside = (sample.units["region"] == region).to_numpy()
    acts = {c.text: c.act for c in choices(coordinator, Hover(unit, 50, 0.5, 0))}

    def hidden():
        return masks.mask.hidden.all(axis=0)

    acts[f"Hide {region} ({inside.sum()} units)"]()
    np.testing.assert_array_equal(hidden(), inside)
    assert choices(coordinator, Hover(unit, 50, 0.5, 0))[0].text.startswith(f"Show {region}")
    acts["Show this unit"]()
    assert hidden().sum() == inside.sum() - 1
    acts["Hide this unit"]()
    np.testing.assert_array_equal(hidden(), inside)
    acts["Hide everything from 0.50 s on"]()
    assert masks.mask.hidden[50:].all()
    assert not masks.mask.hidden[:50, ~inside].any()
    acts["Hide nothing"]()
    assert not masks.mask.hidden.any()
    acts["Hide 0.2 s from 0.50 s on"]()
    assert np.flatnonzero(masks.mask.hidden.all(axis=1)).tolist() == list(range(50, 60))
    acts["Hide nothing"]()
    acts[f"Take {region} away, without scoring it"]()
    np.testing.assert_array_equal(hidden(), inside)
    assert not masks.mask.scored.any()
