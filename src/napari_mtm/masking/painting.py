"""What a person hid by hand: labels of a raster, trial by trial where they differ, and undo."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task
from napari_mtm.recording.session import Session

Labels = npt.NDArray[np.uint8]

VISIBLE, PREDICTED, TAKEN = 0, 1, 2
"""Labels: left visible; hidden and predicted; hidden only, context taken away."""

_MOST_STEPS = 200


@dataclass(frozen=True, eq=False)
class Painting:
    """Labels of all trials, and of those trials that have their own.

    Arrays are (bins, units) uint8, and never changed in place.

    Attributes
    ----------
    common
        Labels of every trial that has none of its own.
    own
        Labels by trial.
    asked, own_asked
        The task that was meant where labels fit several, as in `Mask`: of `common`, and
        of those in `own` by trial.

    """

    common: Labels
    own: Mapping[int, Labels] = field(default_factory=lambda: MappingProxyType({}))
    asked: Task | None = None
    own_asked: Mapping[int, Task] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def nothing(cls, session: Session) -> "Painting":
        """Hide nothing."""
        return cls(np.zeros((session.n_bins, session.n_units), dtype=np.uint8))

    @classmethod
    def of(cls, mask: Mask) -> "Painting":
        """Hide what a mask hides, in all trials."""
        return cls(labels_of(mask), asked=mask.asked)

    def labels(self, trial: int) -> Labels:
        """Labels of one trial."""
        return self.own.get(trial, self.common)

    def asked_of(self, trial: int) -> Task | None:
        """Return the task that was meant on one trial."""
        return self.own_asked.get(trial) if trial in self.own else self.asked

    def mask(self, session: Session, trial: int) -> Mask:
        """Return the mask of one trial."""
        labels = self.labels(trial)
        mask = Mask.from_array(session, labels != VISIBLE, labels == PREDICTED)
        return replace(mask, asked=self.asked_of(trial))

    def changed(
        self,
        where: npt.NDArray[np.bool_],
        to: Labels,
        trial: int | None,
        asked: Task | None = None,
    ) -> "Painting":
        """Set the labels of some entries to those of `to`, in one trial or, with None, in all.

        `asked` is the task that is meant by it. Where no label changes, nothing does.
        """
        if trial is not None:
            labels = np.where(where, to, self.labels(trial))
            after = self._with_own(trial, labels, asked)
        else:
            own = {k: np.where(where, to, labels) for k, labels in self.own.items()}
            after = Painting(
                np.where(where, to, self.common),
                MappingProxyType(own),
                asked,
                MappingProxyType({} if asked is None else dict.fromkeys(own, asked)),
            )
        return self if self._looks_like(after) else after

    def replaced(self, by: "Painting", trial: int | None) -> "Painting":
        """Take all labels from another painting, in one trial or, with None, in all."""
        return by if trial is None else self._with_own(trial, by.common, by.asked)

    def inverted(self, trial: int | None) -> "Painting":
        """Hide and predict what was visible, and show what was hidden."""
        if trial is not None:
            return self._with_own(trial, _inverse(self.labels(trial)), None)
        own = {trial: _inverse(labels) for trial, labels in self.own.items()}
        return Painting(_inverse(self.common), MappingProxyType(own))

    def same_as(self, other: "Painting") -> bool:
        """Whether both hide and score the same in every trial, and mean the same."""
        trials = self.own.keys() | other.own.keys()
        return (
            self.asked == other.asked
            and all(self.asked_of(k) == other.asked_of(k) for k in trials)
            and self._looks_like(other)
        )

    def _looks_like(self, other: "Painting") -> bool:
        return np.array_equal(self.common, other.common) and all(
            np.array_equal(self.labels(k), other.labels(k))
            for k in self.own.keys() | other.own.keys()
        )

    def _with_own(self, trial: int, labels: Labels, asked: Task | None) -> "Painting":
        own_asked = {k: task for k, task in self.own_asked.items() if k != trial}
        if asked is not None:
            own_asked[trial] = asked
        return replace(
            self,
            own=MappingProxyType({**self.own, trial: labels}),
            own_asked=MappingProxyType(own_asked),
        )


def labels_of(mask: Mask) -> Labels:
    """Return a mask as labels."""
    return np.where(mask.hidden, np.where(mask.scored, PREDICTED, TAKEN), VISIBLE).astype(np.uint8)


def _inverse(labels: Labels) -> Labels:
    return np.where(labels == VISIBLE, PREDICTED, VISIBLE).astype(np.uint8)


class History:
    """The painting that stands, those before it, and those that were undone."""

    def __init__(self, first: Painting) -> None:
        self.now = first
        self._before: list[Painting] = []
        self._after: list[Painting] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a painting before this one."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether a painting was undone."""
        return bool(self._after)

    def push(self, painting: Painting) -> bool:
        """Let a painting stand; return whether it differs from the one that stood."""
        if painting.same_as(self.now):
            return False
        self._before = [*self._before, self.now][-_MOST_STEPS:]
        self._after.clear()
        self.now = painting
        return True

    def undo(self) -> bool:
        """Go back one painting, if there is one; return whether there was."""
        return self._step(self._before, self._after)

    def redo(self) -> bool:
        """Go forward again, if something was undone; return whether there was."""
        return self._step(self._after, self._before)

    def _step(self, source: list[Painting], target: list[Painting]) -> bool:
        if not source:
            return False
        target.append(self.now)
        self.now = source.pop()
        return True
