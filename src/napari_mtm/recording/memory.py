"""How much memory there is, and whether what a file says that it holds can be true."""

import os
from math import inf

from napari_mtm.errors import SourceError

_MOST_PACKED = 1100
"""Times by which deflate, the densest of the usual packings, makes the simplest data smaller."""
_ALWAYS = 1_000_000


def memory() -> float:
    """Bytes of memory of this machine, as far as the system says."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return inf


def must_be_plausible(n_bytes: int, stored: int, what: str) -> None:
    """Raise SourceError where something would unpack to more bytes than fit, or can be true.

    `stored` is its bytes on disk, or those of all of its file; `what` begins the sentence.
    """
    if n_bytes > _MOST_PACKED * stored + _ALWAYS:
        raise SourceError(
            f"{what} would be {n_bytes:,} bytes, more than can be packed into {stored:,}; "
            "the file is damaged, or made to fill the memory."
        )
    if n_bytes > memory():
        raise SourceError(f"{what} would need {n_bytes / 1e9:.0f} GB, more than this machine has.")
