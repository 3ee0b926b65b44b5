"""Small sessions that are quick to learn."""

import numpy as np

from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.recording.session import Session
from napari_mtm.training.trainer import Lesson

BINS = 40
SMALL = DefaultSizes(bins=BINS, width=16, layers=1, heads=2, hidden=16, rank=3, head=4)
PAPER = PublishedSizes(
    bins=BINS, width=16, layers=1, heads=2, hidden=16, channels=8, inner=16, dropout=0.1
)


def waves(seed: int = 0, *, trials: int = 60, units: int = 10) -> Session:
    """Units that rise and fall together, half of them against the others."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (trials, 1, 1))
    wave = np.sin(np.arange(BINS)[None, :, None] * 0.3 + phase)
    sign = np.where(np.arange(units) % 2, 1.0, -1.0)
    rates = 0.6 * np.exp(1.5 * wave * sign)
    counts = rng.poisson(rates)
    regions = (["CA1", "DG"] * units)[:units]
    return Session.from_counts(counts, regions, rates=rates, id=f"waves{seed}")


def lesson(session: Session) -> dict[str, Lesson]:
    return {session.id: Lesson(session, session.split().train)}
