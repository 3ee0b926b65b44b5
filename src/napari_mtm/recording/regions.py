"""Brain regions: Beryl names, their order along the Allen graph, and colours.

The 308 Beryl regions come from a table in the package (made from iblatlas, and
compared with it by a test), so that a session can be put in anatomical order on
a machine without iblatlas. Only finer Allen labels and atlas ids need iblatlas.
"""

import colorsys
import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

UNKNOWN = "unknown"
"""The region of a unit whose place is not known."""

OUTSIDE = ("root", "void", UNKNOWN)
"""Labels that name no region: fibre tracts and ventricles, outside the brain, not known."""

_GREYS = {"root": (150, 150, 150), "void": (95, 95, 95), UNKNOWN: (120, 120, 120)}
_FULL_NAMES = {
    "root": "fibre tracts and tissue without a region",
    "void": "outside the brain",
    UNKNOWN: "no known region",
}
_LAST = np.iinfo(np.int64).max
_ALIKE = 40
_LIGHTNESS_STEPS = (0.0, -0.17, 0.12)


@dataclass(frozen=True)
class Region:
    """A run of a session's units that lie in one Beryl region.

    `colour` is red, green and blue from 0 to 255; `units` is the slice of the
    unit axis; `order` is the place along the Allen graph.
    """

    name: str
    full_name: str
    order: int
    colour: tuple[int, int, int]
    units: slice

    @property
    def size(self) -> int:
        """Number of units."""
        return int(self.units.stop - self.units.start)


@dataclass(frozen=True)
class _Entry:
    full_name: str
    order: int
    colour: tuple[int, int, int]


@cache
def _beryl() -> dict[str, _Entry]:
    text = files(__package__).joinpath("beryl.csv").read_text(encoding="utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        acronym = row["acronym"]
        red, green, blue = bytes.fromhex(row["colour"][1:])
        table[acronym] = _Entry(
            _FULL_NAMES.get(acronym, row["name"]),
            int(row["order"]),
            _GREYS.get(acronym, (red, green, blue)),
        )
    table[UNKNOWN] = _Entry(_FULL_NAMES[UNKNOWN], _LAST, _GREYS[UNKNOWN])
    return table


@cache
def _atlas() -> tuple[dict[str, str], dict[int, tuple[str, str]]]:
    """Beryl name of every Allen acronym; acronym and Beryl name of every signed atlas id."""
    from iblatlas.regions import BrainRegions

    atlas = BrainRegions()
    beryl = atlas.acronym[atlas.mappings["Beryl"]]
    by_acronym = {str(a): str(b) for a, b in zip(atlas.acronym, beryl, strict=True)}
    by_id = {
        int(i): (str(a), str(b)) for i, a, b in zip(atlas.id, atlas.acronym, beryl, strict=True)
    }
    return by_acronym, by_id


def beryl_names() -> list[str]:
    """Names of all Beryl regions along the Allen graph."""
    table = _beryl()
    return sorted(table, key=lambda name: table[name].order)


def full_name(name: str) -> str:
    """What a Beryl acronym stands for."""
    return _beryl()[name].full_name


@cache
def _acronyms() -> dict[str, str]:
    """Allen acronym of every full name, in small letters."""
    from iblatlas.regions import BrainRegions

    atlas = BrainRegions()
    return {
        str(name).casefold(): str(acronym)
        for name, acronym in zip(atlas.name, atlas.acronym, strict=True)
    }


def region_order(names: Iterable[str]) -> np.ndarray:
    """Return the place of each Beryl name along the Allen graph; unknown ones come last."""
    table = _beryl()
    return np.array([table[n].order if n in table else _LAST for n in names], dtype=np.int64)


def to_beryl(acronyms: Sequence[str]) -> list[str]:
    """Beryl name of each Allen acronym, `UNKNOWN` where the atlas has none.

    Names that are Beryl's already need no atlas; for finer ones iblatlas must be installed.
    """
    table = _beryl()
    finer = {a for a in acronyms if a not in table}
    names = _atlas()[0] if finer else {}
    return [a if a in table else names.get(a, UNKNOWN) for a in acronyms]


def allen_acronyms(places: Sequence[str]) -> list[str]:
    """Allen acronym of each place that is named in full; any other place as it is."""
    table = _beryl()
    full = {} if all(place in table for place in places) else _acronyms()
    return [place if place in table else full.get(place.casefold(), place) for place in places]


def locate(atlas_ids: np.ndarray) -> tuple[list[str], list[str]]:
    """Finest Allen acronym and Beryl name of each signed atlas id (negative: left hemisphere).

    Ids that the atlas does not have, NaN among them, give `UNKNOWN` twice.
    """
    by_id, nowhere = _atlas()[1], (UNKNOWN, UNKNOWN)
    places = [by_id.get(int(i), nowhere) if np.isfinite(i) else nowhere for i in atlas_ids]
    return [acronym for acronym, _ in places], [beryl for _, beryl in places]


def runs_of_regions(names: Sequence[str]) -> tuple[Region, ...]:
    """Describe each run of equal names along a unit axis, in order.

    The atlas gives only 68 colours to 308 regions; where neighbouring runs would
    share one, or nearly, they differ in lightness.
    """
    labels = np.asarray(names, dtype=object)
    if len(labels) == 0:
        return ()
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    stops = np.r_[starts[1:], len(labels)]
    entries = [_beryl().get(labels[s], _beryl()[UNKNOWN]) for s in starts]
    colours = _told_apart([e.colour for e in entries])
    return tuple(
        Region(str(labels[a]), e.full_name, e.order, c, slice(int(a), int(b)))
        for a, b, e, c in zip(starts, stops, entries, colours, strict=True)
    )


def _told_apart(colours: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Change the lightness of colours that are like the one before."""
    result: list[tuple[int, int, int]] = []
    step = 0
    for i, colour in enumerate(colours):
        step = step + 1 if i and _alike(colours[i - 1], colour) else 0
        n = len(_LIGHTNESS_STEPS)
        options = [_lighter(colour, _LIGHTNESS_STEPS[(step + k) % n]) for k in range(n)]
        result.append(next((o for o in options if not i or not _alike(result[-1], o)), options[0]))
    return result


def _alike(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < _ALIKE


def _lighter(colour: tuple[int, int, int], amount: float) -> tuple[int, int, int]:
    if amount == 0:
        return colour
    hue, lightness, saturation = colorsys.rgb_to_hls(*(c / 255 for c in colour))
    lightness = min(max(lightness + amount, 0.1), 0.95)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
