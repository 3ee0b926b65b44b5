"""Damage within safetensors files: stores, weights, checkpoints of a run, true rates."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.faults.mutating.in_json import changed
from tests.faults.mutating.mutations import Change, rewriting

_ABOUT = "__metadata__"
_TYPES = ("F16", "BF16", "F32", "F64", "I8", "U8", "I32", "I64", "BOOL", "F8_E4M3", "C64", "X", "")
_SHAPES: tuple[Callable[[list[int]], Any], ...] = (
    lambda shape: shape[::-1],
    lambda shape: [*shape, 1],
    lambda shape: [1, *shape],
    lambda shape: [2**62, 4],
    lambda shape: [2**32, 2**32],
    lambda shape: [-n for n in shape],
    lambda shape: [],
    lambda shape: [0],
    lambda shape: [float(n) for n in shape],
    lambda shape: [1] * 100,
    lambda shape: "text",
    lambda shape: shape[1:],
)
_KINDS = {"F32": "torch.float32", "F64": "torch.float64", "F16": "torch.float16"} | {
    "BF16": "torch.bfloat16",
    "I8": "torch.int8",
    "U8": "torch.uint8",
    "I32": "torch.int32",
    "I64": "torch.int64",
    "BOOL": "torch.bool",
}
_NUMBERS = (b"\0", b"\xff", b"\x7f", b"\x80", b"\x01")


@dataclass
class Parts:
    """A file taken apart: what its header says of each tensor, and the bytes of all."""

    about: dict[str, str]
    tensors: dict[str, dict[str, Any]]
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> "Parts":
        length = int.from_bytes(data[:8], "little")
        tensors = json.loads(data[8 : 8 + length])
        return cls(tensors.pop(_ABOUT, {}), tensors, data[8 + length :])

    def tree(self) -> dict[str, Any]:
        return {_ABOUT: self.about, **self.tensors}

    def joined(self) -> bytes:
        return with_header(json.dumps(self.tree(), separators=(",", ":")), self.body)

    def bytes_of(self, name: str) -> bytes:
        first, last = self.tensors[name]["data_offsets"]
        return self.body[first:last]


def with_header(text: str, body: bytes) -> bytes:
    """Return a file with a header of its right length."""
    head = text.encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + body


def change_header(data: bytes, chance: Random) -> bytes:
    parts = Parts.of(data)
    return with_header(changed(parts.tree(), chance), parts.body)


def change_text_in_header(data: bytes, chance: Random) -> bytes:
    """Change a JSON text that is a value of the header; its checksum stays."""
    parts = Parts.of(data)
    name = max(parts.about, key=lambda key: len(parts.about[key]))
    parts.about[name] = changed(json.loads(parts.about[name]), chance)
    return parts.joined()


def describe_a_tensor_otherwise(data: bytes, chance: Random) -> bytes:
    parts = Parts.of(data)
    _describe(parts, chance)
    return parts.joined()


def _describe(parts: Parts, chance: Random) -> None:
    name = chance.choice(list(parts.tensors))
    about = parts.tensors[name]
    first, last = about["data_offsets"]
    how = chance.choice(("type", "type", "shape", "shape", "places", "drop", "rename", "swap"))
    if how == "type":
        about["dtype"] = chance.choice(_TYPES)
    elif how == "shape":
        about["shape"] = chance.choice(_SHAPES)(about["shape"])
    elif how == "places":
        n = chance.choice((1, 4, last - first, 2**40, 2**63))
        about["data_offsets"] = chance.choice(
            ([first + n, last + n], [first, last + n], [last, first], [first - n, last], [0, 0])
        )
    elif how == "drop":
        del parts.tensors[name]
    elif how == "rename":
        parts.tensors[f"{name}x"] = parts.tensors.pop(name)
    else:
        other = parts.tensors[chance.choice(list(parts.tensors))]
        about["data_offsets"], other["data_offsets"] = other["data_offsets"], [first, last]


def change_numbers(data: bytes, chance: Random) -> bytes:
    parts = Parts.of(data)
    _fill(parts, chance)
    return parts.joined()


def _fill(parts: Parts, chance: Random) -> None:
    first, last = parts.tensors[chance.choice(list(parts.tensors))]["data_offsets"]
    n = last - first
    if chance.random() < 0.5 and n >= 8:
        first += 8 * chance.randrange(n // 8)
        n = 8
    parts.body = parts.body[:first] + chance.choice(_NUMBERS) * n + parts.body[first + n :]


# -- with checksums that are right again ------------------------------------------------------


def _seal_store(parts: Parts, text: str) -> None:
    """Put the text of a store's header in its place, with its checksum."""
    parts.about["session"] = text
    said = [{k: v for k, v in parts.about.items() if k != "checksum"}, parts.tensors]
    parts.about["checksum"] = str(zlib.crc32(json.dumps(said, sort_keys=True).encode()))


def change_store_and_seal(data: bytes, chance: Random) -> bytes:
    """Change a store, and make its checksums anew, as a program with an error might."""
    parts = Parts.of(data)
    session = json.loads(parts.about["session"])
    if chance.random() < 0.5:
        _seal_store(parts, changed(session, chance))
        return parts.joined()
    chance.choice((_fill, _describe))(parts, chance)
    for name in session["checksums"]:
        if name in parts.tensors and len(parts.tensors[name]["data_offsets"]) == 2:
            found = parts.bytes_of(name)
            session["checksums"][name] = [zlib.crc32(found)] if found else []
    _seal_store(parts, json.dumps(session, separators=(",", ":")))
    return parts.joined()


def change_weights_and_seal(data: bytes, chance: Random) -> bytes:
    """Change weights, and make their checksum anew, as someone who wants to harm might."""
    parts = Parts.of(data)
    about = json.loads(parts.about["napari-mtm"])
    del about["checksum"]
    text = json.dumps(about, separators=(",", ":"), ensure_ascii=False)
    if chance.random() < 0.5:
        text = changed(about, chance)
    else:
        chance.choice((_fill, _describe))(parts, chance)
    value = _checksum(text, parts)
    if text.endswith("}") and len(text) > 2:
        text = f'{text[:-1]},"checksum":{value}}}'
    parts.about["napari-mtm"] = text
    return parts.joined()


def change_checkpoint_and_seal(data: bytes, chance: Random) -> bytes:
    """Change a checkpoint, and make its checksum anew: it may be one of another run."""
    parts = Parts.of(data)
    if chance.random() < 0.3:
        parts.about["standing"] = changed(json.loads(parts.about["standing"]), chance)
    else:
        chance.choice((_fill, _describe))(parts, chance)
    kinds = {name: _KINDS.get(about["dtype"], "") for name, about in parts.tensors.items()}
    text = json.dumps([parts.about["standing"], kinds], sort_keys=True)
    parts.about["checksum"] = str(_checksum(text, parts))
    return parts.joined()


def _checksum(text: str, parts: Parts) -> int:
    value = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    for name in sorted(parts.tensors):
        shape = parts.tensors[name]["shape"]
        axes = tuple(shape) if isinstance(shape, list) else shape
        value = zlib.crc32(f"{name}{axes}".encode(), value)
        value = zlib.crc32(parts.bytes_of(name), value)
    return value


_PLAIN: tuple[Change, ...] = (
    change_header,
    change_text_in_header,
    describe_a_tensor_otherwise,
    change_numbers,
)
TENSORS = [rewriting(change) for change in _PLAIN]
STORES = TENSORS + [rewriting(change_store_and_seal, detectable=False)] * 2
WEIGHTS = TENSORS + [rewriting(change_weights_and_seal, detectable=False)] * 2
CHECKPOINTS = TENSORS + [rewriting(change_checkpoint_and_seal, detectable=False)] * 2
