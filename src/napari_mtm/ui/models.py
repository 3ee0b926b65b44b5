"""Which model a viewer asks: a shipped one that suits the session, or one that a person chose."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtm.live.engine import use_threads
from napari_mtm.recording.opening import SAMPLE, find_source
from napari_mtm.ui.live import Origin
from napari_mtm.ui.opened import Asked
from napari_mtm.ui.preferences import Preferences, preferences

if TYPE_CHECKING:
    from napari_mtm.model.model import Model
    from napari_mtm.recording.session import Session
    from napari_mtm.ui.coordinator import Coordinator


NAMES = {
    "sample": "Fine-tuned on the sample",
    "pretrained": "Pretrained on simulated animals",
}
"""The models that are shipped, and what people call them."""


class Models:
    """Loads the models of one viewer, off the Qt thread, and remembers what a person chose.

    As long as a person chose none, the shipped one that suits best follows the session. Other
    weights, of a file or of a fine-tuning, stay. A session that is shown again is asked of the
    model that was asked when it was left.
    """

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._began = False
        self._chosen = ""
        self._preferred = Preferences()  # when a model was loaded
        coordinator.session_changed.connect(self._on_session)

    def begin(self) -> None:
        """See to it that a model is asked, of this session and of those that follow."""
        self._began = True
        self._suit()

    def choose(self, source: str) -> None:
        """Ask the model that a person chose: "sample", "pretrained", or the path of a file."""
        self._chosen = source
        self._load(NAMES.get(source) or Path(source).stem, source)

    def left(self) -> Asked | None:
        """What is asked, when another session is shown; None while there is no model."""
        weights = self._coordinator.live.weights
        return None if weights is None else Asked(weights, self._chosen, self._preferred)

    def _on_session(self) -> None:
        current = self._coordinator.current
        asked = current.asked if current is not None else None
        if asked is not None:
            self._chosen, self._preferred = asked.chosen, asked.preferred
        before, now = self._preferred, preferences()
        anew = (before.device, before.threads) != (now.device, now.threads)
        if asked is not None:
            self._ask_again(asked, anew=anew)
        elif self._began:
            self._suit(anew=anew)

    def _ask_again(self, asked: Asked, *, anew: bool) -> None:
        weights, live = asked.weights, self._coordinator.live
        if anew and weights.source:
            self._load(weights.name, weights.source)
        elif weights != live.weights:
            live.use(weights.load, weights.name, weights.source)

    def _suit(self, *, anew: bool = False) -> None:
        """Load what is to be asked of the session, unless it is there; `anew` even then."""
        session, newest = self._coordinator.session, self._coordinator.live.newest
        if session is None:
            return
        wanted = newest
        if newest is None or (newest.source in NAMES and newest.source != self._chosen):
            best = fitting(session)
            wanted = Origin(NAMES[best], best)
        if wanted != newest or (anew and wanted.source):
            self._load(*wanted)

    def _load(self, name: str, source: str) -> None:
        chosen = self._preferred = preferences()

        def work() -> "Model":
            from napari_mtm import load_model

            use_threads(chosen.threads)
            return load_model(source, device=chosen.device)

        self._coordinator.live.use(work, name, source)


def fitting(session: "Session") -> str:
    """Return which of the shipped models suits a session best."""
    return "sample" if session.id == find_source(SAMPLE).id else "pretrained"
