"""Readouts: behaviour decoded from what a model makes of a trial.

There are two decoders: of the model's latents, and of the units' activity, which is recorded
where it is visible and predicted where it is hidden. Traces (wheel, whisker, whatever else a
session holds) are read around a bin; choice and block from the whole trial; the choice at a bin
from the past of that bin alone. All are linear. They are fitted on trials under masks of every
kind, and count as much, beside the mean course, as trials that they were not fitted on bear out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_mtm.arrays import numbers
from napari_mtm.errors import WeightsError
from napari_mtm.model.regression import (
    Floats,
    Linear,
    Trials,
    fit_classifier_per_bin,
    fit_linear_classifier,
    fit_trace,
    logistic,
    shares_of_classifiers,
    shares_of_traces,
)
from napari_mtm.recording.session import Session
from napari_mtm.recording.trials import block_favours_right, chose_right

Latents = npt.NDArray[np.float32]

_COMPONENTS = 48
_PAST_COMPONENTS = 16
_LAGS = np.array([-8, -4, -2, 0, 2, 4, 8])
_SEGMENTS = 8
_RECENT = 5
_FEWEST_TRIALS = 8
_MOST = 1e15
"""Latents beyond it come of broken weights, and overflow when they are squared."""


@dataclass(frozen=True)
class Seen:
    """What decoders read of some rows, each a trial under a mask.

    Attributes
    ----------
    latents, past
        (rows, bins, L); in `past` no bin knows of a later one.
    activity, past_activity
        The same of the units' activity, (rows, bins, P); None where it is not decoded from.

    """

    latents: Latents
    past: Latents
    activity: Latents | None = None
    past_activity: Latents | None = None

    def pairs(self) -> list[tuple[Latents, Latents]]:
        """Return what each decoder reads: around a bin, and before it."""
        found = [(self.latents, self.past)]
        if self.activity is not None and self.past_activity is not None:
            found.append((self.activity, self.past_activity))
        return found


@dataclass(frozen=True)
class Examples:
    """What was seen, and which trial of the session each row is."""

    seen: Seen
    trials: Trials

    @classmethod
    def joined(cls, parts: "Iterable[Examples]") -> "Examples":
        """Put examples together; there must be some."""
        parts = list(parts)
        pairs = zip(*(part.seen.pairs() for part in parts), strict=True)
        arrays = [np.concatenate(some) for pair in pairs for some in zip(*pair, strict=True)]
        return cls(Seen(*arrays), np.concatenate([part.trials for part in parts]))


@dataclass(frozen=True)
class Basis:
    """Latents less their mean course, on their directions of most variance."""

    mean: Floats  # (T, L)
    components: Floats  # (L, K)

    @classmethod
    def fit(cls, latents: Latents, most: int) -> "Basis":
        """Fit to latents (rows, bins, L); components have unit variance at most."""
        mean = latents.mean(axis=0, dtype=np.float64)
        flat = torch.as_tensor(latents - mean).flatten(0, 1).double()
        values, vectors = torch.linalg.eigh(flat.T @ flat / max(len(flat), 1))
        scale = values[-1].clamp(min=1e-12).sqrt()
        return cls(mean, (vectors.flip(1)[:, :most] / scale).numpy())

    def __call__(self, latents: Latents) -> Floats:
        """Return (rows, bins, K)."""
        found: Floats = (latents - self.mean) @ self.components
        return found


@dataclass(frozen=True)
class Decoder:
    """What one source adds to what is decoded; what the session lacks is left out.

    Traces are in their own units, choice and block in log odds.
    """

    around: Basis
    past: Basis
    traces: Mapping[str, Linear] = field(default_factory=dict)
    trials: Mapping[str, Linear] = field(default_factory=dict)
    choice: Linear | None = None

    def __call__(self, around: Latents, past: Latents) -> dict[str, Floats]:
        """Read traces (rows, bins), choice (rows, bins), and of trials (rows,)."""
        scores = self.around(around)
        lagged, over = around_bins(scores), over_trial(scores)
        found = {name: linear.of(lagged) for name, linear in self.traces.items()}
        found |= {name: linear.of(over) for name, linear in self.trials.items()}
        if self.choice is not None:
            found["choice"] = self.choice.of(_recent(self.past(past)))
        return found


@dataclass(frozen=True)
class Readouts:
    """Decoders of one session's behaviour.

    Attributes
    ----------
    latents, activity
        What each source adds. The latter is None where activity is not decoded from.
    directions, units
        (N, P): what the activity of N units is looked at in; and their uuids.

    """

    latents: Decoder
    activity: Decoder | None = None
    directions: npt.NDArray[np.float32] | None = None
    units: tuple[str, ...] = ()

    def directions_of(self, session: Session) -> npt.NDArray[np.float32] | None:
        """Return the directions for the units of a session, zeros for those it did not have."""
        if self.directions is None:
            return None
        ids = uuids(session)
        if ids == self.units:
            return self.directions
        rows = dict(zip(self.units, self.directions, strict=True))
        none = np.zeros(self.directions.shape[1], np.float32)
        return np.array([rows.get(unit, none) for unit in ids])

    @property
    def n_bins(self) -> int:
        """How many bins the trials have that are decoded."""
        return len(self.latents.around.mean)

    @property
    def traces(self) -> tuple[str, ...]:
        """Names of the traces that are decoded."""
        return tuple(self.latents.traces)

    @property
    def decoders(self) -> list[Decoder]:
        """What is added up."""
        return [d for d in (self.latents, self.activity) if d is not None]

    def decode(self, seen: Seen) -> dict[str, npt.NDArray[np.float32]]:
        """Decode traces, (rows, bins), and probabilities, (rows, bins) or (rows,)."""
        parts = [d(*pair) for d, pair in zip(self.decoders, seen.pairs(), strict=True)]
        found = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
        return {
            name: (values if name in self.latents.traces else logistic(values)).astype(np.float32)
            for name, values in found.items()
        }


def fit_readouts(
    fitted_on: Examples,
    judged_on: Examples | None,
    session: Session,
    directions: npt.NDArray[np.float32] | None = None,
) -> Readouts:
    """Fit decoders on examples of a session, and tell by others how much each should count.

    Without others, or with few of them, each counts the same. `directions` are those of the
    activity in the examples.

    Raises WeightsError where latents are such as only broken weights give.
    """
    *_, whole = fit_in_steps(fitted_on, judged_on, session, directions)
    return whole


def fit_in_steps(
    fitted_on: Examples,
    judged_on: Examples | None,
    session: Session,
    directions: npt.NDArray[np.float32] | None = None,
) -> Iterator[Readouts]:
    """Yield, one after the other, readouts that decode more and more; the last are whole."""
    _check(fitted_on.seen)
    first, *rest = (_without_behaviour(*pair) for pair in fitted_on.seen.pairs())
    readouts = Readouts(first)
    if rest and directions is not None:
        readouts = Readouts(first, rest[0], directions, uuids(session))
    yield readouts
    for name in targets(session, fitted_on.trials):
        readouts = _with_trace(readouts, fitted_on, judged_on, session, name)
        yield readouts
    for name in labels_of(session, fitted_on.trials):
        readouts = _with_label(readouts, fitted_on, judged_on, session, name)
        yield readouts


def fit_lacking_traces(
    readouts: Readouts, fitted_on: Examples, judged_on: Examples | None, session: Session
) -> Readouts:
    """Return readouts with decoders of those of a session's traces that they do not decode yet.

    The others stay as they are. Raises WeightsError as `fit_readouts` does.
    """
    _check(fitted_on.seen)
    for name in targets(session, fitted_on.trials):
        if name not in readouts.traces:
            readouts = _with_trace(readouts, fitted_on, judged_on, session, name)
    return readouts


def targets(session: Session, trials: Trials) -> list[str]:
    """Names of the traces that are known in enough of some trials to be decoded."""
    chosen = np.unique(trials)
    known = {
        name: np.isfinite(session.behaviour[name][chosen]).all(axis=1).sum()
        for name in session.traces
    }
    return [name for name, number in known.items() if number >= _FEWEST_TRIALS]


def _check(seen: Seen) -> None:
    for pair in seen.pairs():
        for given in pair:
            numbers(given, "Latents", WeightsError, ndim=3, least=-_MOST, most=_MOST, finite=True)


def _without_behaviour(around: Latents, past: Latents) -> Decoder:
    return Decoder(Basis.fit(around, _COMPONENTS), Basis.fit(past, _PAST_COMPONENTS))


def uuids(session: Session) -> tuple[str, ...]:
    """The uuids of a session's units."""
    return tuple(map(str, session.units["uuid"]))


def _with_trace(
    readouts: Readouts,
    fitted_on: Examples,
    judged_on: Examples | None,
    session: Session,
    name: str,
) -> Readouts:
    """Add a trace, which is fitted on those of the trials in which it is known."""
    decoders = readouts.decoders
    target, known = _known_trace(session, name, fitted_on.trials)
    course = target.mean(axis=0)
    linears = [
        fit_trace(features[known], target, fitted_on.trials[known])
        for features in _features(decoders, fitted_on, _around_of)
    ]
    shares = [1 / len(decoders)] * len(decoders)
    if judged_on is not None:
        truth, told = _known_trace(session, name, judged_on.trials)
        if _enough(judged_on.trials[told]):
            others = _features(decoders, judged_on, _around_of)
            guesses = [li.of(f[told]) - course for li, f in zip(linears, others, strict=True)]
            shares = shares_of_traces(guesses, truth - course)
    return _with(
        readouts,
        _scaled(linears, shares, course),
        lambda decoder, linear: replace(decoder, traces={**decoder.traces, name: linear}),
    )


def decodable(session: Session, trials: Trials) -> list[str]:
    """Names of all behaviour that decoders can be fitted of, on some trials of a session."""
    return [*targets(session, trials), *labels_of(session, trials)]


def labels_of(session: Session, trials: Trials) -> list[str]:
    """Which of choice and block can be decoded: both classes must have trials enough."""
    names = "choice-by-trial", "block", "choice"
    return [name for name in names if _separable(label_of(session, name, trials), trials)]


def _with_label(
    readouts: Readouts,
    fitted_on: Examples,
    judged_on: Examples | None,
    session: Session,
    name: str,
) -> Readouts:
    """Add choice or block."""
    decoders = readouts.decoders
    read, fit = (
        (_recent_of, fit_classifier_per_bin)
        if name == "choice"
        else (_over_trial_of, fit_linear_classifier)
    )
    label = label_of(session, name, fitted_on.trials)
    linears = [
        fit(features, label, fitted_on.trials) for features in _features(decoders, fitted_on, read)
    ]
    share = np.nanmean(label)
    usual = float(np.log(share / (1 - share)))
    shares = [1 / len(decoders)] * len(decoders)
    if judged_on is not None:
        truth = label_of(session, name, judged_on.trials)
        told = np.isfinite(truth)
        if _enough(judged_on.trials[told]):
            others = _features(decoders, judged_on, read)
            odds = [li.of(f[told]) - usual for li, f in zip(linears, others, strict=True)]
            shares = shares_of_classifiers(odds, truth[told], usual)
    return _with(
        readouts,
        _scaled(linears, shares, usual),
        lambda decoder, linear: (
            replace(decoder, choice=linear)
            if name == "choice"
            else replace(decoder, trials={**decoder.trials, name: linear})
        ),
    )


def label_of(session: Session, name: str, trials: Trials) -> Floats:
    """Return choice or block of some trials: 1 for right, 0 for left, NaN for neither."""
    table = session.trials.iloc[trials]
    return block_favours_right(table) if name == "block" else chose_right(table)


def _with(
    readouts: Readouts, linears: list[Linear], put: Callable[[Decoder, Linear], Decoder]
) -> Readouts:
    """Put one of `linears` into each decoder."""
    latents, *rest = (put(d, li) for d, li in zip(readouts.decoders, linears, strict=True))
    return replace(readouts, latents=latents, activity=rest[0] if rest else None)


def _scaled(linears: list[Linear], shares: list[float], usual: Floats | float) -> list[Linear]:
    """Return a share of each decoder; the first holds what is usual, which all are added to."""
    first, *rest = (
        linear.scaled(share, usual) for linear, share in zip(linears, shares, strict=True)
    )
    return [Linear(first.weights, first.intercept + usual), *rest]


def _known_trace(
    session: Session, name: str, trials: Trials
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return a trace in those rows in which it is known, and which these are."""
    trace = session.behaviour[name][trials]
    known = np.asarray(np.isfinite(trace).all(axis=1))
    return trace[known].astype(np.float64), known


def _enough(trials: Trials) -> bool:
    return len(np.unique(trials)) >= _FEWEST_TRIALS


def _separable(label: Floats, trials: Trials) -> bool:
    """Whether both classes have trials enough."""
    return all(_enough(trials[label == side]) for side in (0, 1))


_Read = Callable[[Decoder, Latents, Latents], Latents]


def _features(decoders: list[Decoder], examples: Examples, read: _Read) -> list[Latents]:
    pairs = examples.seen.pairs()
    return [read(d, *pair) for d, pair in zip(decoders, pairs, strict=True)]


def _around_of(decoder: Decoder, around: Latents, _past: Latents) -> Latents:
    return around_bins(decoder.around(around).astype(np.float32))


def _over_trial_of(decoder: Decoder, around: Latents, _past: Latents) -> Latents:
    return over_trial(decoder.around(around).astype(np.float32))


def _recent_of(decoder: Decoder, _around: Latents, past: Latents) -> Latents:
    return _recent(decoder.past(past)).astype(np.float32)


def around_bins(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (rows, bins, features): the scores at some lags around each bin."""
    bins = np.arange(scores.shape[1])
    lagged = [scores[:, np.clip(bins + lag, 0, len(bins) - 1)] for lag in _LAGS]
    return np.concatenate(lagged, axis=2)


def over_trial(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (rows, features): the mean scores in segments of the trial."""
    parts = np.array_split(np.arange(scores.shape[1]), min(_SEGMENTS, scores.shape[1]))
    return np.concatenate([scores[:, part].mean(axis=1) for part in parts], axis=1)


def _recent(scores: Floats) -> Floats:
    """Return (rows, bins, features): means of the last few and of all bins so far."""
    sums = np.cumsum(scores, axis=1)
    n = np.arange(1, scores.shape[1] + 1)[:, None]
    before = np.zeros_like(sums)
    before[:, _RECENT:] = sums[:, :-_RECENT]
    return np.concatenate([(sums - before) / np.minimum(n, _RECENT), sums / n], axis=2)
