"""Where things lie around and on the raster: pure arithmetic, no Qt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """What a cell of the canvas shows.

    World coordinates (y, x) of its centre, pixels per world unit, its height and width in
    pixels, and the pixel column of the canvas at which it begins.
    """

    centre: tuple[float, float]
    zoom: float
    size: tuple[float, float]
    left: float = 0.0

    @property
    def right(self) -> float:
        """Pixel column at which the cell ends."""
        return self.left + self.size[1]

    def to_x(self, world: float) -> float:
        """Pixel column of a world x."""
        return (world - self.centre[1]) * self.zoom + self.size[1] / 2 + self.left

    def to_y(self, world: float) -> float:
        """Pixel row of a world y."""
        return (world - self.centre[0]) * self.zoom + self.size[0] / 2

    @property
    def x_range(self) -> tuple[float, float]:
        """World x at the left and right edge."""
        half = self.size[1] / 2 / self.zoom
        return self.centre[1] - half, self.centre[1] + half


@dataclass(frozen=True)
class Band:
    """A run of rows of one region on screen, `top` to `bottom` in pixels."""

    name: str
    colour: tuple[int, int, int]
    top: float
    bottom: float

    @property
    def height(self) -> float:
        """Pixels from top to bottom."""
        return self.bottom - self.top


def spread_labels(bands: Sequence[Band], line: float, height: float) -> list[tuple[Band, float]]:
    """Place a label of `line` pixels beside each band, without overlaps.

    Labels keep the order of their bands and move as little as they must. Where
    they do not all fit into `height`, those of the lowest bands are left out.
    Returns the bands that have a label, with the label's centre.
    """
    visible = [b for b in bands if b.bottom > 0 and b.top < height]
    room = int(height // line)
    if len(visible) > room:
        tallest = sorted(visible, key=lambda b: -_seen(b, height))[:room]
        chosen = {id(b) for b in tallest}
        visible = [b for b in visible if id(b) in chosen]
    wanted = [(max(b.top, 0) + min(b.bottom, height)) / 2 for b in visible]
    return list(zip(visible, _apart(wanted, line, height), strict=True))


def _seen(band: Band, height: float) -> float:
    return min(band.bottom, height) - max(band.top, 0)


def _apart(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Move ascending positions apart by at least `gap`, by the least squares.

    Neighbours that collide form a cluster that lies around the mean of what its
    members want; clusters that then collide are joined.
    """
    clusters: list[tuple[float, int]] = []  # centre, members
    for position in wanted:
        clusters.append((position, 1))
        while len(clusters) > 1:
            (before, n), (after, m) = clusters[-2:]
            if after - before >= gap * (n + m) / 2:
                break
            clusters[-2:] = [((before * n + after * m) / (n + m), n + m)]
    placed: list[float] = []
    for centre, n in clusters:
        half = gap * n / 2
        inside = min(max(centre, half), max(height - half, half))
        placed.extend(inside - half + gap * (k + 0.5) for k in range(n))
    # Pushing clusters into the height can make them collide again; settle from above, then below.
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    ceiling = height - gap / 2
    for k in range(len(placed) - 1, -1, -1):
        placed[k] = min(placed[k], ceiling)
        ceiling = placed[k] - gap
    return placed


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers from low to high, evenly spaced."""
    span = high - low
    if not np.isfinite(span) or span <= 0 or most < 1:
        return []
    rough = span / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * s for s in (1, 2, 5, 10) if power * s >= rough)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(round(k * step, 10)) for k in range(first, last + 1)]
