"""What the fine-tune panel says, in words."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_mtm.recording.session import Session
from napari_mtm.ui.text.baselines import BASELINE_NAMES
from napari_mtm.ui.text.behaviour import shown, words
from napari_mtm.ui.text.numbers import number, signed

if TYPE_CHECKING:
    from napari_mtm.training.comparison import Comparison, Interval
    from napari_mtm.training.messages import Measured
    from napari_mtm.training.runs import Entry
    from napari_mtm.training.settings import Settings
    from napari_mtm.ui.finetune.course import Course

SCOPES: Mapping[str, str] = {
    "full": "all weights",
    "lora": "low-rank updates, and this session's units",
    "units": "this session's units alone",
    "auto": "the best of these three, each tried shortly",
}
"""What moves, by scope."""

NAMES: Mapping[str, str] = {
    "neuron": "co-smoothing",
    "causal": "forward",
    "intra-region": "intra-region",
    "inter-region": "inter-region",
    "temporal": "temporal",
}
"""How tasks are called, by the kind of mask."""

_CELL = "padding-right: 5px; white-space: nowrap"


def plan_words(session: Session, weights: str, settings: "Settings", scope: str) -> str:
    """Say what will happen, as rich text."""
    split = session.split()
    trials = (
        f"{len(split.train)} trials to learn from, {len(split.validation)} to choose the best "
        f"weights by, {len(split.test)} for the test"
    )
    return (
        f"<b>{session.title}</b>: {session.n_units} units in {len(session.regions)} regions; "
        f"{trials}. Begins with <b>{weights}</b> and moves {SCOPES[scope]}, in {settings.steps} "
        f"steps of {settings.batch * settings.batches} trials."
    )


def pace_words(
    measured: "Measured | None", settings: "Settings", scope: str, *, measuring: bool
) -> str:
    """Say how long it takes."""
    if measuring:
        return "Measuring how long it takes…"
    if measured is None:
        return ""
    seconds = measured.pace.seconds(settings, scope)
    return f"About {duration(seconds)} on {measured.device}, then the test trials."


def duration(seconds: float) -> str:
    """Say how long something takes, roughly."""
    if seconds < 55:
        return f"{max(5 * math.ceil(seconds / 5), 5)} seconds"
    minutes = round(seconds / 60)
    if minutes < 60:
        return "a minute" if minutes <= 1 else f"{minutes} minutes"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def progress_words(course: "Course", phase: str) -> str:
    """Say how far a fine-tuning is, in a line."""
    if phase == "stopping":
        return "Stopping after the step in hand…"
    if phase == "comparing":
        return f"Comparing before and after on the test trials: {course.message}"
    report = course.report
    if phase == "preparing" or report is None:
        return f"{course.message[:1].upper()}{course.message[1:]}…"
    line = f"Step {course.step} of {course.steps}"
    if phase == "paused":
        return f"{line}: paused"
    if report.seconds_left is None:
        return line
    return f"{line}, {duration(report.seconds_left)} left ({report.trials_per_second:.0f} trials/s)"


def best_words(course: "Course", *, so_far: bool) -> str:
    """Say which validation was the best, or is so far."""
    best = "Best so far" if so_far else "Best"
    scores = course.validations.get(course.best_step) if course.best_step is not None else None
    if not scores:
        return ""
    mean = sum(scores.values()) / len(scores)
    first = course.validations.get(0)
    if course.best_step == 0 or not first:
        return f"{best}: step {course.best_step}, mean {mean:.3f} bits/spike"
    gain = mean - sum(first.values()) / len(first)
    return (
        f"{best}: step {course.best_step}, mean {mean:.3f} bits/spike, "
        f"{signed(gain, 3)} over the start"
    )


def ended_words(course: "Course") -> str:
    """Say how a fine-tuning ended, in a sentence or two."""
    title = course.session.title
    if course.how in ("failed", "killed"):
        return f"Fine-tuning on {title} failed. {course.message}"
    done = "is finished" if course.how == "finished" else f"was stopped at step {course.step}"
    said = f"Fine-tuning on {title} {done}."
    if course.best_step == 0:
        said += " No step was better than the start, which is what is kept."
    elif course.best_step is not None:
        said += f" The best weights are those of step {course.best_step}."
    return f"{said} {course.message}".strip()


def comparison_words(comparison: "Comparison") -> str:
    """Set out before and after as a table, as rich text."""
    before = "start" if comparison.started else "before"
    rows = [_cells("<b>bits/spike</b>", before, "after", "gain", "baseline")]
    for task, found in comparison.tasks.items():
        values = [_interval(found.get(name)) for name in ("before", "after")]
        gain = _interval(found.get("gain"), sign=True)
        rows.append(_cells(task, *values, gain, _best_baseline(found)))
    if comparison.readouts:
        rows.append(_cells("<b>decoded</b>", before, "after", "", "chance"))
    for name in shown(tuple(comparison.readouts)):
        found = comparison.readouts[name]
        values = [_interval(found.get(which)) for which in ("before", "after")]
        rows.append(_cells(words(name).score, *values, "", _value(found.get("chance"))))
    note = (
        f"{comparison.trials} test trials, units held out in groups. Small: 95% of resampled "
        "sets of trials."
    )
    return f"{_table(rows)}<small>{note}</small>"


def _best_baseline(found: "Mapping[str, Interval]") -> str:
    """Write the best of the baselines, and which it is."""
    known = {
        words: found[name]
        for name, words in BASELINE_NAMES.items()
        if name in found and found[name].value is not None
    }
    if not known:
        return "–"
    best = max(known, key=lambda words: known[words].value or 0.0)
    return f"{_value(known[best])}<br>{_small(best)}"


def cut_off_words(entry: "Entry") -> str:
    """Say that a run was cut off."""
    status = entry.status
    return (
        f"The fine-tuning of {entry.begun:%d %b %H:%M} was cut off at step {status.step} of "
        f"{status.steps}."
    )


def entry_state(entry: "Entry") -> str:
    """Say in a word or two how far a run is."""
    status = entry.status
    if status.state == "finished":
        return "finished"
    return f"{status.state}, {status.step}/{status.steps}"


def entry_score(entry: "Entry") -> float:
    """Return how well whole regions are predicted on test trials; NaN if not known."""
    comparison = entry.comparison
    return math.nan if comparison is None else comparison.value("inter-region", "after")


def entry_words(entry: "Entry") -> str:
    """Say what a run was asked to do, and how far it is."""
    about, status = entry.about, entry.status
    settings = about.settings
    lines = [
        f"began with {about.weights or 'weights that are not known'}",
        f"moved {SCOPES[about.scope]}",
        f"{settings.steps} steps, {settings.batch * settings.batches} trials in each",
        f"rate {settings.rate:g}, seed {settings.seed}",
    ]
    if status.best is not None:
        lines.append(f"best validation {status.best:.3f} bits/spike, at step {status.best_step}")
    if status.message:
        lines.append(status.message)
    return "\n".join([*lines, str(entry.folder)])


def runs_words(entries: "list[Entry]") -> str:
    """Set out several runs side by side, as rich text."""
    tests = list(dict.fromkeys(t for e in entries if e.comparison for t in e.comparison.tasks))
    rows = [_cells("<b>after, bits/spike</b>", *tests)]
    for entry in entries:
        about = entry.about
        name = f"{entry.begun:%d %b %H:%M}<br>" + _small(
            f"{about.scope}, {about.settings.steps} steps, seed {about.settings.seed}"
        )
        found = entry.comparison.tasks if entry.comparison else {}
        rows.append(_cells(name, *(_interval(found.get(t, {}).get("after")) for t in tests)))
    return _table(rows)


def _table(rows: list[str]) -> str:
    return f'<table style="font-size: 11px">{"".join(rows)}</table>'


def _cells(*cells: str) -> str:
    return "<tr>" + "".join(f'<td style="{_CELL}">{c}</td>' for c in cells) + "</tr>"


def _interval(found: "Interval | None", *, sign: bool = False) -> str:
    """Write a score with its bounds below it."""
    if found is None or found.value is None:
        return "–"
    value = signed(found.value) if sign else number(found.value)
    if found.low is None or found.high is None:
        return value
    low, high = (number(bound) for bound in (found.low, found.high))
    return f"{value}<br>{_small(f'{low}, {high}')}"


def _small(text: str) -> str:
    return f'<span style="font-size: 9px">{text}</span>'


def _value(found: "Interval | None") -> str:
    return "–" if found is None or found.value is None else number(found.value)
