"""BrainWideBench's prediction of activity, its suite TS2: what is hidden, the split, the scores.

    co-smoothing   a tenth of the units, the same in every window, from all others at once
    forward        the last 0.1 s of all units, from what came before; there "forecasting"

All that is fixed here is fixed by the benchmark, whose scorer is `ibl-bwb-eval`. Another salt or
chunk would be another benchmark.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_mtm.errors import MtmError, PreparationError
from napari_mtm.masking.tasks import TASK_OF_SCORE, Score
from napari_mtm.metrics import FLOOR, Floats, Tally
from napari_mtm.model.model import Model
from napari_mtm.model.seen import seen
from napari_mtm.progress import Progress, part
from napari_mtm.recording.session import ANY_TIME, Session, Split
from napari_mtm.recording.trials import column
from napari_mtm.scoring.baselines import Baseline, MeanRate, ReducedRank, RidgeAr, Shrinkage

BENCH = "brain-wide-bench"
"""What the protocol is called."""

TESTS: tuple[Score, ...] = ("co-smoothing", "forward")

WINDOW, BIN = 1.0, 0.02
"""Seconds of a window and of a bin."""

FORECAST = 5
"""Bins at the end of a window that a forecast hides."""

BASELINES: tuple[type[Baseline], ...] = (MeanRate, Shrinkage, RidgeAr, ReducedRank)
"""Those that need no trials: windows lie anywhere."""

_HELD_OUT = 0.1
_SALTS = {"test": "ts2_co_smoothing_test", "validation": "ts2_co_smoothing_val"}

_CHUNK, _GAP = 300.0, 20.0
_PATTERN = ("train", "test", "train", "validation", "test")
"""What one chunk of time after another is for, again and again."""

_WINDOWS = 64
"""Windows that a model is asked about at a time."""


def must_be_windows(session: Session) -> None:
    """Raise PreparationError unless a session is cut into windows of the benchmark."""
    if session.n_bins == round(WINDOW / BIN) and math.isclose(session.bin_size, BIN, rel_tol=1e-6):
        return
    raise PreparationError(
        f"BrainWideBench scores windows of {WINDOW:g} s in bins of {BIN * 1e3:g} ms, but those of "
        f"{session.title} are {session.n_bins} bins of {session.bin_size * 1e3:g} ms. Open it with "
        f'align="{ANY_TIME}", window=(0, {WINDOW:g}) and bin_size={BIN:g}, and ask a model of such '
        "windows."
    )


def held_out_units(
    uuids: Sequence[str], part: Literal["validation", "test"] = "test"
) -> npt.NDArray[np.bool_]:
    """Mark the tenth of a session's units that co-smoothing hides, at least one.

    It follows from the uuids alone, in whatever order, so that it is the benchmark's own where
    the units are. Validation has a tenth of its own.
    """
    salt = _SALTS[part]
    ranked = sorted(
        range(len(uuids)),
        key=lambda i: hashlib.sha256(f"{salt}:{uuids[i]}".encode()).hexdigest(),
    )
    held_out = np.zeros(len(uuids), dtype=bool)
    held_out[ranked[: max(1, round(_HELD_OUT * len(uuids)))]] = True
    return held_out


def hidden_entries(session: Session, test: Score) -> npt.NDArray[np.bool_]:
    """Which entries (bins, units) a test hides, and scores."""
    hidden = np.zeros((session.n_bins, session.n_units), dtype=bool)
    if test == "forward":
        hidden[-FORECAST:] = True
    else:
        hidden[:, held_out_units(session.units["uuid"].tolist())] = True
    return hidden


def bench_split(session: Session) -> Split:
    """Return the windows for training, validation and test, about 40, 20 and 40%.

    They lie in chunks of five minutes, the first from second 0 of the session's clock on, with
    gaps of 20 s between chunks, whose windows are in no part. Where the session does not say
    when its windows were, it is `session.split()`.

    Train on `split.train` and choose by `split.validation`, as with
    `finetune(..., trials=split.train, validation=split.validation)`. Raises MtmError where the
    session is so short that a part is empty.
    """
    starts = window_starts(session)
    if starts is None:
        return session.split()
    stops = starts + session.n_bins * session.bin_size
    split = split_by_chunks(starts, stops)
    for use in sorted(set(_PATTERN)):
        if not len(getattr(split, use)):
            minutes = (stops.max() - starts.min()) / 60
            raise MtmError(
                f"{session.title} has no windows for {use} among BrainWideBench's chunks of five "
                f"minutes: its {session.n_trials} windows span {minutes:.1f} minutes, and "
                "more than 15 are needed."
            )
    return split


def window_starts(session: Session) -> Floats | None:
    """When each window began, in seconds of the session's clock; None where it is not known."""
    event, offset = session.align, session.window[0]
    if event == ANY_TIME:
        event, offset = "intervals_0", 0.0
    starts = column(session.trials, event) + offset
    return starts if np.isfinite(starts).all() else None


def split_by_chunks(starts: Floats, stops: Floats) -> Split:
    """Split windows by the chunks of time that they lie in.

    A window on the border of two chunks goes to that in which more of it lies, and the border
    moves to its end or start. A chunk's windows begin 20 s after the chunk before, or later.
    """
    origin = min(0.0, float(starts.min()))
    # A window that two chunks halve is the first one's.
    chunk = np.ceil(((starts + stops) / 2 - origin) / _CHUNK) - 1
    chunks, which = np.unique(chunk, return_inverse=True)
    first, last = np.full(len(chunks), np.inf), np.full(len(chunks), -np.inf)
    np.minimum.at(first, which, starts)
    np.maximum.at(last, which, stops)
    border = np.minimum(origin + _CHUNK * chunks, first)
    follows = np.flatnonzero(np.diff(chunks) == 1)
    border[follows + 1] = np.maximum(border[follows + 1], last[follows])
    usable = (chunk == 0) | (starts >= border[which] + _GAP - 1e-6)
    of = np.array(_PATTERN)[(chunk % len(_PATTERN)).astype(np.intp)]
    parts = {use: np.flatnonzero(usable & (of == use)) for use in _PATTERN}
    return Split(parts["train"], parts["validation"], parts["test"])


def tally_log_rates(counts: npt.ArrayLike, log_rates: npt.ArrayLike) -> Tally:
    """Add up what the benchmark's scores need, from counts and log rates (windows, bins, units).

    Its Poisson D² is `mean_d2`, its bits per spike `pooled_bits_per_spike`. Units that never
    fire must be left out beforehand: there they count for neither, whatever is predicted.
    Rates have no floor. Raises MtmError where a log rate is not finite, as a rate of 0 has none.
    """
    k, log_rate = np.asarray(counts, dtype=np.float64), np.asarray(log_rates, dtype=np.float64)
    with np.errstate(over="ignore"):
        rate = np.exp(log_rate)
    if not (np.isfinite(log_rate) & np.isfinite(rate)).all():
        raise MtmError(
            "What was predicted is not finite everywhere, so that it has no score. The weights "
            "are broken; train them again with a smaller learning rate."
        )
    return Tally(
        spikes=k.sum(axis=1),
        entries=np.full((len(k), k.shape[2]), float(k.shape[1])),
        nll=(rate - k * log_rate).sum(axis=1),
        saturated=(k - k * np.log(np.maximum(k, 1.0))).sum(axis=1),
    )


@dataclass(frozen=True, eq=False)
class Predicted:
    """What one predictor says of what a test hides, without the units that never fire there.

    Attributes
    ----------
    test, predictor
        What was asked, and who answered.
    units
        Which of the session's units these are.
    counts, log_rates
        (windows, hidden bins, units).

    """

    test: Score
    predictor: str
    units: npt.NDArray[np.intp]
    counts: npt.NDArray[np.uint8]
    log_rates: npt.NDArray[np.float32]


def predict_windows(
    models: Mapping[str, Model],
    session: Session,
    split: Split,
    windows: npt.NDArray[np.intp],
    *,
    tests: Sequence[Score],
    baselines: bool,
    progress: Progress,
) -> Iterator[Predicted]:
    """Predict what tests hide in some windows: models, baselines, and the oracle if there is one.

    Baselines are fitted on the training windows, and chosen by those for validation. They know no
    slow levels: the windows for test stand apart from those for training.
    """
    progress(0.0, "scoring")
    for which in models.values():
        which.attach(session)  # what does not fit is refused before anything is fitted
    predictors: dict[str, _Predict] = {
        name: _of_model(which, session, windows) for name, which in models.items()
    }
    kinds = BASELINES if baselines else ()
    fitting = 0.5 if kinds else 0.0
    for i, kind in enumerate(kinds):
        report = part(progress, fitting * i / len(kinds), fitting * (i + 1) / len(kinds))
        predictors[kind.name] = _of_baseline(
            kind.fit(session, split, report, slow_levels=False), windows
        )
    scoring = part(progress, fitting, 1.0)
    truth = session.rates
    if truth is not None:
        predictors["oracle"] = lambda hidden, _test, _progress: _logs(truth[windows], hidden)
    steps = len(tests) * len(predictors)
    for i, test in enumerate(tests):
        hidden = hidden_entries(session, test)
        counts = _hidden_part(session.counts[windows], hidden)
        fired = counts.any(axis=(0, 1))
        units = np.flatnonzero(hidden.any(axis=0))[fired]
        for j, (name, predict) in enumerate(predictors.items()):
            done = i * len(predictors) + j
            log_rates = predict(hidden, test, part(scoring, done / steps, (done + 1) / steps))
            yield Predicted(test, name, units, counts[:, :, fired], log_rates[:, :, fired])
    progress(1.0, "scoring")


_Predict = Callable[[npt.NDArray[np.bool_], Score, Progress], npt.NDArray[np.float32]]


def _of_model(model: Model, session: Session, windows: npt.NDArray[np.intp]) -> _Predict:
    def predict(
        hidden: npt.NDArray[np.bool_], test: Score, progress: Progress
    ) -> npt.NDArray[np.float32]:
        found = []
        for start in range(0, len(windows), _WINDOWS):
            progress(start / len(windows), test)
            # Only the window itself may be known. Whatever else a model can be told of a session,
            # as of neighbouring windows, is not given here.
            log_rates = model.predict(
                session.counts[windows[start : start + _WINDOWS]],
                hidden,
                task=TASK_OF_SCORE[test],
                session=session,
            )
            found.append(_hidden_part(log_rates, hidden))
        return np.concatenate(found)

    return predict


def _of_baseline(baseline: Baseline, windows: npt.NDArray[np.intp]) -> _Predict:
    return lambda hidden, _test, _progress: _logs(baseline.predict(hidden, windows), hidden)


def _logs(rates: npt.NDArray[np.float32], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return np.asarray(np.log(np.maximum(_hidden_part(rates, hidden), FLOOR)))


def _hidden_part(values: npt.NDArray[Any], hidden: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return the bins and units of (windows, bins, units) in which anything is hidden."""
    return values[:, hidden.any(axis=1)][:, :, hidden.any(axis=0)]


def bench_notes(
    models: Mapping[str, Model], session: Session, windows: npt.NDArray[np.intp]
) -> Iterator[str]:
    """Say what keeps the scores of test windows from being those of the benchmark."""
    if window_starts(session) is None:
        yield (
            f"{session.title} does not say when its windows were: those for test are drawn at "
            "random, and not by BrainWideBench's chunks of five minutes."
        )
    for name, model in models.items():
        who = "The model" if name == "model" else f"{name}: The model"
        marks = seen(model, session)
        if marks is None:
            yield (
                f"{who} was trained on {session.title}, and its weights do not say on which "
                "windows: those for test may be among them, and their scores too high. Train it on "
                "those of `bench_split`."
            )
        elif marks[windows].any():
            yield (
                f"{who} was trained on, or chosen by, {marks[windows].sum()} of the "
                f"{len(windows)} windows for test, so that its scores are too high. Train it on "
                "those of `bench_split`."
            )
