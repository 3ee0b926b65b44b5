"""The model: a network, its weights, what it knows of sessions, and its readouts."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from napari_mtm.arrays import chosen, numbers
from napari_mtm.errors import MaskError, WeightsError, in_short
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASKS, Task
from napari_mtm.model.batches import Batches
from napari_mtm.model.examples import examples_in_steps, judging_trials
from napari_mtm.model.expert import Expert, Level
from napari_mtm.model.experts import expert_of, known_expert
from napari_mtm.model.filled import filled_activity
from napari_mtm.model.grid import Grid
from napari_mtm.model.network import (
    Default,
    DefaultSizes,
    Loadings,
    Published,
    PublishedSizes,
    encode,
    log_rates,
)
from napari_mtm.model.readouts import Examples, Readouts, Seen, fit_readouts
from napari_mtm.model.reconstruction import Reconstruction
from napari_mtm.model.replay import Pass, Replays
from napari_mtm.model.units import Units
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.session import Session

Preset = Literal["published", "default"]


@dataclass(frozen=True)
class Blend:
    """How network and linear expert are put together, by task.

    Attributes
    ----------
    expert
        Share of the linear expert in the log rates; the rest is the network's.
    drift
        How far the network's log rates follow the slow levels, which the expert's do anyway.

    """

    expert: tuple[float, ...]
    drift: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Mapping[Task, tuple[float, float]]) -> "Blend":
        """Put shares of expert and drift together, by task."""
        return cls(tuple(pairs[task][0] for task in TASKS), tuple(pairs[task][1] for task in TASKS))

    def at(self, task: Task) -> tuple[float, float]:
        """Return the shares of expert and drift in a task."""
        place = TASKS.index(task)
        return self.expert[place], self.drift[place]


UNTOLD = Blend((0.5,) * len(TASKS), (0.5,) * len(TASKS))
"""Where no validation trials tell."""

UNTRAINED = Blend((1.0,) * len(TASKS), (1.0,) * len(TASKS))
"""Of a session that the weights were not trained on."""


@dataclass(frozen=True)
class Taught:
    """Which trials of a session a model was trained on, and of how many."""

    trials: tuple[int, ...]
    of: int


class _Steps:
    """How many steps optimisers took; fused ones leave a tensor's version as it was."""

    taken = 0

    def __call__(self, *_: object) -> None:
        self.taken += 1


_STEPS = _Steps()
register_optimizer_step_post_hook(_STEPS)


class Model:
    """A network on a device, with the sessions it knows.

    Attributes
    ----------
    preset
        "published" or "default".
    network, grid
        The network, and the window and bins it was trained on.
    trained
        Ids of the sessions that the weights were trained on.
    taught
        The trials of each of these that it was trained on, where they are known, and how many
        trials the session had.
    blends
        How much of the linear expert is in what is predicted of a session, by its id, where
        validation trials told.
    readouts
        Decoders of behaviour, by session id.
    record
        How the weights came about; JSON.
    notes
        Sentences that a person should read, such as that memory ran out.

    """

    def __init__(
        self,
        network: Published | Default,
        grid: Grid,
        *,
        record: dict[str, Any] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.network = network
        self.preset: Preset = "published" if isinstance(network, Published) else "default"
        self.grid = grid
        self.trained: set[str] = set()
        self.taught: dict[str, Taught] = {}
        self._experts: dict[str, tuple[Any, Expert]] = {}
        self.readouts: dict[str, Readouts] = {}
        self.blends: dict[str, Blend] = {}
        self._variant_of: dict[str, str] = {}
        self._decoded_from: dict[str, int | None] = {}
        self.record = record or {}
        self.notes: list[str] = []
        self._variants: dict[tuple[str, tuple[str, ...], int | None], str] = {}
        self._loadings: dict[str, tuple[Any, Loadings]] = {}
        self._replays = Replays()
        self.to(device or best_device())
        network.eval()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def describe(self) -> str:
        """Say in a line what the model is and which sessions it was trained on."""
        millions = sum(p.numel() for p in self.network.parameters()) / 1e6
        known = f"trained on {len(self.trained)} sessions"
        if isinstance(self.network, Published) and self.network.unclaimed:
            counts = ", ".join(map(str, sorted(self.network.unclaimed)))
            known = f"with stitchers for sessions of {counts} units"
        return f"{self.preset}, {millions:.1f} M weights, {known}, {self.grid}"

    def __repr__(self) -> str:
        return f"<Model: {self.describe()}, on {self.device}>"

    def to(self, device: str | torch.device) -> "Model":
        """Move the network; return the model."""
        try:
            float(torch.zeros(1, device=device))  # some devices are names only, as "meta" is
            self.network.to(device)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            raise WeightsError(f"Cannot use {device}: {in_short(error)}.") from None
        self._loadings.clear()
        self._replays.clear()
        experts = self._experts.items()
        self._experts = {key: (of, found.to(self.device)) for key, (of, found) in experts}
        return self

    def check(self, session: Session) -> None:
        """Raise WeightsError where a session is cut into bins that the model cannot take."""
        if self.preset == "published":
            self.grid.check(session)
        else:
            self.grid.check_width(session)

    def know_times_of(self, session: Session) -> None:
        """Make room for the time of a session's bins, which may lie before or after the others."""
        if isinstance(self.network, Default):
            self.grid, before, after = self.grid.with_times_of(session)
            if before or after:
                self.network.know_times(before, after)

    def knows(self, session: Session | str) -> bool:
        """Whether the weights were trained on a session."""
        name = session if isinstance(session, str) else session.id
        claimed = self.network.claimed if isinstance(self.network, Published) else set()
        return name in self.trained or name in claimed

    def predict(
        self,
        counts: npt.NDArray[np.uint8],
        hidden: npt.NDArray[np.bool_],
        *,
        task: Task | None = None,
        session: Session | str,
        trials: npt.NDArray[np.intp] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return log rates (log of counts per bin) of all units.

        Parameters
        ----------
        counts
            (trials, bins, units). What is under the mask is never looked at; what is
            visible must be finite and 0 or more.
        hidden
            (bins, units) or (trials, bins, units) bool.
        task
            The prompt; "neuron" where none is given.
        session
            Whose units these are: a session, or the id of one that the model knows. Until that
            was given itself, the network predicts it alone, without a linear expert.
        trials
            Which trials of the session the counts are, so that the slow level of each unit
            there is known; without, it is taken to be as usual.

        """
        key, counts, hidden = self._given(session, counts, hidden)
        passes = self._passes(key, counts, hidden, task or "neuron", blend="all", trials=trials)
        return _joined([rates.cpu() for _, rates in passes], counts.shape)

    def latents(
        self,
        counts: npt.NDArray[np.uint8],
        hidden: npt.NDArray[np.bool_],
        *,
        task: Task,
        session: Session | str,
        strict: bool = False,
    ) -> npt.NDArray[np.float32]:
        """Return latents (trials, bins, L); `strict` keeps the future out of each bin."""
        key, counts, hidden = self._given(session, counts, hidden, learn=False)
        passes = self._passes(key, counts, hidden, task, strict=strict)
        return _joined([latents.cpu() for latents, _ in passes], (*counts.shape[:2], -1))

    def reconstruct(
        self,
        session: Session,
        mask: Mask,
        trials: Sequence[int] | npt.NDArray[np.intp] | npt.NDArray[np.bool_] | None = None,
        *,
        task: Task | None = None,
        decode: bool = True,
        slow_levels: bool = True,
        learn: bool = True,
    ) -> Reconstruction:
        """Predict what a mask hides, and decode behaviour from what it leaves visible.

        `trials` are indices, or a boolean per trial. `task` is the prompt, by default
        the mask's own. Nothing is decoded without `decode`, which takes another pass,
        or where the model has no readouts for the session. Without `slow_levels` the level of
        each unit is taken to be the same on all trials. Without `learn` no linear expert is
        fitted: the network predicts alone where none is there yet, and a note says so.
        """
        mask.check(session)
        chosen = chosen_trials(session, trials)
        counts = session.counts[chosen]
        prompt = task or mask.prompt
        key = self.attach(session, learn=learn)
        which = chosen if slow_levels else None
        passes = list(self._passes(key, counts, mask.hidden, prompt, blend="all", trials=which))
        found = _joined([rates.cpu() for _, rates in passes], counts.shape)
        decoded: dict[str, npt.NDArray[np.float32]] = {}
        readouts = self._readouts_of(session, key) if decode else None
        if readouts is not None:
            latents = _joined([part.cpu() for part, _ in passes], (*counts.shape[:2], -1))
            directions = readouts.directions_of(session)
            decoded = readouts.decode(
                self._seen(key, counts, mask.hidden, which, (latents, found), directions)
            )
        return Reconstruction(
            session=session.id,
            mask=mask,
            prompt=prompt,
            trials=chosen,
            units=tuple(self.network.sessions[key].ids),
            counts=counts,
            rates=np.exp(found),
            decoded=decoded,
            notes=self._notes_without(session) if self._lacks(key) else self.notes_on(session),
        )

    def decode(
        self,
        session: Session,
        mask: Mask,
        trials: Sequence[int] | npt.NDArray[np.intp] | npt.NDArray[np.bool_] | None = None,
        *,
        task: Task | None = None,
        learn: bool = True,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Decode behaviour as `reconstruct` does, without its rates.

        Without `learn` nothing is decoded until the linear expert is there that is read.
        """
        mask.check(session)
        key = self.attach(session, learn=False)
        readouts = self.readouts.get(session.id) if learn else self._readouts_of(session, key)
        if readouts is None:
            return {}
        chosen = chosen_trials(session, trials)
        return readouts.decode(
            self.seen(session, chosen, mask, task=task, directions=readouts.directions_of(session))
        )

    def _readouts_of(self, session: Session, key: str) -> Readouts | None:
        """Return the readouts of a session, if what they read is there."""
        readouts = self.readouts.get(session.id)
        if readouts is not None and readouts.activity is not None and self._lacks(key):
            return None
        return readouts

    def seen(
        self,
        session: Session,
        trials: npt.NDArray[np.intp],
        mask: Mask,
        *,
        task: Task | None = None,
        directions: npt.NDArray[np.float32] | None = None,
    ) -> Seen:
        """Return what decoders read of some trials under a mask.

        With `directions` (N, P), of the activity too, which is predicted where it is hidden.
        """
        key = self.attach(session, learn=directions is not None)
        counts, prompt = session.counts[trials], task or mask.prompt
        around = self._latents_and_hidden_rates(
            key, counts, mask.hidden, prompt, trials, directions
        )
        return self._seen(key, counts, mask.hidden, trials, around, directions)

    def _seen(
        self,
        key: str,
        counts: npt.NDArray[np.uint8],
        hidden: npt.NDArray[np.bool_],
        trials: npt.NDArray[np.intp] | None,
        around: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
        directions: npt.NDArray[np.float32] | None,
    ) -> Seen:
        """Add what is strictly before each bin to latents and log rates of a pass."""
        before = self._latents_and_hidden_rates(
            key, counts, hidden, "causal", trials, directions, strict=True
        )
        expert = self.expert(key)
        if directions is None or expert is None:
            return Seen(around[0], before[0])
        level = expert.level(trials)
        given, visible, turn = (
            torch.as_tensor(a, device=self.device) for a in (np.array(counts), ~hidden, directions)
        )
        activity = [
            filled_activity(
                expert,
                level,
                given,
                visible,
                torch.as_tensor(rates, device=self.device),
                turn,
                smooth=smooth,
            )
            .cpu()
            .numpy()
            for (_, rates), smooth in ((around, True), (before, False))
        ]
        return Seen(around[0], before[0], *activity)

    def _latents_and_hidden_rates(
        self,
        key: str,
        counts: npt.NDArray[np.uint8],
        hidden: npt.NDArray[np.bool_],
        task: Task,
        trials: npt.NDArray[np.intp] | None,
        directions: npt.NDArray[np.float32] | None,
        *,
        strict: bool = False,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return latents, and log rates that hold where units are hidden, if activity is read."""
        blend: Literal["hidden"] | None = None if directions is None else "hidden"
        passes = list(
            self._passes(key, counts, hidden, task, strict=strict, blend=blend, trials=trials)
        )
        latents, rates = ([part[k].cpu() for part in passes] for k in (0, 1))
        return _joined(latents, (*counts.shape[:2], -1)), _joined(rates, counts.shape)

    def directions(self, session: Session) -> npt.NDArray[np.float32] | None:
        """Return directions (N, P) of most activity of a session; None without an expert."""
        expert = self.expert(self.attach(session))
        return None if expert is None else expert.forecast.directions.cpu().numpy()

    def fit_readouts(
        self, session: Session, trials: npt.NDArray[np.intp] | None = None
    ) -> Readouts:
        """Fit decoders of behaviour on some trials, by default the training trials; keep them.

        How much each counts is judged by the validation trials that are not among them.
        """
        chosen = session.split().train if trials is None else trials
        readouts = self.fitted_readouts(session, chosen, judging_trials(session, chosen))
        self.readouts[session.id] = readouts
        return readouts

    def fitted_readouts(
        self, session: Session, trials: npt.NDArray[np.intp], judges: npt.NDArray[np.intp]
    ) -> Readouts:
        """Return decoders fitted on some trials, judged by others, and keep nothing."""
        fitted_on, judged_on = (
            list(examples_in_steps(self, session, some)) for some in (trials, judges)
        )
        return fit_readouts(
            Examples.joined(fitted_on),
            Examples.joined(judged_on) if judged_on else None,
            session,
            self.directions(session),
        )

    def notes_on(self, session: Session) -> tuple[str, ...]:
        """Sentences that a person should read beside what the model says of a session."""
        notes = list(self.notes)
        if not self.knows(session):
            notes.append(
                f"The model is not fine-tuned on {session.title}: "
                + (
                    "its units are predicted by linear regression."
                    if self.preset == "default"
                    else "its units are given their mean rate."
                )
            )
        return tuple(notes)

    def _notes_without(self, session: Session) -> tuple[str, ...]:
        """Sentences beside what the network says alone."""
        return (
            *self.notes,
            f"The linear expert of {session.title} is not fitted yet: the network predicts alone.",
        )

    def attach(
        self, session: Session | str, *, n_units: int | None = None, learn: bool = True
    ) -> str:
        """Return the key of a session's parameters, adding neutral ones where needed.

        With `learn`, the linear expert of a session that is given itself is fitted, unless it
        was: that may take a while.

        Raises WeightsError where the session is cut otherwise than the model expects,
        or is only named and not known.
        """
        if isinstance(session, str):
            return self._attach_named(session, n_units)
        self.check(session)
        if n_units not in (None, session.n_units):
            raise WeightsError(
                f"Session {session.title} has {session.n_units} units, but the counts {n_units}."
            )
        ids = tuple(map(str, session.units["uuid"].tolist()))
        known = self.network.sessions.get(session.id)
        first = self.grid.first(session)
        self.forget_readouts_of_another_cut(session)
        if known is not None and (known.ids, known.first) == (ids, first):
            key = session.id
        elif (session.id, ids, first) in self._variants:
            key = self._variants[session.id, ids, first]
        else:
            key = self._variants[session.id, ids, first] = self._add(session, known)
        if learn:
            self._learn_expert(key, session)
        else:
            self._recall_expert(key, session)
        return key

    def forget_readouts_of_another_cut(self, session: Session) -> None:
        """Keep no readouts of a session that were fitted on other bins of its trials."""
        first, known = self.grid.first(session), self.network.sessions.get(session.id)
        fitted = self._decoded_from.get(session.id, first if known is None else known.first)
        readouts = self.readouts.get(session.id)
        if readouts is not None and (fitted, readouts.n_bins) != (first, session.n_bins):
            self.readouts.pop(session.id, None)
        self._decoded_from[session.id] = first

    def lacks_expert(self, session: Session) -> bool:
        """Whether the linear expert of a session is still to be fitted."""
        return self._lacks(self.attach(session, learn=False))

    def _lacks(self, key: str) -> bool:
        return self.has_experts and key not in self._experts

    def _learn_expert(self, key: str, session: Session, progress: Progress = silent) -> None:
        """Fit the linear expert of a session, unless it is there.

        It knows the trials that the weights were trained on, else the training trials.
        """
        self._recall_expert(key, session)
        if self._lacks(key):
            trials = self.trials_taught(session)
            expert = expert_of(session, trials, self.device, progress)
            self._experts[key] = weakref.ref(session), expert

    def _recall_expert(self, key: str, session: Session) -> None:
        """Take the linear expert of a session that was fitted before, if one was."""
        of, _ = self._experts.get(key, (None, None))
        if not self.has_experts or (of is not None and of() is session):
            return
        self._experts.pop(key, None)
        known = known_expert(session, self.trials_taught(session), self.device)
        if known is not None:
            self._experts[key] = weakref.ref(session), known

    @property
    def has_experts(self) -> bool:
        """Whether what the network predicts is put together with a linear expert's."""
        return isinstance(self.network, Default)

    def blend(self, key: str) -> Blend:
        """Return how network and expert are put together for a session, by its key."""
        session = self._variant_of.get(key, key)
        usual = UNTOLD if session in self.trained else UNTRAINED
        return self.blends.get(session, usual)

    def blended(
        self,
        key: str,
        task: Task,
        counts: Tensor,
        visible: Tensor,
        rates: Tensor,
        trials: npt.NDArray[np.intp] | None,
        *,
        hidden_only: bool = False,
    ) -> Tensor:
        """Put the network's log rates (B, T, N) together with those of the session's expert.

        `hidden_only` spares what the expert expects of visible entries.
        """
        expert = self.expert(key)
        if expert is None:
            return rates
        share, follows = self.blend(key).at(task)
        level = expert.level(trials)
        found = (1 - share) * (rates + follows * level.drift)
        if not share:
            return found
        return found + share * _of_expert(
            expert, level, task, counts, visible, hidden_only=hidden_only
        )

    def apart(
        self,
        counts: npt.NDArray[np.uint8],
        hidden: npt.NDArray[np.bool_],
        *,
        task: Task,
        session: str,
        trials: npt.NDArray[np.intp],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return what `predict` puts together of a session that was given before.

        Log rates (trials, bins, units) of the network, the drift (trials, 1, units) that they may
        follow, and log rates of the linear expert, which mean nothing where nothing is hidden.
        Raises WeightsError where the model has no expert of the session.
        """
        key, counts, hidden = self._given(session, counts, hidden)
        expert = self.expert(key)
        if expert is None:
            raise WeightsError(f"The model has no linear expert of session {session}.")
        network = [rates.cpu() for _, rates in self._passes(key, counts, hidden, task)]
        level = expert.level(trials)
        given, visible = (torch.as_tensor(a, device=self.device) for a in (counts, ~hidden))
        linear = _of_expert(expert, level, task, given, visible, hidden_only=True)
        return (
            _joined(network, counts.shape),
            level.drift.cpu().numpy(),
            linear.expand(counts.shape).cpu().numpy(),
        )

    def expert(self, key: str) -> Expert | None:
        """Return the linear expert of a session by its key, once the session itself was given."""
        return self._experts[key][1] if key in self._experts else None

    def teach(
        self, session: Session, trials: npt.NDArray[np.intp], progress: Progress = silent
    ) -> None:
        """Note which trials of a session the model may know, and fit its expert on them."""
        taught = Taught(tuple(map(int, np.unique(trials))), session.n_trials)
        if self.taught.get(session.id) != taught:
            self._experts.pop(session.id, None)
        self.taught[session.id] = taught
        self._learn_expert(self.attach(session, learn=False), session, progress)

    def trials_taught(self, session: Session) -> npt.NDArray[np.intp]:
        """Return the trials of a session that the model may know, by default those for training."""
        taught = self.taught.get(session.id)
        if taught is None or taught.of != session.n_trials:
            return session.split().train
        return np.array(taught.trials, dtype=np.intp)

    def _attach_named(self, session: str, n_units: int | None) -> str:
        network = self.network
        if (
            isinstance(network, Published)
            and session not in network.sessions
            and n_units is not None
        ):
            network.claim(Units.unnamed(session, n_units), session)
        units = network.sessions.get(session)
        if units is None:
            raise WeightsError(
                f"The model does not know session {session}; give the session itself."
            )
        if n_units not in (None, len(units)):
            raise WeightsError(
                f"The model knows {len(units)} units of session {session}, not {n_units}."
            )
        return session

    def _add(self, session: Session, known: Units | None) -> str:
        """Add parameters for a session, or for a choice of its units that is new."""
        network = self.network
        key = f"{session.id} (variant {len(self._variants)})" if known else session.id
        self._variant_of[key] = session.id
        units = Units.of(session, self.grid.first(session)).named(key)
        if isinstance(network, Published) and (known is None or len(known) == len(units)):
            # The paper's order: clusters as they were sorted, probe by probe.
            order = np.lexsort((session.units["cluster"], session.units["probe"].astype(str)))
            if network.claim(units, session.id, order.tolist()):
                return key
        network.add_session(units, neutral=True)
        if known is not None:
            network.copy_units(session.id, key)
        return key

    def loadings(self, key: str) -> Loadings:
        """Loadings of a session, kept until the weights change."""
        versions = sum(p._version for p in self.network.parameters())  # noqa: SLF001
        state = (self.device, versions, _STEPS.taken)
        found = self._loadings.get(key)
        if found is None or found[0] != state:
            with torch.no_grad():
                found = (state, self.network.loadings(key))
            self._loadings[key] = found
        return found[1]

    def batches(self, size: int) -> Batches:
        """Batches of about `size` trials on the CPU, more where there is a GPU."""
        return Batches(size if self.device.type == "cpu" else 16 * size, self._to_cpu)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without gradients and dropout."""
        training = self.network.training
        if training:  # to tell every part takes a while
            self.network.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            if training:
                self.network.train()

    def _passes(
        self,
        key: str,
        counts: npt.NDArray[np.uint8],
        hidden: npt.NDArray[np.bool_],
        task: Task,
        *,
        strict: bool = False,
        blend: Literal["all", "hidden"] | None = None,
        trials: npt.NDArray[np.intp] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield latents and log rates of batches of trials; with `blend`, those of the expert too.

        They hold for all units, or, which is less work, for hidden ones. `trials` say which of
        the session the counts are, where slow levels are to be known.
        """
        if task not in TASKS:
            raise MaskError(f"There is no prompt {task!r}; there are {', '.join(TASKS)}.")
        causal = task == "causal"

        def work(part: slice) -> tuple[Tensor, Tensor]:
            loadings = self.loadings(key)
            mask = hidden[None] if hidden.ndim == 2 else hidden[part]
            # A copy of the counts, which may be read-only.
            given = np.array(counts[part]), ~mask, np.array([TASKS.index(task)])
            inputs = [torch.as_tensor(array, device=self.device) for array in given]
            run = self._pass(key, loadings, causal=causal, strict=strict)
            if self.device.type == "cuda" and len(given[0]) == 1:
                latents, rates = self._replays.run((key, causal, strict), loadings, run, *inputs)
            else:
                latents, rates = run(*inputs)
            if blend:
                some = None if trials is None else trials[part]
                spare = blend == "hidden"
                rates = self.blended(
                    key, task, inputs[0], inputs[1], rates, some, hidden_only=spare
                )
            return latents, rates

        with self.evaluating():
            yield from self.batches(16).run(len(counts), work)

    def _pass(self, key: str, loadings: Loadings, *, causal: bool, strict: bool) -> Pass:
        network = self.network

        def run(counts: Tensor, visible: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
            activity = network.activity(counts)
            inputs = encode(loadings, activity, visible)
            latents = network.latents(inputs, prompt, key, causal=causal, strict=strict)
            return latents, log_rates(loadings, latents, activity, visible)

        return run

    def _to_cpu(self) -> None:
        if self.device.type == "cpu":
            raise WeightsError("There is not enough memory for a single trial.")
        self.notes.append(f"Memory of {self.device} ran out; the model moved to the CPU.")
        self.to("cpu")

    def _given(
        self,
        session: Session | str,
        counts: npt.ArrayLike,
        hidden: npt.ArrayLike,
        *,
        learn: bool = True,
    ) -> tuple[str, npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return a session's key, counts and mask as they are used, with nothing under the mask."""
        counts = numbers(counts, "Counts", WeightsError, ndim=None)
        n_units = counts.shape[-1] if counts.ndim else None
        key = self.attach(session, n_units=n_units, learn=learn)
        bins = self._bins(session, key)
        if counts.ndim != 3 or counts.shape[1] != bins:
            raise WeightsError(
                f"Counts are {counts.shape}, but the model takes (trials, {bins} bins, units)."
            )
        hidden = np.asarray(hidden)
        if hidden.dtype != bool or hidden.shape not in (counts.shape, counts.shape[1:]):
            raise MaskError(
                f"`hidden` is {hidden.shape} {hidden.dtype}, but must be bool of "
                f"{counts.shape[1:]} or {counts.shape}."
            )
        if counts.dtype != np.uint8:  # which can hold nothing else than counts
            counts = np.where(hidden, 0, counts)
            numbers(counts, "Visible counts", WeightsError, ndim=3, least=0, finite=True)
        return key, counts, hidden

    def _bins(self, session: Session | str, key: str) -> int:
        if isinstance(session, Session):
            return session.n_bins
        expert = self.expert(key)
        return self.grid.bins if expert is None else len(expert.log_course)


def new_model(
    sessions: Session | Sequence[Session],
    preset: Preset = "default",
    *,
    seed: int = 0,
    sizes: PublishedSizes | DefaultSizes | None = None,
    device: str | torch.device | None = None,
) -> Model:
    """Return an untrained model of some sessions.

    They must have bins of one width, and for "published" one window.
    """
    sessions = [sessions] if isinstance(sessions, Session) else list(sessions)
    if not sessions:
        raise WeightsError("A model needs at least one session.")
    grid = Grid.of(sessions[0])
    for session in sessions:
        if preset == "published":
            grid.check(session)
        else:
            grid.check_width(session)
            grid, _, _ = grid.with_times_of(session)
    if len({session.id for session in sessions}) < len(sessions):
        raise WeightsError("Each session of a model must be given once.")
    if isinstance(sizes, DefaultSizes):
        sizes = replace(sizes, bins=grid.bins)
    elif sizes is not None and sizes.bins != grid.bins:
        raise WeightsError(f"A network of {sizes.bins} bins does not fit sessions of {grid.bins}.")
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        network = build(preset, sizes, bins=grid.bins)
        for session in sessions:
            network.add_session(Units.of(session, grid.first(session)), neutral=False)
    return Model(network, grid, device=device)


def build(
    preset: Preset, sizes: PublishedSizes | DefaultSizes | None = None, *, bins: int = 100
) -> Published | Default:
    """Return a network of a preset without sessions."""
    if preset == "published" and not isinstance(sizes, DefaultSizes):
        return Published(sizes or PublishedSizes(bins=bins))
    if preset == "default" and not isinstance(sizes, PublishedSizes):
        return Default(sizes or DefaultSizes(bins=bins))
    raise WeightsError(f"There is no preset {preset!r} with such sizes.")


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def chosen_trials(session: Session, trials: npt.ArrayLike | None) -> npt.NDArray[np.intp]:
    """Return the indices of trials given by indices, by a boolean for each, or None for all.

    Raises MaskError where there are none, or one is out of range.
    """
    if trials is None:
        return np.arange(session.n_trials)
    found = chosen(trials, session.n_trials, f"Trials of session {session.title}", MaskError)
    if not len(found):
        raise MaskError(f"No trials of session {session.title} are chosen.")
    return found


def _of_expert(
    expert: Expert,
    level: Level,
    task: Task,
    counts: Tensor,
    visible: Tensor,
    *,
    hidden_only: bool,
) -> Tensor:
    """Return a linear expert's log rates of a batch."""
    deviation = counts.float().sqrt() - level.roots
    return expert.log_rates(deviation, visible, level, task, hidden_only=hidden_only)


def _joined(parts: list[Tensor], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if not parts:
        return np.zeros([max(n, 0) for n in shape], np.float32)
    return np.concatenate([part.numpy() for part in parts])
