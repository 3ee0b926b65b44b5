"""Take the README's pictures of the running program again; needs a screen, Xvfb will do."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.regions import OUTSIDE
from napari_mtm.recording.session import Session
from napari_mtm.recording.simulation.animal import Recipe, simulate_animal
from napari_mtm.recording.simulation.areas import AREAS
from napari_mtm.ui.launch import choose_qt, window

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = (1600, 1000)
NEIGHBOURS = (
    *("VISpm", "VISam", "SSp-tr", "SSp-bfd", "RSPd", "SUB", "POST", "LD"),
    *("LGd", "VPL", "MD", "SGN", "ZI", "SNr", "NOT"),
)


def main() -> None:
    """Take all pictures."""
    choose_qt()
    from qtpy.QtCore import QPoint
    from qtpy.QtTest import QTest

    def hover(viewer: Any, dock: Any) -> None:
        viewer.dims.set_current_step(0, 7)
        canvas = dock.frame._canvas  # noqa: SLF001
        QTest.mouseMove(canvas, QPoint(canvas.width() * 2 // 5, canvas.height() * 7 // 10))

    def filtered(viewer: Any, dock: Any) -> None:
        viewer.dims.set_current_step(0, 7)
        dock.coordinator.set_shown(["LP", "PO"])
        dock.coordinator.set_order("rate")

    def large(viewer: Any, dock: Any) -> None:
        dock.coordinator.show(thirty_regions())
        viewer.dims.set_current_step(0, 12)

    def light(viewer: Any, dock: Any) -> None:
        viewer.theme = "light"
        viewer.window.resize(1366, 768)
        hover(viewer, dock)

    for name, arrange in (
        ("sample", hover),
        ("filtered", filtered),
        ("large", large),
        ("light", light),
    ):
        take(IMAGES / f"{name}.png", arrange)


def take(path: Path, arrange: Callable[[Any, Any], None]) -> None:
    """Open the sample as `napari-mtm` does, arrange it, and save what is on screen."""
    from qtpy.QtWidgets import QApplication

    from napari_mtm.ui.session_dock import show_dock

    def settle(until: Callable[[], bool]) -> None:
        stop = time.monotonic() + 60
        while not until() and time.monotonic() < stop:
            QApplication.processEvents()
        for _ in range(40):
            QApplication.processEvents()
            time.sleep(0.01)

    viewer = window("sample", one=None, preparation=Preparation())
    viewer.show()
    viewer.window.resize(*SIZE)
    dock = show_dock(viewer)
    settle(lambda: dock.coordinator.session is not None)
    arrange(viewer, dock)
    settle(lambda: True)
    dock.window().grab().save(str(path))
    viewer.close()


def thirty_regions() -> Session:
    """A simulated session of 1,500 units, half of them relabelled to have 30 regions."""
    recipe = Recipe(seed=5, units=1555, trials=40, areas=tuple(AREAS))
    session = prepare(simulate_animal(recipe, 0).recording, Preparation())
    session = session.select(units=~session.units["region"].isin(OUTSIDE).to_numpy())
    other = dict(zip(AREAS, NEIGHBOURS, strict=True))
    relabelled = np.random.default_rng(0).random(session.n_units) < 0.4
    names = session.units["region"]
    regions = np.where(relabelled, names.map(other), names)
    return Session.from_counts(
        session.counts,
        regions.tolist(),
        trials=session.trials,
        behaviour=session.behaviour,
        id="1,500 simulated units, relabelled to 30 regions",
    )


if __name__ == "__main__":
    main()
