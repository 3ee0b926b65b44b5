"""Small sessions with something to be found, and what tests of the paper hide."""

from dataclasses import replace

import numpy as np

from napari_mtm import Session
from napari_mtm.metrics import tally
from napari_mtm.scoring.baselines import forward_bins
from tests.conftest import trials

REGIONS = ["VISa"] * 5 + ["CA1"] * 6 + ["DG"] + ["LP"] * 4


def planted(
    n_trials: int = 60, n_bins: int = 40, regions=REGIONS, seed: int = 0, drift: float = 0.0
) -> Session:
    """Two slow latents that all units follow, and a PSTH; rates may wax and wane over trials."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n_trials, n_bins, 2))
    latents = np.zeros_like(steps)
    for t in range(1, n_bins):
        latents[:, t] = 0.97 * latents[:, t - 1] + 0.25 * steps[:, t]
    loadings = rng.normal(size=(2, len(regions)))
    rhythm = 0.5 * np.sin(np.arange(n_bins) / 6)[:, None]
    rates = 0.4 * np.exp(np.clip(0.7 * latents @ loadings + rhythm, -3, 2.5))
    phase = np.arange(len(regions))
    rates *= np.exp(drift * np.sin(np.arange(n_trials)[:, None] / 20 + phase))[:, None]
    counts = rng.poisson(rates)
    return Session.from_counts(
        counts, regions, trials=trials(n_trials), rates=rates, id=f"planted-{seed}-{drift}"
    )


def scored(session: Session, score: str) -> np.ndarray:
    """Entries that a test scores, (bins, units)."""
    entries = np.ones(session.counts.shape[1:], dtype=bool)
    if score == "forward":
        entries[: -forward_bins(session)] = False
    return entries


def pooled(session: Session, rates: np.ndarray, score: str, rows: np.ndarray) -> float:
    """Pooled bits per spike of rates of some trials."""
    sums = tally(session.counts[rows], rates, scored(session, score))
    return float(sums.pooled_bits_per_spike())


def hidings(session: Session, score: str) -> list[np.ndarray]:
    """What the test hides at once, (bins, units), each with its own scored units."""
    n_bins, n_units = session.counts.shape[1:]
    if score == "forward":
        return [scored(session, score)]
    masks = []
    for region in session.regions:
        if score == "inter-region":
            mask = np.zeros((n_bins, n_units), dtype=bool)
            mask[:, region.units] = True
            masks.append(mask)
            continue
        for unit in range(region.units.start, region.units.stop):
            mask = np.zeros((n_bins, n_units), dtype=bool)
            mask[:, unit] = True
            masks.append(mask)
    return masks


def swapped(session: Session, mask: np.ndarray) -> Session:
    """The session with other counts where the mask is."""
    other = np.random.default_rng(9).integers(0, 30, session.counts.shape).astype(np.uint8)
    return replace(session, counts=np.where(mask, other, session.counts))


def silenced(session: Session, units: list[int]) -> Session:
    """The session with some units silent."""
    counts = session.counts.copy()
    counts[:, :, units] = 0
    return replace(session, counts=counts)


def levels(session: Session, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slow levels of counts and of their roots, (trials, units), worked out trial by trial."""
    counts, train = session.counts.astype(float), session.split().train
    found = []
    for values in (counts, np.sqrt(counts)):
        means = values.mean(axis=1)
        overall = means[train].mean(axis=0)
        rows = []
        for trial in trials:
            total, weight = 4.0 * overall, 4.0
            for other in train:
                if other != trial:
                    w = np.exp(-0.5 * ((other - trial) / 12.0) ** 2)
                    total, weight = total + w * means[other], weight + w
            rows.append((total / weight + 1e-4) / (overall + 1e-4))
        found.append(np.array(rows))
    return found[0], found[1]
