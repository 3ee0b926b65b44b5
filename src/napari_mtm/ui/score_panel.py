"""How well what is hidden is predicted, on the shown trial and the test trials."""

from typing import Any

from qtpy.QtWidgets import QComboBox, QGroupBox, QHBoxLayout, QLabel, QVBoxLayout

from napari_mtm.ui.coordinator import Coordinator
from napari_mtm.ui.jobs import Jobs
from napari_mtm.ui.mask_text import trial_score_words, whole_score_words
from napari_mtm.ui.parts import text

_BASELINES = {"psth": "condition PSTH", "reduced-rank": "reduced-rank regression"}
_SHORT = {"psth": "PSTH", "reduced-rank": "reduced-rank"}


class ScorePanel(QGroupBox):
    """Shows scores, and fits the baseline that they are shown beside."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__("Score against mean rate")
        self._coordinator = coordinator
        self._jobs = Jobs(self)
        self._fitted: dict[str, Any] = {}
        self.trial_score = text("trial_score")
        self.trial_score.setToolTip(
            "Baselines learn from the training trials, and so does a fine-tuning, which\n"
            "chooses its weights by the validation trials. The test trials judge both."
        )
        self.whole_score = text("whole_score", lines=2)
        self.notes = text("notes")
        self.notes.hide()
        self.baseline = QComboBox(objectName="baseline")
        for name, words in _BASELINES.items():
            self.baseline.addItem(words, name)
        self.baseline.setToolTip("What the model's score is shown beside")
        self.fitting = text("fitting")
        lines = QVBoxLayout(self)
        lines.addWidget(self.notes)
        lines.addWidget(self.trial_score)
        lines.addWidget(self.whole_score)
        beside = QHBoxLayout()
        beside.addWidget(QLabel("Beside"))
        beside.addWidget(self.baseline, 1)
        lines.addLayout(beside)
        lines.addWidget(self.fitting)
        self.baseline.currentIndexChanged.connect(self._on_baseline)
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self.fitting.hide)
        coordinator.session_changed.connect(self._on_session)
        coordinator.live.answered.connect(self._tell_trial)
        coordinator.live.decoded.connect(self._tell_trial)
        coordinator.live.scored.connect(self._on_scored)
        self._on_session()

    def _on_session(self) -> None:
        self._fitted.clear()
        self._jobs.cancel()
        self.fitting.hide()
        self.setVisible(self._coordinator.session is not None)
        self.trial_score.clear()
        self.notes.hide()
        self._on_scored()
        self._fit_baseline()

    def _on_progress(self, fraction: float, message: str) -> None:
        self.fitting.setText(f"{message}… {fraction:.0%}")
        self.fitting.show()

    def _tell_trial(self) -> None:
        answer = self._coordinator.live.answer
        if answer is None:
            return
        name = _SHORT[self.baseline.currentData()]
        score = self._coordinator.live.scores.bps_pooled
        part = answer.request.session.split().part_of(answer.request.trial)
        self.trial_score.setText(
            trial_score_words(answer, part, score, self._baseline_score(), name)
        )
        notes = answer.reconstruction.notes
        self.notes.setText("\n".join(notes))
        self.notes.setVisible(bool(notes))

    def _baseline_score(self) -> float | None:
        """Score the baseline on the shown trial: NaN without one, None while it is to come."""
        from napari_mtm.metrics import tally

        live = self._coordinator.live
        if live.answer is None or live.answer.request.baseline is None:
            return float("nan")
        if live.behaviour is None or live.behaviour.baseline is None:
            return None
        mask, counts = live.answer.request.mask, live.answer.reconstruction.counts
        return float(tally(counts, live.behaviour.baseline, mask.scored).pooled_bits_per_spike())

    def _on_scored(self) -> None:
        name = _SHORT[self.baseline.currentData()]
        self.whole_score.setText(whole_score_words(self._coordinator.live.whole, name))

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
            if self._coordinator.session is session:
                self._fitted[name] = found
                self._coordinator.live.set_baseline((name, found.predict))

        self._jobs.run(f"fitting {_BASELINES[name]}", fit, fitted)
