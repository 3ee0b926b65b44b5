"""The one place where JSON that comes from outside becomes one of our records.

Records are pydantic models or dataclasses. What we wrote holds every field, so one that is
missing is damage, not a wish for the default.
"""

import json
import math
from collections.abc import Hashable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from napari_mtm.errors import MtmError, in_short
from napari_mtm.files import reading, replacing

T = TypeVar("T")

LONGEST = 100_000_000
"""Bytes of JSON that are read at most."""


def parse(kind: type[T], text: str | bytes, where: object, error: type[MtmError]) -> T:
    """Return the record that a JSON text holds.

    Raises `error`, with a sentence that names `where` it came from, unless the text holds
    every field of the record and no other, each of its own type, and no number that is NaN or
    infinite.
    """
    try:
        adapter = _adapter(cast("Hashable", kind))
        found: T = adapter.validate_json(text, strict=True)
        given = json.loads(text, parse_constant=_refuse)
        _compare(given, adapter.dump_python(found, mode="json"), "it")
    except ValidationError as problem:
        raise error(f"{where} is damaged: {first_problem(problem)}.") from None
    except MtmError as problem:  # what the record itself refuses
        raise error(f"{where} is damaged: {problem}") from None
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is damaged: {in_short(problem)}.") from None
    return found


def read(kind: type[T], path: Path, error: type[MtmError]) -> T:
    """Return the record in a JSON file; raises `error` as `parse`, or where there is no file."""
    with reading(path, error) as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise error(f"{path} is damaged: it is far too long for what it should hold.")
    return parse(kind, text, path, error)


def read_lines(kind: Any, path: Path, error: type[MtmError]) -> list[Any]:
    """Return the records in a file of JSON lines; a line that is damaged or cut off is left out."""
    with reading(path, error) as file:
        lines = file.read(LONGEST).split(b"\n")[:-1]  # after the last end there is nothing
    found = []
    for line in lines:
        with suppress(MtmError):
            found.append(parse(kind, line, path, error))
    return found


def write(path: Path, record: Any) -> None:
    """Write a record as a JSON file, in place of what was there; raises StoreError."""
    with replacing(path) as file:
        file.write(dump(record, indent=1))


def dump(record: Any, *, indent: int | None = None) -> bytes:
    """Return a record as JSON."""
    return _adapter(cast("Hashable", type(record))).dump_json(record, indent=indent)


def first_problem(problem: ValidationError) -> str:
    """Say in a phrase what a record lacks or holds first that it must not."""
    about = problem.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part)[:40] for part in about["loc"])
    return f"{in_short(about['msg'])}{f' in {place}' if place else ''}"


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", kind))


def _compare(given: Any, record: Any, place: str) -> None:
    """Raise ValueError where what was given lacks a key of the record, or has another."""
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError(f"{place} holds a number that is not finite")
    if isinstance(given, dict) and isinstance(record, dict):
        differing = sorted(given.keys() ^ record.keys())
        if differing:
            verb = "lacks" if differing[0] in record else "has no place for"
            raise ValueError(f"{place} {verb} {differing[0][:40]!r}")
        for key, value in given.items():
            _compare(value, record[key], key[:40])
    elif isinstance(given, list) and isinstance(record, list):
        for value, other in zip(given, record, strict=True):
            _compare(value, other, place)


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which is no number of JSON")
