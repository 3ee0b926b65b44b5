"""What happened in a trial, for people to read: its events and a line of words."""

from dataclasses import dataclass

import numpy as np

from napari_mtm.recording.session import ANY_TIME, Session
from napari_mtm.recording.trials import column

_EVENT_NAMES = {
    "stimOn_times": "stimulus",
    "goCue_times": "go cue",
    "firstMovement_times": "first movement",
    "response_times": "response",
    "feedback_times": "feedback",
    "stimOff_times": "stimulus off",
}


@dataclass(frozen=True)
class Event:
    """Something at `time` seconds on the raster's axis."""

    name: str
    time: float
    colour: str


def axis_title(session: Session) -> str:
    """What the time axis of a raster counts from."""
    if session.align == ANY_TIME:
        return "time in window (s)"
    name = _EVENT_NAMES.get(session.align, session.align)
    return f"time from {name} (s)" if session.align in session.trials else "time (s)"


def trial_events(session: Session, trial: int) -> list[Event]:
    """Stimulus, first movement and feedback of a trial, those inside the window."""
    if session.align not in session.trials:
        return []
    zero = column(session.trials, session.align)[trial]
    correct = column(session.trials, "feedbackType")[trial] > 0
    marks = (
        ("stimOn_times", "stimulus", "#4ea3f5"),
        ("firstMovement_times", "movement", "#f5a623"),
        ("feedback_times", "reward" if correct else "error", "#5fc36b" if correct else "#e5534b"),
    )
    events = []
    for name, label, colour in marks:
        time = column(session.trials, name)[trial] - zero
        if session.window[0] <= time <= session.window[1]:
            events.append(Event(label, float(time), colour))
    return events


def trial_summary(session: Session, trial: int) -> str:
    """Say in a few short lines what a trial was."""
    trials = session.trials
    value = {name: column(trials, name)[trial] for name in _SUMMARISED}
    if session.align == ANY_TIME and np.isfinite(value["intervals_0"]):
        return f"{value['intervals_0']:.2f} to {value['intervals_1']:.2f} s of the recording"
    parts = []
    side = "right" if np.isfinite(value["contrastRight"]) else "left"
    contrast = value["contrastRight" if side == "right" else "contrastLeft"]
    if np.isfinite(contrast):
        parts.append(f"stimulus {side}, contrast {contrast * 100:g}%")
    choice = {-1.0: "chose right", 1.0: "chose left", 0.0: "no choice"}.get(value["choice"])
    if choice:
        outcome = {1.0: ", correct", -1.0: ", wrong"}.get(value["feedbackType"], "")
        parts.append(choice + outcome)
    reaction = value["firstMovement_times"] - value["stimOn_times"]
    if np.isfinite(reaction):
        parts.append(f"first movement after {reaction * 1e3:.0f} ms")
    block = value["probabilityLeft"]
    if np.isfinite(block):
        parts.append("no prior (50:50 block)" if block == 0.5 else _prior(block))
    return "\n".join(parts)


def _prior(probability_left: float) -> str:
    side = "left" if probability_left > 0.5 else "right"
    share = max(probability_left, 1 - probability_left)
    return f"{side} block ({share * 100:.0f}% {side})"


_SUMMARISED = (
    "intervals_0",
    "intervals_1",
    "contrastLeft",
    "contrastRight",
    "choice",
    "feedbackType",
    "firstMovement_times",
    "stimOn_times",
    "probabilityLeft",
)
