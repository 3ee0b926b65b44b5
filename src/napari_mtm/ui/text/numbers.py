"""Numbers as they are written on screen."""

import math


def number(value: float, decimals: int = 2, *, plus: str = "") -> str:
    """Write a number with a real minus, and without a sign where it is rounded to 0.

    One above 0 is written with `plus` before it; one that is not finite as Python does.
    """
    text = f"{abs(value):.{decimals}f}"
    if math.isnan(value) or float(text) == 0:
        return text
    return ("−" if value < 0 else plus) + text


def rate(spikes_per_second: float) -> str:
    """Write a rate with its unit, to two digits or whole spikes/s."""
    written = f"{spikes_per_second:.0f}"
    if abs(spikes_per_second) < 99.5:
        written = f"{float(f'{spikes_per_second:.2g}'):g}"
    return f"{written} spikes/s"


def signed(value: float, decimals: int = 2) -> str:
    """Write a number with its sign."""
    return number(value, decimals, plus="+")
