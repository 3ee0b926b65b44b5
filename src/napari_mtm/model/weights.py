"""Weights in and out: safetensors, with what the numbers mean as JSON in the header.

Nothing is unpickled, and nothing that a file names is opened or imported.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save
from torch import Tensor

from napari_mtm.errors import WeightsError
from napari_mtm.files import replacing
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.grid import Grid
from napari_mtm.model.importing import check_unclaimed
from napari_mtm.model.model import Blend, Model, Taught, best_device, build
from napari_mtm.model.network import Default, DefaultSizes, Published, PublishedSizes
from napari_mtm.model.readouts import Basis, Decoder, Readouts, Seen
from napari_mtm.model.regression import Linear
from napari_mtm.model.tensors import checksum, read_tensors
from napari_mtm.model.units import Units
from napari_mtm.records import first_problem, parse

VERSION = 3
SUFFIX = ".safetensors"


def _no_path(name: str) -> str:
    """Refuse names that climb out of a folder: names here are never files."""
    if re.match(r"[/\\~]|[A-Za-z]:[/\\]", name) or ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"the name {name!r} is a path")
    return name


_Name = Annotated[str, AfterValidator(_no_path)]


_NEW: dict[int, dict[str, dict[str, Any]]] = {
    2: {
        "": {"align": "stimOn_times"},
        "sessions": {"first": 0, "blend": None, "taught": None, "of": 0},
    },
    3: {"readouts": {"units": []}},
}
"""What is written down since a version, and what held before: in the header, or in parts of it."""
"""What headers of the first version lack, and its value there."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Session(_Strict):
    """A session that the weights know, and its units in order."""

    id: _Name
    units: list[_Name]
    regions: list[_Name]
    first: int | None
    blend: tuple[list[float], list[float]] | None
    taught: list[Annotated[int, Field(ge=0)]] | None
    of: int


class _Readouts(_Strict):
    session: _Name
    traces: list[_Name]
    trials: list[_Name]
    choice: bool
    units: list[_Name]


class _Header(_Strict):
    """What a weights file holds besides tensors."""

    format: Literal["napari-mtm weights"]
    version: int
    preset: Literal["published", "default"]
    sizes: dict[_Name, Annotated[int, Field(ge=0, le=100_000)] | float | bool | None]
    window: tuple[float, float]
    bin_size: float
    align: str
    sessions: list[_Session]
    regions: list[_Name]
    readouts: list[_Readouts]
    unclaimed: list[int]
    unclaimed_tokens: list[_Name]
    record: dict[str, Any]
    checksum: int


SHIPPED = ("sample", "pretrained")
"""Weights in the package: fine-tuned on the sample, and as pretrained on simulated animals."""


def save_model(model: Model, path: str | Path, *, half: bool = False) -> None:
    """Write the weights, the sessions they were trained on, and readouts, in one go.

    With `half` they are rounded to 16 bits, for files half as large. Raises StoreError
    where writing fails; nothing half-written is left.
    """
    network = model.network
    tensors = {f"shared/{name}": tensor for name, tensor in network.shared().items()}
    sessions = [network.sessions[name] for name in network.sessions if name in model.trained]
    for i, units in enumerate(sessions):
        for j, tensor in enumerate(network.own(units.session)):
            tensors[f"session/{i}/{j}"] = tensor
        tensors[f"session/{i}/rates"] = torch.as_tensor(units.rates)
        tensors[f"session/{i}/roots"] = torch.as_tensor(units.roots)
    for i, readouts in enumerate(model.readouts.values()):
        tensors |= {f"readouts/{i}/{k}": v for k, v in _readout_tensors(readouts).items()}
    unclaimed: dict[int, dict[str, Tensor]] = getattr(network, "unclaimed", {})
    tokens: dict[str, Tensor] = getattr(network, "unclaimed_tokens", {})
    for count, parts in unclaimed.items():
        tensors |= {f"unclaimed/{count}/{name}": part for name, part in parts.items()}
    tensors |= {f"token/{i}": token for i, token in enumerate(tokens.values())}
    kept = torch.float16 if half else torch.float32
    tensors = {name: t.detach().cpu().to(kept).clone() for name, t in tensors.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        header = _described(model, sessions)
    except ValidationError as error:
        raise WeightsError(f"The model cannot be saved: {first_problem(error)}.") from None
    header.checksum = _checksum(header, tensors)
    with replacing(Path(path)) as file:
        file.write(save(tensors, {"napari-mtm": header.model_dump_json()}))


def _described(model: Model, sessions: list[Units]) -> _Header:
    network = model.network
    return _Header(
        format="napari-mtm weights",
        version=VERSION,
        preset=model.preset,
        sizes=asdict(network.sizes),
        window=model.grid.window,
        bin_size=model.grid.bin_size,
        align=model.grid.align,
        sessions=[_session(model, units) for units in sessions],
        regions=list(getattr(network, "regions", [])),
        readouts=[
            _Readouts(
                session=session,
                traces=list(readouts.traces),
                trials=list(readouts.latents.trials),
                choice=readouts.latents.choice is not None,
                units=list(readouts.units),
            )
            for session, readouts in model.readouts.items()
        ],
        unclaimed=list(getattr(network, "unclaimed", {})),
        unclaimed_tokens=list(getattr(network, "unclaimed_tokens", {})),
        record=model.record,
        checksum=0,
    )


def _session(model: Model, units: Units) -> _Session:
    taught = model.taught.get(units.session)
    blend = model.blends.get(units.session)
    return _Session(
        id=units.session,
        units=list(units.ids),
        regions=list(units.regions),
        first=units.first,
        blend=None if blend is None else (list(blend.expert), list(blend.drift)),
        taught=None if taught is None else list(taught.trials),
        of=0 if taught is None else taught.of,
    )


def load_model(path: str | Path, *, device: str | torch.device | None = None) -> Model:
    """Read weights onto a device: by default the GPU where there is one.

    `path` is a file, or the name of weights that are in the package: "sample", fine-tuned
    on the sample session, or "pretrained", on simulated animals alone. Raises WeightsError
    where the file is missing, damaged, hostile, from a newer version, or no weights of ours.
    """
    path = shipped_file(str(path)) if str(path) in SHIPPED else Path(path)
    header, tensors = _read(path)
    try:
        network = _network(header, tensors)
        grid = Grid(header.window, header.bin_size, network.sizes.bins, header.align)
        model = Model(network, grid, record=header.record, device="cpu")
        model.trained = {session.id for session in header.sessions}
        model.taught = {
            session.id: Taught(tuple(session.taught), session.of)
            for session in header.sessions
            if session.taught is not None
        }
        model.blends = {s.id: _blend(*s.blend) for s in header.sessions if s.blend is not None}
        for i, about in enumerate(header.readouts):
            readouts = _readouts(about, _within(tensors, f"readouts/{i}/"))
            _check_readouts(readouts, network)
            model.readouts[about.session] = readouts
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is damaged: its parts do not fit ({str(error).splitlines()[0]})."
        ) from None
    model.network.eval()
    return model.to(device or best_device())


def _read(path: Path) -> tuple[_Header, dict[str, Tensor]]:
    what = "a file of weights; the authors' checkpoints are read with `napari-mtm import-published`"
    texts, tensors = read_tensors(path, what, WeightsError)
    text = texts.get("napari-mtm")
    if text is None:
        raise WeightsError(f"{path} holds weights, but not of napari-mtm.")
    header = _header(path, text)
    if _checksum(header, tensors) != header.checksum:
        raise WeightsError(f"{path} is damaged: its content does not match its checksum.")
    if any(tensor.dtype not in (torch.float32, torch.float16) for tensor in tensors.values()):
        raise WeightsError(f"{path} is refused: its weights are not floats of 32 or 16 bits.")
    return header, {name: tensor.float() for name, tensor in tensors.items()}


def shipped_file(name: str) -> Path:
    """Where weights of the package are."""
    return Path(__file__).parents[1] / "weights" / f"{name}{SUFFIX}"


def _header(path: Path, text: str) -> _Header:
    try:
        given = json.loads(text)
        version = int(given["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise WeightsError(f"{path} is damaged: its header cannot be read.") from None
    if version > VERSION:
        raise WeightsError(
            f"{path} is from a newer napari-mtm (weights version {version}, this one reads "
            f"{VERSION}). Update napari-mtm."
        )
    if version < VERSION:
        text = _as_today(given, version)
    return parse(_Header, text, path, WeightsError)


def _as_today(given: dict[str, Any], version: int) -> str:
    """Add to a header of an earlier version what is written down since."""
    for where, added in _since(version):
        parts = given.get(where, []) if where else [given]
        for some in parts if isinstance(parts, list) else []:
            if isinstance(some, dict):
                some.update(added)
    return json.dumps(given)


def _since(version: int) -> list[tuple[str, dict[str, Any]]]:
    """Return what is written down since a version, by where in the header."""
    return [part for v, new in _NEW.items() if v > version for part in new.items()]


def _network(header: _Header, tensors: Mapping[str, Tensor]) -> Published | Default:
    """Build the network, on no memory at first, so that sizes that lie cost nothing."""
    kind: type[Any] = PublishedSizes if header.preset == "published" else DefaultSizes
    sizes: PublishedSizes | DefaultSizes = kind(**header.sizes)
    _check_sizes(sizes, len(tensors))
    shared = _within(tensors, "shared/")
    sessions = [
        (_units(session, parts), parts)
        for i, session in enumerate(header.sessions)
        for parts in [_within(tensors, f"session/{i}/")]
    ]
    if len({units.session for units, _ in sessions}) < len(sessions):
        raise ValueError("a session is there twice")
    with torch.device("meta"):
        plan = _empty(header, sizes, [units for units, _ in sessions])
    _compare({name: tensor.shape for name, tensor in plan.shared().items()}, shared)
    for units, parts in sessions:
        own = enumerate(plan.own(units.session))
        _compare({str(j): tensor.shape for j, tensor in own}, parts)
    network = _empty(header, sizes, [units for units, _ in sessions])
    network.load_state_dict(shared, strict=False)
    with torch.no_grad():
        for units, parts in sessions:
            for j, tensor in enumerate(network.own(units.session)):
                tensor.copy_(parts[str(j)])
    if isinstance(network, Published):
        network.unclaimed = {
            count: _within(tensors, f"unclaimed/{count}/") for count in header.unclaimed
        }
        network.unclaimed_tokens = {
            name: tensors[f"token/{i}"] for i, name in enumerate(header.unclaimed_tokens)
        }
        check_unclaimed(network)
    return network


def _blend(expert: list[float], drift: list[float]) -> Blend:
    """Raise ValueError where shares are not one per task, from 0 to 1."""
    for values in (expert, drift):
        if len(values) != len(TASKS) or not all(0 <= value <= 1 for value in values):
            raise ValueError("shares of the linear expert must be one per task, from 0 to 1")
    return Blend(tuple(expert), tuple(drift))


def _check_sizes(sizes: PublishedSizes | DefaultSizes, n_tensors: int) -> None:
    if sizes.layers > n_tensors:
        raise ValueError("it has too many layers")
    if min(sizes.bins, sizes.width, sizes.heads, sizes.hidden) < 1 or sizes.width % sizes.heads:
        raise ValueError("no network has such sizes")


def _empty(
    header: _Header, sizes: PublishedSizes | DefaultSizes, sessions: list[Units]
) -> Published | Default:
    """Build the network and the parts of its sessions, with nothing loaded."""
    network = build(header.preset, sizes)
    if isinstance(network, Default):
        network.add_regions(header.regions)
    for units in sessions:
        network.add_session(units, neutral=True)
    return network


def _compare(wanted: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError where tensors are not those that are wanted."""
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        wrong = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        raise ValueError(f"{wrong[0]} is {found.get(wrong[0])}, not {wanted.get(wrong[0])}")


def _units(session: _Session, parts: dict[str, Tensor]) -> Units:
    """Take what is known of a session's units from its parts."""
    n = len(session.units)
    rates, roots = parts.pop("rates"), parts.pop("roots")
    if len(session.regions) != n or not rates.shape == roots.shape == (n,):
        raise ValueError(f"session {session.id} has {n} units, but {len(rates)} rates")
    return Units(
        session.id,
        tuple(session.units),
        tuple(session.regions),
        rates.numpy(),
        roots.numpy(),
        session.first,
    )


def _within(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _readout_tensors(readouts: Readouts) -> dict[str, Tensor]:
    arrays = _decoder_arrays(readouts.latents)
    if readouts.activity is not None and readouts.directions is not None:
        arrays |= {f"activity/{k}": v for k, v in _decoder_arrays(readouts.activity).items()}
        arrays["directions"] = readouts.directions
    return {name: torch.as_tensor(np.asarray(a, np.float32)) for name, a in arrays.items()}


def _decoder_arrays(decoder: Decoder) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, basis in (("around", decoder.around), ("past", decoder.past)):
        arrays[f"{name}/mean"], arrays[f"{name}/components"] = basis.mean, basis.components
    linears = {f"traces/{k}": v for k, v in decoder.traces.items()}
    linears |= {f"trials/{k}": v for k, v in decoder.trials.items()}
    if decoder.choice is not None:
        linears["choice"] = decoder.choice
    for name, linear in linears.items():
        arrays[f"{name}/weights"], arrays[f"{name}/intercept"] = linear.weights, linear.intercept
    return arrays


def _readouts(about: _Readouts, tensors: Mapping[str, Tensor]) -> Readouts:
    latents = _decoder(about, tensors)
    if not about.units:
        return Readouts(latents)
    activity = _decoder(about, _within(tensors, "activity/"))
    directions = tensors["directions"].numpy()
    if len(directions) != len(about.units) or directions.ndim != 2:
        raise ValueError("the directions of activity have the wrong shape")
    return Readouts(latents, activity, directions, tuple(about.units))


def _decoder(about: _Readouts, tensors: Mapping[str, Tensor]) -> Decoder:
    def array(name: str) -> np.ndarray:
        return tensors[name].numpy().astype(np.float64)

    def linear(name: str) -> Linear:
        return Linear(array(f"{name}/weights"), array(f"{name}/intercept"))

    return Decoder(
        Basis(array("around/mean"), array("around/components")),
        Basis(array("past/mean"), array("past/components")),
        {name: linear(f"traces/{name}") for name in about.traces},
        {name: linear(f"trials/{name}") for name in about.trials},
        linear("choice") if about.choice else None,
    )


def _check_readouts(readouts: Readouts, network: Published | Default) -> None:
    """Raise ValueError where readouts do not fit the latents of a network."""
    sizes = network.sizes
    width = sizes.width if isinstance(sizes, PublishedSizes) else sizes.head
    widths = [width]
    if readouts.directions is not None:
        widths.append(readouts.directions.shape[1])
    bins = readouts.n_bins
    nothing = [np.zeros((1, bins, width), np.float32) for width in widths]
    for decoder, read in zip(readouts.decoders, nothing, strict=True):
        if not decoder.around.mean.shape == decoder.past.mean.shape == read.shape[1:]:
            raise ValueError("readouts have the wrong shape")
    seen = Seen(*(array for array in nothing for _ in range(2)))
    for name, values in readouts.decode(seen).items():
        if values.shape not in ((1, bins), (1,)):
            raise ValueError(f"the readout of {name} has the wrong shape")


def _checksum(header: _Header, tensors: Mapping[str, Tensor]) -> int:
    """Checksum of a file's content, save for the checksum itself."""
    left_out: dict[str, Any] = {"checksum": True}
    for where, added in _since(header.version):
        if where:
            left_out[where] = {
                "__all__": left_out.get(where, {}).get("__all__", set()) | set(added)
            }
        else:
            left_out |= dict.fromkeys(added, True)
    return checksum(header.model_dump_json(exclude=left_out), tensors)
