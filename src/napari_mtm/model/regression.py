"""Linear decoders fitted in closed form, or by a few Newton steps.

Each has a penalty chosen by cross-validation over blocks of neighbouring trials, which drift
together. A trial may be there several times, as it was seen under several masks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize, nnls
from torch import Tensor

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
    x = torch.as_tensor(features[known]).double().transpose(0, 1)
    y = torch.as_tensor(label[known])
    off = x.mean(dim=1, keepdim=True)
    x = x - off
    scale = (x**2).mean(dim=(1, 2), keepdim=True).clamp(min=1e-12).sqrt()
    x = x / scale
    rotation = None
    if x.shape[2] > x.shape[1]:
        _, _, turned = torch.linalg.svd(x, full_matrices=False)
        rotation = turned.transpose(1, 2)
        x = x @ rotation
    fold = torch.as_tensor(
        _folds(np.arange(len(label))[known] if trials is None else trials[known])
    )
    losses = np.zeros(len(_PENALTIES))
    for i, penalty in enumerate(_PENALTIES):
        for k in range(_FOLDS):
            test = fold == k
            weights, bias = _newton(x[:, ~test], y[~test], penalty)
            margin = (x[:, test] @ weights[..., None])[..., 0] + bias[:, None]
            losses[i] += _loss(margin.numpy(), y[test].numpy()).sum()
    weights, bias = _newton(x, y, _PENALTIES[losses.argmin()])
    if rotation is not None:
        weights = (rotation @ weights[..., None])[..., 0]
    weights = weights / scale[:, 0]
    bias = bias - (off[:, 0] * weights).sum(dim=1)
    return Linear(weights.numpy(), bias.numpy())


def _newton(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Minimise the penalised logistic loss for each bin: x (bins, rows, P)."""
    bins, n, p = x.shape
    design = torch.cat([x, x.new_ones(bins, n, 1)], dim=2)
    ridge = x.new_full((p + 1,), penalty * n)
    ridge[-1] = 1e-9
    w = x.new_zeros(bins, p + 1)
    for _ in range(8):
        mean = torch.sigmoid((design @ w[..., None])[..., 0])
        slope = ((mean - y)[:, None] @ design)[:, 0] + ridge * w
        weighted = design * (mean * (1 - mean)).clamp(min=1e-6)[..., None]
        curve = weighted.transpose(1, 2) @ design + torch.diag(ridge)
        step = torch.linalg.solve(curve, slope)
        w = w - step
        if bool(step.abs().max() < _CLOSE):
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


def shares_of_classifiers(deviations: list[Floats], label: Floats, usual: Floats) -> list[float]:
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
