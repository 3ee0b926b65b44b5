"""The errors that a person can mend.

Each message says what is wrong, where, and what to do, in one or two
sentences. The window shows it as a notification, the command line prints it
and exits with 2.
"""

import re

_LONGEST = 600


class MtmError(Exception):
    """Base of all errors that napari-mtm raises on purpose.

    A message may quote what comes from outside, and so anything: what cannot be printed is shown
    as "?", and the middle of what no person would read is left out.
    """

    def __init__(self, message: str = "") -> None:
        printable = "".join(c if c.isprintable() else "?" for c in message)
        if len(printable) > _LONGEST:
            printable = f"{printable[: _LONGEST - 200]}…{printable[-180:]}"
        super().__init__(printable)


class SourceError(MtmError):
    """A place that should hold a session is missing, damaged or not understood."""


class PreparationError(MtmError):
    """A recording was read, but no session can be cut from it as asked."""


class StoreError(MtmError):
    """A prepared session, or another file of ours, cannot be read or written."""


class MaskError(MtmError):
    """A mask asks for regions, units or times that the session does not have."""


class WeightsError(MtmError):
    """Weights of a model are damaged, refused, or do not fit."""


class TrainingError(MtmError):
    """A training cannot begin, go on or be found."""


class Cancelled(MtmError):
    """Raised by a progress callback to stop the work that reports to it."""


def in_short(problem: object) -> str:
    """Return what a library's error says, as a phrase that one of our sentences can hold.

    That is its first line, of at most 160 characters, or the error's name.
    """
    first = next(iter(str(problem).strip().splitlines()), "")
    short = re.sub(r" at 0x[0-9a-f]+", "", " ".join(first[:1000].split()))[:160]
    return short.rstrip(". ") or type(problem).__name__
