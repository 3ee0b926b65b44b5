"""How each kind of file is opened, and what of it must hold where it opens.

Each look returns something plain that can be compared with what the undamaged file gave. It
raises MtmError where the file is refused, Inconsistent where it opens and should not have.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_mtm.errors import Cancelled, MtmError
from napari_mtm.model.importing import import_published
from napari_mtm.model.model import Model, new_model
from napari_mtm.model.weights import load_model, save_model
from napari_mtm.recording import cache as kept
from napari_mtm.recording.opening import open_session, survey_source
from napari_mtm.recording.session import ANY_TIME, Session
from napari_mtm.recording.store import (
    is_store,
    open_store,
    save_session,
    store_id,
    store_origin,
    store_title,
)
from napari_mtm.reproducing.arms import SIMULATED
from napari_mtm.reproducing.page import write_page
from napari_mtm.reproducing.study import compare
from napari_mtm.training.comparison import comparison_of
from napari_mtm.training.finetuning import finetune
from napari_mtm.training.loop import Report
from napari_mtm.training.run import Run
from napari_mtm.training.runs import entries_of, export
from tests.faults.mutating.originals import (
    ALF,
    CACHE,
    CHECKPOINT,
    RUN,
    SCALE,
    SESSION,
    SETTINGS,
    STORE,
    STUDY,
    TOKENS,
    WEIGHTS,
)
from tests.recording.test_alf import EID
from tests.training.waves import SMALL, waves

Look = Callable[[Path], Any]


class Inconsistent(Exception):
    """What was opened is not what it says, or cannot be used."""


@dataclass(frozen=True)
class Target:
    """A kind of file.

    `damaged` are patterns of the files that are damaged, the more often the more patterns they
    match. `looks` are what is done with it; of those that are `sealed`, checksums see to it
    that the result is what it was, or the file is refused. `share` is out of all mutants.
    """

    share: int
    damaged: tuple[str, ...]
    looks: Mapping[str, Look]
    sealed: tuple[str, ...] = ()


def use_folder(folder: Path) -> None:
    """Let what is kept for the user be in a folder from now on."""
    os.environ["NAPARI_MTM_CACHE"] = str(folder / CACHE)
    os.environ["NAPARI_MTM_RUNS"] = str(folder / "runs")


def demand(holds: object, what: str) -> None:
    """Raise Inconsistent where something does not hold."""
    if not holds:
        raise Inconsistent(what)


# -- sessions ------------------------------------------------------------------------------


def digest_of(session: Session, folder: Path) -> str:
    """Check that a session can be used, described and kept; return a digest of it."""
    try:
        _check(session)
        session.describe()
        repr(session)
        session.split()
        path = folder / "again.mtm"
        save_session(session, path)
        demand(open_store(path, verify=True) == session, "saved and opened, it is another")
    except MtmError as error:
        raise Inconsistent(f"it opened, but: {error}") from error
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check(session: Session) -> None:
    units, trials = session.units, session.trials
    start, stop = session.window
    demand(session.n_trials and session.n_bins and session.n_units, "a session of nothing")
    demand(math.isfinite(start) and math.isfinite(stop) and start < stop, "its window")
    demand(0 < session.bin_size < math.inf, "its bin size")
    bins = (stop - start) / session.bin_size
    demand(abs(bins - session.n_bins) < 1e-6 * bins, "bins that do not fill the window")
    demand(all(isinstance(u, str) and u for u in units["uuid"]), "units without a name")
    demand(units["uuid"].is_unique, "units of one name")
    demand(all(isinstance(r, str) and r for r in units["region"]), "units without a region")
    rates = units["firing_rate"].to_numpy(float)
    demand(np.isfinite(rates).all() and (rates >= 0).all(), "firing rates that none can be")
    demand(not np.isinf(units["depth"].to_numpy(float)).any(), "infinite depths")
    for name, trace in session.behaviour.items():
        demand(not np.isinf(trace).any(), f"{name} is infinite")
    if session.rates is not None:
        true = session.rates
        demand(np.isfinite(true).all() and (true >= 0).all(), "true rates that none can be")
    if session.align != ANY_TIME and session.align in trials:
        # Counts that were binned elsewhere may come with trials whose times nobody knows.
        demand(not np.isinf(trials[session.align].to_numpy(float)).any(), "trials of no time")
    kept_not = [note for note in session.notes if note.startswith("Not kept for next time")]
    demand(not kept_not, f"it cannot be kept: {kept_not}")


def _survey(folder: Path) -> Any:
    found = survey_source(folder / ALF)
    demand(all(c.n_units >= 0 and 0 <= c.counts_mb < math.inf for c in found.choices), "a survey")
    demand(found.n_trials is None or found.n_trials >= 0, "a survey of fewer trials than none")
    return asdict(found)


def _open_twice(folder: Path, source: str | Path, **about: Any) -> str:
    """Open a session, from its files and then from the cache."""
    session = open_session(source, units="all", **about)
    digest = digest_of(session, folder)
    demand(open_session(source, units="all", **about) == session, "opened again, it is another")
    return digest


def _open_alf(folder: Path) -> str:
    return _open_twice(folder, folder / ALF)


def _open_by_eid(folder: Path) -> str:
    return _open_twice(folder, EID, one=folder)


# -- stores --------------------------------------------------------------------------------


def _open_store(folder: Path) -> str:
    return digest_of(open_store(folder / STORE, verify=True), folder)


def _is_store(folder: Path) -> bool:
    return is_store(folder / STORE)


def _entries(folder: Path) -> list[str]:
    titles = [entry.title for entry in kept.entries()]
    demand(all(isinstance(title, str) and title for title in titles), "an entry without a title")
    return titles


# -- weights -------------------------------------------------------------------------------


def _load_weights(folder: Path) -> str:
    return _digest_of_model(load_model(folder / WEIGHTS, device="cpu"), folder)


def _import(folder: Path) -> str:
    return _digest_of_model(import_published(folder / CHECKPOINT), folder)


def _digest_of_model(model: Model, folder: Path) -> str:
    """Check that a model predicts and can be saved; return a digest of its weights."""
    path = folder / "again.safetensors"
    try:
        model.describe()
        save_model(model, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        save_model(load_model(path, device="cpu"), path)
        same = hashlib.sha256(path.read_bytes()).hexdigest() == digest
        demand(same, "saved and loaded, it is another")
    except MtmError as error:
        raise Inconsistent(f"it was loaded, but: {error}") from error
    _predict(model)
    return digest


def _predict(model: Model) -> None:
    known = sorted(model.trained)
    name = known[0] if known else TOKENS[0]
    n = len(model.network.sessions[name].ids) if known else 10
    bins, grid = model.network.sizes.bins, model.grid
    counts = np.ones((2, bins, n), np.uint8)
    about = {"id": name, "window": grid.window, "bin_size": grid.bin_size}
    session = name if known else Session.from_counts(counts, ["CA1"] * n, **about)
    rates = model.predict(counts, np.eye(bins, n, dtype=bool), session=session)
    demand(rates.shape == (2, bins, n), "rates of another shape")


# -- runs ----------------------------------------------------------------------------------


def _about(folder: Path) -> Any:
    about = Run(folder / RUN).about
    demand(about.settings.steps >= 0, "fewer steps than none")
    return about.model_dump(mode="json")


def _status(folder: Path) -> Any:
    return Run(folder / RUN).status.model_dump(mode="json")


def _log(folder: Path) -> Any:
    run = Run(folder / RUN)
    lines, losses, validations = run.log(), run.losses(), run.validations()
    demand(all(isinstance(line, dict) for line in lines), "a line of the log that is no record")
    demand(all(type(line.get("step")) is int for line in lines), "a line of the log of no step")
    for scores in (*losses.values(), *validations.values()):
        demand(isinstance(scores, dict), "losses that are no record")
        numbers = all(isinstance(value, float | int) for value in scores.values())
        demand(numbers, "a loss that is no number")
    return json.loads(json.dumps([lines, list(losses), list(validations)]))


def _checkpoint(folder: Path) -> Any:
    found = Run(folder / RUN).checkpoint()
    if found is None:
        return None
    tensors, standing = found
    digests = {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() + str(tensor.shape)
        for name, tensor in tensors.items()
    }
    return digests, standing.model_dump(mode="json")


def _weights_of_run(which: Literal["best", "last", "start"]) -> Look:
    def look(folder: Path) -> str:
        return _digest_of_model(Run(folder / RUN).model(which, device="cpu"), folder)

    return look


def _comparison(folder: Path) -> Any:
    found = comparison_of(Run(folder / RUN))
    if found is None:
        return None
    found.value("co-smoothing", "after")
    return found.model_dump(mode="json")


def _list_runs(folder: Path) -> Any:
    return [entry.begun.isoformat() for entry in entries_of(SESSION)]


def _export(folder: Path) -> str:
    path = folder / "exported.safetensors"
    export(folder / RUN, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _beginning() -> tuple[Session, Model]:
    session = waves(trials=24)
    return session, new_model(session, sizes=SMALL, device="cpu")


def _resume(folder: Path) -> Any:
    """Go on with a run to its end, or for as many steps as it had left when it was stopped."""
    session, model = _beginning()

    def stop(report: Report) -> None:
        if report.step >= SETTINGS.steps and report.steps != SETTINGS.steps:
            raise Cancelled

    try:
        run = finetune(
            model, session, folder / RUN, scope="full", settings=SETTINGS, resume=True, watch=stop
        )
    except Cancelled:
        return "stopped"
    demand(run.status.state == "finished", "resumed, and not finished")
    return {str(step): losses for step, losses in run.losses().items()}


# -- studies -------------------------------------------------------------------------------


def _study(folder: Path) -> str:
    out = folder / STUDY
    return write_page(compare([], SIMULATED, SCALE, out), SCALE, out, "None.")


_RUN: Mapping[str, Look] = {
    "about": _about,
    "status": _status,
    "log": _log,
    "checkpoint": _checkpoint,
    "start": _weights_of_run("start"),
    "best": _weights_of_run("best"),
    "last": _weights_of_run("last"),
    "comparison": _comparison,
    "list": _list_runs,
    "export": _export,
    "resume": _resume,
}
_SORTING = ("spikes.*.npy", "clusters.*", "channels.local*.npy", "channels.brain*.npy")
_ELSE = ("electrodeSites.*.npy", "*_trials.*", "*_wheel.*", "*Camera*")

TARGETS: Mapping[str, Target] = {
    "store": Target(
        12,
        ("*.mtm",),
        {
            "open": _open_store,
            "title": lambda folder: store_title(folder / STORE),
            "id": lambda folder: store_id(folder / STORE),
            "origin": lambda folder: store_origin(folder / STORE),
            "is store": _is_store,
            "entries": _entries,
        },
        sealed=("open", "title", "id"),
    ),
    "weights": Target(10, ("*.safetensors",), {"load": _load_weights}, sealed=("load",)),
    "paper-weights": Target(5, ("*.safetensors",), {"load": _load_weights}, sealed=("load",)),
    "checkpoint": Target(
        10,
        ("checkpoint.safetensors",),
        {"read": _checkpoint, "resume": _resume},
        sealed=("read", "resume"),
    ),
    "run": Target(
        14,
        ("*.json", "*.json", "log.jsonl", "log.jsonl", "start.*", "best.*", "last.*"),
        _RUN,
        sealed=("checkpoint", "start", "best", "last"),
    ),
    "alf": Target(26, (*_SORTING, *_ELSE), {"survey": _survey, "open": _open_alf}),
    "truth": Target(
        5, ("*truth.safetensors", "*truth.safetensors", "*uuids.csv"), {"open": _open_alf}
    ),
    "one": Target(
        10,
        ("sessions.pqt", "datasets.pqt"),
        {"by eid": _open_by_eid, "as a folder": _open_alf},
    ),
    "published": Target(6, ("*.pt",), {"import": _import}),
    "study": Target(2, ("scale.json", "sessions.json", "results.jsonl"), {"page": _study}),
}
"""All kinds of files."""
