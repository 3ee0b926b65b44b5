"""Processes that this one began."""

from contextlib import suppress
from pathlib import Path

import pytest


def children(program: str) -> list[int]:
    """Those that run a program and have not ended, by their numbers.

    Skips where the system does not list them.
    """
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("this system does not list the children of a process")
    every = [int(pid) for task in tasks.glob("*/children") for pid in task.read_text().split()]
    return [pid for pid in every if program in _command(pid)]


def _command(pid: int) -> str:
    """The command line of a process, empty where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    return ""
