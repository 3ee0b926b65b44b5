"""A linear forecast, in closed form: each unit from its own past and from that of all.

The past is summed up in averages that fade, so that what was long ago counts less and a forecast
far ahead is closer to what is usual. Weights are chosen by what is predicted across folds of the
training trials. In the shapes below B is trials, T bins, N units, K and J numbers of averages,
P directions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_OWN_SECONDS = (0.04, 0.15, 0.6, 3.0)
_SHARED_SECONDS = (0.3, 3.0)
"""After how long what a unit did, or all units did, has faded to a third."""

_DIRECTIONS = 64
_ROUNDS = 6
"""Of multiplying with the covariance, to find the directions of its largest part."""

_POOLED = (0.1, 0.3, 1.0, 3.0, 10.0)
"""For how many units' data the weights of all units count, for those of one."""

_PENALTIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_FIRST_BIN = 5
_MOST_PLACES = 20
_STEP = 5


@dataclass(frozen=True, eq=False)
class Forecast:
    """The fitted forecast of one session.

    Attributes
    ----------
    own_past, shared_past
        (K, T, T) and (J, T, T): how averages at each bin are made of the bins before it.
    directions
        (N, P): in which the past of all units is looked at.
    own, shared
        Weights (K, N) of a unit's own averages, and (J, P, N) of all units'.

    """

    own_past: Tensor
    shared_past: Tensor
    directions: Tensor
    own: Tensor
    shared: Tensor

    @classmethod
    def unfitted(cls, bins: int, bin_size: float, directions: Tensor) -> "Forecast":
        """Return one that expects what is usual."""
        n, p = directions.shape
        own, shared = (_fading(s, bins, bin_size) for s in (_OWN_SECONDS, _SHARED_SECONDS))
        device = directions.device
        return cls(
            own.to(device),
            shared.to(device),
            directions,
            torch.zeros(len(own), n, device=device),
            torch.zeros(len(shared), p, n, device=device),
        )

    def to(self, device: torch.device) -> "Forecast":
        """Return the same on another device."""
        return Forecast(
            self.own_past.to(device),
            self.shared_past.to(device),
            self.directions.to(device),
            self.own.to(device),
            self.shared.to(device),
        )

    def changes(self, deviation: Tensor) -> Tensor:
        """Return how far from usual counts will be, in square roots of usual counts, (B, T, N).

        `deviation` (B, T, N) is of square-root counts, and 0 where hidden. Each bin is forecast
        from those before it.
        """
        change = torch.zeros_like(deviation)
        for past, own in zip(self.own_past, self.own, strict=True):
            change += (past @ deviation) * own
        seen = deviation @ self.directions
        for past, shared in zip(self.shared_past, self.shared, strict=True):
            change += past @ (seen @ shared)
        return change


def directions_of(covariance: Tensor, scale: Tensor) -> Tensor:
    """Return directions (N, P) that hold the largest part of a covariance, for unscaled units."""
    size = min(_DIRECTIONS, len(covariance))
    start = torch.randn(len(covariance), size, generator=torch.Generator().manual_seed(0))
    found = start.to(covariance)
    for _ in range(_ROUNDS):
        found, _ = torch.linalg.qr(covariance @ found)
    return scale[:, None] * found.float()


def fitted(
    unfitted: Forecast,
    folds: Iterable[Iterable[tuple[Tensor, Tensor]]],
    last: int,
    exact: torch.dtype,
) -> Forecast:
    """Fit a forecast of all units, from several places in the trial up to the bin `last`.

    Each fold gives parts of its trials: deviations of roots, and of counts in square roots of
    usual counts, (B, T, N). `exact` is what products are summed in.
    """
    bins = unfitted.own_past.shape[-1]
    places = _places(last)
    if not places:
        return unfitted
    ahead = bins - last
    sums = [_Sums.of(unfitted, fold, places, ahead, exact) for fold in folds]

    def others(i: int) -> _Sums:
        return _total([s for k, s in enumerate(sums) if k != i or len(sums) == 1])

    rest = [others(i) for i in range(len(sums))]

    def by_own(pooled: float) -> float:
        found = (r.own_weights(pooled) for r in rest)
        return sum(s.gain_of_own(own) for s, own in zip(sums, found, strict=True))

    pooled = max(_POOLED, key=by_own)
    own_of_rest = [r.own_weights(pooled) for r in rest]

    def by_all(penalty: float) -> float:
        found = (r.shared_weights(o, penalty) for r, o in zip(rest, own_of_rest, strict=True))
        return sum(
            s.gain_of_shared(o, shared)
            for s, o, shared in zip(sums, own_of_rest, found, strict=True)
        )

    gains = {penalty: by_all(penalty) for penalty in _PENALTIES}
    penalty = max(gains, key=gains.__getitem__)
    total = _total(sums)
    own = total.own_weights(pooled)
    shared = total.shared_weights(own, penalty)
    if gains[penalty] <= 0:  # what others did tells nothing
        shared = torch.zeros_like(shared)
    return Forecast(
        unfitted.own_past,
        unfitted.shared_past,
        unfitted.directions,
        own.T.to(unfitted.own),
        shared.reshape(unfitted.shared.shape).to(unfitted.shared),
    )


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums of products of what forecasts are made from and what came; Q is J times P.

    Attributes
    ----------
    own, own_ahead
        (N, K, K) and (N, K): own averages with each other and with what came.
    shared, shared_ahead
        (Q, Q) and (Q, N): those of all units likewise.
    across
        (Q, N, K): the one with the other.

    """

    own: Tensor
    own_ahead: Tensor
    shared: Tensor
    shared_ahead: Tensor
    across: Tensor

    @classmethod
    def of(
        cls,
        forecast: Forecast,
        parts: Iterable[tuple[Tensor, Tensor]],
        places: list[int],
        ahead: int,
        exact: torch.dtype,
    ) -> "_Sums":
        """Add up the parts of a fold."""
        (k, n), (j, p, _) = forecast.own.shape, forecast.shared.shape
        device = forecast.own.device

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=exact, device=device)

        # What fades by these until so many bins ahead.
        of_own = _fading_ahead(forecast.own_past, ahead)
        of_all = _fading_ahead(forecast.shared_past, ahead)
        sums = cls(
            zeros(n, k, k), zeros(n, k), zeros(j * p, j * p), zeros(j * p, n), zeros(j * p, n, k)
        )
        for deviation, came in parts:
            seen = deviation @ forecast.directions
            own = torch.einsum("kct,btn->bcnk", forecast.own_past[:, places], deviation)
            shared = torch.einsum("jct,btp->bcjp", forecast.shared_past[:, places], seen)
            later = torch.stack([came[:, place : place + ahead] for place in places], dim=1)
            own_later = torch.einsum("kh,bchn->bcnk", of_own, later)
            all_later = torch.einsum("jh,bchn->bcjn", of_all, later)
            rows, flat = own.flatten(0, 1).to(exact), shared.flatten(0, 1).to(exact)
            sums.own.add_(torch.einsum("rnk,rnl->nkl", rows, rows))
            sums.own_ahead.add_((rows * own_later.flatten(0, 1)).sum(dim=0))
            wide = flat.flatten(1)
            sums.shared.add_(wide.T @ wide)
            for place in range(j):
                sums.shared_ahead[place * p : (place + 1) * p].add_(
                    flat[:, place].T @ all_later[:, :, place].flatten(0, 1).to(exact)
                )
            sums.across.add_((wide.T @ rows.flatten(1)).view(j * p, n, k))
        of_own, of_all = of_own.to(exact), of_all.to(exact)
        sums.own.mul_(of_own @ of_own.T)
        sums.shared.mul_((of_all @ of_all.T).repeat_interleave(p, 0).repeat_interleave(p, 1))
        sums.across.mul_((of_all @ of_own.T).repeat_interleave(p, 0)[:, None])
        return sums

    def own_weights(self, pooled: float) -> Tensor:
        """Weights (N, K) of own averages, drawn to those of all units."""
        mean, ahead = self.own.mean(dim=0), self.own_ahead.mean(dim=0)
        prior = pooled * mean + 1e-9 * torch.eye(len(mean)).to(mean)
        usual = torch.linalg.solve(mean + _ridge(mean, 1e-3), ahead)
        found: Tensor = torch.linalg.solve(self.own + prior, self.own_ahead + prior @ usual)
        return found

    def shared_weights(self, own: Tensor, penalty: float) -> Tensor:
        """Weights (Q, N) of all units' averages, of what own averages leave."""
        left = self.shared_ahead - torch.einsum("qnk,nk->qn", self.across, own)
        found: Tensor = torch.linalg.solve(self.shared + _ridge(self.shared, penalty), left)
        return found

    def gain_of_own(self, own: Tensor) -> float:
        """Return by how much own averages lessen the squared error."""
        left = (self.own @ own[..., None])[..., 0]
        return float((own * (2 * self.own_ahead - left)).sum())

    def gain_of_shared(self, own: Tensor, shared: Tensor) -> float:
        """Return by how much all units' averages lessen what own averages leave."""
        left = self.shared_ahead - torch.einsum("qnk,nk->qn", self.across, own)
        return float((shared * (2 * left - self.shared @ shared)).sum())


def _total(sums: Sequence[_Sums]) -> _Sums:
    first, *others = sums
    total = _Sums(*(part.clone() for part in vars(first).values()))
    for other in others:
        for part, more in zip(vars(total).values(), vars(other).values(), strict=True):
            part.add_(more)
    return total


def _ridge(square: Tensor, strength: float) -> Tensor:
    size = square.diagonal().mean().clamp(min=1e-9)
    return strength * size * torch.eye(len(square)).to(square)


def _fading(seconds: Sequence[float], bins: int, bin_size: float) -> Tensor:
    """Weights (K, T, T) of averages of the bins before, which fade at these rates."""
    stays = torch.exp(-bin_size / torch.tensor(seconds))[:, None, None]
    time = torch.arange(bins)
    since = time[:, None] - time - 1
    return torch.where(since >= 0, (1 - stays) * stays ** since.clamp(min=0), 0.0)


def _fading_ahead(past: Tensor, ahead: int) -> Tensor:
    """What is left of averages (K, ahead) while nothing new is seen, 1 at first."""
    return past[:, 1 : ahead + 1, 0] / past[:, 1:2, 0]


def _places(last: int) -> list[int]:
    """Bins, ascending, from which forecasts are learned; the last is the test's."""
    first = min(_FIRST_BIN, last)
    step = max(_STEP, -(-(last - first) // _MOST_PLACES))
    return list(range(last, max(first, 1) - 1, -step))[::-1]
