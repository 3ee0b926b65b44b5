"""Each unit from the others at the same time, in three tests, by ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_mtm.masking.tasks import SCORES, Score
from napari_mtm.progress import Progress, part
from napari_mtm.recording.session import Session, Split
from napari_mtm.scoring.baselines.baseline import Floats, Rates, Units
from napari_mtm.scoring.baselines.choosing import by_units_alike, walked
from napari_mtm.scoring.baselines.coupling import Coupling
from napari_mtm.scoring.baselines.in_time import cosines, filtered
from napari_mtm.scoring.baselines.ridge import Ridge
from napari_mtm.scoring.baselines.shown import Shown
from napari_mtm.scoring.baselines.usual import Usual, chunks

SIMULTANEOUS: tuple[Score, ...] = tuple(score for score in SCORES if score != "forward")
"""Tests in which hidden units are predicted from visible ones at the same time."""

_SMOOTHING_SECONDS = 0.02
_LEAST_SD = 0.7
_RANKS = (8, 16, 32)
_FIRST_LEVELS = (1, 2)
_LIMITS = (-4, 6)


@dataclass(frozen=True, eq=False)
class Couplings:
    """The couplings of the three tests.

    Attributes
    ----------
    of_score
        One for each test of `SIMULTANEOUS`.
    ridge
        What all of them follow from.
    levels
        The penalty of each unit in co-smoothing.

    """

    of_score: dict[Score, Coupling]
    ridge: Ridge
    levels: Units

    @classmethod
    def fit(cls, session: Session, split: Split, usual: Usual, progress: Progress) -> "Couplings":
        """Fit on the training trials, and choose on the validation trials.

        Each unit's penalty is the best for the other units of about its rate. The gain by
        frequency, the rank across regions and the floor are those of all units.
        """
        smoothing = _smoothing(session)
        ridge = _gathered(session, split, usual, smoothing, part(progress, 0.0, 0.3))
        tests = _Tests(ridge, [np.arange(session.n_units)[r.units] for r in session.regions])
        shown = Shown.of(session, split, usual, smoothing)
        tried = 0

        def cost(level: int) -> Floats:
            nonlocal tried
            tried += 1
            progress(min(0.3 + 0.08 * tried, 0.7), "reduced-rank regression")
            found = tests.weights(level)
            return np.stack([shown.cost(found[score]) for score in SIMULTANEOUS])

        levels, deviances = walked(cost, usual.mean, first=_FIRST_LEVELS, limits=_LIMITS)
        chosen = {
            score: np.asarray(levels)[by_units_alike(of_test, usual.mean)]
            for score, of_test in zip(SIMULTANEOUS, deviances, strict=True)
        }
        progress(0.75, "reduced-rank regression")
        weights = tests.mixed(chosen)
        progress(0.9, "reduced-rank regression")
        across = weights["inter-region"]
        lower = ridge.reduced(across, tests.regions, usual.mean, _RANKS)
        weights["inter-region"] = min([across, *lower], key=lambda w: float(shown.cost(w).sum()))
        found = {score: shown.coupling(weights[score]) for score in SIMULTANEOUS}
        progress(1.0, "reduced-rank regression")
        return cls(found, ridge, chosen["co-smoothing"])


@dataclass(frozen=True, eq=False)
class _Tests:
    """What each test leaves out of the regression."""

    ridge: Ridge
    regions: Sequence[Units]

    def weights(self, level: int) -> dict[Score, Rates]:
        """Return the weights of each test with a penalty, (2 units, units)."""
        solution = self.ridge.solution(level)
        return {
            "co-smoothing": solution.each_unit(),
            "intra-region": self._within_regions(level),
            "inter-region": solution.each_group(self.regions),
        }

    def mixed(self, levels: dict[Score, Units]) -> dict[Score, Rates]:
        """Return the weights of each test with a penalty for each unit."""
        mixed = {score: np.zeros_like(self.ridge.cross) for score in levels}
        for level in np.unique(np.stack(list(levels.values()))):
            for score, found in self.weights(int(level)).items():
                units = levels[score] == level
                mixed[score][:, units] = found[:, units]
        return mixed

    def _within_regions(self, level: int) -> Rates:
        n_units = self.ridge.cross.shape[1]
        weights = np.zeros_like(self.ridge.cross)
        for region in self.regions:
            inside = self.ridge.among(region).solution(level).each_unit()
            rows = np.concatenate([region, region + n_units])
            weights[np.ix_(rows, region)] = inside
        return weights


def _smoothing(session: Session) -> Floats:
    """Return what each cosine is multiplied with before the regression: a Gaussian in time.

    Fast: what is slower than it is told by the means over trials and by gains.
    """
    sd = max(_SMOOTHING_SECONDS / session.bin_size, _LEAST_SD)
    turns = np.pi * np.arange(session.n_bins) / session.n_bins
    return np.asarray(np.exp(-0.5 * (turns * sd) ** 2))


def _gathered(
    session: Session, split: Split, usual: Usual, smoothing: Floats, progress: Progress
) -> Ridge:
    """Add up what deviations and changes of all units share over the training trials."""
    n_bins, n_units = session.n_bins, session.n_units
    waves = cosines(n_bins)
    kernel = waves * smoothing @ waves.T
    gram, cross = np.zeros((2, n_units, n_units)), np.zeros((2, n_units, n_units))
    for trials in chunks(split.train, progress, "reduced-rank regression"):
        counts = session.counts[trials]
        deviations = usual.deviations(counts, trials)
        changes = usual.changes(counts, trials)
        smooth = filtered(deviations, kernel).reshape(-1, n_units)
        gram[0] += smooth.T @ smooth
        cross[0] += smooth.T @ changes.reshape(-1, n_units)
        # Smoothing leaves the mean over a trial as it is, so that these serve both features.
        means, changed = deviations.mean(axis=1), changes.mean(axis=1)
        gram[1] += n_bins * (means.T @ means)
        cross[1] += n_bins * (means.T @ changed)
    both = np.block([[gram[0], gram[1]], [gram[1], gram[1]]])
    return Ridge.of(both, np.concatenate(cross), len(split.train) * n_bins)
