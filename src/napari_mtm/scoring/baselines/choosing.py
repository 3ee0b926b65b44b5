"""Choices on the validation trials."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_mtm.scoring.baselines.baseline import Counts, Floats, Rates

FLOORS = (0.05, 0.1, 0.2, 0.3)
"""Least rates that are tried, as a share of the mean rate."""
FIRST_FLOOR = 0.2

_ALIKE = 0.6
"""Units of e^0.6 times the rate count about as much as units of the same rate."""
_FEW = 0.05


def deviance(counts: Counts, rates: Rates) -> Floats:
    """Poisson deviance of each unit, (units,), but for what does not depend on the rates."""
    terms = counts * np.log(rates)
    np.subtract(rates, terms, out=terms)
    return np.asarray(terms.sum(axis=(0, 1), dtype=np.float64))


def by_units_alike(deviances: Floats, mean: Floats) -> npt.NDArray[np.intp]:
    """Return for each unit which row of (choices, units) is best for the other units of its rate.

    A unit's own deviance does not count, those of others the more the nearer their mean rate.
    The lowest and the highest one in twenty choices are not trusted: too few units are like those.
    """
    rate = np.log(mean)
    weight = np.exp(-0.5 * ((rate[:, None] - rate) / _ALIKE) ** 2)
    np.fill_diagonal(weight, 0.0)
    chosen = (deviances @ weight).argmin(axis=0)
    low, high = np.quantile(chosen, (_FEW, 1 - _FEW), method="nearest")
    return np.asarray(np.clip(chosen, low, high), dtype=np.intp)


def walked(
    tried: Callable[[int], Floats],
    mean: Floats,
    *,
    first: tuple[int, int],
    limits: tuple[int, int],
) -> tuple[list[int], Floats]:
    """Try neighbouring levels until no unit would take the lowest or the highest of them.

    Parameters
    ----------
    tried
        Deviances of a level, (tests, units).
    mean
        Mean rates of the units.
    first, limits
        The levels to begin with, and the lowest and highest there are.

    Returns
    -------
    The levels, ascending, and their deviances, (tests, levels, units).

    """
    found = {level: tried(level) for level in range(first[0], first[1] + 1)}
    while True:
        levels = sorted(found)
        deviances = np.stack([found[level] for level in levels], axis=1)
        chosen = np.stack([by_units_alike(of_test, mean) for of_test in deviances])
        ends = {levels[0] - 1: 0, levels[-1] + 1: len(levels) - 1}
        wanted = [
            level
            for level, end in ends.items()
            if limits[0] <= level <= limits[1] and (chosen == end).any()
        ]
        if not wanted:
            return levels, deviances
        found |= {level: tried(level) for level in wanted}
