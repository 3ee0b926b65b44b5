"""One simulated animal: its own neurons on two probes, in the brain that all share."""

from dataclasses import dataclass
from uuid import UUID, uuid3

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import lfilter

from napari_mtm.errors import PreparationError
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.raw import Probe, Recording
from napari_mtm.recording.simulation.areas import AREAS, REPEATED_SITE, Area
from napari_mtm.recording.simulation.behaviour import Behaviour, simulate_behaviour
from napari_mtm.recording.simulation.brain import LATENTS, Brain, shared_brain
from napari_mtm.recording.simulation.truth import (
    LATENT_LEVELS,
    SLOW_LEVELS,
    SLOW_STEP,
    STEP,
    SimulatedTruth,
    rounded,
)
from napari_mtm.recording.spikes import mean_rates
from napari_mtm.recording.traces import Trace

LAB = "simulation"
PROBES = ("probe00", "probe01")
"""The first lies in the left hemisphere, the second in the right one."""

_NAMESPACE = UUID("6d9a1f5e-52f3-3c0b-9c5e-1f0a6b7c8d9e")
_EXTRA = 0.3
_DEAD_TIME = 0.002
_SITES = 384
_SITE_PITCH = 10.0
_CHUNK = 64

_LIMITS = (("seed", 0, 2**32 - 1), ("units", 1, 10_000), ("trials", 1, 10_000))
"""Of a recipe's numbers: the lowest and highest of each."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What to simulate.

    `seed` is below 2**32. `units` counts good units, up to 10,000; further clusters
    (multi-unit and near-silent, 30%) come on top. `trials` are up to 10,000. `areas`
    are names in `AREAS`.
    """

    seed: int = 0
    units: int = 300
    trials: int = 400
    areas: tuple[str, ...] = REPEATED_SITE

    def __post_init__(self) -> None:
        unknown = [a for a in self.areas if a not in AREAS]
        if unknown or not self.areas or len(set(self.areas)) < len(self.areas):
            raise PreparationError(
                f"Simulated regions must be some of {', '.join(AREAS)}"
                + (f"; {unknown[0]} is not." if unknown else ", each once.")
            )
        for name, fewest, most in _LIMITS:
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or not fewest <= value <= most:
                raise PreparationError(
                    f"The {name} of a simulation must be a whole number from {fewest} to {most:,}."
                )


@dataclass(frozen=True)
class Animal:
    """A simulated session: the recording, and what an ALF folder of it holds besides."""

    recording: Recording
    subject: str
    date: str
    behaviour: Behaviour
    sites: dict[str, pd.DataFrame]
    clusters: dict[str, pd.DataFrame]
    truth: SimulatedTruth


def simulate_animal(recipe: Recipe, animal: int, *, progress: Progress = silent) -> Animal:
    """Simulate one session of one animal; the same for the same recipe and number."""
    areas = tuple(a for a in AREAS if a in recipe.areas)
    rng = np.random.default_rng([recipe.seed, animal])
    subject = f"SIM{recipe.seed:03d}-{animal:03d}"
    date = str(np.datetime64("2024-01-01") + animal)
    key = f"{LAB}/{subject}/{date}/001/{recipe.units}/{recipe.trials}/{'+'.join(areas)}"
    eid = str(uuid3(_NAMESPACE, key))

    progress(0.0, f"{subject}: behaviour")
    behaviour = simulate_behaviour(recipe.trials, rng)
    brain = shared_brain(areas)
    latents = brain.latents(behaviour.inputs, rng)
    arousal = behaviour.inputs[:, -1:]
    sites = {name: _sites(areas, rng) for name in PROBES}
    table = _clusters(recipe.units, areas, sites, eid, rng)
    truth = _truth(table, rounded(np.hstack([latents, arousal]), LATENT_LEVELS), brain, rng)
    probes = []
    for k, name in enumerate(PROBES):
        share = part(progress, 0.2 + 0.4 * k, 0.6 + 0.4 * k)
        probes.append(_probe(name, table, truth, rng, share))
    return Animal(
        recording=Recording(
            id=eid,
            name=f"{subject} {date} 001",
            probes=tuple(probes),
            trials=behaviour.trials,
            wheel_position=Trace(behaviour.wheel_times, behaviour.wheel_position),
            whisker=Trace.clean(behaviour.camera_times, behaviour.motion_energy),
            truth=truth,
            simulated=True,
        ),
        subject=subject,
        date=date,
        behaviour=behaviour,
        sites=sites,
        clusters={name: table[table["probe"] == name] for name in PROBES},
        truth=truth,
    )


def _sites(areas: tuple[str, ...], rng: np.random.Generator) -> pd.DataFrame:
    """Where the sites of a probe lie, from its tip up: region, acronym, atlas id, depth."""
    axial = np.repeat(np.arange(_SITES // 2) * 2 * _SITE_PITCH + 20, 2)
    height = float(axial[-1]) + 20
    stretch = rng.uniform(0.88, 1.05)
    thickness = np.array([AREAS[a].thickness for a in areas]) * rng.uniform(0.85, 1.15, len(areas))
    gap = 50.0
    room = height - gap * len(areas)
    thickness *= min(stretch * room / thickness.sum(), 1.3)
    place = np.full(len(axial), "void", dtype=object)
    acronym = np.full(len(axial), "void", dtype=object)
    atlas_id = np.zeros(len(axial), dtype=np.int64)
    bottom = 0.0
    for name, thick in zip(reversed(areas), reversed(thickness), strict=True):
        in_gap = (axial >= bottom) & (axial < bottom + gap)
        place[in_gap], acronym[in_gap], atlas_id[in_gap] = "root", "root", 997
        bottom += gap
        shares = np.array([share for *_, share in AREAS[name].layers])
        edges = bottom + thick * (1 - np.r_[0.0, np.cumsum(shares)])
        for (label, number, _), low, high in zip(
            AREAS[name].layers, edges[1:], edges[:-1], strict=True
        ):
            inside = (axial >= low - 1e-6) & (axial < high)
            place[inside], acronym[inside], atlas_id[inside] = name, label, number
        bottom += thick
    return pd.DataFrame(
        {
            "region": place,
            "acronym": acronym,
            "atlas_id": atlas_id,
            "axial": axial.astype(float),
            "lateral": np.tile([43.0, 11.0, 59.0, 27.0], _SITES // 4),
        }
    )


def _clusters(
    n_good: int,
    areas: tuple[str, ...],
    sites: dict[str, pd.DataFrame],
    eid: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row per cluster of both probes, in an order that says nothing about them."""
    weight = np.array([AREAS[a].density for a in areas]) * rng.lognormal(0, 0.35, len(areas))
    n_extra = round(_EXTRA * n_good)
    area = rng.choice(len(areas), n_good + n_extra, p=weight / weight.sum())
    # Every area has at least one unit where there are enough of them.
    area[: min(len(areas), n_good)] = np.arange(len(areas))[:n_good]
    kind = np.array(["good"] * n_good + ["multi", "silent"] * (n_extra // 2 + 1))
    kind = kind[: n_good + n_extra]
    order = rng.permutation(len(area))
    area, kind = area[order], kind[order]
    probe = rng.choice(PROBES, len(area))
    rows: list[dict[str, object]] = []
    for a, k, p in zip(area, kind, probe, strict=True):
        described = AREAS[areas[a]]
        table = sites[p]
        inside = table["region"].to_numpy() == described.name
        # One unit in thirty lies in the tissue between regions.
        if rng.random() < 1 / 30:
            inside = table["region"].to_numpy() == "root"
        channel = int(rng.choice(np.flatnonzero(inside)))
        site = table.iloc[channel]
        rows.append(
            {
                "probe": p,
                "area": a,
                "kind": k,
                "channel": channel,
                "region": site["region"],
                "acronym": site["acronym"],
                "depth": site["axial"],
                "target": _target_rate(described, k, rng),
                "label": {"good": 1.0, "multi": rng.choice([1 / 3, 2 / 3]), "silent": 0.0}[k],
                "uuid": str(uuid3(UUID(eid), f"{p}/{len(rows)}")),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(cluster=table.groupby("probe").cumcount())


def _target_rate(area: Area, kind: str, rng: np.random.Generator) -> float:
    """Mean spikes/s of a unit, log-normal as in the real area and kind."""
    mean, spread = {
        "good": (area.log_rate, area.spread),
        "multi": (area.multi_log_rate, 0.9),
        "silent": (-3.5, 1.2),
    }[kind]
    return float(np.clip(np.exp(rng.normal(mean, spread)), 0.005, 60.0))


def _truth(
    table: pd.DataFrame, latents: npt.NDArray[np.int8], brain: Brain, rng: np.random.Generator
) -> SimulatedTruth:
    n, steps = len(table), len(latents)
    loadings = np.zeros((n, latents.shape[1]), dtype=np.float32)
    cell_class = rng.integers(0, brain.classes.shape[1], n)
    for u, (area, kind) in enumerate(zip(table["area"], table["kind"], strict=True)):
        mine = slice(area * LATENTS, (area + 1) * LATENTS)
        own = rng.normal(0, 1, (4 if kind == "multi" else 1, LATENTS)).mean(axis=0)
        vector = 0.6 * brain.classes[area, cell_class[u]] + 0.75 * own
        loadings[u, mine] = 0.66 * rng.lognormal(0, 0.3) * vector
    loadings[:, -1] = rng.normal(0.15, 0.3, n)
    slow = _slow_dynamics(n, steps, rng)
    uuids = tuple(table["uuid"])
    plain = SimulatedTruth(uuids, latents, np.zeros(n, np.float32), loadings, slow)
    # The base makes every unit's mean over the session the rate it is meant to have.
    base = np.empty(n, dtype=np.float32)
    for first in range(0, n, _CHUNK):
        units = np.arange(first, min(first + _CHUNK, n))
        modulation = plain.rate(0, steps, units).mean(axis=0, dtype=np.float64)
        base[units] = np.log(table["target"].to_numpy()[units] / modulation)
    return SimulatedTruth(uuids, latents, base, loadings, slow)


def _slow_dynamics(n: int, steps: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Private dynamics of each unit, over fractions of seconds to many minutes.

    They cannot be read from other units: a model that leans on a unit's own past
    fails when that unit is hidden.
    """
    knots = int(np.ceil(steps * STEP / SLOW_STEP)) + 2
    seconds = np.exp(rng.uniform(np.log(0.6), np.log(6.0), n))
    size = rng.lognormal(np.log(0.5), 0.3, n)
    drift = rng.normal(0, 0.35, n) * np.sqrt(SLOW_STEP / 900)
    slow = np.empty((knots, n), dtype=np.int8)
    for u in range(n):
        keep = np.exp(-SLOW_STEP / seconds[u])
        white = rng.standard_normal(knots) * np.sqrt(1 - keep**2)
        wander = np.cumsum(rng.standard_normal(knots)) * drift[u]
        private = size[u] * lfilter([1.0], [1.0, -keep], white) + wander - wander.mean()
        slow[:, u] = rounded(private, SLOW_LEVELS)
    return slow


def _probe(
    name: str,
    table: pd.DataFrame,
    truth: SimulatedTruth,
    rng: np.random.Generator,
    progress: Progress,
) -> Probe:
    mine = np.flatnonzero(table["probe"].to_numpy() == name)
    single = table["kind"].to_numpy() != "multi"
    trains: list[Floats] = []
    for first in range(0, len(mine), _CHUNK):
        progress(first / len(mine), f"{name}: spikes")
        units = mine[first : first + _CHUNK]
        rate = truth.rate(0, len(truth.latents), units)
        for k, u in enumerate(units):
            trains.append(_spike_train(rate[:, k], _DEAD_TIME if single[u] else 0.0, rng))
    times = np.concatenate(trains) if trains else np.empty(0)
    clusters = np.repeat(np.arange(len(trains), dtype=np.uint16), [len(t) for t in trains])
    order = np.argsort(times, kind="stable")
    times, clusters = times[order], clusters[order]
    ids = np.arange(len(mine))
    described = table.iloc[mine][["uuid", "region", "acronym", "depth", "label"]]
    described = described.assign(firing_rate=mean_rates(times, clusters, ids)).set_index(ids)
    fired = np.bincount(clusters, minlength=len(mine)) > 0
    return Probe(name, times, clusters, described[fired])


def _spike_train(
    rate: npt.NDArray[np.float32], dead_time: float, rng: np.random.Generator
) -> Floats:
    """Spike times of a Poisson process with a dead time, whose mean rate is `rate`.

    A dead time takes away a share `rate * dead_time` of the time; candidates come
    faster by that much, and those that fall into it are dropped.
    """
    rate64 = rate.astype(np.float64)
    total = np.zeros(len(rate) + 1)
    np.cumsum(rate64 / (1 - rate64 * dead_time) * STEP, out=total[1:])
    number = rng.poisson(total[-1])
    level = np.sort(rng.random(number)) * total[-1]
    # Not np.interp, which on some processors rounds a product and a sum at once.
    step = np.minimum(np.searchsorted(total, level, side="right"), len(rate)) - 1
    into = (level - total[step]) / (total[step + 1] - total[step])
    times: Floats = (step + into) * STEP
    while dead_time and len(times) > 1:
        close = np.r_[False, np.diff(times) < dead_time]
        # Only the first of a run is known to follow a spike that stays.
        first_of_run = close & ~np.r_[False, close[:-1]]
        if not first_of_run.any():
            break
        times = times[~first_of_run]
    return times
