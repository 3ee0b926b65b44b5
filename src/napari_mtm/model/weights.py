"""Weights in and out: safetensors, with what the numbers mean as JSON in the header.

Nothing is unpickled, and nothing that a file names is opened or imported.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_mtm.errors import WeightsError
from napari_mtm.model.grid import Grid
from napari_mtm.model.model import Model, best_device, build
from napari_mtm.model.network import Default, DefaultSizes, Network, Published, PublishedSizes
from napari_mtm.model.readouts import Basis, Linear, Readouts
from napari_mtm.model.units import Units
from napari_mtm.recording.store import replacing

VERSION = 1
SUFFIX = ".safetensors"

_LONGEST_HEADER = 100_000_000


def _no_path(name: str) -> str:
    """Refuse names that climb out of a folder: names here are never files."""
    if name.startswith(("/", "\\", "~")) or ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"the name {name!r} is a path")
    return name


_Name = Annotated[str, AfterValidator(_no_path)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Session(_Strict):
    """A session that the weights know, and its units in order."""

    id: _Name
    units: list[_Name]
    regions: list[_Name]


class _Readouts(_Strict):
    session: _Name
    traces: list[_Name]
    trials: list[_Name]
    choice: bool


class _Header(_Strict):
    """What a weights file holds besides tensors."""

    format: Literal["napari-mtm weights"]
    version: int
    preset: Literal["published", "default"]
    sizes: dict[_Name, Annotated[int, Field(ge=0, le=100_000)] | float | bool | None]
    window: tuple[float, float]
    bin_size: float
    sessions: list[_Session]
    regions: list[_Name]
    readouts: list[_Readouts]
    unclaimed: list[int]
    unclaimed_tokens: list[_Name]
    record: dict[str, Any]
    checksum: int


def save_model(model: Model, path: str | Path) -> None:
    """Write the weights, the sessions they were trained on, and readouts, in one go.

    Raises StoreError where that fails; nothing half-written is left.
    """
    network = model.network
    tensors = {f"shared/{name}": tensor for name, tensor in network.shared().items()}
    sessions = [network.sessions[name] for name in network.sessions if name in model.trained]
    for i, units in enumerate(sessions):
        for j, tensor in enumerate(network.own(units.session)):
            tensors[f"session/{i}/{j}"] = tensor
        tensors[f"session/{i}/rates"] = torch.as_tensor(units.rates)
        tensors[f"session/{i}/roots"] = torch.as_tensor(units.roots)
    readouts = []
    for i, (session, decoders) in enumerate(model.readouts.items()):
        tensors |= {f"readouts/{i}/{k}": v for k, v in _readout_tensors(decoders).items()}
        readouts.append(
            _Readouts(
                session=session,
                traces=list(decoders.traces),
                trials=list(decoders.trials),
                choice=decoders.choice is not None,
            )
        )
    unclaimed: dict[int, dict[str, Tensor]] = getattr(network, "unclaimed", {})
    tokens: dict[str, Tensor] = getattr(network, "unclaimed_tokens", {})
    for count, parts in unclaimed.items():
        tensors |= {f"unclaimed/{count}/{name}": part for name, part in parts.items()}
    tensors |= {f"token/{i}": token for i, token in enumerate(tokens.values())}
    tensors = {name: t.detach().cpu().float().clone().contiguous() for name, t in tensors.items()}
    header = _Header(
        format="napari-mtm weights",
        version=VERSION,
        preset=model.preset,
        sizes=asdict(network.sizes),
        window=model.grid.window,
        bin_size=model.grid.bin_size,
        sessions=[
            _Session(id=u.session, units=list(u.ids), regions=list(u.regions)) for u in sessions
        ],
        regions=list(getattr(network, "regions", [])),
        readouts=readouts,
        unclaimed=list(unclaimed),
        unclaimed_tokens=list(tokens),
        record=model.record,
        checksum=_checksum(tensors),
    )
    with replacing(Path(path)) as file:
        file.write(save(tensors, {"napari-mtm": header.model_dump_json()}))


def load_model(path: str | Path, *, device: str | torch.device | None = None) -> Model:
    """Read weights onto a device: by default the GPU where there is one.

    Raises WeightsError where the file is missing, damaged, hostile, from a newer
    version, or no weights of ours.
    """
    path = Path(path)
    header, tensors = _read(path)
    try:
        network = _network(header, tensors)
        grid = Grid(header.window, header.bin_size, network.sizes.bins)
        model = Model(network, grid, record=header.record, device="cpu")
        model.trained = {session.id for session in header.sessions}
        for i, about in enumerate(header.readouts):
            model.readouts[about.session] = _readouts(about, _within(tensors, f"readouts/{i}/"))
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is damaged: its parts do not fit ({str(error).splitlines()[0]})."
        ) from None
    model.network.eval()
    return model.to(device or best_device())


def _read(path: Path) -> tuple[_Header, dict[str, Tensor]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            start = file.read(1)
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror or error}.") from None
    if start != b"{" or not 2 <= length <= _LONGEST_HEADER:
        raise WeightsError(
            f"{path} is not a file of weights. The authors' checkpoints are read with "
            "`napari-mtm import-published`."
        )
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("napari-mtm")
            if text is None:
                raise WeightsError(f"{path} holds weights, but not of napari-mtm.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or cut short ({error}).") from None
    header = _header(path, text)
    if _checksum(tensors) != header.checksum:
        raise WeightsError(f"{path} is damaged: its weights do not match their checksum.")
    return header, tensors


def _header(path: Path, text: str) -> _Header:
    try:
        version = int(json.loads(text)["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError(f"{path} is damaged: its header cannot be read.") from None
    if version > VERSION:
        raise WeightsError(
            f"{path} is from a newer napari-mtm (weights version {version}, this one reads "
            f"{VERSION}). Update napari-mtm."
        )
    try:
        return _Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WeightsError(f"{path} is refused: {first['msg']} in {where}.") from None


def _network(header: _Header, tensors: Mapping[str, Tensor]) -> Published | Default:
    """Build the network, on no memory at first, so that sizes that lie cost nothing."""
    kind: type[Any] = PublishedSizes if header.preset == "published" else DefaultSizes
    sizes: PublishedSizes | DefaultSizes = kind(**header.sizes)
    if sizes.layers > 1000:
        raise ValueError("it has too many layers")
    shared = _within(tensors, "shared/")
    with torch.device("meta"):
        plan = build(header.preset, sizes)
        if isinstance(plan, Default):
            plan.add_regions(header.regions)
    wanted = {name: tensor.shape for name, tensor in plan.shared().items()}
    found = {name: tensor.shape for name, tensor in shared.items()}
    if wanted != found:
        wrong = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        raise ValueError(f"{wrong[0]} is {found.get(wrong[0])}, not {wanted.get(wrong[0])}")
    network = build(header.preset, sizes)
    if isinstance(network, Default):
        network.add_regions(header.regions)
    network.load_state_dict(shared)
    for i, session in enumerate(header.sessions):
        _fill_session(network, session, _within(tensors, f"session/{i}/"))
    if isinstance(network, Published):
        network.unclaimed = {
            count: _within(tensors, f"unclaimed/{count}/") for count in header.unclaimed
        }
        network.unclaimed_tokens = {
            name: tensors[f"token/{i}"] for i, name in enumerate(header.unclaimed_tokens)
        }
    return network


def _fill_session(network: Network, session: _Session, parts: dict[str, Tensor]) -> None:
    n = len(session.units)
    rates, roots = parts.pop("rates"), parts.pop("roots")
    if not len(session.regions) == len(rates) == len(roots) == n:
        raise ValueError(f"session {session.id} has {n} units, but {len(rates)} rates")
    network.add_session(
        Units(
            session.id,
            tuple(session.units),
            tuple(session.regions),
            rates.numpy(),
            roots.numpy(),
        ),
        neutral=True,
    )
    own = network.own(session.id)
    if len(own) != len(parts):
        raise ValueError(f"session {session.id} has {len(parts)} parts, not {len(own)}")
    with torch.no_grad():
        for j, view in enumerate(own):
            if view.shape != parts[str(j)].shape:
                raise ValueError(f"session {session.id} has parts of the wrong shape")
            view.copy_(parts[str(j)])


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _readout_tensors(readouts: Readouts) -> dict[str, Tensor]:
    arrays = {}
    for name, basis in (("around", readouts.around), ("past", readouts.past)):
        arrays[f"{name}/mean"], arrays[f"{name}/components"] = basis.mean, basis.components
    linears = {f"traces/{k}": v for k, v in readouts.traces.items()}
    linears |= {f"trials/{k}": v for k, v in readouts.trials.items()}
    if readouts.choice is not None:
        linears["choice"] = readouts.choice
    for name, linear in linears.items():
        arrays[f"{name}/weights"], arrays[f"{name}/intercept"] = linear.weights, linear.intercept
    return {name: torch.as_tensor(np.asarray(a, np.float32)) for name, a in arrays.items()}


def _readouts(about: _Readouts, tensors: Mapping[str, Tensor]) -> Readouts:
    def array(name: str) -> np.ndarray:
        return tensors[name].numpy().astype(np.float64)

    def linear(name: str) -> Linear:
        return Linear(array(f"{name}/weights"), array(f"{name}/intercept"))

    return Readouts(
        Basis(array("around/mean"), array("around/components")),
        Basis(array("past/mean"), array("past/components")),
        {name: linear(f"traces/{name}") for name in about.traces},
        {name: linear(f"trials/{name}") for name in about.trials},
        linear("choice") if about.choice else None,
    )


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    value = 0
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        value = zlib.crc32(f"{name}{tuple(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value
