"""How a linear expert is fitted: choices by what is predicted across folds of training trials.

In the shapes below B is trials, T bins, N units.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from napari_mtm.masking.mask import Mask
from napari_mtm.model.coupling import Coupling, inverse
from napari_mtm.model.expert import Expert, Trials
from napari_mtm.model.forecast import Forecast, directions_of, fitted
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.session import Session
from napari_mtm.recording.slow import SlowLevels

Units = slice | Trials
"""Some of a session's units: neighbours, or any."""

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

_LEAST_COURSE = 0.1
_CHUNK, _CHUNK_ENTRIES = 32, 3_000_000
"""Trials that are looked at together, and entries of them: small pieces stay in a CPU's cache."""

_BLOCKS = 4
"""Products of units are worked out in so many blocks, each pair of units once."""


def fit_expert(
    session: Session, trials: Trials, device: torch.device, progress: Progress = silent
) -> Expert:
    """Fit an expert on some trials, ascending; `progress` is told, and may raise Cancelled."""
    return _Fit(session, trials, device).run(progress)


def gaussian(bins: int, sd: float, device: torch.device) -> Tensor:
    """Weights (T, T) of a Gaussian average; at the ends it is of what is there."""
    time = torch.arange(bins, device=device)
    weights = torch.exp(-0.5 * ((time[:, None] - time) / sd) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What slopes are fitted on, of some trials, each (B, T, N).

    Attributes
    ----------
    x
        Smoothed, scaled deviations.
    change
        Counts less the usual rates.
    weight
        What an error counts.

    """

    x: Tensor
    change: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class _Fit:
    """The session, the trials and the device of a fit."""

    session: Session
    trials: Trials
    device: torch.device

    def run(self, progress: Progress) -> Expert:
        session, device = self.session, self.device
        log_course, root_course = self._courses(
            lambda done: progress(0.1 * done, "linear expert: usual courses")
        )
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
        progress(0.1, "linear expert: smoothing")
        expert = replace(expert, scale=self._scale(expert))
        if session.n_units > 1:
            expert = self._smoothed(expert)
            expert = self._regressed(expert, progress)
        progress(0.85, "linear expert: forecasts")
        expert = replace(expert, forecast=self._forecast(expert, part(progress, 0.85, 1.0)))
        progress(1.0, "linear expert")
        return expert

    def _kernel(self, seconds: float) -> Tensor:
        return gaussian(self.session.n_bins, seconds / self.session.bin_size, self.device)

    def _chunks(self, trials: Trials) -> Iterator[Trials]:
        entries = self.session.n_bins * self.session.n_units
        size = max(min(_CHUNK, _CHUNK_ENTRIES // entries), 1)
        for start in range(0, len(trials), size):
            yield trials[start : start + size]

    def _counts(self, trials: Trials, units: Units = slice(None)) -> Tensor:
        """Counts of some units, which are chosen before anything is made of them."""
        counts = np.stack([self.session.counts[trial][:, units] for trial in trials])
        return torch.as_tensor(counts, device=self.device).float()

    def _folds(self, trials: Trials) -> list[Trials]:
        """Neighbours drift together: each fold is a part of the session."""
        return [fold for fold in np.array_split(trials, _FOLDS) if len(fold)]

    def _courses(self, done: Callable[[float], None]) -> tuple[Tensor, Tensor]:
        """Smooth the average over trials as much as predicts each other half of them best."""
        shape = 2, *self.session.counts.shape[1:]
        sums, roots = torch.zeros(shape, device=self.device), torch.zeros(shape, device=self.device)
        sizes = torch.zeros(2, 1, 1, device=self.device)
        for half in range(2):
            for rows in self._chunks(self.trials[half::2]):
                done(float(sizes.sum()) / len(self.trials))
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

    @cached_property
    def _slow(self) -> tuple[SlowLevels, Tensor, Tensor]:
        """Slow levels, and those of rates and roots on the training trials, (B, 1, N)."""
        slow = SlowLevels.of(self.session, self.trials)
        rates, roots = (
            torch.as_tensor(levels[:, None], dtype=torch.float32, device=self.device)
            for levels in slow.at(self.trials)
        )
        return slow, rates, roots

    def _deviation(self, expert: Expert, trials: Trials, units: Units = slice(None)) -> Tensor:
        """Return how far root counts of some units are from the usual, (B, T, N)."""
        counts, levels = self._counts(trials, units), self._slow[2]
        return counts.sqrt_().addcmul_(
            expert.root_course[:, units], self._at(levels, trials, units), value=-1
        )

    def _change(
        self, expert: Expert, trials: Trials, units: Units = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Return counts of some units less the usual rates, and these rates, (B, T, N)."""
        levels = self._slow[1]
        usual = expert.log_course[:, units].exp() * self._at(levels, trials, units)
        return self._counts(trials, units).sub_(usual), usual

    def _at(self, levels: Tensor, trials: Trials, units: Units) -> Tensor:
        return levels[np.searchsorted(self.trials, trials)][..., units]

    def _scale(self, expert: Expert) -> Tensor:
        """Busy units tell more, but not in proportion."""
        total, n = torch.zeros(self.session.n_units, device=self.device), 0
        for rows in self._chunks(self.trials):
            deviation = self._deviation(expert, rows)
            total += deviation.square().sum(dim=(0, 1))
            n += deviation.shape[0] * deviation.shape[1]
        return ((total / n).sqrt() + 1e-3).rsqrt()

    def _smoothed(self, expert: Expert) -> Expert:
        """Choose the smoothing on some of the units and trials."""
        units = _some(self.session.n_units, _FEW_UNITS)
        trials = self.trials[_some(len(self.trials), _FEW_TRIALS)]

        def gain(seconds: float) -> float:
            tried = replace(expert, smoothing=self._kernel(seconds))
            grams = self._grams(tried, trials, units)
            seen = self._seen(tried, trials, units)
            return _gain(seen, grams, _STRENGTHS[_FIRST_STRENGTH], expert.wide)[0]

        best = max(_SMOOTHING_SECONDS, key=gain)
        return replace(expert, smoothing=self._kernel(best))

    def _regressed(self, expert: Expert, progress: Progress) -> Expert:
        """Choose how strong the ridge is, for all units and for each region's; fit the slopes."""
        everyone = slice(0, self.session.n_units)
        grams = self._grams(
            expert,
            self.trials,
            everyone,
            lambda done: progress(0.15 + 0.2 * done, "linear expert: covariance"),
        )
        across = self._coupling(
            expert,
            grams,
            everyone,
            lambda done: progress(0.35 + 0.35 * done, "linear expert: across regions"),
        )
        none = torch.zeros_like(across.covariance)
        within = Coupling(none, none.clone(), torch.zeros_like(across.slopes))
        for region in self.session.regions:
            units = region.units
            progress(0.7 + 0.15 * units.start / everyone.stop, "linear expert: within regions")
            found = self._coupling(expert, [gram[units, units] for gram in grams], units)
            within.covariance[units, units] = found.covariance
            within.precision[units, units] = found.precision
            within.slopes[:, units] = found.slopes
        return replace(expert, across=across, within=within)

    def _coupling(
        self,
        expert: Expert,
        grams: list[Tensor],
        units: slice,
        done: Callable[[float], None] = lambda _: None,
    ) -> Coupling:
        """Choose the ridge's strength, walking from a usual one; then fit the slopes."""
        seen = self._seen(expert, self.trials, units)
        tried: dict[int, tuple[float, Tensor]] = {}

        def gain(place: int) -> float:
            if place not in tried:
                before = len(tried)
                tried[place] = _gain(
                    seen,
                    grams,
                    _STRENGTHS[place],
                    expert.wide,
                    lambda of_one: done((before + of_one) / len(_STRENGTHS)),
                )
            return tried[place][0]

        place = _FIRST_STRENGTH
        for step in (-1, 1):
            while 0 <= place + step < len(_STRENGTHS) and gain(place + step) > gain(place):
                place += step
        gain(place)
        covariance = _with_ridge(_total(grams), _STRENGTHS[place])
        return Coupling(covariance.float(), inverse(covariance).float(), tried[place][1])

    def _forecast(self, expert: Expert, progress: Progress) -> Forecast:
        directions = directions_of(expert.across.covariance, expert.scale)
        unfitted = Forecast.unfitted(self.session.n_bins, self.session.bin_size, directions)

        def parts(fold: Trials) -> Iterator[tuple[Tensor, Tensor]]:
            for rows in self._chunks(fold):
                done = np.searchsorted(self.trials, rows[0]) / len(self.trials)
                progress(float(done), "linear expert: forecasts")
                change, usual = self._change(expert, rows)
                yield self._deviation(expert, rows), change.div_(usual.sqrt_())

        last = int(np.argmax(Mask.forward(self.session).hidden[:, 0]))
        folds = (parts(fold) for fold in self._folds(self.trials))
        return fitted(unfitted, folds, last, _exactly(self.device))

    def _grams(
        self,
        expert: Expert,
        trials: Trials,
        units: Units,
        done: Callable[[float], None] = lambda _: None,
    ) -> list[Tensor]:
        """Sums of products (units, units) of smoothed, scaled deviations, fold by fold."""
        every = max(len(trials) * self.session.n_bins // _ROWS, 1)
        smoothing, scale = expert.smoothing[::every], expert.scale[units]
        found = []
        for fold in self._folds(trials):
            shape, dtype = (len(scale), len(scale)), _exactly(self.device)
            gram = torch.zeros(shape, dtype=dtype, device=self.device)
            for rows in self._chunks(fold):
                done(float(np.searchsorted(trials, rows[0])) / len(trials))
                x = (smoothing @ self._deviation(expert, rows, units)).mul_(scale)
                _add_products(gram, x.flatten(0, 1).to(gram.dtype))
            found.append(gram.tril_() + gram.tril(-1).T)
        return found

    def _seen(self, expert: Expert, trials: Trials, units: Units) -> list[list[_Seen]]:
        """Return what slopes of some units are fitted on, fold by fold, a few trials at a time."""
        scale = expert.scale[units]
        entries = len(trials) * self.session.n_bins * len(scale)
        every = max(len(trials) // (4 * _FEW_TRIALS), -(-entries // _ENTRIES), 1)

        def seen(rows: Trials) -> _Seen:
            x = (expert.smoothing @ self._deviation(expert, rows, units)).mul_(scale)
            change, usual = self._change(expert, rows, units)
            return _Seen(x, change, usual.add_(_NOISE).reciprocal_())

        return [[seen(rows) for rows in self._chunks(f[::every])] for f in self._folds(trials)]


def _exactly(device: torch.device) -> torch.dtype:
    """Of what is summed while fitting: slopes would magnify how threads round 32 bits."""
    return torch.float32 if device.type == "mps" else torch.float64


def _add_products(gram: Tensor, x: Tensor) -> None:
    """Add x.T @ x to a gram, of which what lies above the diagonal may be left out."""
    edges = [len(gram) * i // _BLOCKS for i in range(_BLOCKS + 1)]
    for start, stop in pairwise(edges):
        gram[start:stop, :stop].addmm_(x[:, start:stop].T, x[:, :stop])


def _gain(
    seen: list[list[_Seen]],
    grams: list[Tensor],
    strength: float,
    wide: Tensor,
    done: Callable[[float], None] = lambda _: None,
) -> tuple[float, Tensor]:
    """Return how much of the counts' variation slopes explain across folds, and the slopes."""
    total = _total(grams)
    n = len(total)
    square, product = torch.zeros(n, 2, 2), torch.zeros(n, 2)
    for i_fold, (gram, fold) in enumerate(zip(grams, seen, strict=True)):
        done(i_fold / len(grams))
        # With a single fold there is nothing else to learn from.
        rest = total - gram if len(grams) > 1 else total
        precision = inverse(_with_ridge(rest, strength)).float()
        for some in fold:
            near = some.x - (some.x @ precision).div_(precision.diagonal())
            far = wide @ near
            for i, one in enumerate((near, far)):
                weighted = one * some.weight
                product[:, i] += (weighted * some.change).sum(dim=(0, 1)).cpu()
                square[:, i, i] += (weighted * one).sum(dim=(0, 1)).cpu()
            across = (weighted * near).sum(dim=(0, 1)).cpu()
            square[:, 0, 1] += across
            square[:, 1, 0] += across
    pooled = _solve(square.mean(dim=0), product.mean(dim=0))
    prior = _POOLED * square.mean(dim=0)
    slopes = _solve(square + prior, product + prior @ pooled)
    left = (square @ slopes[..., None])[..., 0]
    explained = float((slopes * (2 * product - left)).sum())
    return explained, slopes.T.to(total.device)


def _solve(square: Tensor, product: Tensor) -> Tensor:
    size = square.diagonal(dim1=-2, dim2=-1).mean() + 1e-9
    ridge = 1e-5 * size * torch.eye(square.shape[-1])
    found: Tensor = torch.linalg.solve(square + ridge, product[..., None])
    return found[..., 0]


def _with_ridge(gram: Tensor, strength: float) -> Tensor:
    """Put it into units of its mean diagonal, and add the ridge."""
    found = gram / gram.diagonal().mean().clamp(min=1e-12)
    found.diagonal().add_(strength)
    return found


def _total(grams: list[Tensor]) -> Tensor:
    total = grams[0].clone()
    for gram in grams[1:]:
        total += gram
    return total


def _some(n: int, most: int) -> Trials:
    """Return indices that are spread evenly over n, at most so many."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.intp)
