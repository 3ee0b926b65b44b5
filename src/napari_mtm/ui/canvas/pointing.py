"""Clicks on the raster: left selects a unit and a time, right asks what to hide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

if TYPE_CHECKING:
    from napari_mtm.ui.coordinator import Coordinator, Hover

_MOVED_PIXELS = 4
_LEFT, _RIGHT = 1, 2
_STRETCH = 0.2
"""Seconds of a stretch that is hidden by one click."""


@dataclass(frozen=True)
class Choice:
    """Something that can be done to what was clicked."""

    text: str
    act: Callable[[], None]


class Pointing:
    """Listens to the mouse of one viewer."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        drag = WeakMethod(self._on_drag)

        def on_drag(viewer: Any, event: Any) -> Iterator[None]:
            method = drag()
            if method is not None:
                yield from method(event)

        coordinator.viewer.mouse_drag_callbacks.append(on_drag)

    def _on_drag(self, event: Any) -> Iterator[None]:
        if self._coordinator.masks.tool == "polygon":
            return  # its clicks are corners
        button, start = event.button, tuple(event.pos)
        add = "Shift" in event.modifiers
        yield
        while event.type == "mouse_move":
            yield
        moved = max(abs(a - b) for a, b in zip(event.pos, start, strict=True))
        if moved > _MOVED_PIXELS:
            return
        hover = self._coordinator.under(event.position)
        if hover is None:
            return
        if button == _RIGHT:
            self._coordinator.menu_wanted.emit(choices(self._coordinator, hover))
        elif button == _LEFT and self._coordinator.masks.tool == "pan_zoom":
            self._coordinator.select([hover.unit], add=add)
            self._coordinator.set_time(hover.time)


def choices(coordinator: "Coordinator", hover: "Hover") -> tuple[Choice, ...]:
    """What can be hidden of what lies under the cursor."""
    session, masks = coordinator.session, coordinator.masks
    assert session is not None
    region = str(session.units["region"].iloc[hover.unit])
    column = int((session.units["region"] == region).sum())
    hidden = masks.hides_region(region)
    units = f"{column} unit{'s' * (column > 1)}"
    stretch = max(round(_STRETCH / session.bin_size), 1)
    return (
        Choice(
            f"{'Show' if hidden else 'Hide'} {region} ({units})",
            partial(masks.toggle_region, region),
        ),
        Choice(
            f"{'Show' if hidden else 'Hide'} {region} too",
            partial(masks.toggle_region, region, add=True),
        ),
        Choice(f"Take {region} away, without scoring it", partial(masks.take_away_region, region)),
        Choice("Hide this unit", partial(masks.set_units, [hover.unit], 1)),
        Choice("Show this unit", partial(masks.set_units, [hover.unit], 0)),
        Choice(
            f"Hide everything from {hover.time:.2f} s on",
            partial(masks.set_bins, slice(hover.bin, None), 1),
        ),
        Choice(
            f"Hide {_STRETCH:g} s from {hover.time:.2f} s on",
            partial(masks.set_bins, slice(hover.bin, hover.bin + stretch), 1),
        ),
        Choice("Hide nothing", masks.clear),
    )
