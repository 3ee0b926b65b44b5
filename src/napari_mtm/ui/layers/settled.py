"""Waiting until napari is through with removing layers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components.layerlist import LayerList


class Settled:
    """Puts off what adds or removes layers while napari removes several at once.

    It goes through a list that it made before, and fails where another layer of it went
    or where there is always one more.
    """

    def __init__(self, layers: "LayerList") -> None:
        self._batches = 0
        self._waiting: list[Callable[[], None]] = []
        layers.events.begin_batch.connect(self._on_begin)
        layers.events.end_batch.connect(self._on_end)

    def call(self, act: Callable[[], None]) -> None:
        """Call now, or when napari is through."""
        if self._batches:
            self._waiting.append(act)
        else:
            act()

    def _on_begin(self, event: Any = None) -> None:
        self._batches += 1

    def _on_end(self, event: Any = None) -> None:
        self._batches -= 1
        while self._waiting and not self._batches:
            self._waiting.pop(0)()
