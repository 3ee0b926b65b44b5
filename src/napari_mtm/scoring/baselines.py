"""Predictors that a network should beat: mean rate, condition PSTH, reduced-rank regression.

All are fitted on the training trials, and what is left to choose is chosen on
the validation trials by Poisson deviance over all units. Rates are counts per
bin, arrays (trials, bins, units).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotri

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.metrics import conditions
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session, Split

_Float = TypeVar("_Float", np.float32, np.float64)
Floats: TypeAlias = npt.NDArray[np.float64]
Rates: TypeAlias = npt.NDArray[np.float32]
Trials: TypeAlias = npt.NDArray[np.intp]
Units: TypeAlias = npt.NDArray[np.intp]

_PSTH_SD = (1.0, 2.0, 4.0, 8.0, 16.0)
_PSTH_SHRINKAGE = (4.0, 16.0, 64.0, 1e9)
_PSTH_FLOOR = 0.1

# What reduced-rank regression chooses from; widths are bins, a step is half a decade of penalty.
_SD = (2.0, 4.0, 8.0)
_MAX_STEPS = 8
_RANKS = (1, 2, 4, 8, 16, 32)
_FLOORS = (0.05, 0.1, 0.2, 0.3)
_FIRST_FLOOR = 0.2
_WINDOWS = (3, 10, 30, 1_000_000)
_FIRST_CUT = 15
_CUT_STEP = 5
_CHUNK_TRIALS = 32


class Baseline(Protocol):
    """A fitted predictor of one session."""

    name: ClassVar[str]

    @classmethod
    def fit(cls, session: Session, split: Split, progress: Progress = silent) -> Self:
        """Fit on the training trials, choosing on the validation trials."""

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Predict every entry as the test has it: each from what the test leaves visible.

        In "forward" only the last `forward_bins` are predictions of the test.
        """

    def predict(self, hidden: npt.NDArray[np.bool_], trials: Trials) -> Rates:
        """Predict every entry from the entries that `hidden` (bins, units) leaves visible.

        A visible unit is predicted from the other visible units.
        """


def forward_bins(session: Session) -> int:
    """How many bins at the end of a trial forward prediction hides."""
    return int(Mask.forward(session).hidden.any(axis=1).sum())


@dataclass(frozen=True, eq=False)
class MeanRate:
    """Each unit's mean over the training trials."""

    name: ClassVar[str] = "mean-rate"
    n_bins: int
    mean: Floats

    @classmethod
    def fit(cls, session: Session, split: Split, progress: Progress = silent) -> Self:
        """Average over the training trials."""
        progress(1.0, "mean rates")
        return cls(session.n_bins, _mean_rates(session, split.train))

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Repeat the means, whatever the test."""
        del score
        shape = (len(trials), self.n_bins, len(self.mean))
        return np.broadcast_to(self.mean.astype(np.float32), shape).copy()

    def predict(self, hidden: npt.NDArray[np.bool_], trials: Trials) -> Rates:
        """Repeat the means, whatever is hidden."""
        del hidden
        return self.rates("co-smoothing", trials)


@dataclass(frozen=True, eq=False)
class ConditionPsth:
    """Each unit's average over the training trials of the same block, choice and reward.

    Averages of few trials are drawn towards the average over all of them, and
    all are smoothed in time.

    Attributes
    ----------
    overall
        The average over all training trials, (bins, units).
    averages
        One per condition, (conditions, bins, units).
    labels
        Condition of every trial of the session; those that no training trial
        has get `overall`.

    """

    name: ClassVar[str] = "psth"
    overall: Floats
    averages: Floats
    labels: npt.NDArray[np.intp]

    @classmethod
    def fit(cls, session: Session, split: Split, progress: Progress = silent) -> "ConditionPsth":
        """Average, choosing shrinkage and smoothing on the validation trials."""
        progress(0.0, "averages by condition")
        labels = conditions(session.trials)
        counts, of = session.counts[split.train], labels[split.train]
        overall = counts.mean(axis=0, dtype=np.float64)
        size = np.bincount(of, minlength=labels.max() + 1)[:, None, None]
        sums = np.stack([counts[of == label].sum(axis=0) for label in range(len(size))])
        floor = _PSTH_FLOOR * _mean_rates(session, split.train)

        def fitted(choice: tuple[float, float]) -> ConditionPsth:
            sd, shrinkage = choice
            own = (sums + shrinkage * overall) / (size + shrinkage)
            first, *others = np.maximum(_smoothed(np.stack([overall, *own]), sd), floor)
            return cls(first, np.stack(others), labels)

        def deviance(choice: tuple[float, float]) -> float:
            rates = fitted(choice).rates("co-smoothing", split.validation)
            return _deviance(session.counts[split.validation], rates)

        return fitted(min(product(_PSTH_SD, _PSTH_SHRINKAGE), key=deviance))

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Look up the averages, whatever the test."""
        del score
        return np.asarray(self.averages[self.labels[trials]], dtype=np.float32)

    def predict(self, hidden: npt.NDArray[np.bool_], trials: Trials) -> Rates:
        """Look up the averages, whatever is hidden."""
        del hidden
        return self.rates("co-smoothing", trials)


@dataclass(frozen=True, eq=False)
class _Map:
    """A fitted regression: weights on features, (features, units), and what was chosen."""

    weights: Rates
    sd: float
    strength: int
    rank: int | None = None
    floor: float = _FIRST_FLOOR


@dataclass(frozen=True, eq=False)
class ReducedRank:
    """Linear regression from the visible units to the hidden ones.

    It predicts how far each entry lies from the unit's average over all
    training trials, with an identity link. A prediction is at least a small
    part of the unit's mean rate: a linear one may fall below 0, and a spike
    there would cost more than many others gain.

    In co-smoothing and intra-region each unit has a regression of its own,
    without itself. Across regions the targets share one and are held to a few
    directions, as is the future of all units in forward prediction.

    Attributes
    ----------
    session
        Where the counts to predict from are taken.
    average, mean
        (bins, units) and (units,) of the training trials.

    """

    name: ClassVar[str] = "reduced-rank"
    session: Session
    average: Floats
    mean: Floats
    _features: "_Features"
    _ridge: "_Ridge"
    _maps: dict[Score, _Map]

    @classmethod
    def fit(cls, session: Session, split: Split, progress: Progress = silent) -> Self:
        """Fit all four tests, choosing smoothing, penalty, rank and floor on validation."""
        search = _Search(
            session,
            split,
            ConditionPsth.fit(session, split).overall,
            _mean_rates(session, split.train),
            _Features.of(session, split.train),
        )
        ridge, maps = search.run(progress)
        return cls(session, search.average, search.mean, search.features, ridge, maps)

    def rates(self, score: Score, trials: Trials) -> Rates:
        """Predict every entry as the test has it; the visible past in "forward" is averages."""
        counts = self.session.counts[trials]
        fitted = self._maps[score]
        if score != "forward":
            change = _times(self._features.around(counts, fitted.sd), fitted.weights)
            return self._rates(fitted, change, slice(None))
        cut = self.session.n_bins - forward_bins(self.session)
        rates = np.repeat(self.average[None].astype(np.float32), len(counts), axis=0)
        rates[:, cut:] = self._ahead(counts, cut, slice(cut, None))
        return rates

    def predict(self, hidden: npt.NDArray[np.bool_], trials: Trials) -> Rates:
        """Predict every entry from what is visible.

        Bins with a visible unit are predicted as in co-smoothing, each unit
        without itself. Bins without one are predicted from the past, as far
        ahead as forward prediction goes; where that ends they get averages.
        """
        counts = self.session.counts[trials]
        fitted = self._maps["co-smoothing"]
        features = self._features.around(counts, fitted.sd, ~hidden)
        rates = np.repeat(self.average[None].astype(np.float32), len(counts), axis=0)
        patterns, pattern_of = np.unique(hidden, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            if not pattern.all():
                bins = np.flatnonzero(pattern_of.ravel() == i)
                weights = fitted.weights
                if pattern.any():
                    visible = self._ridge.of(np.flatnonzero(~pattern))
                    weights = visible.weights(fitted.strength, _each(np.arange(len(pattern))))
                rates[:, bins] = self._rates(fitted, _times(features[:, bins], weights), bins)
        for start, stop in _runs(np.all(hidden, axis=1)):
            ahead = slice(start, min(stop, start + forward_bins(self.session)))
            rates[:, ahead] = self._ahead(counts, start, ahead, ~hidden)
        return rates

    def _ahead(
        self,
        counts: npt.NDArray[np.uint8],
        cut: int,
        bins: slice,
        visible: npt.NDArray[np.bool_] | None = None,
    ) -> Rates:
        """Predict bins from those before the cut; averages where too few are before it."""
        fitted = self._maps["forward"]
        change = np.zeros((len(counts), 1, self.session.n_units), dtype=np.float32)
        if cut >= _cuts(self.session)[0]:
            change = _times(self._features.before(counts, cut, visible)[:, None], fitted.weights)
        return self._rates(fitted, change, bins)

    def _rates(self, fitted: _Map, change: Rates, bins: slice | npt.NDArray[np.intp]) -> Rates:
        return _floored(self.average[bins], change, fitted.floor * self.mean)


BASELINES: tuple[type[Baseline], ...] = (MeanRate, ConditionPsth, ReducedRank)


@dataclass(frozen=True, eq=False)
class _Features:
    """What regression sees of counts: how far their square roots lie from the training mean.

    Square roots even out the noise of large and small counts. Hidden entries
    are taken to lie on the mean.
    """

    centre: Rates

    @classmethod
    def of(cls, session: Session, trials: Trials) -> Self:
        total = np.zeros(session.counts.shape[1:])
        for rows in _chunks(trials):
            total += np.sqrt(session.counts[rows], dtype=np.float32).sum(axis=0)
        return cls((total / len(trials)).astype(np.float32))

    def around(
        self, counts: npt.NDArray[np.uint8], sd: float, visible: npt.NDArray[np.bool_] | None = None
    ) -> Rates:
        """(trials, bins, 2 units): each unit smoothed around the bin, and over the trial."""
        deviation = self._deviation(counts, visible)
        features = np.empty((*counts.shape, 2), dtype=np.float32)
        features[..., 0] = _smoothed(deviation, sd)
        features[..., 1] = deviation.mean(axis=1, keepdims=True)
        n_trials, n_bins, n_units = counts.shape
        return features.reshape(n_trials, n_bins, 2 * n_units)

    def before(
        self, counts: npt.NDArray[np.uint8], cut: int, visible: npt.NDArray[np.bool_] | None = None
    ) -> Rates:
        """(trials, 4 units): each unit's means over the last bins before the cut."""
        past = self._deviation(counts[:, :cut], None if visible is None else visible[:cut])
        means = [past[:, -w:].sum(axis=1) / max(min(w, cut), 1) for w in _WINDOWS]
        return np.stack(means, axis=-1).reshape(len(counts), len(_WINDOWS) * counts.shape[2])

    def _deviation(
        self, counts: npt.NDArray[np.uint8], visible: npt.NDArray[np.bool_] | None
    ) -> Rates:
        deviation = np.sqrt(counts, dtype=np.float32) - self.centre[: counts.shape[1]]
        return deviation if visible is None else deviation * visible


_Group: TypeAlias = tuple[Units, Units]
"""Units to predict, and units that must not be used for it."""


@dataclass(frozen=True, eq=False)
class _Ridge:
    """Ridge regression of all units on the features of some, from Gram matrices alone.

    Features lie unit by unit, `width` each. Divided by the square root of their
    deviation they validate better than as they are and than standardised: busy
    units tell more, but not in proportion. Slow units have little to fit and
    much to overfit: a tenth of the rate gets half a decade more penalty.

    Attributes
    ----------
    gram, cross
        (features, features) and (features, all units), with features divided
        as said.
    scale
        What features are multiplied with, of all units.
    mean
        Mean rates of all units.
    units
        Whose features may be used, ascending.

    """

    gram: Floats
    cross: Floats
    scale: Floats
    mean: Floats
    width: int
    units: Units
    _inverses: dict[int, Floats] = field(default_factory=dict)

    @classmethod
    def accumulate(cls, parts: Iterable[tuple[Rates, Rates]], width: int, mean: Floats) -> Self:
        """Add up parts of (rows, features) and (rows, units)."""
        n_units = len(mean)
        gram = np.zeros((n_units * width, n_units * width))
        cross = np.zeros((n_units * width, n_units))
        n_rows = 0
        for features, targets in parts:
            gram += features.T @ features
            cross += features.T @ targets
            n_rows += len(features)
        deviation = np.sqrt(np.diagonal(gram) / n_rows)
        scale = np.zeros(len(gram))
        np.power(deviation, -0.5, out=scale, where=deviation > 0)
        # In units of the mean feature, penalties mean the same for every session.
        unit = float((np.diagonal(gram) * scale**2).sum() / max(int((scale > 0).sum()), 1)) or 1.0
        gram *= scale[:, None] * scale / unit
        cross *= scale[:, None] / unit
        return cls(gram, cross, scale, mean, width, np.arange(n_units))

    def of(self, units: Units) -> "_Ridge":
        """Return the regression on the features of some units only."""
        columns = self._columns(units)
        return replace(
            self,
            gram=self.gram[np.ix_(columns, columns)],
            cross=self.cross[columns],
            units=units,
            _inverses={},
        )

    def weights(self, strength: int, groups: Sequence[_Group], rank: int | None = None) -> Rates:
        """Weights on the features of all units, (features, units); 0 for units in no group.

        Each group is predicted without the features of its left-out units, as
        if these had never been there. With P the inverse of the penalised Gram
        and B = P cross, that is B - P_c (P_cc)^-1 B_c for the left-out columns
        c, so that one inverse serves all groups. With a rank, each group is held
        to that many directions.
        """
        weights = np.zeros(self.cross.shape)
        targets = np.concatenate([group for group, _ in groups])
        left_out = [self._columns(units) for _, units in groups]
        steps = np.clip(np.round(np.log10(self.mean.mean() / self.mean)), -2, 4).astype(int)
        for step in np.unique(steps[targets]):
            inverse = self._inverse(strength + int(step))
            alike = steps == step
            weights[:, alike] = inverse @ self.cross[:, alike]
            for (group, _), columns in zip(groups, left_out, strict=True):
                some = group[alike[group]]
                if len(some) and len(columns):
                    block = inverse[np.ix_(columns, columns)]
                    inside = np.linalg.solve(block, weights[np.ix_(columns, some)])
                    weights[:, some] -= inverse[columns].T @ inside
                    weights[np.ix_(columns, some)] = 0.0
        if rank is not None:
            for group, _ in groups:
                weights[:, group] = self._reduced(weights[:, group], self.mean[group], rank)
        return self._on_features(weights, targets)

    def _reduced(self, weights: Floats, mean: Floats, rank: int) -> Floats:
        """Keep the directions among the targets in which the fitted values vary most.

        Targets are weighed by 1/sqrt(rate), the inverse of their Poisson noise.
        """
        noise = np.sqrt(mean)
        whitened = weights / noise
        _, directions = np.linalg.eigh(whitened.T @ self.gram @ whitened)
        kept = directions[:, -rank:]
        return np.asarray((whitened @ kept) @ kept.T * noise)

    def _on_features(self, weights: Floats, targets: Units) -> Rates:
        used = (self.units[:, None] * self.width + np.arange(self.width)).ravel()
        full = np.zeros((len(self.scale), len(self.mean)), dtype=np.float32)
        full[np.ix_(used, targets)] = weights[:, targets] * self.scale[used, None]
        return full

    def _columns(self, units: Units) -> Units:
        places = np.flatnonzero(np.isin(self.units, units))
        return (places[:, None] * self.width + np.arange(self.width)).ravel()

    def _inverse(self, level: int) -> Floats:
        if level not in self._inverses:
            penalised = self.gram.copy()
            penalised.flat[:: len(penalised) + 1] += 10 ** (level / 2)
            half, _ = dpotri(np.linalg.cholesky(penalised), lower=1)
            self._inverses[level] = half + np.tril(half, -1).T
        return self._inverses[level]


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Validation trials of a test: features, counts, and the averages that changes add to."""

    features: Rates
    counts: npt.NDArray[np.uint8]
    average: Floats


@dataclass(frozen=True, eq=False)
class _Search:
    """The choice of a regression for each test."""

    session: Session
    split: Split
    average: Floats
    mean: Floats
    features: _Features

    def run(self, progress: Progress) -> tuple[_Ridge, dict[Score, _Map]]:
        """Return what co-smoothing regresses with, and the best of each test."""
        around: list[Score] = [score for score in SCORES if score != "forward"]
        best: dict[Score, tuple[float, _Map, _Ridge, _Inputs]] = {}
        for i, sd in enumerate(_SD):
            progress(i / (len(_SD) + 1), f"reduced-rank regression, smoothed by {sd:g} bins")
            ridge, inputs = self._around(sd)
            for score in around:
                found = self._search(score, ridge, inputs, sd)
                if score not in best or found[0] < best[score][0]:
                    best[score] = (*found, replace(ridge, _inverses={}), inputs)
        progress(len(_SD) / (len(_SD) + 1), "reduced-rank regression, forward")
        ridge, inputs = self._before()
        best["forward"] = (*self._search("forward", ridge, inputs, 0.0), ridge, inputs)
        maps = {
            score: self._refined(score, fitted, ridge, inputs)
            for score, (_, fitted, ridge, inputs) in best.items()
        }
        progress(1.0, "reduced-rank regression")
        return replace(best["co-smoothing"][2], _inverses={}), maps

    def _search(
        self, score: Score, ridge: _Ridge, inputs: _Inputs, sd: float
    ) -> tuple[float, _Map]:
        """Walk from the middle penalty to where the deviance stops falling."""

        def tried(strength: int) -> tuple[float, _Map]:
            fitted = _Map(self._weights(score, ridge, strength), sd, strength)
            return self._deviance(fitted, inputs), fitted

        best = tried(0)
        for direction in (-1, 1):
            for _ in range(_MAX_STEPS):
                following = tried(best[1].strength + direction)
                if following[0] >= best[0]:
                    break
                best = following
        return best

    def _refined(self, score: Score, fitted: _Map, ridge: _Ridge, inputs: _Inputs) -> _Map:
        """Choose the rank, where targets share a regression, then the floor."""

        def deviance(candidate: _Map) -> float:
            return self._deviance(candidate, inputs)

        if score in ("inter-region", "forward"):
            weights = {r: self._weights(score, ridge, fitted.strength, r) for r in _RANKS}
            lower = [replace(fitted, weights=w, rank=r) for r, w in weights.items()]
            fitted = min([fitted, *lower], key=deviance)
        return min((replace(fitted, floor=floor) for floor in _FLOORS), key=deviance)

    def _weights(
        self, score: Score, ridge: _Ridge, strength: int, rank: int | None = None
    ) -> Rates:
        units = np.arange(self.session.n_units)
        regions = [units[region.units] for region in self.session.regions]
        if score == "co-smoothing":
            return ridge.weights(strength, _each(units))
        if score == "forward":
            return ridge.weights(strength, [(units, units[:0])], rank)
        if score == "inter-region":
            return ridge.weights(strength, [(region, region) for region in regions], rank)
        inside = [ridge.of(region).weights(strength, _each(region)) for region in regions]
        return np.asarray(np.sum(inside, axis=0), dtype=np.float32)

    def _deviance(self, fitted: _Map, inputs: _Inputs) -> float:
        change = _times(inputs.features, fitted.weights)
        rates = _floored(inputs.average, change, fitted.floor * self.mean)
        return _deviance(inputs.counts, rates)

    def _around(self, sd: float) -> tuple[_Ridge, _Inputs]:
        def parts() -> Iterator[tuple[Rates, Rates]]:
            for rows in _chunks(self.split.train):
                counts = self.session.counts[rows]
                features = self.features.around(counts, sd)
                targets = (counts - self.average).astype(np.float32)
                yield features.reshape(-1, features.shape[-1]), targets.reshape(-1, len(self.mean))

        counts = self.session.counts[self.split.validation]
        inputs = _Inputs(self.features.around(counts, sd), counts, self.average)
        return _Ridge.accumulate(parts(), 2, self.mean), inputs

    def _before(self) -> tuple[_Ridge, _Inputs]:
        """Learn from many places in the trial, for the last one alone has too few rows."""
        ahead = forward_bins(self.session)
        counts = self.session.counts[self.split.train]

        def parts() -> Iterator[tuple[Rates, Rates]]:
            for cut in _cuts(self.session):
                bins = slice(cut, cut + ahead)
                targets = (counts[:, bins] - self.average[bins]).mean(axis=1)
                yield self.features.before(counts, cut), targets.astype(np.float32)

        cut = self.session.n_bins - ahead
        shown = self.session.counts[self.split.validation]
        features = self.features.before(shown, cut)[:, None]
        inputs = _Inputs(features, shown[:, cut:], self.average[cut:])
        return _Ridge.accumulate(parts(), len(_WINDOWS), self.mean), inputs


def _each(units: Units) -> list[_Group]:
    """Groups of one unit, which is left out for itself."""
    return [(unit, unit) for unit in units[:, None]]


def _cuts(session: Session) -> list[int]:
    """Bins, ascending, that forward prediction learns to predict from; the last is the test's."""
    last = session.n_bins - forward_bins(session)
    return list(range(last, min(_FIRST_CUT, last) - 1, -_CUT_STEP))[::-1]


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Starts and stops of the runs of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _chunks(trials: Trials) -> Iterator[Trials]:
    for start in range(0, len(trials), _CHUNK_TRIALS):
        yield trials[start : start + _CHUNK_TRIALS]


def _smoothed(values: npt.NDArray[_Float], sd: float) -> npt.NDArray[_Float]:
    """Smooth (some, bins, units) in time; at the ends the average is of what is there."""
    some, n_bins, n_units = values.shape
    bins = np.arange(n_bins)
    kernel = np.exp(-0.5 * ((bins[:, None] - bins) / sd) ** 2)
    kernel = (kernel / kernel.sum(axis=1, keepdims=True)).astype(values.dtype)
    # One product, for a product per trial is slow where threads must wait for a core.
    in_time = kernel @ values.transpose(1, 0, 2).reshape(n_bins, -1)
    return np.reshape(in_time, (n_bins, some, n_units)).transpose(1, 0, 2)


def _times(features: Rates, weights: Rates) -> Rates:
    """(trials, bins, features) times (features, units), as one product."""
    n_trials, n_bins, n_features = features.shape
    rows = features.reshape(-1, n_features) @ weights
    return np.reshape(rows, (n_trials, n_bins, weights.shape[1]))


def _mean_rates(session: Session, trials: Trials) -> Floats:
    """Mean counts per bin; a unit without a spike is taken to have had half a one."""
    entries = len(trials) * session.n_bins
    spikes = session.counts[trials].sum(axis=(0, 1), dtype=np.float64)
    return np.asarray(np.maximum(spikes, 0.5) / entries)


def _floored(average: Floats, change: Rates, floor: Floats) -> Rates:
    rates = average.astype(np.float32) + change
    np.maximum(rates, floor.astype(np.float32), out=rates)
    return rates


def _deviance(counts: npt.NDArray[np.uint8], rates: Rates) -> float:
    """Poisson deviance but for what does not depend on the rates, over all units."""
    return float((rates - counts * np.log(rates)).sum(dtype=np.float64))
