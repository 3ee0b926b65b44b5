"""The weights before a fine-tuning and those after it: the live view shows one or the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_mtm.ui.preferences import preferences

if TYPE_CHECKING:
    from napari_mtm.live.engine import Load
    from napari_mtm.model.model import Model
    from napari_mtm.ui.coordinator import Coordinator

Which = Literal["before", "after"]


@dataclass(frozen=True)
class _Weights:
    """Weights that the live view can show, and how they are called."""

    name: str
    source: str
    load: "Load"


class BeforeAfter:
    """Holds both, once there are two."""

    changed = Signal()
    """There are others, or others are shown."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._weights: dict[Which, _Weights] = {}
        coordinator.session_changed.connect(self.forget)
        coordinator.live.status_changed.connect(self._on_live)
        self._shown: Which | None = None

    @property
    def there(self) -> bool:
        """Whether there are two to choose from."""
        return len(self._weights) == 2

    @property
    def shown(self) -> Which | None:
        """Which of them are asked, or on their way; None for others."""
        source = self._coordinator.live.source
        return next((k for k, weights in self._weights.items() if weights.source == source), None)

    def name(self, which: Which) -> str:
        """Return how they are called."""
        return self._weights[which].name

    def take(self, run: Path) -> None:
        """Take the weights that are live as those before, a run's best as those after; show them.

        A run that is shown again leaves those before as they were.
        """
        live = self._coordinator.live
        source, device = str(run / "best.safetensors"), preferences().device
        if live.source != source and live.model is not None:
            before = live.model
            self._weights["before"] = _Weights(live.name, live.source, lambda: before)
        loaded: list[Model] = []

        def load() -> "Model":
            from napari_mtm.training.run import Run

            if not loaded:
                loaded.append(Run(run).model("best", device=device))
            return loaded[0]

        self._weights["after"] = _Weights(f"Fine-tuned {run.name}", source, load)
        self.show("after")
        self.changed.emit()

    def show(self, which: Which) -> None:
        """Let the live view ask them."""
        weights = self._weights.get(which)
        if weights is not None and self.shown != which:
            self._coordinator.live.use(weights.load, weights.name, weights.source)

    def flip(self) -> None:
        """Let the live view ask the other ones."""
        self.show("before" if self.shown == "after" else "after")

    def forget(self) -> None:
        """Hold none; the live view goes on with what it asks."""
        self._weights.clear()
        self.changed.emit()

    def _on_live(self) -> None:
        if self.shown != self._shown:
            self._shown = self.shown
            self.changed.emit()
