"""Leave-one-out scoring against the bare transformer, and the quick mode against it."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.report import Result, Results
from napari_mtm.model.model import Model, Preset, new_model
from napari_mtm.recording.session import Session
from napari_mtm.scoring.held_out import VARIANTS, held_out_rates

BINS, UNITS, TRIALS = 100, 480, 2
_ROUNDS = 3


def run() -> Results:
    """Measure both presets; every unit has a spike in every trial, so that none is skipped."""
    results: Results = {}
    presets: tuple[Preset, ...] = ("default", "published")
    for preset in presets:
        session = _session()
        model = new_model(session, preset)
        seconds: dict[str, list[float]] = {"exact": [], "trunk": [], "quick": []}
        for _ in range(_ROUNDS):
            seconds["exact"].append(_seconds(partial(_score, model, session, quick=False)))
            seconds["trunk"].append(_seconds(partial(_bare, model, UNITS * TRIALS)))
            seconds["quick"].append(_seconds(partial(_score, model, session, quick=True)))
        prefix = "" if preset == "default" else "published_"
        exact, trunk, quick = seconds.values()
        results[f"{prefix}ratio_to_trunk"] = Result(
            statistics.median(exact), "s", statistics.median(trunk), _ratio(exact, trunk)
        )
        results[f"{prefix}grouped_speedup"] = Result(
            statistics.median(quick), "s", statistics.median(exact), _ratio(exact, quick)
        )
    return results


def _score(model: Model, session: Session, *, quick: bool) -> None:
    held_out_rates(model, session, "co-smoothing", np.arange(TRIALS), quick=quick)


def _session() -> Session:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.1, (TRIALS, BINS, UNITS)).astype(np.uint8)
    counts[:, 0] = 1
    return Session.from_counts(
        counts, list(np.repeat(["VISa", "CA1", "DG", "LP", "PO"], UNITS // 5))
    )


def _bare(model: Model, n: int) -> None:
    """Pass as many trials through the transformer alone, in batches of the same size."""
    width = model.network.sizes.width
    tokens = torch.randn(VARIANTS, BINS, width, device=model.device)
    with model.evaluating():
        for _ in range(n // VARIANTS):
            model.network.trunk(tokens)
        if model.device.type == "cuda":
            torch.cuda.synchronize()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
