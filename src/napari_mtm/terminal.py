"""What the command line shows while work goes on: a bar, or how a training is doing.

Where stderr is no terminal nothing is drawn, and rich is not needed.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from napari_mtm.progress import Progress, silent

if TYPE_CHECKING:
    from rich.table import Table

    from napari_mtm.training.loop import Report


@contextmanager
def bar(what: str) -> Iterator[Progress]:
    """Show a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=1.0)
        yield lambda fraction, message: shown.update(task, completed=fraction, description=message)


@dataclass(frozen=True)
class Shown:
    """What a training is given to tell of itself: what comes before it, and how it is doing."""

    progress: Progress
    watch: Callable[["Report"], None]


@contextmanager
def training() -> Iterator[Shown]:
    """Show how a training is doing: a table on a terminal, elsewhere a line per validation."""
    plain = Shown(silent, _print_validation)
    with _table_on_terminal() if sys.stderr.isatty() else nullcontext(plain) as shown:
        try:
            yield shown
        except KeyboardInterrupt:
            print("saved; the same command with --resume goes on", file=sys.stderr)
            raise


@contextmanager
def _table_on_terminal() -> Iterator[Shown]:
    from rich.console import Console
    from rich.live import Live

    validation: dict[str, float] = {}
    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:

        def progress(fraction: float, message: str) -> None:
            live.update(f"{message} {fraction:.0%}")

        def watch(report: "Report") -> None:
            validation.update((str(k), v) for k, v in (report.validation or {}).items())
            live.update(_table(report, validation))

        yield Shown(progress, watch)


def _print_validation(report: "Report") -> None:
    if report.validation is None:
        return
    scores = "  ".join(f"{task} {value:.3f}" for task, value in report.validation.items())
    best = "  best so far" if report.best_step == report.step else ""
    print(
        f"step {report.step} of {report.steps}  bits/spike: {scores}{best}{_pace(report)}",
        file=sys.stderr,
        flush=True,
    )


def _table(report: "Report", validation: Mapping[str, float]) -> "Table":
    from rich.table import Table

    table = Table(
        title=f"step {report.step} of {report.steps}{_pace(report)}",
        title_justify="left",
    )
    for heading in ("", "loss", "validation, bits/spike"):
        table.add_column(heading, justify="right" if heading else "left")
    for kind in dict.fromkeys([*report.losses, *validation]):
        loss, score = report.losses.get(kind), validation.get(kind)
        table.add_row(
            kind,
            "" if loss is None else f"{loss:.4g}",
            "" if score is None else f"{score:.3f}",
        )
    if report.best is not None:
        table.caption = f"best mean {report.best:.3f}, at step {report.best_step}"
    return table


def _pace(report: "Report") -> str:
    if report.seconds_left is None:
        return ""
    left = timedelta(seconds=round(report.seconds_left))
    return f"  {report.trials_per_second:.0f} trials/s  {left} left"
