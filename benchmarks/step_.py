"""Stepping through the trials of a session of 1,500 units, against a bare napari image.

The bare layer holds the same counts in the same shape, scale and colours, in a
viewer of the same size without anything of ours. Blocks of steps alternate between
the two viewers, so that both see the same machine. A step ends when its picture is drawn.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.report import Result, Results
from napari_mtm.recording.session import Session
from napari_mtm.recording.simulation.areas import AREAS

_UNITS, _TRIALS, _BINS = 1_500, 300, 100
_STEPS, _BLOCKS = 20, 11


def run() -> Results:
    """Measure in one run; needs a screen, Xvfb will do."""
    from napari_mtm.ui.launch import choose_qt

    choose_qt()
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_mtm.ui.coordinator import coordinator_of
    from napari_mtm.ui.docks.session.dock import show_dock

    session = _session()
    bare, ours = napari.Viewer(), napari.Viewer()
    show_dock(ours)
    coordinator_of(ours).show(session)
    layer = ours.layers[0]
    bare.add_image(
        np.ascontiguousarray(np.asarray(layer.data)),
        scale=layer.scale,
        translate=layer.translate,
        contrast_limits=layer.contrast_limits,
        colormap=layer.colormap.name,
        axis_labels=layer.axis_labels,
        units=layer.units,
    )
    canvases = [v.window._qt_viewer.canvas.native for v in (bare, ours)]  # noqa: SLF001
    for viewer in (bare, ours):
        viewer.window.resize(1600, 1000)
    _settle(QApplication.processEvents)
    canvases[0].setFixedSize(canvases[1].size())  # ours gives some pixels to its frame
    _settle(QApplication.processEvents)
    bare.scene.camera.center, bare.scene.camera.zoom = (
        ours.scene.camera.center,
        ours.scene.camera.zoom,
    )
    drawn = [0, 0]

    def count(which: int) -> None:
        drawn[which] += 1

    for which, canvas in enumerate(canvases):
        canvas.frameSwapped.connect(partial(count, which))
    seconds: list[list[float]] = [[], []]
    for block in range(_BLOCKS):
        for which, viewer in enumerate((bare, ours)):
            _settle(QApplication.processEvents)
            for k in range(_STEPS):
                before, start = drawn[which], time.perf_counter()
                viewer.dims.set_current_step(0, (block * _STEPS + k * 7 + 1) % _TRIALS)
                while drawn[which] == before:
                    QApplication.processEvents()
                if block > 0:  # the first is to warm up
                    seconds[which].append(time.perf_counter() - start)
    bare_ms, our_ms = (1e3 * statistics.median(s) for s in seconds)
    for viewer in (bare, ours):
        viewer.close()
    return {"ratio_to_bare_napari": Result(our_ms, "ms", bare_ms, our_ms / bare_ms)}


def _session() -> Session:
    rng = np.random.default_rng(0)
    names = sorted(AREAS)
    regions = [names[k % len(names)] for k in range(_UNITS)]
    counts = rng.poisson(0.1, (_TRIALS, _BINS, _UNITS))
    on = 4.0 * np.arange(_TRIALS)
    import pandas as pd

    trials = pd.DataFrame(
        {
            "stimOn_times": on,
            "firstMovement_times": on + rng.uniform(0.1, 0.5, _TRIALS),
            "feedback_times": on + rng.uniform(0.5, 1.2, _TRIALS),
            "choice": 1.0,
            "feedbackType": 1.0,
            "contrastLeft": 0.25,
        }
    )
    return Session.from_counts(counts, regions, trials=trials)


def _settle(process_events: Callable[[], None]) -> None:
    for _ in range(30):
        process_events()
        time.sleep(0.01)
