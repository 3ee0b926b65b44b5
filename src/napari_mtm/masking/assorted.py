"""Masks of every kind of one session, for what is to hold under whatever mask a person paints."""

from collections.abc import Iterator

import numpy as np

from napari_mtm.masking.mask import Mask
from napari_mtm.recording.session import Session

_UNITS = (0.1, 0.6)
_FROM = (0.4, 0.95)


def assorted_masks(session: Session, seed: int = 0) -> tuple[Mask, ...]:
    """Return thirteen masks, always the same for a seed.

    Three times each, they hide a region, all but a region, some units, and all from some time on;
    the last hides everything.
    """
    return tuple(_masks(session, np.random.default_rng(seed)))


def _masks(session: Session, rng: np.random.Generator) -> Iterator[Mask]:
    regions = session.regions
    sizes = np.sqrt([region.units.stop - region.units.start for region in regions])
    inside = np.zeros((len(regions), session.n_units), dtype=bool)
    for row, region in zip(inside, regions, strict=True):
        row[region.units] = True
    for _ in range(3):
        first, second = rng.choice(len(regions), size=2, p=sizes / sizes.sum())
        yield Mask.neurons(session, inside[first])
        yield Mask.neurons(session, ~inside[second])
        yield Mask.neurons(session, rng.random(session.n_units) < rng.uniform(*_UNITS))
        start = int(session.n_bins * rng.uniform(*_FROM)) * session.bin_size
        yield Mask.forward(session, session.window[0] + start)
    yield Mask.neurons(session, np.ones(session.n_units, dtype=bool))
