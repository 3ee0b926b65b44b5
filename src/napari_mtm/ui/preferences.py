"""What a person set in napari's Preferences under napari-mtm."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_mtm.masking.painting import PREDICTED, TAKEN

_PLUGIN = "napari-mtm"

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Preferences:
    """Settings of the plugin.

    Attributes
    ----------
    device
        A torch device, None for the best there is.
    threads
        Threads of the CPU that torch uses, None for all cores but one.
    throttle_ms
        Least time between requests while a stroke goes on.
    predicted, taken
        Colours of what is hidden and predicted, and of what is only hidden.
    cache
        Folder of prepared sessions, None for the usual one.

    """

    device: str | None = None
    threads: int | None = None
    throttle_ms: int = 30
    predicted: Colour = (1.0, 0.62, 0.12)
    taken: Colour = (0.42, 0.55, 1.0)
    cache: Path | None = None

    @property
    def label_colours(self) -> dict[int, Colour]:
        """Colours by label of the mask."""
        return {PREDICTED: self.predicted, TAKEN: self.taken}


def preferences() -> Preferences:
    """Read the preferences; the usual ones where napari does not know the plugin's."""
    from napari.settings import get_plugin_settings

    usual = Preferences()
    try:
        found: Any = get_plugin_settings(_PLUGIN)
    except KeyError:  # not installed as a plugin
        return usual
    return Preferences(
        device=None if found.model.device == "best" else str(found.model.device),
        threads=int(found.model.threads) or None,
        throttle_ms=int(found.model.throttle_ms),
        predicted=_colour(found.colours.predicted, usual.predicted),
        taken=_colour(found.colours.taken, usual.taken),
        cache=Path(found.storage.cache).expanduser() if found.storage.cache else None,
    )


def _colour(text: str, otherwise: Colour) -> Colour:
    """Read a colour as #rrggbb; what is none is as it was meant to be."""
    digits = text.strip().removeprefix("#")
    try:
        red, green, blue = (int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4))
    except ValueError:
        return otherwise
    return red, green, blue
