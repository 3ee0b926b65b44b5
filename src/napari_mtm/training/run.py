"""A run: one training as a folder that can be watched, resumed, compared and undone.

    run.json                what was asked: settings, sessions, environment
    status.json             how far it is, and whether it runs, ended, stopped or failed
    log.jsonl               losses of every step, and validations
    start.safetensors       the weights that it began with
    best.safetensors        those with the best validation
    last.safetensors        those of the last save
    checkpoint.safetensors  all that training goes on from
    comparison.json         scores on the test trials, before and after

Every file but the log is written beside its place and put there in one go. The log grows by
lines; what was cut off in the last one is ignored.
"""

import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from filelock import FileLock, Timeout
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from safetensors.torch import save
from torch import Tensor

from napari_mtm import __version__
from napari_mtm.errors import StoreError, TrainingError, in_short
from napari_mtm.files import is_folder, is_regular, new_folder, replacing
from napari_mtm.masking.tasks import Task
from napari_mtm.model.model import Model
from napari_mtm.model.tensors import checksum, read_tensors
from napari_mtm.model.weights import load_model, save_model
from napari_mtm.records import dump, parse, read, read_lines, write
from napari_mtm.training.settings import Settings

VERSION = 1

COMPARISON = "comparison.json"
LOCK = "lock"

_REPLACED = (
    "status.json",
    "log.jsonl",
    "best.safetensors",
    "last.safetensors",
    "checkpoint.safetensors",
    COMPARISON,
)

Scope = Literal["units", "lora", "full"]
State = Literal["running", "finished", "stopped", "failed", "interrupted"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Taught(_Record):
    """A session of a run: what it is, and where it can be opened again."""

    id: str
    title: str
    source: str | None = None
    trials: int


def _a_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class About(_Record):
    """What was asked of a run; `weights` says where those that it began with can be loaded."""

    format: Literal["napari-mtm run"] = "napari-mtm run"
    version: int = VERSION
    kind: Literal["pretrain", "finetune"]
    settings: Settings
    scope: Scope = "full"
    sessions: list[Taught]
    begun: Annotated[str, AfterValidator(_a_time)]
    weights: str | None = None
    environment: dict[str, str]


class Status(_Record):
    """How far a run is.

    `best` is the mean validation score over tasks, in bits per spike, at `best_step`.
    """

    state: State = "running"
    step: int = 0
    steps: int = 0
    best: float | None = None
    best_step: int | None = None
    seconds: float = 0.0
    message: str = ""


class Standing(_Record):
    """What a checkpoint knows besides tensors."""

    step: Annotated[int, Field(ge=0)] = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    without_gain: int = 0


class _Losses(_Record):
    """A line of the log: the losses of a step by kind of mask."""

    step: int
    losses: dict[str, float]


class _Validation(_Record):
    """A line of the log: the validation scores after a step."""

    step: int
    validation: dict[Task, float]


@contextmanager
def holding(folder: str | Path) -> Iterator[None]:
    """Keep other processes from beginning a run in a folder, or going on with it, meanwhile.

    The folder is made where there is none, and goes again where no run was begun in it. Raises
    TrainingError where another process holds it.
    """
    folder = Path(folder)
    made = not is_folder(folder)
    lock = FileLock(new_folder(folder) / LOCK)
    try:
        lock.acquire(timeout=1)  # whoever asks how the run is holds it for a moment
    except Timeout:
        raise TrainingError(f"The run in {folder} is being trained already.") from None
    except OSError as error:
        raise StoreError(f"Cannot write in {folder}: {in_short(error)}.") from None
    try:
        for name in _REPLACED:  # what a process that was killed had half-written
            for file in folder.glob(f".{name}-[0-9]*-*"):
                file.unlink(missing_ok=True)
        yield
    finally:
        if not Run.is_in(folder):
            with suppress(OSError):
                (folder / LOCK).unlink()
                if made:
                    folder.rmdir()
        lock.release()


class Run:
    """A training on disk. Make one with `Run.begin`, open one with `Run(folder)`.

    Raises TrainingError where the folder holds no run, or one that cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.is_in(self.folder):
            raise TrainingError(f"There is no run in {self.folder}.")
        self.about = read(About, self.folder / "run.json", TrainingError)

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        model: Model,
        *,
        kind: Literal["pretrain", "finetune"],
        settings: Settings,
        sessions: list[Taught],
        scope: Scope = "full",
        weights: str | None = None,
    ) -> "Run":
        """Make the folder of a new run that starts with a model; hold it meanwhile."""
        folder = Path(folder)
        cls.must_be_new(folder)
        about = About(
            kind=kind,
            settings=settings,
            scope=scope,
            sessions=sessions,
            begun=datetime.now(UTC).isoformat(timespec="seconds"),
            weights=weights,
            environment=_environment(model),
        )
        save_model(model, folder / "start.safetensors")
        write(folder / "run.json", about)
        return cls(folder)

    @staticmethod
    def is_in(folder: str | Path) -> bool:
        """Whether a folder holds a run."""
        return is_regular(Path(folder) / "run.json")

    @staticmethod
    def must_be_new(folder: str | Path) -> None:
        """Raise TrainingError where a folder holds a run."""
        if Run.is_in(folder):
            raise TrainingError(
                f"There is a run in {folder} already. Resume it, or choose another folder."
            )

    @classmethod
    def remove(cls, folder: str | Path) -> None:
        """Remove the run in a folder, if there is one, and the folder if nothing else is in it."""
        folder = Path(folder)
        if not cls.is_in(folder):
            return
        with holding(folder):
            for name in ("run.json", "start.safetensors", *_REPLACED):  # first what makes it a run
                (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

    def must_be(self, kind: Literal["pretrain", "finetune"], sessions: Collection[str]) -> None:
        """Raise TrainingError unless the run is of a kind, and on sessions by their ids."""
        if self.about.kind != kind:
            theirs = "pretraining" if self.about.kind == "pretrain" else "fine-tuning"
            raise TrainingError(
                f"The run in {self.folder} is a {theirs}; go on with it as such, or choose another "
                "folder."
            )
        if {about.id for about in self.about.sessions} != set(sessions):
            raise TrainingError(f"The run in {self.folder} is of other sessions than those given.")

    def set_settings(self, settings: Settings) -> None:
        """Go on in another way from now on; validations and steps keep their numbers."""
        self.about.settings = settings
        write(self.folder / "run.json", self.about)

    @property
    def status(self) -> Status:
        """How far the run is; "interrupted" where it was cut off and nobody goes on with it."""
        path = self.folder / "status.json"
        if not path.exists():
            found = Status(steps=self.about.settings.steps)
        else:
            found = read(Status, path, TrainingError)
        if found.state == "running" and not self._is_held():
            found.state = "interrupted"
        return found

    def set_status(self, status: Status) -> None:
        """Write down how far the run is."""
        write(self.folder / "status.json", status)

    def _is_held(self) -> bool:
        path = self.folder / LOCK
        if not path.exists():
            return False
        try:
            with FileLock(path).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def model(
        self,
        which: Literal["best", "last", "start"] = "best",
        *,
        device: str | torch.device | None = None,
    ) -> Model:
        """Load the run's weights; the best are the start's until a validation was better."""
        path = self.folder / f"{which}.safetensors"
        if which != "start" and not path.exists():
            path = self.folder / "start.safetensors"
        return load_model(path, device=device)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log, each with a `step`, without those that are damaged."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return []
        lines = read_lines(_Losses | _Validation, path, TrainingError)
        return [line.model_dump() for line in lines]

    def losses(self) -> dict[int, dict[str, float]]:
        """Return the losses of each step by kind of mask."""
        return {line["step"]: line["losses"] for line in self.log() if "losses" in line}

    def validations(self) -> dict[int, dict[Task, float]]:
        """Return validation scores of the steps that have them, bits per spike by task."""
        return {line["step"]: line["validation"] for line in self.log() if "validation" in line}

    def add_to_log(self, lines: list[dict[str, Any]]) -> None:
        """Add lines to the log."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path = self.folder / "log.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise StoreError(f"Cannot write {path}: {error.strerror or error}.") from None

    def cut_log(self, step: int) -> None:
        """Take from the log what came after a step."""
        kept = [json.dumps(line) + "\n" for line in self.log() if line["step"] <= step]
        with replacing(self.folder / "log.jsonl") as file:
            file.write("".join(kept).encode())

    def forget_comparison(self) -> None:
        """Remove scores of weights that training goes on from."""
        path = self.folder / COMPARISON
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot remove {path}: {in_short(error)}.") from None

    def save_checkpoint(self, tensors: Mapping[str, Tensor], standing: Standing) -> None:
        """Keep what training goes on from."""
        kept = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        text = dump(standing).decode()
        texts = {"standing": text, "checksum": str(_checksum(text, kept))}
        with replacing(self.folder / "checkpoint.safetensors") as file:
            file.write(save(kept, texts))

    def checkpoint(self) -> tuple[dict[str, Tensor], Standing] | None:
        """Return what training goes on from, None where nothing was saved yet."""
        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            return None
        texts, tensors = read_tensors(path, "a checkpoint of a training", TrainingError)
        text = texts.get("standing", "")
        if texts.get("checksum") != str(_checksum(text, tensors)):
            raise TrainingError(
                f"{path} is damaged: its content does not match its checksum. Remove it to train "
                "from the start again."
            )
        return tensors, parse(Standing, text, path, TrainingError)

    def save_model(self, model: Model, which: Literal["best", "last"]) -> None:
        """Keep a model as the run's best or last."""
        save_model(model, self.folder / f"{which}.safetensors")


def _environment(model: Model) -> dict[str, str]:
    return {
        "napari-mtm": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": platform.system(),
        "device": str(model.device),
        "threads": str(torch.get_num_threads()),
        "processes": os.environ.get("WORLD_SIZE", "1"),
    }


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    """Checksum of all that a checkpoint holds, kinds of numbers included."""
    kinds = {name: str(tensor.dtype) for name, tensor in tensors.items()}
    return checksum(json.dumps([text, kinds], sort_keys=True), tensors)
