"""Behaviour decoded without a model: by ridge regression on smoothed counts around each bin."""

import numpy as np
import numpy.typing as npt

from napari_mtm.model.readouts import (
    Basis,
    around_bins,
    label_of,
    labels_of,
    over_trial,
    targets,
)
from napari_mtm.model.regression import fit_linear_classifier, fit_trace, logistic
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.in_time import filtered, gaussian

Trials = npt.NDArray[np.intp]

_SD = 0.04
"""Smoothing of counts, the standard deviation in seconds."""

_COMPONENTS = 128
_ROWS = 24_000
"""Bins that components are worked out from, at most about so many."""


def decode_by_ridge(
    session: Session, split: Split, trials: Trials
) -> dict[str, npt.NDArray[np.float32]]:
    """Decode behaviour on some trials from all of their counts, fitted on the training trials.

    Traces are read from the 128 components of most variance at several lags, choice and block
    from their means over parts of the trial.
    """
    train = split.train
    names = targets(session, train), [n for n in labels_of(session, train) if n != "choice"]
    if not any(names):
        return {}
    few = train[:: max(len(train) * session.n_bins // _ROWS, 1)]
    basis = Basis.fit(_smoothed(session, few), _COMPONENTS)
    known, new = (basis(_smoothed(session, some)).astype(np.float32) for some in (train, trials))
    found = {}
    for name in names[0]:
        trace = session.behaviour[name][train].astype(np.float64)
        whole = np.isfinite(trace).all(axis=1)
        linear = fit_trace(around_bins(known[whole]), trace[whole], train[whole])
        found[name] = linear.of(around_bins(new)).astype(np.float32)
    for name in names[1]:
        linear = fit_linear_classifier(over_trial(known), label_of(session, name, train), train)
        found[name] = logistic(linear.of(over_trial(new))).astype(np.float32)
    return found


def _smoothed(session: Session, trials: Trials) -> npt.NDArray[np.float32]:
    counts = session.counts[trials].astype(np.float32)
    return filtered(counts, gaussian(session.n_bins, _SD / session.bin_size))
