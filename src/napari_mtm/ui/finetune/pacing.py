"""How long a fine-tuning would take here: tried for a few seconds in a process of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mtm.ui.finetune.course import Choices, threads
from napari_mtm.ui.preferences import preferences
from napari_mtm.ui.qt.jobs import Jobs

if TYPE_CHECKING:
    from napari_mtm.training.messages import Measured, News
    from napari_mtm.ui.coordinator import Coordinator
    from napari_mtm.ui.finetune.watched import Watched

Key = tuple[str, str, bool]


class Pacing:
    """Measures once for each session, weights and number of threads."""

    changed = Signal()
    """It is being measured, or known."""

    def __init__(self, coordinator: "Coordinator") -> None:
        self._coordinator = coordinator
        self._known: dict[Key, Measured | None] = {}
        self._measuring: Key | None = None
        self._watched: Watched | None = None
        self._finding = Jobs()

    @property
    def measuring(self) -> bool:
        """Whether a trial is under way."""
        return self._measuring is not None

    def of(self, choices: Choices) -> "Measured | None":
        """Return what was measured for these choices, None where nothing was."""
        return self._known.get(self._key(choices))

    def measure(self, choices: Choices) -> None:
        """Measure in the background, unless that was tried."""
        key, session = self._key(choices), self._coordinator.session
        model = self._coordinator.live.model
        if key in self._known or session is None or model is None:
            return
        if self._measuring == key:
            return
        from napari_mtm.training.messages import Assignment
        from napari_mtm.training.runs import store_for
        from napari_mtm.ui.finetune.watched import Watched

        self.stop()
        self._measuring = key
        settings = choices.settings(model.preset)

        def found(store: Path) -> None:
            assignment = Assignment(
                store,
                key[1],
                Path(),
                settings=settings,
                device=preferences().device,
                threads=threads(faster=choices.faster),
                work="measure",
            )
            self._watched = Watched(self._coordinator.viewer, assignment, self._on_news)

        self._finding.run("looking for the session's file", lambda _: store_for(session), found)
        self.changed.emit()

    def stop(self, timeout: float | None = 0.0) -> bool:
        """Give up a trial; return whether its process ended within `timeout` seconds."""
        watched, self._watched, self._measuring = self._watched, None, None
        self._finding.cancel()
        if watched is None:
            return True
        watched.worker.cancel()
        return watched.let_go(timeout)

    def _key(self, choices: Choices) -> Key:
        session, live = self._coordinator.session, self._coordinator.live
        name = "" if session is None else session.id
        return name, choices.weights or live.source, choices.faster

    def _on_news(self, news: "News") -> None:
        from napari_mtm.training.messages import Ended, Measured

        key = self._measuring
        assert key is not None
        if isinstance(news, Measured):
            self._known[key] = news
        elif isinstance(news, Ended):
            self._known.setdefault(key, None)  # one that failed is not tried again
            self.stop()
            self.changed.emit()
