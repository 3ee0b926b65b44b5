"""Which model a viewer asks: the shipped ones by name, others by path."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtm.live.engine import use_threads
from napari_mtm.recording.opening import SAMPLE, find_files
from napari_mtm.ui.preferences import preferences

if TYPE_CHECKING:
    from napari_mtm.model.model import Model
    from napari_mtm.recording.session import Session
    from napari_mtm.ui.coordinator import Coordinator


NAMES = {
    "sample": "Fine-tuned on the sample",
    "pretrained": "Pretrained on simulated animals",
}
"""The models that are shipped, and what people call them."""


def load(coordinator: "Coordinator", source: str) -> None:
    """Load a model, by path or "sample" or "pretrained", off the Qt thread and ask it."""
    chosen = preferences()

    def work() -> "Model":
        from napari_mtm import load_model

        use_threads(chosen.threads)
        return load_model(source, device=chosen.device)

    coordinator.live.use(work, NAMES.get(source) or Path(source).stem, source)


def fitting(session: "Session") -> str:
    """Return which of the shipped models suits a session best."""
    return "sample" if session.id == find_files(SAMPLE).id else "pretrained"
