"""Processes that this one began."""

from pathlib import Path

import pytest


def children() -> list[int]:
    """Those that have not ended, by their numbers; skips where the system does not list them."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("this system does not list the children of a process")
    return [int(pid) for task in tasks.glob("*/children") for pid in task.read_text().split()]
