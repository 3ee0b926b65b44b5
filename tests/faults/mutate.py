"""Damage files of every kind that is read, and see that each is refused or opens as it should.

    python -m tests.faults.mutate --mutants 10000

Each mutant is one file of a small set that is damaged in one way: bytes, texts, numbers, types,
lengths, or something else in its place. It is opened in a process of its own kind, which may hang,
die or take memory without ending the run, and must be refused by an error of ours in one to
three sentences, or open: as what it was where checksums stand over it, and else as something
that can be used, described and kept. All other errors, and warnings, are failures.

It ends with a table of what came of the mutants of each kind, and with the failures, grouped by
what was raised and where in the package. Exits with 1 where there are any. `--only N` opens one
mutant again, by the same `--seed`, and prints all of what came of it.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice

import tests.conftest  # noqa: F401  first: a home folder of its own
from tests.faults.mutating.mutants import kind_of
from tests.faults.mutating.targets import TARGETS
from tests.faults.mutating.verdicts import of_all
from tests.faults.mutating.workers import Limits, Report, open_all, write_originals

PROCESSES = 2
SLOW = 1.0
OUTCOMES = ("refused", "equal", "consistent", "failure")


def numbers_of(kinds: Sequence[str]) -> Iterator[int]:
    """Yield the numbers of mutants of some kinds."""
    return (number for number in count() if kind_of(number) in kinds)


def table(reports: Sequence[Report]) -> str:
    """Return what came of the mutants of each kind."""
    rows = [("kind", "mutants", *OUTCOMES)]
    kinds = [report.mutant.kind for report in reports]
    for kind in [*TARGETS, "all"]:
        found = Counter(
            of_all(report.verdicts) for report in reports if kind in (report.mutant.kind, "all")
        )
        if kind in kinds or kind == "all":
            counts = (sum(found.values()), *(found[outcome] for outcome in OUTCOMES))
            rows.append((kind, *map(str, counts)))
    return "\n".join(f"{row[0]:<14}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def failures(reports: Sequence[Report]) -> str:
    """Return what failed, grouped by what was raised and where, the most frequent first."""
    groups: dict[str, dict[int, str]] = {}
    for report in reports:
        for verdict in report.verdicts:
            failure = verdict.failure
            if failure is not None:
                where = f" at {failure.place}" if failure.place else f": {failure.message}"
                group = groups.setdefault(f"{failure.kind}{where}", {})
                example = f"for example {report.mutant}, look {verdict.look!r}"
                group.setdefault(report.mutant.number, f"{failure.message}\n      {example}")
    return "\n".join(
        f"{len(found):5} {what}\n      {next(iter(found.values()))}"
        for what, found in sorted(groups.items(), key=lambda item: -len(item[1]))
    )


def slowest(reports: Sequence[Report]) -> str:
    """Return the mutants that took longest without failing."""
    late = [r for r in reports if r.seconds > SLOW and of_all(r.verdicts) != "failure"]
    late.sort(key=lambda report: -report.seconds)
    lines = [f"{report.seconds:5.1f} s {report.mutant}" for report in late[:10]]
    return "\n".join([f"{len(late)} took more than {SLOW:g} s of the CPU", *lines])


def main() -> None:
    """Damage, open, count."""
    options = _asked()
    begun = time.monotonic()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what has used a GPU cannot be forked
    sys.modules["matplotlib.figure"] = None  # type: ignore[assignment]  no figures of studies
    limits = Limits(options.seconds, options.memory)
    originals = write_originals()
    if options.only is None:
        numbers = list(islice(numbers_of(options.kinds), options.mutants))
    else:
        numbers = [options.only]
    reports: list[Report] = []
    for report in open_all(numbers, options.seed, originals, limits, processes=PROCESSES):
        reports.append(report)
        if len(reports) % 1000 == 0:
            print(f"{len(reports)} in {time.monotonic() - begun:.0f} s", flush=True)
    if options.only is not None:
        _tell_all(reports[0])
    print(table(reports))
    failed = failures(reports)
    if failed:
        print(f"\n{failed}")
    print(f"\n{slowest(reports)}")
    print(f"{len(reports)} mutants (seed {options.seed}) in {time.monotonic() - begun:.0f} s")
    sys.exit(bool(failed))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--only", type=int, metavar="N", help="open this mutant alone")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each way to open it")
    parser.add_argument("--memory", type=float, default=300.0, help="MiB beyond those at rest")
    return parser.parse_args()


def _tell_all(report: Report) -> None:
    print(report.mutant)
    for verdict in report.verdicts:
        print(f"{verdict.look}: {verdict.outcome}")
        if verdict.failure is not None:
            print(verdict.failure.trace or verdict.failure.message)


if __name__ == "__main__":
    main()
