"""A simulated IBL task: trials, wheel and whiskers of one animal.

Choices and reaction times come from a drift-diffusion process that leans on the
animal's belief about the block, so that what the animal will do is in its
decision variable, and hence in its neurons, before it moves.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import lfilter

from napari_mtm.recording.simulation.truth import STEP

_WHEEL_TICK = 0.009511
"""Smallest change of wheel position in rad of the real encoder."""
_CORRECT_TURN = 0.3
"""Wheel turn in rad that brings the stimulus to the centre."""
_CAMERA_RATE = 60.0
_HORIZON = 3.0
_NO_GO = 60.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Behaviour:
    """What the animal did, and what drives its brain.

    `inputs` (steps, drives) holds one column per name in `DRIVES`, sampled every
    `STEP` seconds from time 0.
    """

    trials: pd.DataFrame
    wheel_times: Floats
    wheel_position: Floats
    camera_times: Floats
    motion_energy: Floats
    inputs: Floats
    duration: float


DRIVES = (
    "stimulus left",
    "stimulus right",
    "tone",
    "decision",
    "prior",
    "wheel velocity",
    "wheel speed",
    "reward",
    "error",
    "whisking",
    "arousal",
)


def simulate_behaviour(n_trials: int, rng: np.random.Generator) -> Behaviour:
    """Run the task for a number of trials."""
    stimulus = _stimuli(n_trials, rng)
    belief = _belief(stimulus.side)
    decision = _decide(stimulus.contrast * stimulus.side, stimulus.side, belief, rng)
    turn = _turns(decision.choice, rng)
    trials = _timeline(stimulus, decision, turn, rng)

    duration = float(trials["intervals_1"].iloc[-1]) + 3.0
    steps = int(np.ceil(duration / STEP))
    arousal = _slow_noise(steps, 15.0, rng) - np.linspace(-0.3, 0.3, steps)
    position, velocity = _wheel(trials, turn, duration, arousal, rng)
    wheel_times, wheel_position = _encoder(position)
    speed = np.abs(velocity)
    whisking = _whisking(trials, speed, arousal, rng)
    camera_times, energy = _camera(duration, whisking, rng)
    return Behaviour(
        trials=trials,
        wheel_times=wheel_times,
        wheel_position=wheel_position,
        camera_times=camera_times,
        motion_energy=energy,
        inputs=_drives(trials, decision, belief, velocity, whisking, arousal, steps),
        duration=duration,
    )


@dataclass(frozen=True)
class _Stimuli:
    side: Floats  # -1 left, 1 right
    contrast: Floats
    probability_left: Floats


@dataclass(frozen=True)
class _Decisions:
    choice: Floats  # 1 right, -1 left, 0 none
    reaction_time: Floats
    evidence: Floats  # (trials, steps from stimulus onset)


@dataclass(frozen=True)
class _Turns:
    duration: Floats
    displacement: Floats
    until_response: Floats


def _stimuli(n: int, rng: np.random.Generator) -> _Stimuli:
    probability_left = np.full(n, 0.5)
    start, p = min(90, n // 5), rng.choice([0.2, 0.8])
    while start < n:
        length = int(np.clip(20 + rng.exponential(40), 20, 100))
        probability_left[start : start + length] = p
        start, p = start + length, 1.0 - p
    side = np.where(rng.random(n) < probability_left, -1.0, 1.0)
    contrast = rng.choice([1.0, 0.25, 0.125, 0.0625, 0.0], n, p=np.array([2, 2, 2, 2, 1]) / 9)
    return _Stimuli(side, contrast, probability_left.round(1))


def _belief(side: Floats) -> Floats:
    """Belief about the block before each trial, -1 left to 1 right, from past sides."""
    past = np.r_[0.0, side[:-1]]
    return lfilter([0.15], [1.0, -0.85], past)


def _decide(
    signed_contrast: Floats, side: Floats, belief: Floats, rng: np.random.Generator
) -> _Decisions:
    n, steps = len(side), int(_HORIZON / STEP)
    engaged = rng.random(n) > rng.beta(2, 10)  # some animals are more often elsewhere
    drift = 4.5 * np.tanh(np.abs(signed_contrast) / 0.2) * side + 0.9 * belief
    drift = np.where(engaged, drift, 0.25 * drift)
    bound = np.where(engaged, 0.4, 1.6)
    noise = rng.standard_normal((n, steps)) * np.sqrt(STEP)
    path = 0.12 * belief[:, None] + np.cumsum(drift[:, None] * STEP + noise, axis=1)
    crossed = np.abs(path) >= bound[:, None]
    decided = crossed.any(axis=1)
    first = np.where(decided, crossed.argmax(axis=1), steps - 1)
    choice = np.sign(path[np.arange(n), first])
    lapse = rng.random(n) < 0.03
    choice = np.where(lapse, rng.choice([-1.0, 1.0], n), choice)
    # The evidence stays at the bound that was met, on the side that was chosen.
    held = np.where(np.arange(steps) < first[:, None], path / bound[:, None], choice[:, None])
    delay = 0.06 + rng.gamma(4.0, 0.006, n)
    reaction = delay + (first + 1) * STEP + np.where(decided, 0.0, rng.exponential(6.0, n))
    early = rng.random(n) < 0.07
    reaction = np.where(early, rng.uniform(0.01, 0.08, n), reaction)
    none = reaction > _NO_GO - 1
    return _Decisions(np.where(none, 0.0, choice), reaction, np.clip(held, -1, 1))


def _turns(choice: Floats, rng: np.random.Generator) -> _Turns:
    """Size and duration of the turn that answers each trial."""
    n = len(choice)
    overshoot = 1.3 + rng.gamma(2.0, 0.35, n)
    duration = np.exp(rng.normal(np.log(0.24), 0.35, n))
    phase = np.linspace(0, 1, 401)
    crossing = np.interp(1 / overshoot, _minimum_jerk(phase), phase)
    # A choice to the right (IBL's -1) turns the wheel counter-clockwise, which is positive.
    return _Turns(duration, choice * _CORRECT_TURN * overshoot, crossing * duration)


def _timeline(
    stimulus: _Stimuli, decision: _Decisions, turn: _Turns, rng: np.random.Generator
) -> pd.DataFrame:
    n = len(stimulus.side)
    none = decision.choice == 0
    response_after = np.where(none, _NO_GO, decision.reaction_time + turn.until_response)
    correct = decision.choice == stimulus.side
    quiescence = 0.4 + np.minimum(rng.exponential(0.35, n), 0.3)
    wait = quiescence + rng.exponential(0.7, n)
    after = np.where(correct, 1.0, 2.0)
    stim_on_after_start = wait + 0.1
    trial_length = stim_on_after_start + response_after + after + 0.5 + rng.exponential(0.3, n)
    start = 5.0 + np.r_[0.0, np.cumsum(trial_length)[:-1]]
    stim_on = start + stim_on_after_start
    response = stim_on + response_after
    left, right = stimulus.side < 0, stimulus.side > 0
    table = pd.DataFrame(
        {
            "intervals_0": start,
            "intervals_1": start + trial_length,
            "quiescencePeriod": quiescence,
            "stimOn_times": stim_on,
            "goCueTrigger_times": stim_on + 0.0004,
            "goCue_times": stim_on + 0.0011,
            "firstMovement_times": np.where(none, np.nan, stim_on + decision.reaction_time),
            "response_times": response,
            "feedback_times": response + 0.0002,
            "stimOff_times": response + after,
            "choice": -decision.choice,
            "feedbackType": np.where(correct, 1.0, -1.0),
            "rewardVolume": np.where(correct, 1.5, 0.0),
            "contrastLeft": np.where(left, stimulus.contrast, np.nan),
            "contrastRight": np.where(right, stimulus.contrast, np.nan),
            "probabilityLeft": stimulus.probability_left,
        }
    )
    # As finely as real ones are timed. The last digits of draws are not the same everywhere.
    return table.round(4)


def _wheel(
    trials: pd.DataFrame,
    turn: _Turns,
    duration: float,
    arousal: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Wheel position at 1 kHz, and velocity at every step."""
    moved = trials["firstMovement_times"].notna().to_numpy()
    onset = trials["firstMovement_times"].to_numpy()[moved]
    length, size = turn.duration[moved], turn.displacement[moved]
    # Fidgets after feedback, never in the quiet time that the task asks for.
    free_from = trials["feedback_times"].to_numpy() + 0.3
    free = trials["intervals_1"].to_numpy() - free_from
    level = np.exp(0.6 * arousal[np.minimum((free_from / STEP).astype(int), len(arousal) - 1)])
    number = rng.poisson(0.5 * free * level)
    fidget_onset = np.repeat(free_from, number) + rng.random(number.sum()) * np.repeat(free, number)
    onset = np.r_[onset, fidget_onset]
    length = np.r_[length, np.exp(rng.normal(np.log(0.22), 0.4, number.sum()))]
    size = np.r_[size, rng.normal(0, 0.22, number.sum())]

    fine = 0.001
    position = np.zeros(int(np.ceil(duration / fine)) + 1)
    for t, d, a in zip(onset, length, size, strict=True):
        first, last = int(t / fine), min(int((t + d) / fine) + 1, len(position))
        if first < last:
            phase = np.clip((np.arange(first, last) * fine - t) / d, 0, 1)
            position[first:last] += a * _minimum_jerk(phase)
            position[last:] += a
    every = round(STEP / fine)
    coarse = position[::every]
    velocity = np.diff(coarse, append=coarse[-1]) / STEP
    return position, velocity[: int(np.ceil(duration / STEP))]


def _encoder(position: Floats) -> tuple[Floats, Floats]:
    """Times in seconds and positions at which an encoder with finite ticks reports."""
    ticks = np.round(position / _WHEEL_TICK)
    reports = np.flatnonzero(np.diff(ticks, prepend=np.nan) != 0)
    reports = np.union1d(reports, [0, len(position) - 1])
    return np.asarray(reports * 0.001), np.asarray(ticks[reports] * _WHEEL_TICK)


def _whisking(
    trials: pd.DataFrame, speed: Floats, arousal: Floats, rng: np.random.Generator
) -> Floats:
    steps = len(speed)
    bouts = np.maximum(_slow_noise(steps, 0.6, rng) + 0.5 * arousal - 0.3, 0)
    reward = trials.loc[trials["feedbackType"] > 0, "feedback_times"].to_numpy()
    licks = _pulses(reward + 0.05, np.ones(len(reward)), steps, rise=0.05, decay=0.5)
    moving = lfilter([0.15], [1, -0.85], np.minimum(speed / 3, 2))
    return bouts + 0.7 * moving + 0.5 * licks


def _camera(duration: float, whisking: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    frames = np.arange(0, duration - 1, 1 / _CAMERA_RATE)
    frames = np.round(frames + rng.normal(0, 2e-4, len(frames)), 6)
    level = np.interp(frames, np.arange(len(whisking)) * STEP, whisking)
    energy = (1.5 + 6.0 * level) * np.exp(rng.normal(0, 0.18, len(frames)))
    return frames, energy.astype(np.float32).astype(np.float64)  # as precise as it is stored


def _drives(
    trials: pd.DataFrame,
    decision: _Decisions,
    belief: Floats,
    velocity: Floats,
    whisking: Floats,
    arousal: Floats,
    steps: int,
) -> Floats:
    stim_on, feedback = trials["stimOn_times"].to_numpy(), trials["feedback_times"].to_numpy()
    inputs = np.zeros((steps, len(DRIVES)))
    for k, name in enumerate(("contrastLeft", "contrastRight")):
        seen = np.sqrt(trials[name].fillna(0.0).to_numpy())
        inputs[:, k] = _pulses(stim_on, seen, steps, rise=0.03, decay=0.15) + 0.35 * _held(
            stim_on, trials["stimOff_times"].to_numpy(), seen, steps
        )
    inputs[:, 2] = _pulses(stim_on, np.ones(len(stim_on)), steps, rise=0.01, decay=0.05)
    inputs[:, 3] = _evidence(trials, decision, steps)
    update = np.r_[0.0, feedback[:-1]]
    until = np.r_[feedback[:-1], steps * STEP]
    inputs[:, 4] = _held(update, until, belief, steps) * 1.5
    inputs[:, 5] = np.clip(velocity / 3, -2, 2)
    inputs[:, 6] = np.clip(np.abs(velocity) / 3, 0, 2)
    correct = trials["feedbackType"].to_numpy() > 0
    inputs[:, 7] = _pulses(feedback, correct.astype(float), steps, rise=0.05, decay=0.4)
    inputs[:, 8] = _pulses(feedback, (~correct).astype(float), steps, rise=0.05, decay=0.6)
    inputs[:, 9] = whisking - whisking.mean()
    inputs[:, 10] = arousal
    return inputs


def _evidence(trials: pd.DataFrame, decision: _Decisions, steps: int) -> Floats:
    """Decision variable: accumulating from stimulus onset, held until shortly after the answer."""
    variable = np.zeros(steps)
    onset = ((trials["stimOn_times"].to_numpy() + 0.04) / STEP).astype(int)
    until = ((trials["response_times"].to_numpy() + 0.1) / STEP).astype(int)
    for k, (first, last) in enumerate(zip(onset, until, strict=True)):
        path = decision.evidence[k, : last - first]
        variable[first : first + len(path)] = path
        variable[first + len(path) : last] = path[-1]
    return lfilter([0.1], [1, -0.9], variable)


def _pulses(times: Floats, sizes: Floats, steps: int, *, rise: float, decay: float) -> Floats:
    """Place responses of peak `sizes` at `times`; `rise` and `decay` are seconds."""
    impulses = np.zeros(steps)
    index = (times / STEP).astype(int)
    inside = (index >= 0) & (index < steps)
    np.add.at(impulses, index[inside], sizes[inside])
    a, b = np.exp(-STEP / rise), np.exp(-STEP / decay)
    response = lfilter([1.0], [1.0, -b], impulses) - lfilter([1.0], [1.0, -a], impulses)
    t = np.arange(0, 2.0, STEP)
    peak = float((np.exp(-t / decay) - np.exp(-t / rise)).max())
    return np.asarray(response / peak)


def _held(start: Floats, stop: Floats, values: Floats, steps: int) -> Floats:
    """Steps that hold each value from `start` to `stop`, which do not overlap."""
    change = np.zeros(steps + 1)
    np.add.at(change, np.clip((start / STEP).astype(int), 0, steps), values)
    np.add.at(change, np.clip((stop / STEP).astype(int), 0, steps), -values)
    return np.cumsum(change)[:steps]


def _slow_noise(steps: int, seconds: float, rng: np.random.Generator) -> Floats:
    """Ornstein-Uhlenbeck noise of unit variance with a time constant in seconds."""
    keep = np.exp(-STEP / seconds)
    white = rng.standard_normal(steps) * np.sqrt(1 - keep**2)
    white[0] /= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], white)


def _minimum_jerk(phase: Floats) -> Floats:
    return phase**3 * (10 - 15 * phase + 6 * phase**2)
