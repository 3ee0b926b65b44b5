"""What a benchmark returns, and how it is written down."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """One measured `value` in `unit`, beside what it is measured against.

    `ratio` is ours to the reference in the direction that the result's key names.
    """

    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None


Results = dict[str, Result]


def median_seconds(work: Callable[[], object], *, runs: int = 5, warm_up: int = 1) -> float:
    """Median wall time of some runs, after some that do not count."""
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def in_turn(
    works: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of each of some rounds, run in turn so that all see the same machine."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for k in range(rounds + warm_up):
        # Back and forth, so that each runs as often after the one as after the other.
        for name, work in list(works.items())[:: 1 if k % 2 else -1]:
            start = time.perf_counter()
            work()
            if k >= warm_up:
                found[name].append(time.perf_counter() - start)
    return found


def machine() -> dict[str, object]:
    """Describe the machine and the versions that matter, without its name."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("numpy", "pandas", "torch", "napari", "napari-mtm")},
    }


def write(name: str, results: Results, path: Path | None) -> None:
    """Print the results, and write them as JSON where a path is given."""
    for key, result in results.items():
        line = f"{key:32}{result.value:12.4g} {result.unit}"
        if result.reference is not None:
            line += f"   reference {result.reference:.4g}"
        if result.ratio is not None:
            line += f"   ratio {result.ratio:.3g}"
        print(line)
    if path is not None:
        content = {
            "name": name,
            "machine": machine(),
            "results": {key: asdict(result) for key, result in results.items()},
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or sys.platform


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
