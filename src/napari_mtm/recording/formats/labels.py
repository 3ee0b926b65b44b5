"""Where units lie, by the Allen and Beryl names that a file gives them."""

from collections.abc import Sequence

from napari_mtm.recording.regions import UNKNOWN, to_beryl


def named_places(allen: Sequence[str], beryl: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the finest acronym and the Beryl name of each unit.

    The Beryl name follows from the Allen acronym. Where the atlas does not know that, the one that
    the file gives stands for both, if the atlas knows it; "" means that the file says nothing.
    """
    given = to_beryl(beryl)
    region = [g if r == UNKNOWN else r for r, g in zip(to_beryl(allen), given, strict=True)]
    acronym = [a or g for a, g in zip(allen, given, strict=True)]
    return acronym, region
