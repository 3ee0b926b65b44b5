"""How to train: all that, with the data and the weights to begin with, decides the result."""

from dataclasses import dataclass

from napari_mtm.arrays import Kind, numbers
from napari_mtm.errors import TrainingError
from napari_mtm.model.model import Preset
from napari_mtm.training.objective import OURS, Objective

_BOUNDS: dict[str, tuple[Kind, float, float]] = {
    "steps": ("whole", 0, 10_000_000),
    "batch": ("whole", 1, 10_000),
    "batches": ("whole", 1, 10_000),
    "rate": ("real", 0.0, 1.0),
    "decay": ("real", 0.0, 1.0),
    "warm_up": ("real", 0.0, 1.0),
    "clip": ("real", 0.0, 1e6),
    "averaging": ("real", 0.0, 1 - 1e-9),
    "seed": ("whole", 0, 2**62),
    "check_every": ("whole", 0, 10_000_000),
    "patience": ("whole", 0, 10_000_000),
}
"""Kind, least and most of each setting that is a number."""


@dataclass(frozen=True)
class Settings:
    """How long and how fast to train.

    Attributes
    ----------
    steps
        Updates of the weights.
    batch, batches
        Trials in a batch, all of one session, and batches in a step. Which sessions and
        trials these are follows from the seed and the step alone, so that any number of
        processes may share the batches of a step.
    rate, warm_up
        The learning rate rises to `rate` in this share of the steps, then falls along a
        cosine.
    decay
        Weight decay.
    clip
        Bound of the length of the gradient, 0 for none.
    averaging
        Share that an average of the weights keeps at each step; the average is what is
        validated and kept. 0 to keep the weights themselves.
    seed
        What all that is drawn follows from.
    objective
        How masks are drawn and errors weighed.
    check_every
        Steps between validations, 0 for one at the end alone.
    patience
        Validations without a new best after which training stops, 0 to never stop.

    Raises TrainingError where a number is not what it must be.

    """

    steps: int = 1500
    batch: int = 16
    batches: int = 1
    rate: float = 2e-3
    decay: float = 0.01
    warm_up: float = 0.1
    clip: float = 1.0
    averaging: float = 0.98
    seed: int = 0
    objective: Objective = OURS
    check_every: int = 100
    patience: int = 0

    def __post_init__(self) -> None:
        for name, (kind, least, most) in _BOUNDS.items():
            value = numbers(
                getattr(self, name),
                f"The setting {name}",
                TrainingError,
                kind=kind,
                shape=(),
                least=least,
                most=most,
                finite=True,
            )
            object.__setattr__(self, name, value.item())

    @classmethod
    def of(cls, preset: Preset) -> "Settings":
        """Return how a preset is trained where nothing else is said."""
        return cls.published() if preset == "published" else cls()

    @classmethod
    def published(
        cls, objective: Objective | None = None, *, steps: int = 1500, rate: float = 1e-4
    ) -> "Settings":
        """Return the paper's settings: a learning rate of 1e-4, no clipping, no averaging."""
        return cls(
            steps=steps,
            rate=rate,
            warm_up=0.15,
            clip=0.0,
            averaging=0.0,
            objective=objective or Objective.published(),
        )
