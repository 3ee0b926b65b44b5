"""How units change together: what each change is predicted from, and with what weights."""

from dataclasses import dataclass

import numpy as np

from napari_mtm.scoring.baselines.baseline import Floats, Rates
from napari_mtm.scoring.baselines.in_time import filtered


@dataclass(frozen=True, eq=False)
class Coupling:
    """Weights of the visible units for the change of each hidden one, and how they are used.

    Attributes
    ----------
    weights
        (2 units, units): of every unit smoothed around a bin, then of every unit's mean over
        the trial.
    kernel
        How units are smoothed, (bins, bins).
    constant
        What means over the trial are multiplied with.
    floor
        The least rate as a share of the mean.

    """

    weights: Rates
    kernel: Floats
    constant: float
    floor: float

    def features(self, deviations: Rates) -> tuple[Rates, Rates]:
        """Return what weights are multiplied with: (trials, bins, units) and (trials, units)."""
        means = deviations.mean(axis=1) * np.float32(self.constant)
        return filtered(deviations, self.kernel), means

    def changes(self, deviations: Rates) -> Rates:
        """Predict the change of every entry, (trials, bins, units)."""
        return weighed(*self.features(deviations), self.weights)


def weighed(smooth: Rates, means: Rates, weights: Rates) -> Rates:
    """Multiply features of units with weights, (trials, bins, units)."""
    n_trials, n_bins, n_units = smooth.shape
    # One product for all trials, and the same for all bins of a trial.
    product = smooth.reshape(-1, n_units) @ weights[:n_units]
    return product.reshape(n_trials, n_bins, -1) + (means @ weights[n_units:])[:, None]
