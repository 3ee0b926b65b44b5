"""Lists of sessions of IBL's public database that have a name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from napari_mtm import records
from napari_mtm.errors import SourceError

Name = Literal["paper", "held-out", "training", "repeated-site"]

NAMES: tuple[Name, ...] = get_args(Name)
"""Of the lists; the paper's are those that it holds out and those that it lists for training."""


@dataclass(frozen=True)
class _Lists:
    about: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    repeated_site: tuple[str, ...]


def eids(name: Name) -> tuple[str, ...]:
    """Ids of the sessions in a list."""
    lists = records.read(_Lists, Path(__file__).with_name("presets.json"), SourceError)
    return {
        "paper": (*lists.held_out, *lists.training),
        "held-out": lists.held_out,
        "training": lists.training,
        "repeated-site": lists.repeated_site,
    }[name]
