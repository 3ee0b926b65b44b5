"""What is hidden and how well it is predicted, in words."""

import math

from napari_mtm.live.engine import Answer
from napari_mtm.live.whole import WholeScores
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task
from napari_mtm.ui.numbers import number, signed

TASK_NAMES: dict[Task, str] = {
    "neuron": "co-smoothing",
    "causal": "forward prediction",
    "intra-region": "within region",
    "inter-region": "whole region",
}


def mask_words(mask: Mask, prompt: Task | None) -> str:
    """Say what is hidden, which task that is, and which prompt the model is sent."""
    if not mask.hidden.any():
        return "Nothing is hidden. Click a region's name beside the raster, or paint."
    lines = [f"Hidden: {mask.describe()}."]
    sent = TASK_NAMES[prompt or mask.prompt]
    if mask.task is not None:
        lines.append(f"Task: {TASK_NAMES[mask.task]}. Prompt: {sent}{_by_hand(prompt)}.")
    else:
        why = "chosen by hand" if prompt else "the nearest"
        lines.append(f"None of the four tasks it was trained on. Prompt: {sent}, {why}.")
    if mask.hidden.all():
        lines.append("The model sees nothing, and answers with what it expects of any trial.")
    elif not mask.scored.any():
        lines.append("Nothing of it is scored: paint with “predict” to score.")
    return "\n".join(lines)


def _by_hand(prompt: Task | None) -> str:
    return ", chosen by hand" if prompt else ""


def scored_region(mask: Mask) -> str | None:
    """Return the region that a mask is about, if it is one."""
    names = {r for r, here in zip(mask.regions, mask.scored.any(axis=0), strict=True) if here}
    return names.pop() if len(names) == 1 else None


def trial_score_words(
    answer: Answer, part: str, score: float, baseline: float | None, baseline_name: str
) -> str:
    """Say how well the shown trial is predicted, against mean rate, beside a baseline.

    `part` is the part of the session's split that it is in. `baseline` is NaN where there is
    none, and None while its score is to come.
    """
    trial = f"This {part} trial"
    if not answer.request.mask.scored.any():
        return f"{trial}: nothing is scored."
    if math.isnan(score):
        return f"{trial}: no spikes in what is hidden."
    return f"{trial}: {bits(score)}{_beside(baseline, baseline_name)}"


def whole_score_words(whole: WholeScores | None, baseline_name: str) -> str:
    """Say how well all test trials are predicted, as far as that is known."""
    if whole is None:
        return "Test trials: not scored yet."
    score = whole.pooled("model")
    counted = f"{len(whole.trials)} of {whole.n_trials} test trials"
    title = f"{whole.n_trials} test trials" if whole.done else counted
    if math.isnan(score):
        return f"{title}: no spikes in what is scored."
    text = f"{title}: {bits(score)}{_beside(whole.pooled('baseline'), baseline_name)}"
    oracle = whole.pooled("oracle")
    if oracle > 0:
        text += f"\n{number(100 * score / oracle, 0)}% of the oracle's {oracle:.2f}"
    return text


def bits(score: float) -> str:
    """Write a score with its unit."""
    return f"{signed(score)} bits/spike"


def _beside(baseline: float | None, name: str) -> str:
    if baseline is None:
        return f", {name} …"
    return "" if math.isnan(baseline) else f", {name} {signed(baseline)}"
