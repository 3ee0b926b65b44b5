"""The one brain that all simulated animals share: latent dynamics of its areas.

Each area has a few latent variables with damped, rotating dynamics of its own,
is driven by the task, and hears the other areas after a delay. Animals differ in
how their neurons read these latents, not in the latents themselves.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from napari_mtm.recording.simulation.areas import AREAS
from napari_mtm.recording.simulation.behaviour import DRIVES, simulate_behaviour
from napari_mtm.recording.simulation.exact import on_grid
from napari_mtm.recording.simulation.truth import STEP

LATENTS = 3
"""Latent variables of each area."""

CLASSES = 3
"""Cell classes of each area, which differ in what they read from its latents."""

_BRAIN_SEED = 20240719
_LONGEST_DELAY = 6
_SEGMENT = 3000
_WARM_UP = 600
_BITS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Brain:
    """Dynamics of some areas; the latents of area k are columns `k * LATENTS` and on.

    `own` (latents, latents) is each area's own step, `heard` (delays, latents,
    latents) what arrives from others, `driven` (modes, latents) the input,
    `lag` the steps that input takes to each area, `noise` (latents,) the size of
    private noise, `classes` (areas, CLASSES, LATENTS) the mean readout of each
    cell class, `scale` (latents,) the spread of each latent in a long run.
    """

    areas: tuple[str, ...]
    own: Floats
    heard: Floats
    driven: Floats
    lag: npt.NDArray[np.intp]
    noise: Floats
    classes: Floats
    scale: Floats

    def latents(self, inputs: Floats, rng: np.random.Generator) -> Floats:
        """Run the areas under `inputs` (steps, drives); (steps, latents) of about unit variance."""
        steps, n = len(inputs), len(self.scale)
        drive = rng.standard_normal((steps, n)) * self.noise
        modes = _product(inputs, _MODE_WEIGHTS)
        for k, lag in enumerate(self.lag):
            mine = slice(k * LATENTS, (k + 1) * LATENTS)
            drive[lag:, mine] += _product(modes[: steps - lag], self.driven[:, mine])
        return _in_segments(drive, self.own, self.heard) / self.scale


def _in_segments(drive: Floats, own: Floats, heard: Floats) -> Floats:
    """Run all stretches of time at once.

    Each begins some seconds early, from rest: the dynamics forget faster than
    that, so the stretches join without a seam.
    """
    steps, n = drive.shape
    segments = -(-steps // _SEGMENT)
    padded = np.zeros((_WARM_UP + segments * _SEGMENT, n))
    padded[_WARM_UP : _WARM_UP + steps] = drive
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WARM_UP + _SEGMENT, axis=0)
    windows = windows[::_SEGMENT]  # (segments, latents, steps)
    weights = np.concatenate([own, *heard]).astype(np.float64)
    state = np.zeros((segments, n))
    # What every area sent in the last steps, newest first.
    sent = np.zeros((segments, len(heard) * n))
    result = np.empty((segments, _SEGMENT, n))
    for t in range(_WARM_UP + _SEGMENT):
        state_next = _product(np.concatenate([state, sent], axis=1), weights) + windows[:, :, t]
        sent[:, n:] = sent[:, :-n].copy()
        sent[:, :n] = np.tanh(state)
        state = state_next
        if t >= _WARM_UP:
            result[:, t - _WARM_UP] = state
    return result.reshape(segments * _SEGMENT, n)[:steps]


def _product(one: Floats, other: Floats) -> Floats:
    """Multiply matrices, rounded so that the product is exact where its sums are below 2**13."""
    return on_grid(one, _BITS) @ on_grid(other, _BITS)


@cache
def shared_brain(areas: tuple[str, ...]) -> Brain:
    """Return the brain, with the given areas; it is the same for all animals and seeds.

    What an area does on its own does not depend on which others are simulated.
    """
    k, n = len(areas), len(areas) * LATENTS
    own, driven = np.zeros((n, n)), np.zeros((len(MODES), n))
    heard = np.zeros((_LONGEST_DELAY, n, n))
    lag = np.zeros(k, dtype=np.intp)
    classes = np.zeros((k, CLASSES, LATENTS))
    for i, area in enumerate(areas):
        rng = _stream(area)
        mine = slice(i * LATENTS, (i + 1) * LATENTS)
        own[mine, mine] = _rotations(rng)
        driven[:, mine] = _preferences(area, rng)
        lag[i] = rng.integers(3, 7)
        classes[i] = rng.normal(0, 0.75, (CLASSES, LATENTS))
        for j, other in enumerate(areas):
            pair = _stream(other, area)
            if i != j:
                theirs = slice(j * LATENTS, (j + 1) * LATENTS)
                delay = pair.integers(0, _LONGEST_DELAY)
                weights = pair.normal(0, 1, (LATENTS, LATENTS)) * (pair.random() < 0.75)
                heard[delay, theirs, mine] = 0.12 * weights / np.sqrt(k)
    brain = Brain(areas, own, heard, driven, lag, np.full(n, 0.08), classes, np.ones(n))
    rng = _stream("pilot")
    # In a brain whose scales are one, the pilot's spread is the scale.
    pilot = brain.latents(simulate_behaviour(150, rng).inputs, rng)
    return replace(brain, scale=pilot.std(axis=0))


def _stream(*names: str) -> np.random.Generator:
    return np.random.default_rng([_BRAIN_SEED, *("/".join(names)).encode()])


def _rotations(rng: np.random.Generator) -> Floats:
    """Return a damped rotation and a slow decay, with time constants from 150 to 800 ms."""
    fast, slow = (
        np.exp(-STEP / np.exp(rng.uniform(np.log(a), np.log(b))))
        for a, b in ((0.15, 0.4), (0.3, 0.8))
    )
    angle = 2 * np.pi * STEP * rng.uniform(0.3, 2.0)
    block = np.zeros((LATENTS, LATENTS))
    block[:2, :2] = fast * np.array(
        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    )
    block[2, 2] = slow
    return block


def _preferences(area: str, rng: np.random.Generator) -> Floats:
    """How strongly each mode reaches each latent of an area, (modes, LATENTS)."""
    specialty = _SPECIALTIES[_GROUPS[area]]
    strength = np.array([specialty.get(mode, 1.0) for mode in MODES])
    return 0.1 * strength[:, None] * rng.normal(0, 1, (len(MODES), LATENTS))


MODES = {
    "seen": {"stimulus left": 2.0, "stimulus right": 2.0, "tone": 2.0},
    "seen side": {"stimulus left": -4.0, "stimulus right": 4.0},
    "turn": {"decision": 1.5, "prior": 0.7, "wheel velocity": 2.0},
    "vigour": {"wheel speed": 2.0, "whisking": 1.2},
    "outcome": {"reward": 2.0, "error": -2.5},
    "state": {"arousal": 0.7},
}
"""What reaches all areas, as sums of the task's drives."""

_MODE_WEIGHTS = np.array(
    [[weights.get(drive, 0.0) for weights in MODES.values()] for drive in DRIVES]
)

_GROUPS = {
    **dict.fromkeys(AREAS, "thalamus"),
    **dict.fromkeys(("VISp", "VISa"), "visual cortex"),
    **dict.fromkeys(("ProS", "CA1", "CA3", "DG"), "hippocampus"),
    **dict.fromkeys(("SCm", "APN", "MRN"), "midbrain"),
}

_SPECIALTIES = {
    "visual cortex": {"seen": 1.5, "seen side": 2.0},
    "hippocampus": {"outcome": 2.0, "state": 1.5, "seen side": 0.5},
    "thalamus": {"vigour": 1.5, "seen": 1.2},
    "midbrain": {"turn": 2.0, "vigour": 1.2},
}
