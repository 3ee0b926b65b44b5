"""How well behaviour is decoded on test trials: by readouts, or as the paper does."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task
from napari_mtm.model.model import Model
from napari_mtm.model.regression import fit_linear_classifier
from napari_mtm.recording.session import Session, Split
from napari_mtm.recording.trials import block_favours_right, chose_right
from napari_mtm.scoring.behaviour_baseline import decode_by_ridge
from napari_mtm.scoring.beyond_stimulus import on_errors, within_contrasts

Floats = npt.NDArray[np.float64]
Trials = npt.NDArray[np.intp]

_RIDGE = (1e-6, 1e1, 1e2, 1e3, 1e4)  # the paper's, with a trace of a penalty for none
_FOLDS = 4
_MEASURES = "accuracy", "r2"


def decode_session(
    model: Model, session: Session, split: Split, trials: Trials, *, published: bool = False
) -> dict[str, dict[str, float]]:
    """Score decoded behaviour on some trials: accuracy and chance, or R².

    Readouts that the model has for the session are used as they are; else they are
    fitted on the training trials. With `published`, the paper's protocol instead:
    regressions on flattened log rates, fitted on training and validation trials.
    """
    if published:
        known = np.sort(np.r_[split.train, split.validation])
        return score_decoded(session, trials, _published(model, session, known, trials))
    return score_decoded(session, trials, decode_behaviour(model, session, split, trials))


def beside_ridge(
    scores: Mapping[str, Mapping[str, float]], session: Session, split: Split, trials: Trials
) -> dict[str, dict[str, float]]:
    """Add to scores of what is decoded those of a ridge decoder of counts, as `ridge_...`."""
    ridge = score_decoded(session, trials, decode_by_ridge(session, split, trials))
    return {
        name: {
            **values,
            **{
                f"ridge_{kind}": ridge[name][kind]
                for kind in _MEASURES
                if kind in ridge.get(name, {})
            },
        }
        for name, values in scores.items()
    }


def decode_behaviour(
    model: Model, session: Session, split: Split, trials: Trials
) -> Mapping[str, npt.NDArray[np.floating]]:
    """Decode behaviour on some trials, by the readouts that the model has, or fitted ones."""
    model.attach(session)
    # What is fitted here is not kept: another split may test what this one trains on.
    readouts = model.readouts.get(session.id) or model.fitted_readouts(
        session, split.train, split.validation
    )
    nothing = Mask.nothing(session)
    return readouts.decode(
        model.seen(session, trials, nothing, directions=readouts.directions_of(session))
    )


def score_decoded(
    session: Session, trials: Trials, decoded: Mapping[str, npt.NDArray[np.floating]]
) -> dict[str, dict[str, float]]:
    """Score behaviour decoded on some trials: accuracy and chance, or R², of what is known.

    Of the choice, the probability that is decoded from the whole trial is scored where
    there is one; and what it knows beyond the stimulus, `within_contrasts` and `on_errors`,
    where there are trials that tell.
    """
    found = dict(decoded)
    if "choice-by-trial" in found:
        found["choice"] = found.pop("choice-by-trial")
    scores: dict[str, dict[str, float]] = {}
    table = session.trials.iloc[trials]
    labels = {"choice": chose_right(table), "block": block_favours_right(table)}
    for name, label in labels.items():
        if name in found and np.isfinite(label).any():
            scores[name] = _accuracy(label, found[name])
    if "choice" in scores and found["choice"].ndim == 1:
        beyond = {"within_contrasts": within_contrasts, "on_errors": on_errors}
        values = {name: tells(table, found["choice"]) for name, tells in beyond.items()}
        scores["choice"] |= {name: value for name, value in values.items() if np.isfinite(value)}
    for name in session.traces:
        if name in found:
            truth = session.behaviour[name][trials]
            known = np.isfinite(truth).all(axis=1)
            if known.any():
                scores[name] = {"r2": _r2(truth[known], found[name][known])}
    return scores


def _published(
    model: Model, session: Session, train: Trials, test: Trials
) -> dict[str, npt.NDArray[np.float64]]:
    """Decode from log rates of unmasked counts: choice with the neuron prompt, traces causal."""
    nothing = np.zeros((session.n_bins, session.n_units), dtype=bool)
    both = np.concatenate([train, test])

    def features(task: Task) -> tuple[Floats, Floats]:
        rates = model.predict(
            session.counts[both], nothing, task=task, session=session, trials=both
        )
        flat = rates.reshape(len(both), -1).astype(np.float64)
        return flat[: len(train)], flat[len(train) :]

    found = {}
    right = chose_right(session.trials.iloc[train])
    if min((right == 0).sum(), (right == 1).sum()) >= _FOLDS:
        before, after = features("neuron")
        linear = fit_linear_classifier(before, right)
        found["choice"] = expit(after @ linear.weights + linear.intercept)
    before, after = features("causal")
    for name in session.traces:
        trace = session.behaviour[name][train]
        known = np.isfinite(trace).all(axis=1)
        if known.sum() >= _FOLDS:
            found[name] = _ridge(before[known], trace[known].astype(np.float64), after)
    return found


def _ridge(features: Floats, targets: Floats, new: Floats) -> Floats:
    """Ridge regression with the penalty of least error in four folds, on many features."""
    kernel = features @ features.T
    fold = np.arange(len(features)) % _FOLDS
    errors = np.zeros(len(_RIDGE))
    for k in range(_FOLDS):
        out, kept = fold == k, fold != k
        for i, penalty in enumerate(_RIDGE):
            guess = _kernel_ridge(
                kernel[np.ix_(kept, kept)], targets[kept], kernel[np.ix_(out, kept)], penalty
            )
            errors[i] += ((guess - targets[out]) ** 2).sum()
    return _kernel_ridge(kernel, targets, new @ features.T, _RIDGE[errors.argmin()])


def _kernel_ridge(kernel: Floats, targets: Floats, new: Floats, penalty: float) -> Floats:
    """Ridge regression with a free intercept, from products of features."""
    mean = kernel.mean(axis=0)
    centred = kernel - mean - mean[:, None] + kernel.mean()
    away = new - new.mean(axis=1, keepdims=True) - mean + kernel.mean()
    weights = np.linalg.lstsq(
        centred + penalty * np.eye(len(kernel)), targets - targets.mean(axis=0), rcond=1e-10
    )[0]
    predicted: Floats = away @ weights + targets.mean(axis=0)
    return predicted


def _accuracy(label: Floats, probability: npt.NDArray[np.floating]) -> dict[str, float]:
    known = np.isfinite(label)
    right = label[known] == 1
    return {
        "accuracy": float(((probability[known] > 0.5) == right).mean()),
        "chance": float(max(right.mean(), 1 - right.mean())),
    }


def _r2(truth: npt.NDArray[np.floating], guess: npt.NDArray[np.floating]) -> float:
    """R² over all trials and bins together."""
    truth = truth.astype(np.float64)
    total = ((truth - truth.mean()) ** 2).sum()
    return float(1 - ((truth - guess) ** 2).sum() / total) if total > 0 else float("nan")
