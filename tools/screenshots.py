"""Take the pictures of the running program again; needs a screen, Xvfb will do.

`python -m tools.screenshots` takes all, `python -m tools.screenshots sample paint` some.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_mtm.masking.mask import Mask
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.regions import OUTSIDE
from napari_mtm.recording.session import Session
from napari_mtm.recording.simulation.animal import Recipe, simulate_animal
from napari_mtm.recording.simulation.areas import AREAS
from napari_mtm.ui.launch import choose_qt, window

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = (1366, 768)
_PATIENCE = 300.0


def main() -> None:
    """Take the pictures that are named, or all."""
    choose_qt()
    with tempfile.TemporaryDirectory() as runs:
        os.environ["NAPARI_MTM_RUNS"] = runs  # those of whoever takes the pictures are not shown
        for name in sys.argv[1:] or PICTURES:
            program = Program()
            PICTURES[name](program)
            program.close()
            print(name)


class Program:
    """The program on the sample, as `napari-mtm` opens it, with a hand on the mouse."""

    def __init__(self) -> None:
        from napari_mtm.ui.coordinator import coordinator_of

        self.viewer = window("sample", one=None, preparation=Preparation())
        self.viewer.show()
        self.viewer.window.resize(*SIZE)
        self.coordinator: Any = coordinator_of(self.viewer)
        self.rest()

    @property
    def canvas(self) -> Any:
        """What the raster is drawn on."""
        return self.viewer.window._qt_viewer.canvas.native  # noqa: SLF001

    def dock(self, name: str) -> Any:
        """Bring a panel to the front, and return it."""
        panel = self.viewer.window.dock_widgets[f"{name} (napari-mtm)"]
        panel.parent().raise_()
        self.wait(0.5)
        return panel

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: True) -> None:
        """Let the window work until something is so, and then for some time."""
        from qtpy.QtWidgets import QApplication

        latest = time.monotonic() + _PATIENCE
        while not until():
            if time.monotonic() > latest:
                raise TimeoutError("The window does not get there.")
            QApplication.processEvents()
            time.sleep(0.005)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def rest(self) -> None:
        """Wait until all is drawn and scored."""
        live = self.coordinator.live
        self.wait(
            1.5,
            lambda: (
                live.answer is not None
                and not live.stale
                and live.whole is not None
                and live.whole.done
            ),
        )

    def place(self, seconds: float, row: float) -> Any:
        """Where a time and a row of the raster are on the canvas."""
        from qtpy.QtCore import QPoint

        view, height = self.coordinator.view, float(self.coordinator.layer.scale[-2])
        return QPoint(round(view.to_x(seconds)), round(view.to_y(row * height)))

    def click(self, seconds: float, row: float) -> None:
        """Click on the raster."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        place = self.place(seconds, row)
        QTest.mouseMove(self.canvas, place)
        QTest.mouseClick(
            self.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place
        )

    def stroke(self, first: float, last: float, row: float) -> None:
        """Paint along a row, from one time to another."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        places = [self.place(t, row) for t in np.linspace(first, last, 12)]
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, left, none, places[0])
        for place in places[1:]:
            QTest.mouseMove(self.canvas, place)
            self.wait(0.02)
        QTest.mouseRelease(self.canvas, left, none, places[-1])
        self.rest()

    def save(self, name: str) -> None:
        """Save what is on screen, without what lies under the mouse."""
        from qtpy.QtCore import QEvent
        from qtpy.QtWidgets import QApplication

        QApplication.sendEvent(self.canvas, QEvent(QEvent.Type.Leave))
        self.wait(0.5)
        self.viewer.window._qt_window.grab().save(str(IMAGES / f"{name}.png"))  # noqa: SLF001

    def close(self) -> None:
        """Close the window."""
        self.coordinator.end(_PATIENCE)
        self.viewer.close()
        self.wait(0.5)


def sample(program: Program) -> None:
    """The largest region is hidden."""
    program.save("sample")


def forward(program: Program) -> None:
    """Everything after the time cursor is hidden."""
    program.click(0.35, 30)
    program.dock("Predict").hide_panel.forward_button.click()
    program.rest()
    program.save("forward")


def paint(program: Program) -> None:
    """Two groups of units are hidden with the brush."""
    panel = program.dock("Predict").hide_panel
    panel.clear_button.click()
    panel.tools.button(1).click()
    start, stop = program.coordinator.session.window
    for row in (22.0, 61.0):
        program.stroke(start, stop, row)
    program.save("paint")


def units(program: Program) -> None:
    """The most active unit of a region was clicked."""
    table, rows = program.coordinator.session.units, program.coordinator.rows
    rates = table["firing_rate"].where(table["region"] == "DG", 0.0).to_numpy()[rows]
    program.click(0.4, float(rates.argmax()))
    cards = program.dock("Units")
    program.wait(1.0, lambda: all(c.content.predicted is not None for c in cards.cards.values()))
    program.save("units")


def large(program: Program) -> None:
    """1,500 units that the model does not know."""
    program.coordinator.show(large_session())
    program.wait(0.5, lambda: program.coordinator.live.answer is not None)
    region = max(program.coordinator.session.regions, key=lambda r: r.size).name
    program.coordinator.masks.put(Mask.region(program.coordinator.session, region))
    program.rest()
    program.save("large")


def light(program: Program) -> None:
    """The light theme, another region, and the baseline's cell."""
    program.viewer.theme = "light"
    program.coordinator.masks.put(Mask.region(program.coordinator.session, "CA1"))
    program.dock("Predict").model_panel.cells["baseline"].click()
    program.rest()
    program.save("light")


def finetune(program: Program) -> None:
    """Before, during and after."""
    coordinator = program.coordinator
    finetuning = coordinator.finetuning
    coordinator.models.choose("pretrained")
    program.wait(0.5, lambda: coordinator.live.source == "pretrained")
    program.rest()
    coordinator.masks.put(Mask.region(coordinator.session, "CA1"))
    dock = program.dock("Fine-tune")
    program.wait(1.0, lambda: "About" in dock.plan.pace.text())
    program.save("finetune-before")
    dock.plan.start_button.click()
    program.wait(0.0, lambda: finetuning.phase == "running")
    dock.monitor.preview.on.setChecked(True)
    program.wait(0.5, lambda: finetuning.course.step >= 200 and len(coordinator.views) == 4)
    program.save("finetune-during")
    program.wait(1.0, lambda: finetuning.phase == "finished")
    program.rest()
    program.save("finetune-after")


PICTURES: dict[str, Callable[[Program], None]] = {
    "sample": sample,
    "forward": forward,
    "paint": paint,
    "units": units,
    "large": large,
    "light": light,
    "finetune": finetune,
}


def large_session() -> Session:
    """Return a simulated session of 1,500 units in all regions that the simulation knows."""
    recipe = Recipe(seed=5, units=1555, trials=80, areas=tuple(AREAS))
    session = prepare(simulate_animal(recipe, 0).recording, Preparation())
    return session.select(units=~session.units["region"].isin(OUTSIDE).to_numpy())


if __name__ == "__main__":
    main()
