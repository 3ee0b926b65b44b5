"""The paper's four tasks, and the tests that score them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Task = Literal["neuron", "causal", "inter-region", "intra-region"]

TASKS: tuple[Task, ...] = ("neuron", "causal", "inter-region", "intra-region")
"""The tasks in the order of the published prompts, which weights depend on."""

Score = Literal["co-smoothing", "forward", "intra-region", "inter-region"]
"""A test of the paper: what a model is scored on with the masks of one task."""

SCORES: tuple[Score, ...] = get_args(Score)

FORWARD_SECONDS = 0.2
"""How much of the end of a trial forward prediction hides."""

TASK_OF_SCORE: Mapping[Score, Task] = MappingProxyType(
    {
        "co-smoothing": "neuron",
        "forward": "causal",
        "intra-region": "intra-region",
        "inter-region": "inter-region",
    }
)
"""The task that each score of an evaluation asks of a model."""
