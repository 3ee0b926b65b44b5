"""How behaviour is called on screen."""

from typing import NamedTuple


class Words(NamedTuple):
    """How one quantity is called beside an axis, beside a score, and in a menu."""

    axis: str
    score: str
    menu: str


_WORDS = {
    "choice": Words("P(right)", "choice", "Choice"),
    "block": Words("P(right block)", "block", "Block"),
    "wheel-speed": Words("wheel speed\n(rad/s)", "wheel R²", "Wheel speed"),
    "whisker-motion-energy": Words(
        "whisker motion\nenergy (a.u.)", "whisker R²", "Whisker motion energy"
    ),
    "lick-rate": Words("licks/s", "licks R²", "Licks"),
    "pupil-diameter": Words("pupil diameter\n(pixels)", "pupil R²", "Pupil diameter"),
    "paw-speed-left": Words("left paw\n(pixels/s)", "left paw R²", "Speed of the left paw"),
    "paw-speed-right": Words("right paw\n(pixels/s)", "right paw R²", "Speed of the right paw"),
}


def words(name: str) -> Words:
    """Return how a quantity is called; a trace that is not known here by its own name."""
    return _WORDS.get(name) or Words(name, f"{name} R²", name)


def shown(traces: tuple[str, ...]) -> tuple[str, ...]:
    """Return the traces that are drawn and scored: the wheel's speed stands for its velocity."""
    return tuple(name for name in traces if name != "wheel-velocity")
