"""Curves of a training: losses on a log scale, validation scores with the best marked."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_mtm.ui.finetune.course import Course
from napari_mtm.ui.text.finetuning import NAMES

_DARK = {
    "neuron": "#ffa028",
    "causal": "#86a4ff",
    "intra-region": "#6fd08c",
    "inter-region": "#e57fd0",
}
_LIGHT = {
    "neuron": "#c96400",
    "causal": "#3450d0",
    "intra-region": "#1f8a44",
    "inter-region": "#b02a92",
}
_OTHER = "#888888"
_HEIGHT = 130
_FONT = 10
_SMOOTH = 0.6
_FEWEST_TICKS, _MOST_TICKS = 3, 5


class Curves(QWidget):
    """Two plots over steps."""

    def __init__(self) -> None:
        super().__init__()
        self.legend = QLabel(objectName="finetune_legend")
        self.legend.setWordWrap(True)
        self.losses = _Plot("loss", "finetune_losses", log=True)
        self.validations = _Plot("validation, bits/spike", "finetune_validations")
        self._dark = True
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for part in (self.legend, self.validations, self.losses):
            layout.addWidget(part)

    def set_theme(self, theme: Any, *, dark: bool) -> None:
        """Take the colours of napari's theme; they are seen when next drawn."""
        self._dark = dark
        for plot in (self.losses, self.validations):
            plot.set_colours(theme.background.as_hex(), theme.text.as_hex())

    def draw(self, course: Course) -> None:
        """Draw what is known of a fine-tuning."""
        colours = _DARK if self._dark else _LIGHT
        keys = (_key(colour, NAMES[task]) for task, colour in colours.items())
        self.legend.setText(" ".join(keys))
        self.losses.draw(_smoothed(course.losses), colours, course.steps)
        self.validations.draw(_series(course.validations), colours, course.steps)
        self.validations.mark(course.best_step, _mean(course))


class _Plot(pg.PlotWidget):
    """Lines over steps, one for each task."""

    def __init__(self, title: str, name: str, *, log: bool = False) -> None:
        super().__init__(enableMenu=False)
        self.setObjectName(name)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        self.setMinimumHeight(_HEIGHT)
        self.setMaximumHeight(_HEIGHT)
        self.getPlotItem().setLogMode(y=log)
        self._title, self._log = title, log
        self._lines: dict[str, pg.PlotDataItem] = {}
        self._best = pg.InfiniteLine(angle=90, label="best", labelOpts={"position": 0.1})
        self._best.hide()
        self.addItem(self._best)
        self._text = "#ffffff"

    @property
    def drawn(self) -> dict[str, tuple[list[float], list[float]]]:
        """Steps and values of each line."""
        found = {}
        for name, line in self._lines.items():
            steps, values = line.getOriginalDataset()
            found[name] = ([], []) if steps is None else (list(steps), list(values))
        return found

    @property
    def marked(self) -> int | None:
        """The step that is marked as the best."""
        return round(self._best.value()) if self._best.isVisible() else None

    def set_colours(self, background: str, text: str) -> None:
        """Draw on a background, with axes in the colour of text."""
        self.setBackground(background)
        self._text = text
        font = QFont()
        font.setPixelSize(_FONT)
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setPen(pg.mkPen(text))
            axis.setTextPen(pg.mkPen(text))
            axis.setTickFont(font)
        self.getAxis("left").setWidth(42)
        self.getPlotItem().setTitle(self._title, size=f"{_FONT}px", color=text)
        self._best.setPen(pg.mkPen(text, style=pg.QtCore.Qt.PenStyle.DashLine))
        self._best.label.setColor(QColor(text))

    def draw(
        self,
        series: Mapping[str, tuple[list[int], list[float]]],
        colours: Mapping[str, str],
        steps: int,
    ) -> None:
        """Draw a line for each name."""
        for name in (*series, *self._lines):
            if name not in self._lines:
                self._lines[name] = self.plot()
            line, (x, y) = self._lines[name], series.get(name, ([], []))
            line.setPen(pg.mkPen(colours.get(name, _OTHER), width=1.5))
            few = len(x) < 3
            line.setSymbol("o" if few else None)
            line.setSymbolSize(4)
            line.setData(np.asarray(x, float), np.asarray(y, float))
        self.setXRange(0, max(steps, 1), padding=0.02)
        if self._log:
            shown = [v for _, y in series.values() for v in y if v > 0]
            self.getAxis("left").setTicks([_log_ticks(shown)])

    def mark(self, step: int | None, text: str) -> None:
        """Mark a step as the best."""
        self._best.setVisible(step is not None)
        if step is not None:
            self._best.setValue(step)
            self._best.label.setFormat(text)


def _log_ticks(values: list[float]) -> list[tuple[float, str]]:
    """Return where a log axis over these values has numbers: few, and round."""
    if not values:
        return []
    low, high = np.log10(min(values)), np.log10(max(values))
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(np.arange(10, 100) / 10)):
        decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        ticks = [digit * 10.0**k for k in decades for digit in digits]
        found = [t for t in ticks if low - 0.02 <= np.log10(t) <= high + 0.02]
        if len(found) >= _FEWEST_TICKS:
            every = max(len(found) // _MOST_TICKS, 1)
            return [(float(np.log10(t)), f"{t:.3g}") for t in found[::every]]
    return []


def _series(rows: Mapping[int, Mapping[str, float]]) -> dict[str, tuple[list[int], list[float]]]:
    found: dict[str, tuple[list[int], list[float]]] = {}
    for step in sorted(rows):
        for name, value in rows[step].items():
            steps, values = found.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
    return found


def _smoothed(rows: Mapping[int, Mapping[str, float]]) -> dict[str, tuple[list[int], list[float]]]:
    """Losses of single steps jump: what is drawn is a running mean."""
    found = {}
    for name, (steps, values) in _series(rows).items():
        smooth, kept = [], values[0]
        for k, value in enumerate(values):
            share = min(_SMOOTH, k / (k + 1))
            kept = share * kept + (1 - share) * value
            smooth.append(kept)
        found[name] = steps, smooth
    return found


def _mean(course: Course) -> str:
    scores = course.validations.get(course.best_step) if course.best_step is not None else None
    return f"best {sum(scores.values()) / len(scores):.3f}" if scores else "best"


def _key(colour: str, name: str) -> str:
    """Name a line in its colour; no line of text ends in it."""
    unbroken = name.replace("-", "\N{NON-BREAKING HYPHEN}")
    return f'<span style="color:{colour}">━</span>&nbsp;{unbroken}'
