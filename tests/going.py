"""Waiting until objects that nobody holds have gone."""

import gc
import time
from weakref import ref

_PATIENCE = 10.0


def until_gone(*things: "ref[object]") -> None:
    """Search for garbage until they are among what is found.

    A search returns at once where another thread is in one, such as that of an engine that an
    earlier test left to end by itself.
    """
    end = time.monotonic() + _PATIENCE
    while any(thing() is not None for thing in things):
        assert time.monotonic() < end, [thing() for thing in things]
        gc.collect()
        time.sleep(0.001)
