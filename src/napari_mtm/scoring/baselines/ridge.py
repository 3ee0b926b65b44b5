"""Ridge regression of all units on all units, where what is predicted is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from napari_mtm.scoring.baselines.baseline import Floats, Rates, Units

_SMALL = 64


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression of units on features of the same units, from Gram matrices alone.

    Each unit has as many features; the first of all units come first, then the second. Divided
    by the square root of their deviation they validate better than as they are and than
    standardised: busy units tell more, but not in proportion.

    Attributes
    ----------
    gram, cross
        (features, features) and (features, units), with features divided as said.
    scale
        What features are multiplied with.

    """

    gram: Rates
    cross: Rates
    scale: Floats

    @classmethod
    def of(cls, gram: Floats, cross: Floats, rows: int) -> Self:
        """Scale the sums over rows of products of features, and of features and units."""
        deviation = np.sqrt(np.diagonal(gram) / rows)
        scale = np.zeros(len(gram))
        np.power(deviation, -0.5, out=scale, where=deviation > 0)
        # In units of the mean feature, penalties mean the same for every session.
        unit = float((np.diagonal(gram) * scale**2).sum() / max(int((scale > 0).sum()), 1)) or 1.0
        return cls(
            (gram * scale[:, None] * (scale / unit)).astype(np.float32),
            (cross * (scale / unit)[:, None]).astype(np.float32),
            scale,
        )

    def among(self, units: Units) -> "Ridge":
        """Return the regression of some units on these units only."""
        columns = _columns(units, self.cross.shape)
        return Ridge(
            self.gram[np.ix_(columns, columns)],
            self.cross[np.ix_(columns, units)],
            self.scale[columns],
        )

    def solution(self, level: int) -> "Solution":
        """Solve with a penalty; a level is half a decade, and 0 as much as the mean feature."""
        penalised = self.gram.copy()
        penalised.flat[:: len(penalised) + 1] += np.float32(10 ** (level / 2))
        root, none = _inverse_root(penalised), np.arange(0)
        inverse: Rates = np.asarray(root.T @ root)
        return Solution(inverse, inverse @ self.cross, self.scale.astype(np.float32), none)

    def reduced(
        self, weights: Rates, groups: Sequence[Units], mean: Floats, ranks: Sequence[int]
    ) -> list[Rates]:
        """Hold each group of units to the directions in which its fitted values vary most.

        Units are weighed by 1/sqrt(rate), the inverse of their Poisson noise. Return weights of
        each rank.
        """
        reduced = [weights.copy() for _ in ranks]
        scale = self.scale.astype(np.float32)[:, None]
        for group in groups:
            noise = np.sqrt(mean[group]).astype(np.float32)
            whitened = weights[:, group] / noise
            unscaled = np.divide(whitened, scale, out=np.zeros_like(whitened), where=scale > 0)
            _, directions = np.linalg.eigh(unscaled.T @ self.gram @ unscaled)
            for rank, held in zip(ranks, reduced, strict=True):
                kept = directions[:, -rank:]
                held[:, group] = (whitened @ kept) @ kept.T * noise
        return reduced


@dataclass(frozen=True, eq=False)
class Solution:
    """A regression with one penalty: the inverse of the penalised Gram matrix, and the weights.

    Without the features in columns c, as if they had never been there, weights B are
    B - P_c (P_cc)^-1 B_c, with P the inverse: it serves whatever is left out.
    """

    inverse: Rates
    weights: Rates
    scale: Rates
    left_out: Units

    def without(self, units: Units) -> "Solution":
        """Return the regression without the features of some units."""
        columns = _columns(units, self.weights.shape)
        root = _inverse_root(self.inverse[np.ix_(columns, columns)])
        across, inside = root @ self.inverse[columns], root @ self.weights[columns]
        inverse = self.inverse - across.T @ across
        weights = self.weights - across.T @ inside
        inverse[columns], inverse[:, columns], weights[columns] = 0.0, 0.0, 0.0
        return Solution(inverse, weights, self.scale, np.union1d(self.left_out, units))

    def all_units(self) -> Rates:
        """Weights on features as they are, (features, units)."""
        return self.weights * self.scale[:, None]

    def each_unit(self) -> Rates:
        """Weights on features as they are, (features, units): each unit without its own."""
        n_features, n_units = self.weights.shape
        shape = n_features // n_units, n_units
        # The blocks of each unit: (units, its features, its features) and (units, its features).
        blocks = np.einsum("iuju->uij", self.inverse.reshape(*shape, *shape)).astype(np.float64)
        own = np.einsum("iuu->ui", self.weights.reshape(*shape, n_units)).astype(np.float64)
        blocks[self.left_out] = np.eye(shape[0])
        inside = np.linalg.solve(blocks, own[..., None])[..., 0].astype(np.float32)
        weights = self.weights.copy()
        for i in range(shape[0]):
            weights -= self.inverse[:, i * n_units : (i + 1) * n_units] * inside[:, i]
        units = np.arange(n_units)
        weights.reshape(*shape, n_units)[:, units, units] = 0.0
        return weights * self.scale[:, None]

    def each_group(self, groups: Sequence[Units]) -> Rates:
        """Weights on features as they are, (features, units): groups without their own."""
        weights = self.weights.copy()
        for group in groups:
            columns = _columns(group, self.weights.shape)
            block = self.inverse[np.ix_(columns, columns)]
            inside = np.linalg.solve(block, self.weights[np.ix_(columns, group)])
            weights[:, group] -= self.inverse[:, columns] @ inside
            weights[np.ix_(columns, group)] = 0.0
        return weights * self.scale[:, None]


def _inverse_root(matrix: Rates) -> Rates:
    """Return the inverse of the Cholesky factor L: the inverse of the matrix is its square.

    By halves, so that nearly all of it are products. SciPy has one call for this, but threads of
    its own, which wait for those of NumPy and make small matrices ten times slower.
    """

    def inverse(factor: Rates) -> Rates:
        if len(factor) <= _SMALL:
            return np.linalg.inv(factor)
        half = len(factor) // 2
        found = np.zeros_like(factor)
        first, last = inverse(factor[:half, :half]), inverse(factor[half:, half:])
        found[:half, :half], found[half:, half:] = first, last
        found[half:, :half] = -last @ (factor[half:, :half] @ first)
        return found

    return inverse(np.linalg.cholesky(matrix))


def _columns(units: Units, shape: tuple[int, ...]) -> Units:
    """Places of the features of some units."""
    n_features, n_units = shape
    return np.asarray((np.arange(n_features // n_units)[:, None] * n_units + units).ravel())
