"""How baselines are called in the window."""

from collections.abc import Mapping

BASELINE_NAMES: Mapping[str, str] = {
    "psth": "PSTH",
    "reduced-rank": "reduced rank",
    "slow-rate": "slow rate",
    "shrinkage": "level so far",
    "ridge-ar": "own past",
}
