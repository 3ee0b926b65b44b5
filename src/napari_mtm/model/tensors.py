"""Tensors in files: read from safetensors with the text beside them, and their checksum."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from napari_mtm.errors import MtmError, in_short
from napari_mtm.files import reading

_LONGEST_HEADER = 100_000_000

_MAPS_LOCK = os.name == "nt"
"""Whether a file cannot be replaced while something maps it, as on Windows."""


def read_tensors(
    path: Path, what: str, error: type[MtmError]
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the texts and the tensors of a safetensors file.

    Raises `error` where the file is damaged or none; `what` says what it should be.
    """
    with reading(path, error) as file:
        length = int.from_bytes(file.read(8), "little")
        start = file.read(1)
    if start != b"{" or not 2 <= length <= _LONGEST_HEADER:
        raise error(f"{path} is not {what}.")
    try:
        with safe_open(path, "pt") as opened:
            texts = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            if _MAPS_LOCK:  # a training replaces its weights while a window shows them
                tensors = {name: tensor.clone() for name, tensor in tensors.items()}
            return texts, tensors
    except Exception as problem:  # noqa: BLE001  damage may make the library raise anything
        raise error(f"{path} is damaged or cut short ({in_short(problem)}).") from None


def checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the checksum of a text, and of names, shapes and content of tensors on the CPU."""
    value = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        value = zlib.crc32(f"{name}{tuple(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value
