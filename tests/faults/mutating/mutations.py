"""Ways to damage a file, whatever is in it, and what else may lie in its place."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

Change = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Mutation:
    """One way to damage a file.

    `detectable` says whether checksums in the file can tell, where it has some: not where
    they were made anew, nor where the file is gone.
    """

    name: str
    apply: Callable[[Path, Random], None]
    detectable: bool = True


def rewriting(change: Change, *, detectable: bool = True) -> Mutation:
    """Make a mutation of a function from bytes to bytes."""

    def apply(path: Path, chance: Random) -> None:
        path.write_bytes(change(path.read_bytes(), chance))

    return Mutation(change.__name__, apply, detectable)


# -- bytes -------------------------------------------------------------------------------


def a_place(data: bytes, chance: Random) -> int:
    """Draw a place in a file: anywhere, or as often in its first bytes, header or footer."""
    n = len(data)
    spans = [(0, n), (0, 8), (0, 128), (n - 64, n)]
    length = int.from_bytes(data[:8], "little")
    if 0 < length < n:  # the JSON of safetensors
        spans += [(8, 8 + length)] * 2
    if data.endswith(b"PAR1"):
        spans += [(n - 8 - int.from_bytes(data[-8:-4], "little"), n)] * 2
    if b"PK\1\2" in data:  # the directory of a zip
        spans += [(data.index(b"PK\1\2"), n)] * 2
    first, last = chance.choice(spans)
    return chance.randrange(max(first, 0), max(min(last, n), 1))


def a_run(data: bytes, chance: Random) -> slice:
    """Draw a few bytes, or up to all, from a place on."""
    start = a_place(data, chance)
    most = chance.choice((4, 64, 1024, len(data)))
    return slice(start, start + chance.randint(1, max(most, 1)))


def flip_bits(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[a_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def replace_bytes(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice((1, 1, 2, 16))):
        changed[a_place(data, chance)] = chance.choice((0, 255, 0x7F, 0x80, chance.randrange(256)))
    return bytes(changed)


def fill_a_run(data: bytes, chance: Random) -> bytes:
    run = a_run(data, chance)
    n = len(data[run])
    return data[: run.start] + chance.choice((b"\0" * n, b"\xff" * n)) + data[run.start + n :]


def cut_short(data: bytes, chance: Random) -> bytes:
    return data[: a_place(data, chance)]


def cut_the_beginning(data: bytes, chance: Random) -> bytes:
    return data[a_place(data, chance) :]


def take_out_a_run(data: bytes, chance: Random) -> bytes:
    run = a_run(data, chance)
    return data[: run.start] + data[run.stop :]


def put_in_a_run(data: bytes, chance: Random) -> bytes:
    at, n = a_place(data, chance), chance.choice((1, 8, 100, 5000))
    run = chance.choice((chance.randbytes(n), b"\0" * n, data[a_run(data, chance)]))
    return data[:at] + run + data[at:]


def swap_blocks(data: bytes, chance: Random) -> bytes:
    a, b, c, d = sorted(a_place(data, chance) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def double(data: bytes, chance: Random) -> bytes:
    return data + data


def empty(data: bytes, chance: Random) -> bytes:
    return b""


BYTES = [
    *[rewriting(change) for change in (flip_bits, replace_bytes)] * 3,
    *[
        rewriting(change)
        for change in (
            fill_a_run,
            cut_short,
            cut_the_beginning,
            take_out_a_run,
            put_in_a_run,
            swap_blocks,
        )
    ]
    * 2,
    rewriting(double),
    rewriting(empty),
]
"""Mutations of any file, as often as they are drawn."""


# -- places ------------------------------------------------------------------------------


def remove(path: Path, chance: Random) -> None:
    path.unlink()


def link_to_nothing(path: Path, chance: Random) -> None:
    path.unlink()
    path.symlink_to("nothing")


def link_to_itself(path: Path, chance: Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def folder_in_its_place(path: Path, chance: Random) -> None:
    path.unlink()
    path.mkdir()


def pipe_in_its_place(path: Path, chance: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def forbid_reading(path: Path, chance: Random) -> None:
    path.chmod(0)


PLACES = [
    Mutation(act.__name__, act, detectable=False)
    for act in (remove, link_to_nothing, link_to_itself, folder_in_its_place, pipe_in_its_place)
]
"""What else may be where a file should be."""

if os.geteuid() != 0:  # who may read all files anyway
    PLACES.append(Mutation(forbid_reading.__name__, forbid_reading, detectable=False))


def other_files(others: Sequence[bytes]) -> Mutation:
    """Make a mutation that puts a file of another kind in a file's place."""

    def replace_by_another_kind(data: bytes, chance: Random) -> bytes:
        return chance.choice(others)

    return rewriting(replace_by_another_kind)
