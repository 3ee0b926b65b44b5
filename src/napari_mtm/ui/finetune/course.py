"""What a person chose for a fine-tuning, and what is known of one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_mtm.recording.session import Session
from napari_mtm.training import NEW

if TYPE_CHECKING:
    from napari_mtm.model.model import Preset
    from napari_mtm.training.comparison import Comparison
    from napari_mtm.training.loop import Report
    from napari_mtm.training.settings import Settings

Phase = Literal[
    "idle", "preparing", "running", "paused", "stopping", "comparing", "finished", "failed"
]

AT_WORK: frozenset[Phase] = frozenset({"preparing", "running", "paused", "stopping", "comparing"})
"""While these last, a process of ours is there."""

Length = Literal["quick", "thorough"]

LENGTHS: Mapping[Length, tuple[int, int]] = {"quick": (300, 25), "thorough": (1500, 50)}
"""Steps, and steps between validations."""


@dataclass(frozen=True)
class Choices:
    """What a person chose.

    Steps, batch and rate are None for what the length and the model's preset say; without
    `weights` those that are live are begun with, and with NEW a new model.
    """

    length: Length = "quick"
    scope: str = "full"
    weights: str = ""
    faster: bool = False
    steps: int | None = None
    batch: int | None = None
    rate: float | None = None
    seed: int = 0

    def settings(self, preset: "Preset") -> "Settings":
        """Return how to train a model of a preset; a new model is ours, whatever is live."""
        from napari_mtm.training.settings import Settings

        usual = Settings.of("default" if self.weights == NEW else preset)
        usual_steps, check_every = LENGTHS[self.length]
        steps = self.steps or usual_steps
        return replace(
            usual,
            steps=steps,
            check_every=min(check_every, max(steps // 4, 1)),
            batch=self.batch or usual.batch,
            rate=self.rate or usual.rate,
            seed=self.seed,
        )


@dataclass
class Course:
    """What is known of one fine-tuning.

    Attributes
    ----------
    session, folder, steps
        What it is of, where its run is, how many steps it has.
    message, fraction
        What it is at before and after its steps, and how far; in the end, why it ended.
    losses, validations
        By step.
    how
        How it ended, as `Ended.how`; empty while it goes on.
    skipped
        Whether its comparison is not wanted.

    """

    session: Session
    folder: Path
    steps: int
    step: int = 0
    message: str = ""
    fraction: float = 0.0
    report: "Report | None" = None
    losses: dict[int, Mapping[str, float]] = field(default_factory=dict)
    validations: dict[int, Mapping[str, float]] = field(default_factory=dict)
    best_step: int | None = None
    comparison: "Comparison | None" = None
    how: str = ""
    skipped: bool = False

    def take(self, report: "Report") -> None:
        """Take note of how far it is."""
        self.report, self.step, self.steps = report, report.step, report.steps
        self.best_step = report.best_step
        if report.losses:
            self.losses[report.step] = report.losses
        if report.validation is not None:
            self.validations[report.step] = report.validation


def threads(*, faster: bool) -> int:
    """Return how many threads a training uses: few, so that painting stays quick, or all."""
    cores = os.cpu_count() or 1
    return cores if faster else max(cores // 4, 1)
