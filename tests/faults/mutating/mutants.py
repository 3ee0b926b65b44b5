"""What a mutant is: a file of some kind and what is done to it, by a seed and a number alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.mutating.in_archives import ARCHIVES
from tests.faults.mutating.in_arrays import ARRAYS
from tests.faults.mutating.in_json import JSON, LINES
from tests.faults.mutating.in_tables import TABLES, WORDS
from tests.faults.mutating.in_tensors import CHECKPOINTS, STORES, TENSORS, WEIGHTS
from tests.faults.mutating.mutations import BYTES, PLACES, Mutation, other_files
from tests.faults.mutating.targets import TARGETS

Files = Mapping[str, bytes]
"""Contents of the files of a kind, by path."""

_WITHIN: Mapping[str, Sequence[Mutation]] = {
    ".mtm": STORES,
    ".safetensors": WEIGHTS,
    ".json": JSON,
    ".jsonl": LINES,
    ".npy": ARRAYS,
    ".pqt": TABLES,
    ".csv": WORDS,
    ".pt": ARCHIVES,
}
_NO_WEIGHTS: Mapping[str, Sequence[Mutation]] = {
    "checkpoint.safetensors": CHECKPOINTS,
    "_mtm_simulation.truth.safetensors": TENSORS,
}
_TURNS = [kind for kind, target in TARGETS.items() for _ in range(target.share)]
Random(0).shuffle(_TURNS)


@dataclass(frozen=True)
class Mutant:
    """One file of a kind, and what is done to it."""

    number: int
    kind: str
    file: str
    mutation: Mutation
    seed: str

    def write(self, folder: Path, files: Files) -> None:
        """Write all files of the kind into an empty folder, and damage the one."""
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.mutation.apply(folder / self.file, Random(self.seed))

    def __str__(self) -> str:
        return f"{self.number} ({self.kind}: {self.mutation.name} of {self.file})"


def kind_of(number: int) -> str:
    """Return the kind of file that a mutant is of; kinds take turns."""
    return _TURNS[number % len(_TURNS)]


def mutant(seed: int, number: int, originals: Mapping[str, Files]) -> Mutant:
    """Draw a mutant."""
    kind = kind_of(number)
    chance = Random(f"{seed}/{number}")
    damaged = TARGETS[kind].damaged
    file = chance.choice(
        [f for pattern in damaged for f in sorted(originals[kind]) if Path(f).match(pattern)]
    )
    where = chance.random()
    if where < 0.4:
        mutation = chance.choice(BYTES)
    elif where < 0.9:
        mutation = chance.choice(_within(file))
    elif where < 0.95:
        mutation = chance.choice(PLACES)
    else:
        mutation = other_files(_of_other_formats(file, originals))
    return Mutant(number, kind, file, mutation, f"{seed}/{number}/what")


def _within(file: str) -> Sequence[Mutation]:
    return _NO_WEIGHTS.get(Path(file).name, _WITHIN[Path(file).suffix])


def format_of(file: str) -> str:
    """Return what tells a file from one that could be meant in its place."""
    name = Path(file).name
    return "weights" if name.endswith(".safetensors") and name not in _NO_WEIGHTS else name


def _of_other_formats(file: str, originals: Mapping[str, Files]) -> list[bytes]:
    found = {format_of(f): content for files in originals.values() for f, content in files.items()}
    return [content for other, content in sorted(found.items()) if other != format_of(file)]
