"""Readouts: behaviour decoded from a model's latents.

Traces (wheel, whisker, whatever else a session holds) are read from the latents around a
bin; choice and block from those of the whole trial; the choice at a bin from the past of
that bin alone. All are linear, fitted on training trials in closed form or by a few
Newton steps, each with a penalty chosen by cross-validation over trials.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_mtm.arrays import numbers
from napari_mtm.errors import WeightsError
from napari_mtm.recording.session import Session
from napari_mtm.recording.trials import block_favours_right, chose_right

Floats = npt.NDArray[np.float64]
Latents = npt.NDArray[np.float32]

_COMPONENTS = 48
_PAST_COMPONENTS = 16
_LAGS = np.array([-8, -4, -2, 0, 2, 4, 8])
_SEGMENTS = 8
_RECENT = 5
_FOLDS = 4
_PENALTIES = 10.0 ** np.arange(-4, 4)
_FEWEST_TRIALS = 8
_MOST = 1e15
"""Latents beyond it come of broken weights, and overflow when they are squared."""


@dataclass(frozen=True)
class Basis:
    """Latents less their mean course, on their directions of most variance."""

    mean: Floats  # (T, L)
    components: Floats  # (L, K)

    @classmethod
    def fit(cls, latents: Latents, most: int) -> "Basis":
        """Fit to latents (trials, bins, L); components have unit variance at most."""
        mean = latents.mean(axis=0, dtype=np.float64)
        flat = (latents - mean).reshape(-1, latents.shape[2])
        values, vectors = np.linalg.eigh(flat.T @ flat / max(len(flat), 1))
        scale = np.sqrt(max(values[-1], 1e-12))
        return cls(mean, vectors[:, ::-1][:, :most] / scale)

    def __call__(self, latents: Latents) -> Floats:
        """Return (trials, bins, K)."""
        found: Floats = (latents - self.mean) @ self.components
        return found


@dataclass(frozen=True)
class Linear:
    """Weights of features, and an intercept; either may lead with an axis of bins."""

    weights: Floats
    intercept: Floats


@dataclass(frozen=True)
class Readouts:
    """Decoders of one session's behaviour; what the session lacks is left out."""

    around: Basis
    past: Basis
    traces: Mapping[str, Linear] = field(default_factory=dict)
    trials: Mapping[str, Linear] = field(default_factory=dict)
    choice: Linear | None = None

    @property
    def n_bins(self) -> int:
        """How many bins the trials have that are decoded."""
        return len(self.around.mean)

    def decode(self, latents: Latents, past: Latents) -> dict[str, npt.NDArray[np.float32]]:
        """Decode latents (trials, bins, L); in `past` no bin must know of a later one."""
        scores = self.around(latents)
        found: dict[str, Floats] = {}
        around = _around(scores)
        for name, linear in self.traces.items():
            found[name] = around @ linear.weights + linear.intercept
        over = _over_trial(scores)
        for name, linear in self.trials.items():
            found[name] = _logistic(over @ linear.weights + linear.intercept)
        if self.choice is not None:
            recent = _recent(self.past(past))
            found["choice"] = _logistic(
                np.einsum("btp,tp->bt", recent, self.choice.weights) + self.choice.intercept
            )
        return {name: values.astype(np.float32) for name, values in found.items()}


def fit_readouts(
    latents: Latents, past: Latents, session: Session, trials: npt.NDArray[np.intp]
) -> Readouts:
    """Fit decoders on latents (trials, bins, L) of some trials of a session.

    `past` are latents in which no bin knows of a later one. Raises WeightsError where latents are
    such as only broken weights give.
    """
    for given in (latents, past):
        numbers(given, "Latents", WeightsError, ndim=3, least=-_MOST, most=_MOST, finite=True)
    around, before = Basis.fit(latents, _COMPONENTS), Basis.fit(past, _PAST_COMPONENTS)
    scores = around(latents)
    traces = _fit_traces(_around(scores), session, trials, targets(session, trials))
    table = session.trials.iloc[trials]
    right = chose_right(table)
    over = _over_trial(scores)
    labels = {"choice-by-trial": right, "block": block_favours_right(table)}
    by_trial = {
        name: fit_linear_classifier(over, label)
        for name, label in labels.items()
        if _separable(label)
    }
    choice = _fit_logistic(_recent(before(past)), right) if _separable(right) else None
    return Readouts(around, before, traces, by_trial, choice)


def fit_lacking_traces(
    readouts: Readouts, latents: Latents, session: Session, trials: npt.NDArray[np.intp]
) -> Readouts:
    """Return readouts with decoders of those of a session's traces that they do not decode yet.

    They are fitted on latents (trials, bins, L) of some trials; the others stay as they are.
    Raises WeightsError as `fit_readouts` does.
    """
    numbers(latents, "Latents", WeightsError, ndim=3, least=-_MOST, most=_MOST, finite=True)
    lacking = [name for name in targets(session, trials) if name not in readouts.traces]
    found = _fit_traces(_around(readouts.around(latents)), session, trials, lacking)
    return replace(readouts, traces={**readouts.traces, **found})


def targets(session: Session, trials: npt.NDArray[np.intp]) -> list[str]:
    """Names of the traces that are known in enough of some trials to be decoded."""
    known = {
        name: np.isfinite(session.behaviour[name][trials]).all(axis=1).sum()
        for name in session.traces
    }
    return [name for name, number in known.items() if number >= _FEWEST_TRIALS]


def _fit_traces(
    features: Floats, session: Session, trials: npt.NDArray[np.intp], names: Iterable[str]
) -> dict[str, Linear]:
    """Fit decoders of some traces, each on those of the trials in which it is known."""
    found = {}
    for name in names:
        target = session.behaviour[name][trials]
        known = np.isfinite(target).all(axis=1)
        found[name] = _fit_trace(features[known], target[known].astype(np.float64))
    return found


def _around(scores: Floats) -> Floats:
    """Return (trials, bins, features): the scores at some lags around each bin."""
    bins = np.arange(scores.shape[1])
    lagged = [scores[:, np.clip(bins + lag, 0, len(bins) - 1)] for lag in _LAGS]
    return np.concatenate(lagged, axis=2)


def _over_trial(scores: Floats) -> Floats:
    """Return (trials, features): the mean scores in segments of the trial."""
    parts = np.array_split(np.arange(scores.shape[1]), min(_SEGMENTS, scores.shape[1]))
    return np.concatenate([scores[:, part].mean(axis=1) for part in parts], axis=1)


def _recent(scores: Floats) -> Floats:
    """Return (trials, bins, features): means of the last few and of all bins so far."""
    sums = np.cumsum(scores, axis=1)
    n = np.arange(1, scores.shape[1] + 1)[:, None]
    before = np.zeros_like(sums)
    before[:, _RECENT:] = sums[:, :-_RECENT]
    return np.concatenate([(sums - before) / np.minimum(n, _RECENT), sums / n], axis=2)


def _folds(n: int) -> npt.NDArray[np.intp]:
    """Deal trials to folds; neighbours, which drift together, to the same one."""
    return np.arange(n) * _FOLDS // n


def _fit_trace(features: Floats, target: Floats) -> Linear:
    """Ridge regression of a trace (trials, bins) with a free mean course."""
    mean = target.mean(axis=0)
    off = features.mean(axis=0)
    x, y = features - off, target - mean
    fold = _folds(len(x))
    grams, products = [], []
    for k in range(_FOLDS):
        part = x[fold == k].reshape(-1, x.shape[2])
        grams.append(part.T @ part)
        products.append(part.T @ y[fold == k].reshape(-1))
    gram, product = sum(grams), sum(products)
    scale = max(np.trace(gram) / len(gram), 1e-12)
    errors = np.zeros(len(_PENALTIES))
    for k in range(_FOLDS):
        values, vectors = np.linalg.eigh(gram - grams[k])
        turned = vectors.T @ (product - products[k])
        weights = vectors @ (
            turned[:, None] / (np.maximum(values, 0)[:, None] + scale * _PENALTIES)
        )
        errors += ((y[fold == k][..., None] - x[fold == k] @ weights) ** 2).sum(axis=(0, 1))
    penalty = scale * _PENALTIES[errors.argmin()]
    weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), product)
    return Linear(weights, mean - off @ weights)


def _separable(label: Floats) -> bool:
    """Whether both classes have trials enough."""
    return bool(min((label == 0).sum(), (label == 1).sum()) >= _FEWEST_TRIALS)


def fit_linear_classifier(features: Floats, label: Floats) -> Linear:
    """Logistic regression: features (trials, P), label (trials,) 0, 1 or NaN."""
    linear = _fit_logistic(features[:, None], label)
    return Linear(linear.weights[0], linear.intercept[0])


def _fit_logistic(features: Floats, label: Floats) -> Linear:
    """Logistic regression per bin: features (trials, bins, P), label (trials,) 0, 1 or NaN.

    One penalty serves all bins. Few trials and many features are fitted in the space
    that the trials span, which gives the same weights.
    """
    known = np.isfinite(label)
    x, y = features[known].transpose(1, 0, 2), label[known]
    off = x.mean(axis=1, keepdims=True)
    x = x - off
    scale = np.sqrt(np.maximum((x**2).mean(axis=(1, 2), keepdims=True), 1e-12))
    x = x / scale
    rotation = None
    if x.shape[2] > x.shape[1]:
        _, _, turned = np.linalg.svd(x, full_matrices=False)
        rotation = turned.transpose(0, 2, 1)
        x = x @ rotation
    rng_fold = _folds(len(y))
    losses = np.zeros(len(_PENALTIES))
    for i, penalty in enumerate(_PENALTIES):
        for k in range(_FOLDS):
            test = rng_fold == k
            weights, bias = _newton(x[:, ~test], y[~test], penalty)
            margin = np.einsum("tnp,tp->tn", x[:, test], weights) + bias[:, None]
            losses[i] += np.logaddexp(0, np.where(y[test] == 1, -margin, margin)).sum()
    weights, bias = _newton(x, y, _PENALTIES[losses.argmin()])
    if rotation is not None:
        weights = np.einsum("tpr,tr->tp", rotation, weights)
    weights = weights / scale[:, 0]
    return Linear(weights, bias - np.einsum("tp,tp->t", off[:, 0], weights))


def _newton(x: Floats, y: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Minimise the penalised logistic loss for each bin: x (bins, trials, P)."""
    bins, n, p = x.shape
    ones = np.ones((bins, n, 1))
    design = np.concatenate([x, ones], axis=2)
    ridge = np.full(p + 1, penalty * n)
    ridge[-1] = 1e-9
    w = np.zeros((bins, p + 1))
    for _ in range(8):
        mean = _logistic(np.einsum("tnp,tp->tn", design, w))
        slope = np.einsum("tnp,tn->tp", design, mean - y) + ridge * w
        weighted = design * np.maximum(mean * (1 - mean), 1e-6)[..., None]
        curve = weighted.transpose(0, 2, 1) @ design + np.diag(ridge)
        w = w - np.linalg.solve(curve, slope[..., None])[..., 0]
    return w[:, :-1], w[:, -1]


def _logistic(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * x))
