"""How long-running work reports what it is doing, and how it is cancelled.

Work takes an optional callback and calls it with the fraction done (0 to 1)
and a few words. The callback may raise `napari_mtm.errors.Cancelled`; the work
then leaves nothing half-written behind.
"""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """Report nothing."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Return a callback whose 0 to 1 is `start` to `stop` of `progress`."""

    def report(fraction: float, message: str) -> None:
        progress(start + (stop - start) * fraction, message)

    return report
