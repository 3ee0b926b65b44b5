"""From the end of a stroke to the new picture, against the network and napari alone.

The program is opened on the sample with the model that is shipped for it, three cells side
by side, and painted on with the mouse (`strokes.py`). All of it needs a screen, Xvfb will do;
where there is none, or no napari, the engine alone is measured.

`p50_ms`, `p95_ms`
    From the release of the mouse to the picture that shows the answer to the final mask:
    until the canvas has been painted after that answer came and the window shows it. The
    stroke moved just before, so that an earlier request may be under way.
`ratio_to_bare`
    That p95 over the p95 of what cannot be spared: a pass of the bare network over the trial,
    plus, in a napari viewer of the same size without anything of ours, setting the same arrays
    on the same layers in the same grid until they are drawn. Blocks of both alternate.
`engine_overhead_p95_ms`
    From a request to its result on the Qt thread, less the pass of the bare network that
    is run next to it, with the window at rest.
`longest_block_ms`
    The longest that the Qt thread was held by a call into our own code, from outside to
    return, while 20 strokes a second are painted for 30 seconds; what napari does because
    such a call sets the data of a layer counts as ours, drawing does not. Where the machine
    cannot draw 20 strokes a second, those that are due are painted at once.
    The run fails unless answers come in the order of their requests and the last is that of
    the final mask.
`longest_own_block_ms`
    The same, less what napari does because data are set.
`memory_growth_percent`
    Resident memory after those 30 seconds over that before, garbage collected both times.
`engine_p50_ms`, `engine_p95_ms`, `gpu_engine_p50_ms`, `gpu_engine_p95_ms`
    From a request to its answer, told by the engine's thread: 676 units, an untrained
    `default`, the bare network beside it. The latter two where there is a GPU.
"""

import time
from collections.abc import Iterator
from importlib.util import find_spec
from queue import SimpleQueue

import numpy as np
import torch

from benchmarks.bare import bare_forward
from benchmarks.report import Result, Results
from napari_mtm.errors import MtmError
from napari_mtm.live.engine import (
    Answer,
    Decoded,
    Engine,
    Failed,
    News,
    Request,
    use_threads,
)
from napari_mtm.masking.mask import Mask
from napari_mtm.model.model import Model, new_model
from napari_mtm.recording.session import Session

BINS, UNITS, TRIALS = 100, 676, 20
_ROUNDS, _WARM_UP = 200, 20


def run() -> Results:
    """Measure the engine, and the window where there can be one."""
    results = measure_engine("cpu")
    if torch.cuda.is_available():
        results |= measure_engine("cuda", prefix="gpu_")
    missing = _why_no_window()
    if missing:
        print(f"{missing} Only the engine is measured.")
        return results
    from benchmarks.strokes import measure_window

    return measure_window() | results


def measure_engine(device: str, *, prefix: str = "", rounds: int = _ROUNDS) -> Results:
    """Ask the engine about one mask after the other, and run the bare network beside it."""
    session = _session()
    model = new_model(session, device=device)
    forward = bare_forward(model, session)
    told: SimpleQueue[News] = SimpleQueue()
    engine = Engine(told.put)

    def load() -> Model:
        use_threads(None)
        return model

    engine.use(load)
    told.get()
    ours, bare = [], []
    for k, mask in enumerate(_masks(session, _WARM_UP + rounds)):
        request = Request(session, mask, k % TRIALS)
        start = time.perf_counter()
        engine.ask(request)
        _wait_for(told, Answer)
        between = time.perf_counter()
        _wait_for(told, Decoded)  # then it is idle
        begun = time.perf_counter()
        forward(request.trial, mask.hidden, mask.prompt)
        if k >= _WARM_UP:
            ours.append(1e3 * (between - start))
            bare.append(1e3 * (time.perf_counter() - begun))
    engine.close()
    return {
        f"{prefix}engine_p{p}_ms": beside(float(np.percentile(ours, p)), np.percentile(bare, p))
        for p in (50, 95)
    }


def beside(milliseconds: float, reference: float) -> Result:
    """Return a time beside its reference."""
    return Result(milliseconds, "ms", float(reference), milliseconds / float(reference))


def _wait_for(told: "SimpleQueue[News]", kind: type) -> None:
    news = told.get()
    if isinstance(news, Failed):
        raise news.error
    if not isinstance(news, kind):
        raise AssertionError(f"The engine told {news} instead of its {kind.__name__}.")


def _session() -> Session:
    rng = np.random.default_rng(0)
    names = np.resize(["VISa", "CA1", "DG", "LP", "PO"], UNITS)
    return Session.from_counts(rng.poisson(0.1, (TRIALS, BINS, UNITS)), sorted(names))


def _masks(session: Session, number: int) -> Iterator[Mask]:
    """Hide rectangles at random, as strokes do."""
    rng = np.random.default_rng(1)
    for _ in range(number):
        hidden = np.zeros((BINS, UNITS), dtype=bool)
        (bin_, unit), (bins, units) = rng.integers((0, 0), (90, 600)), rng.integers(5, 40, 2)
        hidden[bin_ : bin_ + bins, unit : unit + units] = True
        yield Mask.from_array(session, hidden)


def _why_no_window() -> str:
    for package in ("napari", "qtpy"):
        if find_spec(package) is None:
            return f"There is no {package}."
    from napari_mtm.ui.launch import check_screen, choose_qt

    try:
        choose_qt()
        check_screen()
    except MtmError as error:
        return str(error)
    return ""
