"""Further behaviour of an IBL session, as IBL's own code reads it: licks, pupil, paws.

That code is brainbox, of ibllib, the extra `ibl`. It takes seconds and a third of a gigabyte to
import, so it runs in a process of its own, `brainbox_child.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_mtm.arrays import numbers
from napari_mtm.errors import PreparationError, SourceError, in_short
from napari_mtm.processes import NO_CONSOLE
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.alf import Dataset, SessionFiles, find
from napari_mtm.recording.binning import bin_edges
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.reading import AlfSource
from napari_mtm.recording.session import ANY_TIME, Session
from napari_mtm.recording.source import Source
from napari_mtm.recording.traces import Trace, bin_further
from napari_mtm.recording.trials import column

if TYPE_CHECKING:
    from one.api import One

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

LICK_SECONDS = 0.05
"""Standard deviation of the Gaussian over which a lick counts."""
_LICK_STEP = 0.01
_LONGEST = 1e5
"""Seconds of a recording at most: a day and some hours."""

_CAMERAS = ("leftCamera", "rightCamera")
_PACKAGE = str(Path(__file__).parents[2])
"""Where the child finds this package, also in a checkout where nothing is installed."""
_TICK = 0.1
"""Seconds between looks at the child, so that whoever waits can stop it."""


@dataclass(frozen=True)
class Place:
    """What a trace can be read from: a dataset, and the body part where it is one of many."""

    object: str
    attribute: str
    body_part: str = ""


def _paw(near: str, far: str) -> tuple[Place, ...]:
    """Places of a paw by preference: the camera on its side sees it nearest, as `paw_r`."""
    return tuple(
        Place(camera, tracker, part)
        for camera, part in ((near, "paw_r"), (far, "paw_l"))
        for tracker in ("lightningPose", "dlc")
    )


_PLACES: Mapping[str, tuple[Place, ...]] = {
    "lick-rate": (Place("licks", "times"),),
    "pupil-diameter": (Place("leftCamera", "features"), Place("leftCamera", "dlc")),
    "paw-speed-left": _paw("leftCamera", "rightCamera"),
    "paw-speed-right": _paw("rightCamera", "leftCamera"),
}
"""Where each trace may be found; what is named first is preferred. Sides are the animal's."""


def is_available() -> bool:
    """Whether IBL's own code is installed; it is not imported."""
    return find_spec("brainbox") is not None


def offered(source: Source) -> tuple[str, ...]:
    """Return the names of the traces that the files of a session can give; none is read."""
    return tuple(_found(source.files)) if isinstance(source, AlfSource) else ()


def extend(
    session: Session,
    source: str | Path | Source,
    *,
    one: "One | str | Path | None" = None,
    names: Iterable[str] | None = None,
    progress: Progress = silent,
) -> Session:
    """Return a session with further behaviour, read by IBL's own code from its files.

    Parameters
    ----------
    session
        A session, however it was prepared.
    source, one
        Where its files lie, as for `open_session`: an ALF session folder, or an eid with a ONE.
    names
        Of "lick-rate" (licks/s), "pupil-diameter" (pixels), "paw-speed-left" and
        "paw-speed-right" (pixels/s); by default all that the files can give.
    progress
        Called every tenth of a second; where it raises, reading ends at once.

    What cannot be read is said in the session's notes. Raises SourceError where nothing can:
    ibllib is not installed, the files are not those of the session, lack these traces, or are
    damaged.

    """
    found = find_source(source, one=one) if isinstance(source, str | Path) else source
    if found.id != session.id:
        raise SourceError(
            f"The files are those of session {found.id}; this session is {session.id}."
        )
    traces, notes = load(found, names, progress=part(progress, 0.0, 0.9))
    progress(0.9, "averaging over bins")
    extended = with_traces(session, traces)
    return replace(extended, notes=(*extended.notes, *notes))


def with_traces(session: Session, traces: Mapping[str, Trace]) -> Session:
    """Return a session with further traces, averaged over its bins as its other behaviour is.

    Raises PreparationError where the session does not say when its windows begin.
    """
    first = "intervals_0" if session.align == ANY_TIME else session.align
    if first not in session.trials:
        raise PreparationError(
            f"Session {session.id} does not say when its windows begin: its trials have no {first}."
        )
    starts = column(session.trials, first)
    if session.align != ANY_TIME:
        starts = starts + session.window[0]
    numbers(starts, f"Trials column {first}", PreparationError, finite=True)
    binned = bin_further(traces, bin_edges(starts, session.n_bins, session.bin_size))
    notes = [
        f"There is no {name} in any window; its times may be from another clock."
        for name, values in binned.items()
        if np.isnan(values).all()
    ]
    behaviour = {**session.behaviour, **binned}
    return replace(session, behaviour=behaviour, notes=(*session.notes, *notes))


def load(
    source: Source, names: Iterable[str] | None = None, *, progress: Progress = silent
) -> tuple[dict[str, Trace], tuple[str, ...]]:
    """Read traces from the files of a session, by default all that they can give.

    Returns them by name, and a sentence for each that could not be read. Raises SourceError
    where none could.
    """
    there = _found(source.files) if isinstance(source, AlfSource) else {}
    wanted = tuple(there if names is None else names)
    lacking = [name for name in wanted if name not in there]
    if lacking or not wanted or not isinstance(source, AlfSource):
        what = lacking[0] if lacking else "licks, pupil or paws"
        raise SourceError(f"{source.name} has no files here that tell of {what}.")
    if not is_available():
        raise SourceError(
            "Licks, pupil and paws are read by IBL's own code, which is not installed: "
            "pip install 'napari-mtm[ibl]'."
        )
    places = {name: there[name] for name in wanted}
    paths = _local(source.files, places.values(), part(progress, 0.0, 0.3))
    found = _read_in_child(
        {
            "files": paths,
            "wanted": {n: [p.object, p.attribute, p.body_part] for n, p in places.items()},
        },
        part(progress, 0.3, 1.0),
    )
    traces, notes = {}, []
    for name in wanted:
        try:
            traces[name] = _trace(name, found)
        except SourceError as error:
            notes.append(f"{name} could not be read: {error}")
    if not traces:
        raise SourceError(f"{source.name}: {notes[0]}")
    return traces, tuple(notes)


def lick_rate(times: npt.NDArray[np.float64], first: float, last: float) -> Trace:
    """Licks/s between two times at which nobody licked unseen: each counts over a Gaussian.

    Raises SourceError where that is longer than any recording.
    """
    from scipy.ndimage import gaussian_filter1d

    first, last = (float(t) for t in (times.min(initial=first), times.max(initial=last)))
    if not 0 <= last - first <= _LONGEST:
        raise SourceError(f"Licks and cameras say {first:g} to {last:g} s, which is no recording.")
    n = int(np.ceil((last - first) / _LICK_STEP)) + 1
    # A lick between two samples counts for both, for the nearer one more.
    place = (times - first) / _LICK_STEP
    before = np.minimum(place.astype(np.intp), n - 2 if n > 1 else 0)
    share = place - before
    counts = np.bincount(before, 1 - share, n + 1) + np.bincount(before + 1, share, n + 1)
    rate = gaussian_filter1d(counts[:n] / _LICK_STEP, LICK_SECONDS / _LICK_STEP, mode="constant")
    return Trace.clean(first + _LICK_STEP * np.arange(n), rate)


def speed(
    times: npt.NDArray[np.float64], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> Trace:
    """Speed between each frame and the next, in the units of x and y per second.

    Where either frame is NaN it is not known.
    """
    with np.errstate(all="ignore"):  # times may be anything
        step = np.diff(times)
        moved = np.hypot(np.diff(x), np.diff(y)) / np.where(step > 0, step, np.nan)
        return Trace.clean((times[1:] + times[:-1]) / 2, moved)


def _found(files: SessionFiles) -> dict[str, Place]:
    """Where each trace is to be read that the datasets of a session can give."""
    found = {}
    for name, places in _PLACES.items():
        for place in places:
            timed = place.object == "licks" or find(files.datasets, place.object, "times")
            if timed and find(files.datasets, place.object, place.attribute):
                found[name] = place
                break
    return found


def _local(
    files: SessionFiles, places: Iterable[Place], progress: Progress
) -> dict[str, dict[str, str]]:
    """Have the datasets that are read on this disk; their paths by object and attribute."""
    names = [(place.object, place.attribute) for place in places]
    # All that is known of when somebody looked for licks is when the cameras filmed.
    cameras = {name for name, _ in names} & set(_CAMERAS)
    names += [(c, "times") for c in (_CAMERAS if ("licks", "times") in names else sorted(cameras))]
    datasets: dict[tuple[str, str], Dataset] = {}
    for name in names:
        dataset = find(files.datasets, *name)
        if dataset is not None:
            datasets[name] = dataset
    files.fetch_all(list(datasets.values()), progress)
    paths: dict[str, dict[str, str]] = {}
    for (object_, attribute), dataset in datasets.items():
        paths.setdefault(object_, {})[attribute] = str(files.verified(dataset))
    return paths


def _trace(name: str, found: Arrays) -> Trace:
    """Make a trace of what the child told of it; raise SourceError with what it said went wrong."""
    problem = found.get(f"{name}/problem")
    if problem is not None:
        raise SourceError(str(problem))

    def of(what: str, like: npt.NDArray[Any] | None = None) -> npt.NDArray[np.float64]:
        shape = None if like is None else like.shape
        return numbers(found[f"{name}/{what}"], f"{name}: {what}", SourceError, shape=shape)

    times = of("times")
    if name == "lick-rate":
        times = numbers(times, "Times of licks", SourceError, finite=True)
        filmed = of("filmed")
        return lick_rate(times, float(filmed[0]), float(filmed[1]))
    if name == "pupil-diameter":
        return Trace.clean(times, of("diameter", times))
    return speed(times, of("x", times), of("y", times))


def _read_in_child(request: Mapping[str, object], progress: Progress) -> Arrays:
    """Let another process read; it is ended at once where `progress` raises."""
    paths = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_mtm.recording.brainbox_child"],
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": paths, "MPLBACKEND": "agg"},
            start_new_session=True,
            creationflags=NO_CONSOLE,
        )
        stdin = process.stdin
        assert stdin is not None
        try:
            with suppress(OSError):  # one that is gone says so by its end
                stdin.write(json.dumps(request).encode() + b"\n")
                stdin.flush()
            _wait(process, lambda: progress(0.2, "IBL's own code reads behaviour"))
        finally:
            process.kill()
            process.wait()
            with suppress(OSError):
                stdin.close()
        if process.returncode:
            raise SourceError(_why(process.returncode, errors))
        told.seek(0)
        with np.load(told, allow_pickle=False) as found:
            return dict(found)


def _wait(process: "subprocess.Popen[bytes]", tick: Callable[[], None]) -> None:
    while process.poll() is None:
        tick()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK)


def _why(code: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().split("\n")
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    said = f" Its last words: {in_short(lines[-1])}." if lines[-1] else ""
    return f"The process in which IBL's own code read behaviour {how}; try again.{said}"
