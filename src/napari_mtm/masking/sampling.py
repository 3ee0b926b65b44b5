"""Masks drawn at random for training, on the device, for a whole batch at once.

Shapes: B trials, T bins, N units. What is drawn broadcasts to (B, T, N).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_mtm.arrays import Kind, numbers
from napari_mtm.errors import MaskError
from napari_mtm.masking.tasks import Task


@dataclass(frozen=True)
class Drawn:
    """Masks of a batch: what the model may see, and what it is scored on."""

    visible: Tensor
    scored: Tensor


@dataclass(frozen=True)
class Layout:
    """Which region each unit lies in, and how likely each region is to be drawn."""

    regions: Tensor  # (N,) index of the region
    chances: Tensor  # (R,)

    @classmethod
    def of(
        cls, names: Sequence[str], *, power: float, device: torch.device | str = "cpu"
    ) -> "Layout":
        """Draw regions in proportion to a power of their sizes; 0 draws all alike."""
        order = {name: i for i, name in enumerate(dict.fromkeys(names))}
        regions = torch.tensor([order[name] for name in names], device=device)
        return cls(regions, torch.bincount(regions).float() ** power)


@dataclass(frozen=True)
class Recipe:
    """How masks are drawn.

    Shares of units or bins that are hidden are drawn per trial between two bounds. A
    share `future` of the causal masks hides all bins from some time on, and scores the
    next `ahead`; the others hide random bins. Regions are drawn per trial, or one for
    the whole batch.
    """

    units: tuple[float, float] = (0.05, 0.5)
    bins: tuple[float, float] = (0.1, 0.6)
    future: float = 1.0
    ahead: int = 12
    region_power: float = 0.5
    region_per_trial: bool = True

    def __post_init__(self) -> None:
        for name in ("units", "bins"):
            share = numbers(
                getattr(self, name), f"The share of {name}", MaskError, shape=(2,), least=0, most=1
            )
            if not share[0] <= share[1]:
                raise MaskError(f"The share of {name} must not end before it begins.")
        bounds = {"future": (0.0, 1.0), "ahead": (1, 100_000), "region_power": (0.0, 10.0)}
        for name, (least, most) in bounds.items():
            kind: Kind = "whole" if name == "ahead" else "real"
            numbers(
                getattr(self, name),
                f"What masks are drawn by, {name},",
                MaskError,
                kind=kind,
                shape=(),
                least=least,
                most=most,
                finite=True,
            )


DEFAULT = Recipe()
"""Our masks."""

PUBLISHED = Recipe(
    units=(0.3, 0.3), bins=(0.6, 0.6), future=0.0, region_power=0.0, region_per_trial=False
)
"""The paper's masks."""


def draw(
    task: Task,
    recipe: Recipe,
    layout: Layout,
    *,
    trials: int,
    bins: int,
    generator: torch.Generator | None = None,
) -> Drawn:
    """Draw the masks of one task for a batch."""
    device = layout.regions.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, device=device, generator=generator)

    def between(bounds: tuple[float, float]) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * uniform(trials, 1, 1)

    if task == "causal":
        hidden = uniform(trials, bins, 1) < between(recipe.bins)
        if not recipe.future:
            return Drawn(~hidden, hidden)
        first = (bins * (0.4 + 0.6 * uniform(trials, 1, 1))).floor()
        time = torch.arange(bins, device=device)[:, None]
        forecast = uniform(trials, 1, 1) < recipe.future
        hidden = torch.where(forecast, time >= first, hidden)
        return Drawn(~hidden, hidden & (~forecast | (time < first + recipe.ahead)))

    n_units = len(layout.regions)
    some = uniform(trials, 1, n_units) < between(recipe.units)
    if task == "neuron":
        return Drawn(~some, some)
    n = trials if recipe.region_per_trial else 1
    region = torch.multinomial(layout.chances, n, replacement=True, generator=generator)
    inside = layout.regions == region.view(n, 1, 1)
    if task == "inter-region":
        inside = inside.expand(trials, 1, n_units)
        return Drawn(~inside, inside)
    return Drawn(inside & ~some, inside & some)


def draw_temporal(
    *,
    trials: int,
    bins: int,
    ratio: float = 0.3,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Drawn:
    """Draw the masks of the paper's baseline: random bins of all units."""
    hidden = torch.rand((trials, bins, 1), device=device, generator=generator) < ratio
    return Drawn(~hidden, hidden)
