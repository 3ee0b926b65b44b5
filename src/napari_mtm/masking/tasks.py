"""The paper's four tasks."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Task = Literal["neuron", "causal", "inter-region", "intra-region"]

TASKS: tuple[Task, ...] = ("neuron", "causal", "inter-region", "intra-region")
"""The tasks in the order of the published prompts, which weights depend on."""

FORWARD_SECONDS = 0.2
"""How much of the end of a trial forward prediction hides."""

TASK_OF_SCORE: Mapping[str, Task] = MappingProxyType(
    {
        "co-smoothing": "neuron",
        "forward": "causal",
        "intra-region": "intra-region",
        "inter-region": "inter-region",
    }
)
"""The task that each score of an evaluation asks of a model."""
