"""The weights before a fine-tuning and those after it: the live view shows one or the other."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_mtm.ui.live import Weights
from napari_mtm.ui.preferences import preferences

if TYPE_CHECKING:
    from napari_mtm.model.model import Model
    from napari_mtm.ui.coordinator import Coordinator

Which = Literal["before", "after"]


class BeforeAfter:
    """Holds both, once there are two."""

    changed = Signal()
    """There are others, or others are shown."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._weights: dict[Which, Weights] = {}
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
        self._weights |= before_and_after(self._coordinator.live.there, run)
        self.show("after")
        self.changed.emit()

    def show(self, which: Which) -> None:
        """Let the live view ask them."""
        weights = self._weights.get(which)
        if weights is not None and self.shown != which:
            self._coordinator.live.use(weights.load, weights.name, weights.source)

    @property
    def held(self) -> Mapping[Which, Weights]:
        """Both, as far as they are there."""
        return MappingProxyType(dict(self._weights))

    def hold(self, weights: Mapping[Which, Weights]) -> None:
        """Hold what was held before; the live view goes on with what it asks."""
        self._weights = dict(weights)
        self.changed.emit()

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


def before_and_after(before: Weights | None, run: Path) -> dict[Which, Weights]:
    """Return the best weights of a run as those after, and others as those before."""
    source, device = str(run / "best.safetensors"), preferences().device
    loaded: list[Model] = []

    def load() -> "Model":
        from napari_mtm.training.run import Run

        if not loaded:
            loaded.append(Run(run).model("best", device=device))
        return loaded[0]

    weights: dict[Which, Weights] = {"after": Weights(f"Fine-tuned {run.name}", source, load)}
    if before is not None and before.source != source:
        weights["before"] = before
    return weights
