"""The brain areas that simulated probes cross, calibrated on real ones.

Firing rates, layers and thickness are summaries of 78 real repeated-site
insertions (the table of the IBL reproducible ephys paper, MIT licence).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Area:
    """One Beryl region.

    `layers` are Allen acronym, atlas id (right hemisphere) and share of units,
    from the surface down; `log_rate` and `spread` are mean and standard deviation
    of the natural log of spikes/s of good units; `multi_log_rate` the mean for
    multi-unit clusters; `thickness` micrometres along the probe; `density` good
    units per insertion.
    """

    name: str
    layers: tuple[tuple[str, int, float], ...]
    log_rate: float
    spread: float
    multi_log_rate: float
    thickness: float
    density: float


_AREAS = (
    Area(
        "VISp",
        (
            ("VISp2/3", 821, 0.10),
            ("VISp4", 721, 0.10),
            ("VISp5", 778, 0.30),
            ("VISp6a", 33, 0.42),
            ("VISp6b", 305, 0.08),
        ),
        0.65,
        1.67,
        1.65,
        465,
        27,
    ),
    Area(
        "VISa",
        (
            ("VISa2/3", 312782554, 0.10),
            ("VISa4", 312782558, 0.10),
            ("VISa5", 312782562, 0.48),
            ("VISa6a", 312782566, 0.32),
        ),
        0.37,
        1.50,
        1.80,
        618,
        27,
    ),
    Area("ProS", (("ProS", 484682470, 1.0),), 0.66, 1.69, 1.74, 331, 24),
    Area("CA1", (("CA1", 382, 1.0),), 0.62, 1.75, 1.73, 526, 13),
    Area("CA3", (("CA3", 463, 1.0),), 1.03, 1.86, 1.81, 310, 9),
    Area(
        "DG",
        (("DG-mo", 10703, 0.25), ("DG-sg", 632, 0.44), ("DG-po", 10704, 0.31)),
        0.45,
        1.98,
        1.75,
        585,
        10,
    ),
    Area(
        "SCm",
        (("SCig", 10, 0.44), ("SCiw", 17, 0.47), ("SCdg", 26, 0.09)),
        1.68,
        1.52,
        2.00,
        597,
        19,
    ),
    Area("Eth", (("Eth", 560581551, 1.0),), 1.24, 1.15, 2.18, 315, 16),
    Area("LP", (("LP", 218, 1.0),), 1.54, 0.95, 2.06, 459, 27),
    Area("PO", (("PO", 1020, 1.0),), 1.48, 1.15, 2.03, 611, 47),
    Area("POL", (("POL", 1029, 1.0),), 0.42, 1.53, 1.55, 335, 14),
    Area("VPM", (("VPM", 733, 1.0),), 1.90, 1.31, 2.14, 400, 28),
    Area("PoT", (("PoT", 563807435, 1.0),), 1.46, 1.34, 1.96, 278, 11),
    Area("APN", (("APN", 215, 1.0),), 1.29, 2.24, 1.94, 853, 25),
    Area("MRN", (("MRN", 128, 1.0),), 0.99, 2.30, 1.98, 540, 17),
)

AREAS = {area.name: area for area in _AREAS}
"""Areas by name, in the order in which a probe meets them on its way down."""

REPEATED_SITE = ("VISa", "CA1", "DG", "LP", "PO")
"""The targets of IBL's repeated-site insertion."""
