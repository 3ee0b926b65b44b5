"""Damage within tables, in parquet and CSV files."""

import datetime as dt
import decimal
import io
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.faults.mutating.mutations import rewriting

_ODD: tuple[Callable[[int], Any], ...] = (
    lambda n: ["words"] * n,
    lambda n: ["-1", "1e5", "nan", "0x10"] * n,
    lambda n: [None] * n,
    lambda n: [float("nan")] * n,
    lambda n: [float("inf")] * n,
    lambda n: [-1] * n,
    lambda n: [-1.5] * n,
    lambda n: [2**62] * n,
    lambda n: [1e300] * n,
    lambda n: [True, False] * n,
    lambda n: [[1, 2], [3]] * n,
    lambda n: [[], None] * n,
    lambda n: [{"a": 1}, {"a": None}] * n,
    lambda n: [b"\xff\x00"] * n,
    lambda n: [decimal.Decimal("1.25")] * n,
    lambda n: [dt.date(2024, 2, 3)] * n,
    lambda n: [dt.timedelta(seconds=1)] * n,
    lambda n: [pd.Timestamp("2024-02-03", tz="UTC")] * n,
    lambda n: ["\x1b[31m", "\0", "", "../../x"] * n,
    lambda n: ["x" * 10_000] * n,
    lambda n: [0] * n,
    lambda n: list(range(n)),
)


_WAYS = (
    *("no header", "quote", "nul", "long", "wide", "narrow", "utf-16", "latin"),
    *("twice", "gone", "empty", "header", "table"),
)


def another_column(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    name, n = chance.choice(list(table.columns)), len(table)
    values = pd.Series(chance.choice(_ODD)(n)[:n], index=table.index)
    if chance.random() < 0.3:  # some rows only
        some = [chance.random() < 0.3 for _ in range(n)]
        values = table[name].astype(object).where(~np.array(some), values.astype(object))
    return table.assign(**{name: values})


def a_categorical_column(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    name = chance.choice(list(table.columns))
    return table.assign(**{name: table[name].astype(chance.choice(("category", "string")))})


def a_nullable_column(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    name = chance.choice(list(table.columns))
    kind = chance.choice(("Int64", "boolean", "Float64", "UInt8"))
    n = len(table)
    values = pd.array([1 if chance.random() < 0.7 else None for _ in range(n)], dtype=kind)
    return table.assign(**{name: values})


def fewer_columns(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    kept = chance.choice((1, 0, len(table.columns) - 1))
    return table[chance.sample(list(table.columns), min(kept, len(table.columns)))]


def renamed_column(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    name = chance.choice(list(table.columns))
    return table.rename(columns={name: chance.choice(("other", "", "\x1b", f"{name} "))})


def additional_column(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    values = chance.choice(_ODD)(len(table))[: len(table)]
    return table.assign(additional=pd.Series(values, index=table.index))


def other_rows(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    rows = list(range(len(table)))
    chance.shuffle(rows)
    return table.iloc[chance.choice((rows, rows[1:], rows[:0], rows[:1], rows + rows, rows[::2]))]


def another_index(table: pd.DataFrame, chance: Random) -> pd.DataFrame:
    n = len(table)
    how = chance.choice(("none", "floats", "words", "two", "same", "dates"))
    if how == "none":
        return table.reset_index(drop=chance.random() < 0.5)
    index = {
        "floats": pd.Index([1.5] * n),
        "words": pd.Index([f"row {k}" for k in range(n)]),
        "two": pd.MultiIndex.from_arrays([range(n), range(n)]),
        "same": pd.Index([0] * n),
        "dates": pd.date_range("2024-02-03", periods=n),
    }[how]
    return table.set_index(index)


TABLE_CHANGES = (
    *[another_column] * 6,
    a_categorical_column,
    a_nullable_column,
    fewer_columns,
    renamed_column,
    additional_column,
    *[other_rows] * 2,
    another_index,
)


def change_table(data: bytes, chance: Random) -> bytes:
    """Change a table, and keep what its schema says besides."""
    arrow = pq.read_table(io.BytesIO(data))
    while True:
        try:
            changed = pa.Table.from_pandas(chance.choice(TABLE_CHANGES)(arrow.to_pandas(), chance))
            break
        except (pa.ArrowException, ValueError, TypeError):  # no table can be so: another, then
            continue
    metadata = {**(arrow.schema.metadata or {}), **(changed.schema.metadata or {})}
    return _written(changed.replace_schema_metadata(metadata))


def change_schema(data: bytes, chance: Random) -> bytes:
    """Change what is said of a table besides its columns, or its columns' names."""
    table = pq.read_table(io.BytesIO(data))
    metadata = dict(table.schema.metadata or {})
    how = chance.choice(("drop", "words", "list", "twice", "dictionary", "all"))
    key = chance.choice(sorted(metadata))
    if how == "drop":
        del metadata[key]
    elif how == "words":
        metadata[key] = chance.choice((b"words", b"\xff", b"", b"null", b"{}", b"[" * 100_000))
    elif how == "list":
        metadata[key] = b"[1, 2]"
    elif how == "all":
        metadata = {}
    elif how == "twice":
        names = list(table.column_names)
        names[chance.randrange(len(names))] = chance.choice(names)
        table = table.rename_columns(names)
    else:
        place = chance.randrange(table.num_columns)
        column = table.column(place).dictionary_encode()
        table = table.set_column(place, table.column_names[place], column)
    return _written(table.replace_schema_metadata(metadata))


def table_as_words(data: bytes, chance: Random) -> bytes:
    return pd.read_parquet(io.BytesIO(data)).to_csv().encode()


def change_words(data: bytes, chance: Random) -> bytes:
    """Change the text of a CSV file."""
    lines = data.splitlines()
    how = chance.choice(_WAYS)
    place = chance.randrange(len(lines))
    whole: dict[str, Callable[[], bytes]] = {
        "utf-16": lambda: data.decode().encode("utf-16"),
        "empty": lambda: b"\n" * 10,
        "header": lambda: lines[0] + b"\n",
        "table": lambda: _as_csv(data, chance),
    }
    if how in whole:
        return whole[how]()
    if how in ("no header", "gone"):
        del lines[0 if how == "no header" else place]
    elif how == "twice":
        lines.insert(place, lines[place])
    else:
        lines[place] = {
            "quote": b'"' + lines[place],
            "nul": b"\0" + lines[place],
            "long": lines[place] + b"x" * 1_000_000,
            "wide": lines[place] + b",1,2,3",
            "narrow": b"",
            "latin": "\xe9".encode("latin1") + lines[place],
        }[how]
    return b"\n".join(lines) + b"\n"


def _as_csv(data: bytes, chance: Random) -> bytes:
    table = pd.read_csv(io.BytesIO(data))
    return chance.choice(TABLE_CHANGES)(table, chance).to_csv(index=False).encode()


def _written(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


TABLES = [rewriting(change_table)] * 5 + [rewriting(change_schema), rewriting(table_as_words)]
WORDS = [rewriting(change_words)]
