"""What the name of a session says of it: whose it is, and of which day."""

import re
from dataclasses import dataclass

_NAME = re.compile(r"(?P<subject>.+) (?P<date>\d{4}-\d\d-\d\d)(?: (?P<number>\d+))?")


@dataclass(frozen=True)
class Named:
    """The parts of a session's name; `number` counts a day's sessions, 0 where it is not said."""

    subject: str
    date: str
    number: int


def parts_of_name(name: str) -> Named | None:
    """Return the parts of a name such as "KS014 2019-12-03 001", None for one that is no such.

    All sources that know the animal and the day name their sessions so, some without a number.
    """
    found = _NAME.fullmatch(name)
    return found and Named(found["subject"], found["date"], int(found["number"] or 0))
