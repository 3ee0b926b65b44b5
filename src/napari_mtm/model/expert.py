"""A linear expert: each unit from all others at once, in closed form and exact for any mask.

Deviations of square-root counts from each unit's usual course, slightly smoothed in time, are
taken to be jointly Gaussian over units. What hidden units are expected to do, given the
visible ones, is their conditional mean; what a visible unit is expected to do, given the other
visible ones, follows from the same inverse. Both become rates by two slopes per unit. Within
regions, units of one region alone are taken to go together; forecasts are linear in the past.

In the shapes below B is trials, T bins, N units. All is fitted on the training trials.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task
from napari_mtm.model.coupling import Coupling, inverse
from napari_mtm.model.forecast import Forecast, directions_of, fitted
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session
from napari_mtm.recording.slow import SlowLevels

Trials = npt.NDArray[np.intp]

_COURSE_SECONDS = (0.03, 0.06, 0.12, 0.24, 0.48)
_SMOOTHING_SECONDS = (0.014, 0.03, 0.06, 0.12)
_WIDE_SECONDS = 0.04
"""Smoothing of what the second slope is multiplied with."""

_STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_FIRST_STRENGTH = 3
_FOLDS = 4
_FEW_UNITS, _FEW_TRIALS = 300, 160
_ROWS = 24_000
"""Bins that covariances are worked out from, at most about so many."""

_ENTRIES = 20_000_000
"""Bins times units that slopes are fitted on, at most about so many."""

_NOISE = 0.02
_POOLED = 0.1
"""How much the slopes of all units count for those of one."""

_LEAST_SHARE = 0.15
"""A prediction is at least this share of the mean rate: a linear one may fall below 0."""

_LEAST_COURSE = 0.1
_CHUNK = 32


@dataclass(frozen=True)
class Level:
    """What is usual on some trials.

    Attributes
    ----------
    log_rates, roots
        Log rates, and mean square-root counts, (B or 1, T, N).
    drift
        What of the log rates is the slow level, (B or 1, 1, N).

    """

    log_rates: Tensor
    roots: Tensor
    drift: Tensor


@dataclass(frozen=True, eq=False)
class Expert:
    """The fitted expert of one session.

    Attributes
    ----------
    log_course, root_course
        Usual log rates and square-root counts, (T, N).
    smoothing, wide
        (T, T): how deviations are smoothed, and what is expected of them is again.
    scale
        (N,): deviations are multiplied with it.
    across, within
        How units of all regions go together, and those of each region alone.
    forecast
        What the past says.
    slow
        The level of each unit on each trial.

    """

    log_course: Tensor
    root_course: Tensor
    smoothing: Tensor
    wide: Tensor
    scale: Tensor
    across: Coupling
    within: Coupling
    forecast: Forecast
    slow: SlowLevels

    @classmethod
    def fit(
        cls,
        session: Session,
        trials: Trials | None = None,
        *,
        device: torch.device | str = "cpu",
        progress: Progress = silent,
    ) -> "Expert":
        """Fit on the training trials of a session, or on the trials that are given instead."""
        chosen = session.split().train if trials is None else np.unique(trials)
        return _Fit(session, chosen, torch.device(device)).run(progress)

    def __deepcopy__(self, _memo: object) -> "Expert":
        """Return itself: nothing of it changes."""
        return self

    def to(self, device: torch.device) -> "Expert":
        """Return the same on another device."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            name: part if isinstance(part, SlowLevels) else part.to(device)
            for name, part in parts.items()
        }
        return Expert(**moved)

    def level(self, trials: Sequence[int] | Trials | None = None) -> Level:
        """Return what is usual on some trials, or, without slow levels, on any."""
        if trials is None:
            none = torch.zeros_like(self.scale)
            return Level(self.log_course[None], self.root_course[None], none[None, None])
        return self.level_of(*self.slow.at(trials))

    def level_of(self, rates: npt.NDArray[np.floating], roots: npt.NDArray[np.floating]) -> Level:
        """Return what is usual where slow levels (B, N) of rates and of roots are these."""
        of_rates, of_roots = (
            torch.as_tensor(levels[:, None], dtype=torch.float32, device=self.scale.device)
            for levels in (rates, roots)
        )
        drift = of_rates.log()
        return Level(self.log_course + drift, self.root_course * of_roots, drift)

    def log_rates(
        self,
        deviation: Tensor,
        visible: Tensor,
        level: Level,
        task: Task,
        *,
        hidden_only: bool = False,
    ) -> Tensor:
        """Return log rates (B, T, N): of hidden units given the visible, of these by each other.

        `deviation` (B, T, N) is of square-root counts from the level's; `visible` broadcasts
        to it. "causal" looks at what came before alone, and "intra-region" at a unit's own
        region. Bins in which nothing is visible there get what is usual, and so may, with
        `hidden_only`, entries that are visible.
        """
        usual, seen = level.log_rates.exp(), deviation * visible
        if task == "causal":
            change = self.forecast.changes(seen) * usual.sqrt()
        else:
            coupling = self.within if task == "intra-region" else self.across
            x = torch.matmul(self.smoothing, seen) * self.scale
            expected = coupling.expected(x, visible, hidden_only=hidden_only)
            change = coupling.slopes[0] * expected
            change += coupling.slopes[1] * torch.matmul(self.wide, expected)
        least = _LEAST_SHARE * self.log_course.exp().mean(dim=0)
        return torch.maximum(usual + change, least).log()


def _exactly(device: torch.device) -> torch.dtype:
    """Of what is summed while fitting: slopes would magnify how threads round 32 bits."""
    return torch.float32 if device.type == "mps" else torch.float64


def gaussian(bins: int, sd: float, device: torch.device) -> Tensor:
    """Weights (T, T) of a Gaussian average; at the ends it is of what is there."""
    time = torch.arange(bins, device=device)
    weights = torch.exp(-0.5 * ((time[:, None] - time) / sd) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class _Fit:
    """How an expert is fitted: choices by what is predicted across folds of training trials."""

    session: Session
    trials: Trials
    device: torch.device

    def run(self, progress: Progress) -> Expert:
        session, device = self.session, self.device
        progress(0.0, "linear expert: usual courses")
        log_course, root_course = self._courses()
        one = torch.eye(session.n_units, device=device)
        alone = Coupling(one, one, torch.zeros(2, session.n_units, device=device))
        scale = torch.ones(session.n_units, device=device)
        expert = Expert(
            log_course=log_course,
            root_course=root_course,
            smoothing=self._kernel(_SMOOTHING_SECONDS[0]),
            wide=self._kernel(_WIDE_SECONDS),
            scale=scale,
            across=alone,
            within=alone,
            forecast=Forecast.unfitted(session.n_bins, session.bin_size, directions_of(one, scale)),
            slow=self._slow[0],
        )
        if len(self.trials) < 2:
            return expert
        expert = replace(expert, scale=self._scale(expert))
        if session.n_units > 1:
            progress(0.1, "linear expert: smoothing")
            expert = self._smoothed(expert)
            progress(0.3, "linear expert: strength")
            expert = self._regressed(expert, progress)
        progress(0.8, "linear expert: forecasts")
        expert = replace(expert, forecast=self._forecast(expert))
        progress(1.0, "linear expert")
        return expert

    def _kernel(self, seconds: float) -> Tensor:
        return gaussian(self.session.n_bins, seconds / self.session.bin_size, self.device)

    def _chunks(self, trials: Trials) -> Iterator[Trials]:
        for start in range(0, len(trials), _CHUNK):
            yield trials[start : start + _CHUNK]

    def _counts(self, trials: Trials) -> Tensor:
        return torch.as_tensor(self.session.counts[trials], device=self.device).float()

    def _folds(self, trials: Trials) -> list[Trials]:
        """Neighbours drift together: each fold is a part of the session."""
        return [fold for fold in np.array_split(trials, _FOLDS) if len(fold)]

    def _courses(self) -> tuple[Tensor, Tensor]:
        """Smooth the average over trials as much as predicts each other half of them best."""
        shape = 2, *self.session.counts.shape[1:]
        sums, roots = torch.zeros(shape, device=self.device), torch.zeros(shape, device=self.device)
        sizes = torch.zeros(2, 1, 1, device=self.device)
        for half in range(2):
            for rows in self._chunks(self.trials[half::2]):
                counts = self._counts(rows)
                sums[half] += counts.sum(dim=0)
                roots[half] += counts.sqrt().sum(dim=0)
                sizes[half] += len(rows)
        mean = (sums.sum(dim=(0, 1)) / (sizes.sum() * shape[1]).clamp(min=1)).clamp(min=1e-4)
        usual = sums / sizes.clamp(min=1)

        def course(averages: Tensor, seconds: float) -> Tensor:
            return torch.maximum(self._kernel(seconds) @ averages, _LEAST_COURSE * mean)

        def deviance(seconds: float) -> float:
            guess = course(usual, seconds).flip(0)
            return float((sizes * (guess - usual * guess.log())).sum())

        seconds = min(_COURSE_SECONDS, key=deviance)
        total = sizes.sum().clamp(min=1)
        return (
            course(sums.sum(dim=0) / total, seconds).log(),
            self._kernel(seconds) @ (roots.sum(dim=0) / total),
        )

    def _deviation(
        self, expert: Expert, trials: Trials, units: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return some units' deviations of roots, counts less the usual rates, and these rates."""
        counts, level = self._counts(trials)[..., units], self._level(expert, trials)
        usual = level.log_rates[..., units].exp()
        return counts.sqrt() - level.roots[..., units], counts - usual, usual

    @cached_property
    def _slow(self) -> tuple[SlowLevels, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Slow levels, and what they are on the training trials, which is asked again and again."""
        slow = SlowLevels.of(self.session, self.trials)
        rates, roots = slow.at(self.trials)
        return slow, rates.astype(np.float32), roots.astype(np.float32)

    def _level(self, expert: Expert, trials: Trials) -> Level:
        _, rates, roots = self._slow
        return expert.level_of(
            *(part[np.searchsorted(self.trials, trials)] for part in (rates, roots))
        )

    def _scale(self, expert: Expert) -> Tensor:
        """Busy units tell more, but not in proportion."""
        units = torch.arange(self.session.n_units, device=self.device)
        total, n = torch.zeros(self.session.n_units, device=self.device), 0
        for rows in self._chunks(self.trials):
            deviation, _, _ = self._deviation(expert, rows, units)
            total += (deviation**2).sum(dim=(0, 1))
            n += deviation.shape[0] * deviation.shape[1]
        return ((total / n).sqrt() + 1e-3).rsqrt()

    def _smoothed(self, expert: Expert) -> Expert:
        """Choose the smoothing on some of the units and trials."""
        units = _some(self.session.n_units, _FEW_UNITS, self.device)
        trials = self.trials[_some(len(self.trials), _FEW_TRIALS, "cpu").numpy()]

        def gain(seconds: float) -> float:
            tried = replace(expert, smoothing=self._kernel(seconds))
            grams = self._grams(tried, trials, units)
            return self._gain(tried, trials, grams, _STRENGTHS[_FIRST_STRENGTH], units)[0]

        best = max(_SMOOTHING_SECONDS, key=gain)
        return replace(expert, smoothing=self._kernel(best))

    def _regressed(self, expert: Expert, progress: Progress) -> Expert:
        """Choose how strong the ridge is, for all units and for each region's; fit the slopes."""
        n = self.session.n_units
        grams = self._grams(expert, self.trials, torch.arange(n, device=self.device))
        progress(0.5, "linear expert: strength")
        across = self._coupling(expert, grams, slice(0, n))
        progress(0.7, "linear expert: within regions")
        none = torch.zeros_like(across.covariance)
        within = Coupling(none, none.clone(), torch.zeros_like(across.slopes))
        for region in self.session.regions:
            units = region.units
            found = self._coupling(expert, [gram[units, units] for gram in grams], units)
            within.covariance[units, units] = found.covariance
            within.precision[units, units] = found.precision
            within.slopes[:, units] = found.slopes
        return replace(expert, across=across, within=within)

    def _coupling(self, expert: Expert, grams: list[Tensor], some: slice) -> Coupling:
        """Choose the ridge's strength, walking from a usual one; then fit the slopes."""
        units = torch.arange(some.start, some.stop, device=self.device)
        tried: dict[int, tuple[float, Tensor]] = {}

        def gain(place: int) -> float:
            if place not in tried:
                tried[place] = self._gain(expert, self.trials, grams, _STRENGTHS[place], units)
            return tried[place][0]

        place = _FIRST_STRENGTH
        for step in (-1, 1):
            while 0 <= place + step < len(_STRENGTHS) and gain(place + step) > gain(place):
                place += step
        gain(place)
        covariance = _with_ridge(sum(grams, torch.zeros_like(grams[0])), _STRENGTHS[place])
        return Coupling(covariance.float(), inverse(covariance).float(), tried[place][1])

    def _forecast(self, expert: Expert) -> Forecast:
        directions = directions_of(expert.across.covariance, expert.scale)
        unfitted = Forecast.unfitted(self.session.n_bins, self.session.bin_size, directions)
        units = torch.arange(self.session.n_units, device=self.device)

        def parts(fold: Trials) -> Iterator[tuple[Tensor, Tensor]]:
            for rows in self._chunks(fold):
                deviation, change, usual = self._deviation(expert, rows, units)
                yield deviation, change / usual.sqrt()

        last = int(np.argmax(Mask.forward(self.session).hidden[:, 0]))
        folds = (parts(fold) for fold in self._folds(self.trials))
        return fitted(unfitted, folds, last, _exactly(self.device))

    def _grams(self, expert: Expert, trials: Trials, units: Tensor) -> list[Tensor]:
        """Sums of products (units, units) of smoothed, scaled deviations, fold by fold."""
        every = max(len(trials) * self.session.n_bins // _ROWS, 1)
        found = []
        for fold in self._folds(trials):
            shape, dtype = (len(units), len(units)), _exactly(self.device)
            gram = torch.zeros(shape, dtype=dtype, device=self.device)
            for rows in self._chunks(fold):
                x = self._x(expert, self._deviation(expert, rows, units)[0], units)[:, ::every]
                flat = x.flatten(0, 1).to(gram.dtype)
                gram += flat.T @ flat
            found.append(gram)
        return found

    @staticmethod
    def _x(expert: Expert, deviation: Tensor, units: Tensor) -> Tensor:
        return (expert.smoothing @ deviation) * expert.scale[units]

    def _gain(
        self, expert: Expert, trials: Trials, grams: list[Tensor], strength: float, units: Tensor
    ) -> tuple[float, Tensor]:
        """Return how much of the counts' variation slopes explain across folds, and the slopes."""
        total = sum(grams, torch.zeros_like(grams[0]))
        n = len(units)
        entries = len(trials) * self.session.n_bins * n
        every = max(len(trials) // (4 * _FEW_TRIALS), -(-entries // _ENTRIES), 1)
        square, product = torch.zeros(n, 2, 2), torch.zeros(n, 2)
        for gram, fold in zip(grams, self._folds(trials), strict=True):
            # With a single fold there is nothing else to learn from.
            rest = total - gram if len(grams) > 1 else total
            precision = inverse(_with_ridge(rest, strength)).float()
            for rows in self._chunks(fold[::every]):
                deviation, change, usual = self._deviation(expert, rows, units)
                x = self._x(expert, deviation, units)
                expected = x - (x @ precision) / precision.diagonal()
                both = torch.stack([expected, expert.wide @ expected], dim=-1)
                weight = 1 / (usual + _NOISE)
                weighted = both * weight[..., None]
                square += torch.einsum("btnk,btnl->nkl", weighted, both).cpu()
                product += torch.einsum("btnk,btn->nk", weighted, change).cpu()
        pooled = _solve(square.mean(dim=0), product.mean(dim=0))
        prior = _POOLED * square.mean(dim=0)
        slopes = _solve(square + prior, product + prior @ pooled)
        left = (square @ slopes[..., None])[..., 0]
        explained = float((slopes * (2 * product - left)).sum())
        return explained, slopes.T.to(self.device)


def _solve(square: Tensor, product: Tensor) -> Tensor:
    size = square.diagonal(dim1=-2, dim2=-1).mean() + 1e-9
    ridge = 1e-5 * size * torch.eye(square.shape[-1])
    found: Tensor = torch.linalg.solve(square + ridge, product[..., None])
    return found[..., 0]


def _with_ridge(gram: Tensor, strength: float) -> Tensor:
    """Put it into units of its mean diagonal, and add the ridge."""
    mean = gram.diagonal().mean().clamp(min=1e-12)
    return gram / mean + strength * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)


def _some(n: int, most: int, device: torch.device | str) -> Tensor:
    """Return indices that are spread evenly over n, at most so many."""
    return torch.as_tensor(
        np.linspace(0, n - 1, min(n, most)).round().astype(np.intp), device=device
    )
