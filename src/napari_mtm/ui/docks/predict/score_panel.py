"""How well what is hidden is predicted, on the shown trial and the test trials."""

from typing import Any

from qtpy.QtWidgets import QComboBox, QGroupBox, QHBoxLayout, QLabel, QVBoxLayout

from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.qt.jobs import Jobs
from napari_mtm.ui.qt.parts import button, let_be_cut, text
from napari_mtm.ui.text.baselines import BASELINE_NAMES
from napari_mtm.ui.text.score_table import Row, score_table, trial_row, whole_row

_LINES = 3


class ScorePanel(QGroupBox):
    """Shows scores, and fits the baseline that they are shown beside."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__("Score against mean rate, bits/spike")
        self._coordinator = coordinator
        self._jobs = Jobs(self)
        self._fitted: dict[str, Any] = {}
        self.scores = text("scores", lines=_LINES)
        let_be_cut(self.scores)
        self.scores.setToolTip(
            "What is gained over each unit's mean rate, on what is hidden and scored. Baselines\n"
            "learn from the training trials, and so does a fine-tuning, which chooses its weights\n"
            "by the validation trials. The test trials judge both. The oracle knows the rates\n"
            "from which the spikes of a simulated session were drawn."
        )
        self.notes = text("notes")
        self.notes.hide()
        self.baseline = QComboBox(objectName="baseline")
        for name, words in BASELINE_NAMES.items():
            self.baseline.addItem(words, name)
        self.baseline.setToolTip(
            "What the model's score is shown beside: averages of trials of the same kind; a\n"
            "reduced-rank regression on what is visible; each unit's level in the trials around.\n"
            "For forecasts: its level in the visible part of the trial, and a regression on its\n"
            "own past"
        )
        self.score_button = button("score", "Score", "")
        self.fitting = text("fitting")
        lines = QVBoxLayout(self)
        lines.addWidget(self.notes)
        lines.addWidget(self.scores)
        chosen = QHBoxLayout()
        chosen.addWidget(QLabel("Baseline"))
        chosen.addWidget(self.baseline, 1)
        chosen.addWidget(self.score_button)
        lines.addLayout(chosen)
        lines.addWidget(self.fitting)
        self.baseline.currentIndexChanged.connect(self._on_baseline)
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self._on_fitted)
        self.score_button.clicked.connect(self._on_score)
        coordinator.session_changed.connect(self._on_session)
        coordinator.live.answered.connect(self._tell)
        coordinator.live.decoded.connect(self._tell)
        coordinator.live.scored.connect(self._tell)
        self._on_session()

    def _on_session(self) -> None:
        self._fitted.clear()
        self._jobs.cancel()
        self.fitting.hide()
        self.setVisible(self._coordinator.session is not None)
        self._tell()
        self._fit_baseline()

    def _on_progress(self, fraction: float, message: str) -> None:
        self.fitting.setText(f"{message}… {fraction:.0%}")
        self.fitting.show()

    def _on_fitted(self) -> None:
        self.fitting.hide()
        self._tell()

    def _on_score(self) -> None:
        live = self._coordinator.live
        if self._at_work:
            self._jobs.cancel()
            live.stop_scoring()
            return
        if live.baseline is None:
            self._fit_baseline()
        live.score_test_trials()

    @property
    def _at_work(self) -> bool:
        return self._jobs.running or self._coordinator.live.scoring

    def _rows(self) -> list[Row]:
        live, session = self._coordinator.live, self._coordinator.session
        if session is None:
            return []
        trial = trial_row(live)
        whole = whole_row(live.whole, len(session.split().test))
        return [whole] if trial is None else [trial, whole]

    def _tell(self) -> None:
        live = self._coordinator.live
        done = live.whole is not None and live.whole.done
        self.score_button.setText("Stop" if self._at_work else "Score")
        self.score_button.setToolTip(
            "Score no more test trials" if self._at_work else "Score all test trials"
        )
        self.score_button.setEnabled(self._at_work or (live.model is not None and not done))
        self.scores.setText(score_table(self._rows()))
        notes = live.answer.reconstruction.notes if live.answer is not None else ()
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))

    def _on_baseline(self, index: int) -> None:
        self._fit_baseline()

    def _fit_baseline(self) -> None:
        """Fit the chosen baseline off the Qt thread, then compare with it."""
        name, session = self.baseline.currentData(), self._coordinator.session
        if session is None:
            return
        if name in self._fitted:
            self._coordinator.live.set_baseline((name, self._fitted[name].predict))
            return
        self._coordinator.live.set_baseline(None)

        def fit(progress: Any) -> Any:
            from napari_mtm.scoring.baselines import BASELINES

            (chosen,) = (b for b in BASELINES if b.name == name)
            return chosen.fit(session, session.split(), progress)

        def fitted(found: Any) -> None:
            if self._coordinator.shows(session):
                self._fitted[name] = found
                self._coordinator.live.set_baseline((name, found.predict))

        self._jobs.run(f"fitting {BASELINE_NAMES[name]}", fit, fitted)
