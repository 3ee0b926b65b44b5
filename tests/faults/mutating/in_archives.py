"""Damage within the zip files that torch.save writes, whose checksums stay right."""

import io
import zipfile
from random import Random

from tests.faults.mutating.mutations import BYTES, flip_bits, put_in_a_run, replace_bytes, rewriting

_PIECES = (
    b"N",
    b".",
    b"0",
    b"(",
    b"t",
    b"\x85",
    b"R",
    b"K\xff",
    b"X\xff\xff\xff\xff",
    b"J\0\0\0\x80",
)


def taken_apart(data: bytes) -> dict[str, bytes]:
    """Return the entries of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put_together(entries: dict[str, bytes], *, compressed: bool = False) -> bytes:
    """Return an archive of these entries."""
    file = io.BytesIO()
    way = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", way) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, way)
    return file.getvalue()


def change_pickle(data: bytes, chance: Random) -> bytes:
    entries = taken_apart(data)
    name = next(name for name in entries if name.endswith("data.pkl"))
    for _ in range(chance.choice((1, 1, 3))):
        how = chance.choice((flip_bits, replace_bytes, put_in_a_run, "piece"))
        if isinstance(how, str):
            at = chance.randrange(len(entries[name]))
            entries[name] = entries[name][:at] + chance.choice(_PIECES) + entries[name][at:]
        else:
            entries[name] = how(entries[name], chance)
    return put_together(entries)


def change_an_entry(data: bytes, chance: Random) -> bytes:
    entries = taken_apart(data)
    name = chance.choice(list(entries))
    how = chance.choice(("drop", "rename", "short", "long", "odd", "compressed"))
    if how == "drop":
        del entries[name]
    elif how == "rename":
        renamed = chance.choice((f"{name}x", f"../{name}", name.replace("/", "_"), "x"))
        entries[renamed] = entries.pop(name)
    elif how == "short":
        entries[name] = entries[name][: chance.randrange(len(entries[name]) + 1)]
    elif how == "long":
        entries[name] += b"\0" * chance.choice((1, 4, 1000))
    elif how == "odd":
        entries[name] = chance.choice((b"\xff", b"\0", b"\x7f")) * len(entries[name])
    return put_together(entries, compressed=how == "compressed")


ARCHIVES = [
    *[rewriting(change_pickle, detectable=False)] * 2,
    rewriting(change_an_entry, detectable=False),
    *BYTES[:2],
]
