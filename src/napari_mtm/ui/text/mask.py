"""What is hidden, in words."""

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import Task

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
    if mask.hidden.all():
        lines = ["Everything is hidden: the model sees nothing."]
    sent = TASK_NAMES[prompt or mask.prompt]
    if mask.task is not None:
        lines.append(f"Task: {TASK_NAMES[mask.task]}. Prompt: {sent}{_by_hand(prompt)}.")
    else:
        why = "chosen by hand" if prompt else "the nearest"
        lines.append(f"None of the four tasks it was trained on. Prompt: {sent}, {why}.")
    if not mask.scored.any():
        lines.append("Nothing of it is scored: paint with “predict” to score.")
    return "\n".join(lines)


def _by_hand(prompt: Task | None) -> str:
    return ", chosen by hand" if prompt else ""


def scored_region(mask: Mask) -> str | None:
    """Return the region that a mask is about, if it is one."""
    names = {r for r, here in zip(mask.regions, mask.scored.any(axis=0), strict=True) if here}
    return names.pop() if len(names) == 1 else None
