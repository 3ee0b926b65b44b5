"""Cards of units: what one neuron did by condition, and what the model expects of it.

The unit that was selected last has a card; pinned ones stay beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtm.errors import MtmError
from napari_mtm.live.engine import Answer
from napari_mtm.live.unit import UnitPrediction, predict_unit
from napari_mtm.metrics import tally
from napari_mtm.recording.session import ANY_TIME, Session
from napari_mtm.scoring.psth import SMOOTHED_BINS, Group, by_group, groupings
from napari_mtm.scoring.reliability import FANO_SECONDS, reliability
from napari_mtm.ui.coordinator import Coordinator, coordinator_of
from napari_mtm.ui.docks.units.plots import Look, PsthPlots, Time, TrialImage
from napari_mtm.ui.qt.parts import let_be_cut, scrolling
from napari_mtm.ui.text.numbers import number
from napari_mtm.ui.text.table import table
from napari_mtm.ui.text.trial import axis_title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_mtm.model.model import Model

_WORK = "neuron cards"
_CARD_WIDTH = 300
_ALL = "all trials"

_NO_SELECTION = "Click a unit in the raster to see it here; Shift-click for more."
_NO_MODEL = "Predictions need a model."
_SCORES_TIP = (
    "<p>Co-smoothing: the unit alone is hidden, in all bins, and predicted from all other units. "
    "Bits per spike are above the unit's own mean rate; R² is of its averages by block, choice "
    "and reward together, not smoothed.</p>"
    "<p>Fano factor: the variance of its spike counts over all trials, over their mean, in "
    f"windows of {FANO_SECONDS * 1e3:g} ms. It is 1 for Poisson spikes of a constant rate. Below 1 "
    "the unit is more regular than all scores here take it to be.</p>"
    "<p>Ceiling: how much of these averages repeats from one half of all trials to the other, "
    "from 0 to 1. Where it is near 0 they are chance, and no model can be blamed for missing "
    "them; what single trials share with other units may still be predicted.</p>"
)


@dataclass(frozen=True, eq=False)
class Content:
    """What a card shows of a unit.

    Attributes
    ----------
    trials
        Trials of the session that are shown.
    recorded, predicted
        Spikes/s of these trials, (trials, bins); None without a prediction.
    groups
        Groups of these trials, as positions among them, by what they are grouped by.

    """

    trials: npt.NDArray[np.intp]
    recorded: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.float64] | None
    groups: "Mapping[str, tuple[Group, ...]]"


def content_of(session: Session, unit: int, prediction: UnitPrediction | None) -> Content:
    """Return the predicted trials of a unit, or all trials where there is no prediction."""
    trials = np.arange(session.n_trials) if prediction is None else prediction.trials
    groups = groupings(session.trials.iloc[trials])
    return Content(
        trials,
        session.counts[trials, :, unit] / session.bin_size,
        None if prediction is None else prediction.rates / session.bin_size,
        groups or {_ALL: (Group("all", np.arange(len(trials))),)},
    )


class UnitCard(QFrame):
    """The card of one unit."""

    def __init__(self, coordinator: Coordinator, unit: int) -> None:
        super().__init__()
        self.setObjectName("napari-mtm unit card")
        assert coordinator.session is not None
        self._coordinator = coordinator
        self._session = coordinator.session
        self.unit = unit
        self.uuid = str(self._session.units["uuid"].iloc[unit])
        self.content: Content | None = None
        self._rows: tuple[tuple[str, str], ...] = ()
        self._predictable = _predictable(self._session, unit)
        self._order: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)
        name, place = coordinator.unit_lines(unit)
        self.header = QLabel(f"<b>{name}</b><br>{place}", objectName="unit")
        self.header.setWordWrap(True)
        self.header.setToolTip(self.uuid)
        self.pin_button = QPushButton("Pin", objectName="pin")
        self.pin_button.setCheckable(True)
        self.scores = QLabel(objectName="unit_scores")
        self.scores.setWordWrap(True)
        let_be_cut(self.scores)
        self.scores.setToolTip(_SCORES_TIP)
        self.note = QLabel(objectName="unit_note")
        self.note.setWordWrap(True)
        self.psths = PsthPlots()
        self.recorded = TrialImage("recorded")
        self.predicted = TrialImage("predicted")
        self.residual = TrialImage("residual")
        self._lay_out()

    def set_pinned(self, pinned: bool) -> None:
        """Say whether the card stays."""
        self.pin_button.blockSignals(True)
        self.pin_button.setChecked(pinned)
        self.pin_button.blockSignals(False)
        self.pin_button.setText("Unpin" if pinned else "Pin")
        self.pin_button.setToolTip(
            "Let this card go" if pinned else "Keep this card beside the next ones"
        )

    def draw(self, prediction: UnitPrediction | None, by: str, look: Look) -> None:
        """Draw everything; the rows of the images are grouped by choice, block or reward."""
        session = self._session
        self.content = content = content_of(session, self.unit, prediction)
        self._rows = (*_scores(content, prediction), ("Fano factor", self._predictable))
        time = Time(
            *session.window, session.bin_size, axis_title(session), session.align != ANY_TIME
        )
        self.psths.draw(content.groups, content.recorded, content.predicted, time, look)
        groups = content.groups.get(by, ())
        self._order = order = by_group(groups, len(content.trials))
        runs = [(g.name, look.of_group(by, g.name), len(g.trials)) for g in groups]
        predicted = content.predicted
        known = predicted is not None
        self.predicted.setVisible(known)
        self.residual.setVisible(known)
        levels = 0.0, _upper(content.recorded if predicted is None else predicted)
        self.recorded.draw(content.recorded[order], levels, runs, time, look, axis=not known)
        self.recorded.set_title("recorded", look)
        if predicted is not None:
            self.predicted.draw(predicted[order], levels, runs, time, look, axis=False)
            self.predicted.set_title("predicted", look)
            residual = (content.recorded - predicted)[order]
            widest = _upper(np.abs(residual))
            self.residual.draw(residual, (-widest, widest), runs, time, look, axis=True)
            self.residual.set_title("residual", look)
        self.set_time()
        self.mark_trial()

    def set_time(self) -> None:
        """Move the time cursor to where the coordinator has it."""
        for part in (self.psths, self.recorded, self.predicted, self.residual):
            part.set_time(self._coordinator.time)

    def mark_trial(self) -> None:
        """Mark the row of the trial that is shown, if it is among those of the card."""
        if self.content is None:
            return
        found = np.flatnonzero(self.content.trials[self._order] == self._coordinator.trial)
        row = int(found[0]) if len(found) else None
        for image in (self.recorded, self.predicted, self.residual):
            image.mark(row)

    def write(self, waiting: str) -> None:
        """Write scores and the note; `waiting` says why there is no prediction."""
        if self.content is None:
            return
        rows = self._rows
        if self._coordinator.live.model is not None:
            rows = (*rows, ("this trial", self._on_this_trial()))
        self.scores.setText(table(rows))
        n, predicted = len(self.content.trials), self.content.predicted is not None
        of = f"{n} test trials" if predicted else f"All {n} trials"
        if predicted and self.recorded.marked is None:
            of += f" (trial {self._coordinator.trial} is not one of them)"
        drawn = "solid recorded, dashed predicted, both" if predicted else "averages"
        width = f"{SMOOTHED_BINS} bins ({SMOOTHED_BINS * self._session.bin_size * 1e3:g} ms)"
        why = f"<br><i>{waiting}</i>" if waiting else ""
        self.note.setText(f"{of}; {drawn} smoothed over {width}.{why}")

    def _on_this_trial(self) -> str:
        """Score the unit under the mask that stands."""
        coordinator = self._coordinator
        answer = coordinator.live.answer
        if answer is None or answer.request.trial != coordinator.trial:
            return "not asked yet"
        found = answer.reconstruction
        scored = found.mask.scored[:, [self.unit]]
        if not scored.any():
            return "not hidden by the mask"
        part = np.s_[:, :, [self.unit]]
        bits = tally(found.counts[part], found.rates[part], scored).bits_per_spike()[0]
        return _written(float(bits), "bits/spike as masked", "no spike is hidden")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        top = QHBoxLayout()
        top.addWidget(self.header, 1)
        top.addWidget(self.pin_button, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(top)
        layout.addWidget(self.scores)
        layout.addWidget(self.psths)
        for image in (self.recorded, self.predicted, self.residual):
            layout.addWidget(image)
        layout.addWidget(self.note)
        layout.addStretch(1)


class UnitCards(QWidget):
    """The cards of a viewer: the selected unit, and those that are pinned."""

    def __init__(self, napari_viewer: "Any") -> None:
        super().__init__()
        self.setObjectName("napari-mtm units")
        self.coordinator: Coordinator = coordinator_of(napari_viewer)
        self.cards: dict[str, UnitCard] = {}
        self._predictions: dict[str, UnitPrediction] = {}
        self._asked: tuple[str, ...] = ()
        self._model: Model | None = None
        self._columns = 1
        self.hint = QLabel(objectName="units_hint")
        self.hint.setWordWrap(True)
        self.sort = QComboBox(objectName="sort_trials")
        self._lay_out()
        self._connect()
        self._on_session()

    @property
    def pins(self) -> tuple[str, ...]:
        """Uuids of the units that are pinned, from the first to the last."""
        current = self.coordinator.current
        return () if current is None else current.pins

    @property
    def shown(self) -> tuple[str, ...]:
        """Uuids of the units that have a card, from the first to the last."""
        session, selection = self.coordinator.session, self.coordinator.selection
        pins = tuple(reversed(self.pins))
        if session is None or not selection:
            return pins
        current = str(session.units["uuid"].iloc[selection[-1]])
        return pins if current in pins else (current, *pins)

    def set_pinned(self, uuid: str, pinned: bool) -> None:
        """Keep the card of a unit beside the next ones, or let it go."""
        current, pins = self.coordinator.current, self.pins
        if current is not None and pinned != (uuid in pins):
            current.pins = (*pins, uuid) if pinned else tuple(p for p in pins if p != uuid)
            self._update()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up on what happened while nothing was seen."""
        super().showEvent(event)
        self._update(redraw=True)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Lay as many cards side by side as there is room for."""
        super().resizeEvent(event)
        columns = max(1, self.width() // _CARD_WIDTH)
        if columns != self._columns:
            self._columns = columns
            self._place_cards()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.hint)
        self._sort_row = QWidget()
        row = QHBoxLayout(self._sort_row)
        row.setContentsMargins(6, 0, 6, 0)
        row.addWidget(QLabel("Sort trials by"))
        row.addWidget(self.sort, 1)
        layout.addWidget(self._sort_row)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        self._grid = QGridLayout()
        column.addLayout(self._grid)
        column.addStretch(1)
        layout.addWidget(scrolling(inside), 1)

    def _connect(self) -> None:
        coordinator = self.coordinator
        coordinator.session_changed.connect(self._on_session)
        coordinator.selected.connect(self._on_selected)
        coordinator.time_changed.connect(self._on_time)
        coordinator.trial_changed.connect(self._on_trial)
        coordinator.theme_changed.connect(self._redraw)
        coordinator.live.answered.connect(self._on_answer)
        coordinator.live.status_changed.connect(self._on_status)
        self.sort.currentTextChanged.connect(self._redraw)

    def _on_session(self) -> None:
        session = self.coordinator.session
        self._predictions, self._asked = {}, ()
        self.sort.blockSignals(True)
        before = self.sort.currentText()
        self.sort.clear()
        if session is not None:
            self.sort.addItems(list(groupings(session.trials)) or [_ALL])
            self.sort.setCurrentIndex(max(self.sort.findText(before), 0))
        self.sort.blockSignals(False)
        for uuid in list(self.cards):
            self._drop(uuid)
        self._update()

    def _on_selected(self) -> None:
        self._update()

    def _on_time(self) -> None:
        if self.isVisible():
            for card in self.cards.values():
                card.set_time()

    def _on_trial(self) -> None:
        if self.isVisible():
            for card in self.cards.values():
                card.mark_trial()
            self._write()

    def _on_answer(self, answer: Answer) -> None:
        self._write()

    def _on_status(self) -> None:
        if self._model is not self.coordinator.live.model:
            self._update()
        elif not all(map(self._is_predicted, self.cards)):
            self._write()

    def _on_prediction(self, value: object) -> None:
        assert isinstance(value, UnitPrediction)
        if not self.coordinator.shows(value.session):
            return
        self._predictions[value.uuid] = value
        if value.done:
            self._asked = tuple(uuid for uuid in self._asked if uuid != value.uuid)
        card = self.cards.get(value.uuid)
        if card is None or not self.isVisible():
            return
        if value.done:
            self._draw(card)
        card.write(self._waiting(card.uuid))

    def _update(self, *, redraw: bool = False) -> None:
        """Show the cards that there should be, and ask for what they lack."""
        if not self.isVisible():
            return
        model = self.coordinator.live.model
        if model is not self._model:
            self._model = model
            self._predictions, self._asked = {}, ()
            redraw = True
        shown = self.shown
        for uuid in [uuid for uuid in self.cards if uuid not in shown]:
            self._drop(uuid)
        for uuid in shown:
            new = uuid not in self.cards
            if new:
                self._add(uuid)
            self.cards[uuid].set_pinned(uuid in self.pins)
            if new or redraw:
                self._draw(self.cards[uuid])
        self._place_cards()
        self._ask()
        self._write()
        session = self.coordinator.session
        self.hint.setText(_NO_SELECTION if session is not None else "No session is open.")
        self.hint.setVisible(session is None or not self.coordinator.selection)
        self._sort_row.setVisible(bool(self.cards))

    def _add(self, uuid: str) -> None:
        session = self.coordinator.session
        assert session is not None
        unit = int(np.flatnonzero(session.units["uuid"].astype(str) == uuid)[0])
        card = self.cards[uuid] = UnitCard(self.coordinator, unit)
        card.pin_button.toggled.connect(lambda on: self.set_pinned(uuid, on))

    def _drop(self, uuid: str) -> None:
        card = self.cards.pop(uuid)
        self._grid.removeWidget(card)
        card.hide()
        card.deleteLater()

    def _place_cards(self) -> None:
        for k, uuid in enumerate(u for u in self.shown if u in self.cards):
            self._grid.addWidget(self.cards[uuid], k // self._columns, k % self._columns)

    def _redraw(self) -> None:
        if self.isVisible():
            for card in self.cards.values():
                self._draw(card)
            self._write()

    def _draw(self, card: UnitCard) -> None:
        from napari.utils.theme import get_theme

        done = self._predictions[card.uuid] if self._is_predicted(card.uuid) else None
        look = Look.of(get_theme(self.coordinator.viewer.theme))
        card.draw(done, self.sort.currentText(), look)

    def _write(self) -> None:
        if self.isVisible():
            for card in self.cards.values():
                card.write(self._waiting(card.uuid))

    def _waiting(self, uuid: str) -> str:
        """Say why there is no prediction of a unit yet; nothing where there is one."""
        found, live = self._predictions.get(uuid), self.coordinator.live
        if self._is_predicted(uuid):
            return ""
        if live.model is None:
            return f"{_NO_MODEL} {live.doing}".strip()
        if live.doing or found is None:
            return live.doing or live.fitting or "Predicting…"
        return f"Predicting: {len(found.trials)} of {found.n_trials} test trials…"

    def _ask(self) -> None:
        """Ask for predictions that the cards lack, unless they are on their way."""
        session, model = self.coordinator.session, self.coordinator.live.model
        lacking = tuple(uuid for uuid in self.shown if not self._is_predicted(uuid))
        if session is None or model is None or not lacking or lacking == self._asked:
            return
        try:
            model.check(session)
        except MtmError:
            return  # what is wrong is told by `live.doing`
        self._asked = lacking
        units = [self.cards[uuid].unit for uuid in lacking]
        self.coordinator.live.work(_WORK, _steps(session, units), self._on_prediction)

    def _is_predicted(self, uuid: str) -> bool:
        return uuid in self._predictions and self._predictions[uuid].done


def _scores(content: Content, prediction: UnitPrediction | None) -> tuple[tuple[str, str], ...]:
    """Return names and values of what does not depend on the mask."""
    mean = f"{content.recorded.mean():.3g} spikes/s"
    if prediction is None or content.predicted is None:
        return (("mean rate", mean),)
    bits = _written(prediction.bits_per_spike(), "bits/spike, hidden alone", "no spike to predict")
    return (
        ("co-smoothing", bits),
        ("PSTH R²", _written(prediction.r2_psth(), "", "not known")),
        ("mean rate", f"{mean}, predicted {content.predicted.mean():.3g}"),
    )


def _predictable(session: Session, unit: int) -> str:
    """Say what of a unit can be predicted: its Fano factor, and its ceiling where there is one."""
    fano, ceiling = (float(values[0]) for values in reliability(session, [unit]))
    said = _written(fano, "", "not known")
    return said if np.isnan(ceiling) else f"{said}, ceiling {number(ceiling)}"


def _steps(session: Session, units: list[int]) -> "Callable[[Model], Iterator[UnitPrediction]]":
    def steps(model: "Model") -> Iterator[UnitPrediction]:
        trials = session.split().test
        return chain.from_iterable(predict_unit(model, session, u, trials) for u in units)

    return steps


def _upper(values: npt.NDArray[np.float64]) -> float:
    """Return a round number above 0 that nearly all values keep below."""
    bound = float(np.quantile(values, 0.995)) or float(values.max()) or 1.0
    return float(f"{bound:.2g}")


def _written(value: float, unit: str, otherwise: str) -> str:
    if not np.isfinite(value):
        return otherwise
    return f"{number(value)} {unit}".strip()
