"""Passes in batches that fit the memory of the device."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")


class Batches:
    """Cut work into batches; where the device's memory runs out, halve them.

    `size` is what to begin with; `give_up` is called when a batch of one does not fit,
    and must make room for good (by moving to the CPU) or raise.
    """

    def __init__(self, size: int, give_up: Callable[[], None]) -> None:
        self.size = size
        self._give_up = give_up

    def run(self, n: int, work: Callable[[slice], Result]) -> Iterator[Result]:
        """Yield the results of `work` on slices of 0 to n, in order."""
        start = 0
        while start < n:
            stop = min(start + self.size, n)
            try:
                result = work(slice(start, stop))
            except torch.OutOfMemoryError:
                self._shrink(stop - start)
                continue
            yield result
            start = stop

    def _shrink(self, tried: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if tried == 1:
            self._give_up()
        else:
            self.size = tried // 2
