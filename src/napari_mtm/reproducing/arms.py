"""What is compared: networks and how each is trained, and what they are measured against."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_mtm.model.model import Preset
from napari_mtm.model.network import DefaultSizes, PublishedSizes
from napari_mtm.scoring.baselines import BASELINES, Baseline
from napari_mtm.training.objective import Masking, Objective
from napari_mtm.training.settings import Settings

FEW = 40
"""Training trials where they are few, which are learnt by heart in a third of the steps."""

FEW_TRIALS = ", few trials"
"""How the names of arms end that have few training trials."""


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes
    ----------
    seeds
        Trainings of each model on each session, but of those that are trained once.
    steps, paper_steps, pretraining_steps
        Of each training of our network on a session, of the paper's, which needs more, and of
        pretraining. Of the first two the weights are kept that do best on the validation trials.
    rate
        Learning rate of the paper's models, whose own is made for many more steps.
    width, layers
        Of all networks.
    quick
        Whether units are held out in groups, which is not exact.

    """

    seeds: int = 3
    steps: int = 2500
    paper_steps: int = 5000
    pretraining_steps: int = 3000
    rate: float = 2e-3
    width: int = 64
    layers: int = 2
    quick: bool = False


@dataclass(frozen=True)
class SimulatedScale(Scale):
    """How much of everything, where animals are simulated.

    Attributes
    ----------
    animals, pretraining
        Simulated animals that are held out, and that are pretrained on.
    units, trials
        Of each of them.

    """

    animals: int = 4
    pretraining: int = 8
    units: int = 120
    trials: int = 250


FULL = SimulatedScale()
QUICK = SimulatedScale(
    seeds=1,
    steps=400,
    paper_steps=400,
    pretraining_steps=800,
    quick=True,
    animals=2,
    pretraining=3,
    units=60,
    trials=150,
)

REAL_FULL = Scale(
    steps=1000,
    paper_steps=2000,
    width=DefaultSizes().width,
    layers=DefaultSizes().layers,
    quick=True,
)
"""Real sessions have many units: held out one by one they would take days on a few cores."""

REAL_QUICK = replace(REAL_FULL, seeds=1, steps=300, paper_steps=300, pretraining_steps=1000)


@dataclass(frozen=True)
class Arm:
    """A network, and how it comes to its weights.

    Attributes
    ----------
    preset, masking, prompts
        Which network, what masks it is trained with, and whether it is told of the task, as
        only `published` may not be.
    others
        On how many sessions of other animals it is pretrained: 0 for none, None for all.
    few
        Whether it is trained on `FEW` of the training trials.
    short
        Whether a third of the steps is all that it has, as where trials are few.
    equal
        Whether it has as many steps as `default`.
    once
        Whether it is trained with one seed, to save time for those with more.

    """

    preset: Preset = "default"
    masking: Masking = "mtm"
    prompts: bool = True
    others: int | None = 0
    few: bool = False
    short: bool = False
    equal: bool = False
    once: bool = False

    def sizes(self, bins: int, scale: Scale) -> DefaultSizes | PublishedSizes:
        """Return the sizes of the network; that of the paper costs as much as ours."""
        width, layers = scale.width, scale.layers
        if self.preset == "default":
            return DefaultSizes(bins=bins, width=width, layers=layers, hidden=2 * width)
        return PublishedSizes(
            bins=bins,
            width=width,
            layers=layers,
            heads=DefaultSizes().heads,
            hidden=2 * width,
            channels=width,
            inner=2 * width,
            prompts=self.prompts,
        )

    def settings(self, scale: Scale, seed: int) -> Settings:
        """Return how it is trained on the session that it is scored on."""
        paper = self.preset == "published" and not self.equal
        steps = scale.paper_steps if paper else scale.steps
        return self._settings(scale, steps // 3 if self.few or self.short else steps, seed)

    def pretraining(self, scale: Scale, seed: int) -> Settings:
        """Return how it is trained on other animals before."""
        return replace(self._settings(scale, scale.pretraining_steps, seed), check_every=0)

    def _settings(self, scale: Scale, steps: int, seed: int) -> Settings:
        if self.preset == "default":
            return Settings(steps=steps, seed=seed, objective=Objective(self.masking))
        objective = Objective.published(self.masking)
        return replace(Settings.published(objective, steps=steps, rate=scale.rate), seed=seed)


@dataclass(frozen=True)
class Reference:
    """What networks are measured against: a baseline, or where there is none the true rates."""

    baseline: type[Baseline] | None
    few: bool = False


REFERENCES: Mapping[str, Reference] = {
    **{kind.name: Reference(kind) for kind in BASELINES},
    **{kind.name + FEW_TRIALS: Reference(kind, few=True) for kind in BASELINES},
    "oracle": Reference(None),
}
"""All that has no seed, by name."""


@dataclass(frozen=True)
class Study:
    """Which arms are compared, by name, and names of the references beside them."""

    arms: Mapping[str, Arm]
    references: tuple[str, ...]


SIMULATED = Study(
    {
        "temporal": Arm("published", "temporal", prompts=False),
        "mtm": Arm("published"),
        "mtm, as many steps as ours": Arm("published", equal=True),
        "mtm, no prompt": Arm("published", prompts=False, once=True),
        "default": Arm(),
        "default, pretrained on 2": Arm(others=2, once=True),
        "default, pretrained": Arm(others=None),
        "default, pretrained, a third of the steps": Arm(others=None, short=True),
        "default" + FEW_TRIALS: Arm(few=True),
        "default, pretrained" + FEW_TRIALS: Arm(others=None, few=True),
    },
    ("reduced-rank", "oracle"),
)
"""The paper's comparisons, on simulated animals or the paper's own sessions."""


def _every_way(name: str, arm: Arm) -> dict[str, Arm]:
    """An arm from scratch and pretrained on all others, with all trials and with few."""
    pretrained = replace(arm, others=None)
    return {
        name: arm,
        f"{name}, pretrained": pretrained,
        name + FEW_TRIALS: replace(arm, few=True),
        f"{name}, pretrained{FEW_TRIALS}": replace(pretrained, few=True),
    }


REAL = Study(
    {
        **_every_way("default", Arm()),
        **_every_way("mtm", Arm("published", once=True)),
        **_every_way("temporal", Arm("published", "temporal", prompts=False, once=True)),
    },
    tuple(REFERENCES),
)
"""The comparisons on prepared sessions, the ones that matter most first."""


def spread(trials: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    """Return n of some trials, or all, evenly spread among them.

    The first n would be the beginning of a session, whose rates drift away from what they were.
    """
    places = np.linspace(0, len(trials) - 1, min(n, len(trials)))
    return trials[places.round().astype(np.intp)]
