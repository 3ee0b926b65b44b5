"""Keys: one table from which they are bound, shown in the window and written in the docs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

from app_model.types import KeyCode, KeyMod

from napari_mtm.masking.mask import Mask

if TYPE_CHECKING:
    from napari_mtm.ui.coordinator import Coordinator


@dataclass(frozen=True)
class Key:
    """A key in napari's words, what it does in ours, and how.

    Control is Command on a Mac, as it is in napari.
    """

    key: str
    text: str
    act: Callable[["Coordinator"], None]


def _hide_region(coordinator: "Coordinator") -> None:
    region = _region_under(coordinator)
    if region is not None:
        coordinator.masks.toggle_region(region)


def _hide_region_too(coordinator: "Coordinator") -> None:
    region = _region_under(coordinator)
    if region is not None:
        coordinator.masks.toggle_region(region, add=True)


def _hide_unit(coordinator: "Coordinator") -> None:
    hover = coordinator.last_hover
    if hover is not None:
        coordinator.masks.set_units([hover.unit], 1)


def _hide_from_here(coordinator: "Coordinator") -> None:
    hover, session = coordinator.last_hover, coordinator.session
    if hover is not None and session is not None:
        coordinator.masks.put(Mask.forward(session, hover.time))


def _region_under(coordinator: "Coordinator") -> str | None:
    hover, session = coordinator.last_hover, coordinator.session
    if hover is None or session is None:
        return None
    return str(session.units["region"].iloc[hover.unit])


def _switch_label(coordinator: "Coordinator") -> None:
    layer = coordinator.masks.layer
    if layer is not None:
        layer.selected_label = 2 if layer.selected_label == 1 else 1


KEYS = (
    Key("H", "hide the region under the cursor, or show it again", _hide_region),
    Key("Shift-H", "the same, beside what is hidden", _hide_region_too),
    Key("U", "hide the unit under the cursor", _hide_unit),
    Key("J", "hide all units from the cursor on", _hide_from_here),
    Key("I", "hide what is visible, show what is hidden", lambda c: c.masks.invert()),
    Key("K", "hide nothing", lambda c: c.masks.clear()),
    Key("Q", "paint with the other label", _switch_label),
    Key("W", "ask the model once", lambda c: c.live.once()),
    Key("G", "switch live on or off", lambda c: c.live.set_on(not c.live.on)),
    Key(
        "N",
        "after a fine-tuning: ask the weights before it, or those after",
        lambda c: c.finetuning.weights.flip(),
    ),
    Key("Control-Z", "undo", lambda c: c.masks.undo()),
    Key("Control-Shift-Z", "redo", lambda c: c.masks.redo()),
)
"""None of them is napari's own on an image or on labels, save undo and redo, which it has too."""


def table() -> tuple[tuple[str, str], ...]:
    """Keys as they are written on a keyboard, and what each does."""
    return tuple((k.key.replace("Control", "Ctrl").replace("-", "+"), k.text) for k in KEYS)


def bind(coordinator: "Coordinator", target: Any) -> None:
    """Bind all keys on a viewer, or on a layer whose own keys come first."""
    weak = ref(coordinator)
    for key in KEYS:
        target.bind_key(_binding(key.key), _action(weak, key.act), overwrite=True)


def _binding(key: str) -> int:
    *modifiers, letter = key.split("-")
    names = {"Control": KeyMod.CtrlCmd, "Shift": KeyMod.Shift}
    found = int(KeyCode.from_string(letter))
    for modifier in modifiers:
        found |= int(names[modifier])
    return found


def _action(
    weak: "ref[Coordinator]", act: Callable[["Coordinator"], None]
) -> Callable[[Any], None]:
    def press(target: Any) -> None:
        coordinator = weak()
        if coordinator is not None and coordinator.session is not None:
            act(coordinator)

    return press
