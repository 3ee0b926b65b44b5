"""A linear expert: each unit from all others at once, in closed form and exact for any mask.

Deviations of square-root counts from each unit's usual course, slightly smoothed in time, are
taken to be jointly Gaussian over units. What hidden units are expected to do, given the
visible ones, is their conditional mean; what a visible unit is expected to do, given the other
visible ones, follows from the same inverse. Both become rates by two slopes per unit. Within
regions, units of one region alone are taken to go together; forecasts are linear in the past.

In the shapes below B is trials, T bins, N units. All is fitted on the training trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_mtm.masking.tasks import Task
from napari_mtm.model.coupling import Coupling
from napari_mtm.model.forecast import Forecast
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session
from napari_mtm.recording.slow import SlowLevels

Trials = npt.NDArray[np.intp]

_LEAST_SHARE = 0.15
"""A prediction is at least this share of the mean rate: a linear one may fall below 0."""


@dataclass(frozen=True)
class Level:
    """What is usual on some trials.

    Attributes
    ----------
    log_rates, roots
        Log rates, and mean square-root counts, (B or 1, T, N).
    drift
        What of the log rates is the slow level, (B or 1, 1, N).

    """

    log_rates: Tensor
    roots: Tensor
    drift: Tensor


@dataclass(frozen=True, eq=False)
class Expert:
    """The fitted expert of one session.

    Attributes
    ----------
    log_course, root_course
        Usual log rates and square-root counts, (T, N).
    smoothing, wide
        (T, T): how deviations are smoothed, and what is expected of them is again.
    scale
        (N,): deviations are multiplied with it.
    across, within
        How units of all regions go together, and those of each region alone.
    forecast
        What the past says.
    slow
        The level of each unit on each trial.

    """

    log_course: Tensor
    root_course: Tensor
    smoothing: Tensor
    wide: Tensor
    scale: Tensor
    across: Coupling
    within: Coupling
    forecast: Forecast
    slow: SlowLevels

    @classmethod
    def fit(
        cls,
        session: Session,
        trials: Trials | None = None,
        *,
        device: torch.device | str = "cpu",
        progress: Progress = silent,
    ) -> "Expert":
        """Fit on the training trials of a session, or on the trials that are given instead."""
        chosen = session.split().train if trials is None else np.unique(trials)
        from napari_mtm.model.expert_fit import fit_expert  # which knows this module

        return fit_expert(session, chosen, torch.device(device), progress)

    def __deepcopy__(self, _memo: object) -> "Expert":
        """Return itself: nothing of it changes."""
        return self

    def to(self, device: torch.device) -> "Expert":
        """Return the same on another device."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            name: part if isinstance(part, SlowLevels) else part.to(device)
            for name, part in parts.items()
        }
        return Expert(**moved)

    def level(self, trials: Sequence[int] | Trials | None = None) -> Level:
        """Return what is usual on some trials, or, without slow levels, on any."""
        if trials is None:
            none = torch.zeros_like(self.scale)
            return Level(self.log_course[None], self.root_course[None], none[None, None])
        return self.level_of(*self.slow.at(trials))

    def level_of(self, rates: npt.NDArray[np.floating], roots: npt.NDArray[np.floating]) -> Level:
        """Return what is usual where slow levels (B, N) of rates and of roots are these."""
        of_rates, of_roots = (
            torch.as_tensor(levels[:, None], dtype=torch.float32, device=self.scale.device)
            for levels in (rates, roots)
        )
        drift = of_rates.log()
        return Level(self.log_course + drift, self.root_course * of_roots, drift)

    def log_rates(
        self,
        deviation: Tensor,
        visible: Tensor,
        level: Level,
        task: Task,
        *,
        hidden_only: bool = False,
    ) -> Tensor:
        """Return log rates (B, T, N): of hidden units given the visible, of these by each other.

        `deviation` (B, T, N) is of square-root counts from the level's; `visible` broadcasts
        to it. "causal" looks at what came before alone, and "intra-region" at a unit's own
        region. Bins in which nothing is visible there get what is usual, and so may, with
        `hidden_only`, entries that are visible.
        """
        usual, seen = level.log_rates.exp(), deviation * visible
        if task == "causal":
            change = self.forecast.changes(seen) * usual.sqrt()
        else:
            coupling = self.within if task == "intra-region" else self.across
            x = torch.matmul(self.smoothing, seen) * self.scale
            expected = coupling.expected(x, visible, hidden_only=hidden_only)
            change = coupling.slopes[0] * expected
            change += coupling.slopes[1] * torch.matmul(self.wide, expected)
        least = _LEAST_SHARE * self.log_course.exp().mean(dim=0)
        return torch.maximum(usual + change, least).log()
