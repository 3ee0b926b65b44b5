"""Linear decoders fitted in closed form, or by a few Newton steps.

Each has a penalty chosen by cross-validation over blocks of neighbouring trials, which drift
together. A trial may be there several times, as it was seen under several masks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize, nnls

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating]
Trials = npt.NDArray[np.intp]

_FOLDS = 4
_PENALTIES = 10.0 ** np.arange(-4, 4)
_CLOSE = 1e-5
"""Newton steps that are smaller are the last."""

_USUAL_PULL = 0.02
"""How strongly shares of classifiers, which few trials tell of, are held to the average."""


@dataclass(frozen=True)
class Linear:
    """Weights of features, and an intercept; either may lead with an axis of bins."""

    weights: Floats
    intercept: Floats

    def of(self, features: Features) -> Floats:
        """Return what is read from features (trials, P), or (trials, bins, P)."""
        if self.weights.ndim == 2:
            found: Floats = np.einsum("btp,tp->bt", features, self.weights) + self.intercept
        else:
            found = features @ self.weights + self.intercept
        return found

    def scaled(self, share: float, origin: Floats | float) -> "Linear":
        """Return one that says a share of how far this is from an origin."""
        return Linear(share * self.weights, share * (self.intercept - origin))


def _folds(trials: Trials) -> npt.NDArray[np.intp]:
    """Deal rows to folds; neighbouring trials to the same one."""
    _, place = np.unique(trials, return_inverse=True)
    dealt: npt.NDArray[np.intp] = place * _FOLDS // (place.max(initial=0) + 1)
    return dealt


def fit_trace(features: Features, target: Floats, trials: Trials) -> Linear:
    """Ridge regression of a trace (rows, bins) with a free mean course.

    `features` are (rows, bins, P), and `trials` say which trial each row is of.
    """
    given, y = torch.as_tensor(features), torch.as_tensor(target)
    mean, off = y.mean(dim=0), given.mean(dim=0, dtype=torch.float64)
    x, y = given - off.to(given.dtype), y - mean
    rows = [torch.as_tensor(np.flatnonzero(_folds(trials) == k)) for k in range(_FOLDS)]
    grams, products = [], []
    for some in rows:
        part = x[some].flatten(0, 1).double()
        grams.append(part.T @ part)
        products.append(part.T @ y[some].flatten())
    gram, product = torch.stack(grams).sum(dim=0), torch.stack(products).sum(dim=0)
    scale = gram.diagonal().mean().clamp(min=1e-12)
    penalties = scale * torch.as_tensor(_PENALTIES)
    errors = torch.zeros(len(_PENALTIES), dtype=torch.float64)
    for some, left_out, without in zip(rows, grams, products, strict=True):
        values, vectors = torch.linalg.eigh(gram - left_out)
        turned = vectors.T @ (product - without)
        weights = vectors @ (turned[:, None] / (values.clamp(min=0)[:, None] + penalties))
        guess = (x[some].flatten(0, 1) @ weights.to(x.dtype)).double()
        errors += ((y[some].flatten()[:, None] - guess) ** 2).sum(dim=0)
    ridge = penalties[errors.argmin()] * torch.eye(len(gram), dtype=torch.float64)
    weights = torch.linalg.solve(gram + ridge, product)
    return Linear(weights.numpy(), (mean - off @ weights).numpy())


def fit_linear_classifier(
    features: Features, label: Floats, trials: Trials | None = None
) -> Linear:
    """Logistic regression: features (rows, P), label (rows,) 0, 1 or NaN."""
    linear = fit_classifier_per_bin(features[:, None], label, trials)
    return Linear(linear.weights[0], linear.intercept[0])


def fit_classifier_per_bin(
    features: Features, label: Floats, trials: Trials | None = None
) -> Linear:
    """Logistic regression per bin: features (rows, bins, P), label (rows,) 0, 1 or NaN.

    One penalty serves all bins. Few trials and many features are fitted in the space
    that the trials span, which gives the same weights.
    """
    known = np.isfinite(label)
    x, y = features[known].transpose(1, 0, 2).astype(np.float64), label[known]
    off = x.mean(axis=1, keepdims=True)
    x = x - off
    scale = np.sqrt(np.maximum((x**2).mean(axis=(1, 2), keepdims=True), 1e-12))
    x = x / scale
    rotation = None
    if x.shape[2] > x.shape[1]:
        _, _, turned = np.linalg.svd(x, full_matrices=False)
        rotation = turned.transpose(0, 2, 1)
        x = x @ rotation
    fold = _folds(np.arange(len(label))[known] if trials is None else trials[known])
    losses = np.zeros(len(_PENALTIES))
    for i, penalty in enumerate(_PENALTIES):
        for k in range(_FOLDS):
            test = fold == k
            weights, bias = _newton(x[:, ~test], y[~test], penalty)
            margin = np.einsum("tnp,tp->tn", x[:, test], weights) + bias[:, None]
            losses[i] += _loss(margin, y[test]).sum()
    weights, bias = _newton(x, y, _PENALTIES[losses.argmin()])
    if rotation is not None:
        weights = np.einsum("tpr,tr->tp", rotation, weights)
    weights = weights / scale[:, 0]
    return Linear(weights, bias - np.einsum("tp,tp->t", off[:, 0], weights))


def _newton(x: Floats, y: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Minimise the penalised logistic loss for each bin: x (bins, rows, P)."""
    bins, n, p = x.shape
    ones = np.ones((bins, n, 1))
    design = np.concatenate([x, ones], axis=2)
    ridge = np.full(p + 1, penalty * n)
    ridge[-1] = 1e-9
    w = np.zeros((bins, p + 1))
    for _ in range(8):
        mean = logistic(np.einsum("tnp,tp->tn", design, w))
        slope = np.einsum("tnp,tn->tp", design, mean - y) + ridge * w
        weighted = design * np.maximum(mean * (1 - mean), 1e-6)[..., None]
        curve = weighted.transpose(0, 2, 1) @ design + np.diag(ridge)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        w = w - step
        if np.abs(step).max() < _CLOSE:
            break
    return w[:, :-1], w[:, -1]


def logistic(x: Floats) -> Floats:
    """Probability of log odds."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _loss(margin: Floats, label: Floats) -> Floats:
    """Negative log likelihood of labels 0 or 1, given log odds."""
    return np.logaddexp(0, np.where(label == 1, -margin, margin))


def shares_of_traces(deviations: list[Floats], target: Floats) -> list[float]:
    """Return how much of each decoder's deviations, none less than 0, fits a target best.

    All are from the mean course, on trials that the decoders were not fitted on.
    """
    found, _ = nnls(np.stack([d.reshape(-1) for d in deviations], axis=1), target.reshape(-1))
    return [float(share) for share in found]


def shares_of_classifiers(deviations: list[Floats], label: Floats, usual: float) -> list[float]:
    """Return how much of each classifier's deviations fits labels (rows,) best.

    They are of log odds from the usual ones, (rows,) or (rows, bins); the shares are between 0
    and 1.5, and near equal ones where little is known.
    """
    equal = 1 / len(deviations)
    y = label if deviations[0].ndim == 1 else label[:, None]

    def cost(shares: Floats) -> float:
        odds = usual + sum(s * d for s, d in zip(shares, deviations, strict=True))
        return float(_loss(odds, y).mean() + _USUAL_PULL * ((shares - equal) ** 2).sum())

    start = np.full(len(deviations), equal)
    found = minimize(cost, start, bounds=[(0.0, 1.5)] * len(deviations)).x
    return [float(share) for share in found]
