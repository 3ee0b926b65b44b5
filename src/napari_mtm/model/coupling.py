"""What some units are expected to do, given others: the conditional mean of a Gaussian.

It is exact for any mask. What a visible unit is expected to do, given the other visible ones,
follows from the same inverse. In the shapes below B is trials, T bins, N units.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

_PLANS = 8
"""Masks whose solution is kept."""


@dataclass(frozen=True)
class _Part:
    """The bins of a mask in which the same units are hidden, and what these bins are solved by.

    `inside` is the inverse of the precision of the hidden units, or, where `by_visible`, of
    the covariance of the visible ones; `alone` is the precision of each visible unit given the
    other visible ones, 1 where hidden.
    """

    bins: Tensor
    hidden: Tensor
    visible: Tensor
    inside: Tensor
    by_visible: bool
    alone: Tensor | None


@dataclass(frozen=True, eq=False)
class Coupling:
    """How deviations of units go together.

    Attributes
    ----------
    covariance, precision
        (N, N): of deviations, with a ridge; and its inverse.
    slopes
        (2, N): counts per bin for what is expected, and for the same smoothed in time.

    """

    covariance: Tensor
    precision: Tensor
    slopes: Tensor
    _plans: "OrderedDict[bytes, list[_Part]]" = field(default_factory=OrderedDict)

    def to(self, device: torch.device) -> "Coupling":
        """Return the same on another device."""
        return Coupling(
            self.covariance.to(device), self.precision.to(device), self.slopes.to(device)
        )

    def expected(self, x: Tensor, visible: Tensor, *, hidden_only: bool = False) -> Tensor:
        """Return deviations (B, T, N) of hidden units given the visible, of these by each other.

        `x` (B, T, N) is 0 where not visible. Bins in which nothing is visible get 0, and so do,
        with `hidden_only`, entries that are visible.
        """
        expected = torch.zeros_like(x)
        for rows, mask in _alike(visible.expand(x.shape)):
            for part in self._solved(~mask, hidden_only=hidden_only):
                self._fill(expected, x, rows, part)
        return expected

    def _fill(self, expected: Tensor, x: Tensor, rows: slice | Tensor, part: _Part) -> None:
        """Put what is expected of the bins of one part into place."""
        given = x[rows][:, part.bins]
        found = torch.zeros_like(given)
        hidden, visible = part.hidden, part.visible
        if part.by_visible:
            solved = given[..., visible] @ part.inside
            found[..., hidden] = solved @ self.covariance[visible][:, hidden]
            if part.alone is not None:
                found[..., visible] = given[..., visible] - solved / part.alone
        else:
            given = given.clone()
            given[..., hidden] = 0
            if part.alone is None:
                pulled = given @ self.precision[:, hidden]
                found[..., hidden] = -(pulled @ part.inside)
            else:
                pulled = given @ self.precision
                if len(hidden):
                    found[..., hidden] = -(pulled[..., hidden] @ part.inside)
                    pulled = pulled + found[..., hidden] @ self.precision[hidden]
                found[..., visible] = given[..., visible] - pulled[..., visible] / part.alone
        if isinstance(rows, slice) and len(part.bins) == x.shape[1]:
            expected[rows] = found
        else:
            where = torch.arange(len(x), device=x.device)[rows]
            expected[where[:, None], part.bins] = found

    def _solved(self, hidden: Tensor, *, hidden_only: bool) -> list[_Part]:
        """Return the parts of a mask (T, N)."""
        key = hidden.cpu().numpy().tobytes() + bytes([hidden_only])
        found = self._plans.pop(key, None)
        if found is None:
            found = list(self._parts(hidden, hidden_only=hidden_only))
        self._plans[key] = found
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        return found

    def _parts(self, hidden: Tensor, *, hidden_only: bool) -> Iterator[_Part]:
        patterns, of = _patterns(hidden)
        for i, pattern in enumerate(patterns):
            if pattern.all() or (hidden_only and not pattern.any()):
                continue
            bins = (of == i).nonzero()[:, 0]
            yield self._part(bins, pattern, hidden_only=hidden_only)

    def _part(self, bins: Tensor, pattern: Tensor, *, hidden_only: bool) -> _Part:
        hidden, visible = pattern.nonzero()[:, 0], (~pattern).nonzero()[:, 0]
        by_visible = len(visible) < len(hidden)
        whole = self.covariance if by_visible else self.precision
        some = visible if by_visible else hidden
        inside = inverse(whole[some][:, some])
        alone: Tensor | None = None
        if not hidden_only and by_visible:
            alone = inside.diagonal()
        elif not hidden_only:
            across = self.precision[hidden][:, visible]
            alone = self.precision.diagonal()[visible] - (across * (inside @ across)).sum(dim=0)
        return _Part(bins, hidden, visible, inside, by_visible, alone)


def _patterns(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different rows of a mask (T, N), and which of them each bin has."""
    if bool((hidden == hidden[:1]).all()):
        return hidden[:1], torch.zeros(len(hidden), dtype=torch.long, device=hidden.device)
    patterns, of = torch.unique(hidden, dim=0, return_inverse=True)
    return patterns, of


def _alike(visible: Tensor) -> Iterator[tuple[slice | Tensor, Tensor]]:
    """Yield trials that have the same mask, and the mask (T, N)."""
    if visible.stride(0) == 0 or bool((visible == visible[:1]).all()):
        yield slice(None), visible[0]
        return
    start = 0
    while start < len(visible):
        stop = start + 1
        while stop < len(visible) and torch.equal(visible[stop], visible[start]):
            stop += 1
        yield slice(start, stop), visible[start]
        start = stop


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of a positive definite matrix; of none, none."""
    if not len(matrix):
        return matrix
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix))
