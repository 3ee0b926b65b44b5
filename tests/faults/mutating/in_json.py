"""Damage within JSON that stays JSON, or nearly so."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.faults.mutating.mutations import rewriting

ODD = (
    "null",
    '"text"',
    '""',
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1e300",
    "-1",
    "0",
    "1.5",
    "7" * 5000,
    "-" + "7" * 5000,
    str(2**63),
    str(2**31),
    "true",
    "[]",
    "{}",
    "[1, 2]",
    '{"a": 1}',
    '"2024-02-30"',
    r'"\ud800"',
    r'"\u0000"',
    r'"\u001b[31m"',
    '"../../x"',
    '"' + "x" * 100_000 + '"',
)
"""JSON texts that are put where something else belongs."""

_MARK = "@odd@"


def changed(tree: Any, chance: Random) -> str:
    """Return a JSON text of a tree with one thing changed in it."""
    tree = json.loads(json.dumps(tree))
    odd = chance.choice(ODD)
    holders = [(parent, key) for parent, key in _places(tree)]
    if not holders or chance.random() < 0.03:
        return odd
    parent, key = chance.choice(holders)
    how = chance.choice(("put", "put", "put", "put", "drop", "add", "rename", "swap"))
    if how == "put":
        parent[key] = _MARK
    elif how == "drop":
        del parent[key]
    elif how == "add" and isinstance(parent, dict):
        parent["additional"] = _MARK
    elif how == "add":
        parent.insert(key, chance.choice((_MARK, parent[key])))
    elif how == "rename" and isinstance(parent, dict):
        parent[chance.choice(("other", "", f"{key} "))] = parent.pop(key)
    else:
        other, place = chance.choice(holders)
        if not _inside(parent[key], other) and not _inside(other[place], parent):
            parent[key], other[place] = other[place], parent[key]
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).replace(f'"{_MARK}"', odd)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where every value stands: what holds it, and its key or index there."""
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def _inside(tree: Any, holder: Any) -> bool:
    return tree is holder or any(parent[key] is holder for parent, key in _places(tree))


def change_json(data: bytes, chance: Random) -> bytes:
    return changed(json.loads(data), chance).encode()


def change_a_line(data: bytes, chance: Random) -> bytes:
    lines = data.splitlines()
    place = chance.randrange(len(lines))
    lines[place] = change_json(lines[place], chance)
    return b"\n".join(lines) + b"\n"


def mix_up_lines(data: bytes, chance: Random) -> bytes:
    lines = data.splitlines()
    place = chance.randrange(len(lines))
    how = chance.choice(("blank", "no end", "twice", "gone", "order", "words", "return"))
    if how == "blank":
        lines.insert(place, b"")
    elif how == "twice":
        lines.insert(place, lines[place])
    elif how == "gone":
        del lines[place]
    elif how == "order":
        chance.shuffle(lines)
    elif how == "words":
        lines[place] = chance.choice((b"words", b"\xff\xfe", b"\0", b"{", b"3", b"[]", b"null"))
    text = (b"\r\n" if how == "return" else b"\n").join(lines)
    return text if how == "no end" else text + b"\n"


JSON = [rewriting(change_json)]
LINES = [rewriting(change_a_line)] * 3 + [rewriting(mix_up_lines)]
