"""The true rates of simulated units, kept as the factors that made them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_mtm.errors import SourceError, in_short
from napari_mtm.files import shortened
from napari_mtm.recording.simulation.exact import exp, on_grid

STEP = 0.01
"""Seconds per step of everything that changes in time."""

SLOW_STEP = 0.25
"""Seconds between the knots of a unit's private slow dynamics."""

HIGHEST_RATE = 150.0
"""Spikes/s above which no unit goes."""

LATENT_LEVELS = 32
SLOW_LEVELS = 48
"""Levels per unit of the latents and of log rate. What is rounded to them is what
drives the units, so the stored truth is exact, and small."""

_LOADING_BITS = 30
_LARGEST_LOADINGS = 2.0**15
"""Sum of a unit's loadings up to which their products with latents are exact."""
_LOWEST_LOG_RATE = -80.0
_HIGHEST_LOG_RATE = float(np.log(HIGHEST_RATE))
_BLOCK = 256
"""Steps whose rates are computed at a time, which the processor's cache holds."""

_TYPES = {"latents": "I8", "base": "F32", "loadings": "F32", "slow": "I8"}


@dataclass(frozen=True)
class SimulatedTruth:
    """Factors of the log rates of all units of a session.

    The rate of a unit is constant within each step of `STEP` seconds from time 0:
    exp(base + loadings . latents + slow) spikes/s, where `latents` is (steps,
    latents) in `LATENT_LEVELS`, `loadings` (units, latents), and `slow` (knots,
    units) in `SLOW_LEVELS` is joined by straight lines between knots `SLOW_STEP`
    seconds apart.
    """

    uuids: tuple[str, ...]
    latents: npt.NDArray[np.int8]
    base: npt.NDArray[np.float32]
    loadings: npt.NDArray[np.float32]
    slow: npt.NDArray[np.int8]

    def rate(self, first: int, last: int, units: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Spikes/s (steps, units) in steps `first` to `last` (exclusive) of some units.

        The same to the last bit wherever it is computed.
        """
        columns = np.asarray(units)
        # Latents are whole numbers, so the products below are exact: see `on_grid`.
        loadings = on_grid(self.loadings[columns].T, _LOADING_BITS) / LATENT_LEVELS
        base, slow = self.base[columns], self.slow[:, columns]
        rate = np.empty((last - first, len(columns)), dtype=np.float32)
        for start in range(first, last, _BLOCK):
            stop = min(start + _BLOCK, last)
            log_rate = self.latents[start:stop].astype(np.float64) @ loadings
            log_rate += _joined(slow, start, stop)
            log_rate += base
            np.clip(log_rate, _LOWEST_LOG_RATE, _HIGHEST_LOG_RATE, out=log_rate)
            rate[start - first : stop - first] = exp(log_rate)
        return rate

    def rates(self, edges: npt.NDArray[np.float64], uuids: list[str]) -> npt.NDArray[np.float32]:
        """Return expected counts (windows, bins, units) in bins with `edges` (windows, bins + 1).

        Exact: the rate is integrated over each bin. Raises SourceError for a
        unit that was not simulated.
        """
        index = {uuid: k for k, uuid in enumerate(self.uuids)}
        missing = [u for u in uuids if u not in index]
        if missing:
            raise SourceError(
                f"The true rates do not include unit {shortened(missing[0])}; they are damaged."
            )
        columns = np.array([index[u] for u in uuids], dtype=np.intp)
        n_windows, n_edges = edges.shape
        expected = np.empty((n_windows, n_edges - 1, len(columns)), dtype=np.float32)
        steps = len(self.latents)
        for k, row in enumerate(edges):
            first = min(max(int(row[0] / STEP) - 1, 0), steps - 1)
            last = min(max(int(np.ceil(row[-1] / STEP)) + 1, first + 1), steps)
            total = np.zeros((last - first + 1, len(columns)))
            np.cumsum(self.rate(first, last, columns) * STEP, axis=0, out=total[1:])
            place = np.clip(row / STEP - first, 0, last - first)
            low = np.minimum(place.astype(np.intp), last - first - 1)
            inside = (place - low)[:, None]
            expected[k] = np.diff(total[low] * (1 - inside) + total[low + 1] * inside, axis=0)
        return expected

    def save(self, path: Path) -> None:
        """Write the factors beside the data."""
        from safetensors.numpy import save_file

        save_file(
            {
                "latents": self.latents,
                "base": self.base,
                "loadings": np.ascontiguousarray(self.loadings),
                "slow": np.ascontiguousarray(self.slow),
            },
            path,
            metadata={"uuids": json.dumps(self.uuids)},
        )

    @classmethod
    def load(cls, path: Path) -> "SimulatedTruth":
        """Read what `save` wrote; raise SourceError where it is damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                uuids = json.loads((file.metadata() or {}).get("uuids", "null"))
                types = {name: file.get_slice(name).get_dtype() for name in _TYPES}
                if types != _TYPES:
                    raise ValueError(f"its numbers are of types {', '.join(types.values())}")
                tensors = {name: file.get_tensor(name) for name in _TYPES}
            _check(uuids, tensors)
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            raise SourceError(
                f"{path}, the true rates of a simulated session, is damaged ({in_short(error)}). "
                "Copy or simulate the session again."
            ) from None
        return cls(tuple(uuids), **tensors)


def _check(uuids: object, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError unless rates of different units can be computed exactly from these."""
    if not isinstance(uuids, list) or not all(isinstance(uuid, str) for uuid in uuids):
        raise ValueError("it has no list of units")
    n = len(uuids)
    if len(set(uuids)) < n:
        raise ValueError("it has a unit twice")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    steps, n_latents = shapes["latents"] if len(shapes["latents"]) == 2 else (0, 0)
    knots = shapes["slow"][0] if shapes["slow"] else 0
    if not 1 <= steps <= (knots - 1) * round(SLOW_STEP / STEP) or shapes != {
        "latents": (steps, n_latents),
        "base": (n,),
        "loadings": (n, n_latents),
        "slow": (knots, n),
    }:
        raise ValueError(f"arrays of {', '.join(map(str, shapes.values()))} for {n} units")
    size = np.abs(tensors["loadings"]).sum(axis=1, dtype=np.float64)
    if not (np.isfinite(tensors["base"]).all() and (size <= _LARGEST_LOADINGS).all()):
        raise ValueError("rates that are too large, or not finite")


def rounded(values: npt.ArrayLike, levels: int) -> npt.NDArray[np.int8]:
    """Round to whole levels, as far as eight bits reach."""
    return np.clip(np.round(np.asarray(values) * levels), -127, 127).astype(np.int8)


def _joined(knots: npt.NDArray[np.int8], first: int, last: int) -> npt.NDArray[np.float64]:
    """Log rate at the middle of each step, between knots (knots, units)."""
    place = ((np.arange(first, last) + 0.5) * (STEP / SLOW_STEP)).astype(np.float32)
    low = np.minimum(place.astype(np.intp), len(knots) - 2)
    weight = (place - low)[:, None]
    near = knots[low[0] : low[-1] + 2] / SLOW_LEVELS
    low -= low[0]
    joined: npt.NDArray[np.float64] = np.diff(near, axis=0)[low]
    joined *= weight
    joined += near[low]
    return joined
