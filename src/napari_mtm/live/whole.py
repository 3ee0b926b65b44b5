"""A painting scored on many trials, piece by piece: the model, a baseline, the oracle, decoding."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.painting import Painting
from napari_mtm.masking.tasks import Task
from napari_mtm.metrics import Tally, tally
from napari_mtm.recording.session import Session

if TYPE_CHECKING:
    from napari_mtm.live.engine import Predict, Traces
    from napari_mtm.model.model import Model

_CHUNK = 2
"""Trials a piece: what a live request has to wait for at most."""


@dataclass(frozen=True, eq=False)
class WholeScores:
    """Scores over the trials that are done so far.

    Attributes
    ----------
    trials
        Those that are done, in order.
    n_trials
        How many there will be.
    tallies
        Of "model", "baseline" and "oracle", those there are, (trials, units).
    masked, visible
        Behaviour decoded from what the painting leaves visible, and from everything.

    """

    trials: npt.NDArray[np.intp]
    n_trials: int
    tallies: Mapping[str, Tally]
    masked: "Traces" = field(default_factory=dict)
    visible: "Traces" = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether no trial is left."""
        return len(self.trials) == self.n_trials

    def pooled(self, of: str, units: npt.ArrayLike | None = None) -> float:
        """Bits per spike of all units, or of some, pooled; NaN where there is nothing."""
        found = self.tallies.get(of)
        if found is None:
            return float("nan")
        part = found if units is None else found.units(units)
        return float(part.pooled_bits_per_spike())


def score_whole(
    model: "Model",
    session: Session,
    painting: Painting,
    trials: npt.NDArray[np.intp],
    *,
    prompt: Task | None = None,
    baseline: "Predict | None" = None,
    seen: "MutableMapping[int, Traces] | None" = None,
) -> Iterator[WholeScores]:
    """Score a painting on some trials, yielding after every few of them.

    `seen` keeps, from one painting to the next, what the model decodes of each trial with
    nothing hidden.
    """
    seen = {} if seen is None else seen
    parts: list[tuple[dict[str, Tally], Traces, Traces]] = []
    done: list[npt.NDArray[np.intp]] = []
    nothing = Mask.nothing(session)
    for chunk in _chunks(painting, trials):
        mask = painting.mask(session, int(chunk[0]))
        found = model.reconstruct(session, mask, chunk, task=prompt)
        rates = {"model": found.rates}
        if baseline is not None:
            rates["baseline"] = baseline(mask.hidden, chunk)
        if session.rates is not None:
            rates["oracle"] = session.rates[chunk]
        tallies = {name: tally(found.counts, r, mask.scored) for name, r in rates.items()}
        lacking = [int(t) for t in chunk if t not in seen]
        if lacking:
            visible = model.decode(session, nothing, lacking)
            seen.update({t: _only(visible, k) for k, t in enumerate(lacking)})
        parts.append((tallies, found.decoded, _side_by_side([seen[int(t)] for t in chunk])))
        done.append(chunk)
        yield WholeScores(
            np.concatenate(done),
            len(trials),
            {name: joined([part[0][name] for part in parts]) for name in rates},
            _side_by_side([part[1] for part in parts]),
            _side_by_side([part[2] for part in parts]),
        )


def _chunks(painting: Painting, trials: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Yield a few trials at a time that have the same mask."""
    alike = np.array([t for t in trials if t not in painting.own], dtype=np.intp)
    yield from (alike[k : k + _CHUNK] for k in range(0, len(alike), _CHUNK))
    yield from (np.array([t], dtype=np.intp) for t in trials if t in painting.own)


def _only(traces: "Traces", k: int) -> "Traces":
    return {name: trace[k : k + 1] for name, trace in traces.items()}


def joined(tallies: list[Tally]) -> Tally:
    """Put tallies of different trials together."""
    return Tally(
        np.concatenate([t.spikes for t in tallies]),
        np.concatenate([t.entries for t in tallies]),
        np.concatenate([t.nll for t in tallies]),
        np.concatenate([t.saturated for t in tallies]),
    )


def _side_by_side(parts: "list[Traces]") -> "Traces":
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
