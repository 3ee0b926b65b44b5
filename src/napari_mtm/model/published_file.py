"""The checkpoints that the MtM authors publish, read without running anything in them.

Theirs are whole pickled torch modules. Unpickling one would import and call whatever
the file names, so the pickle is interpreted here instead: by a machine that knows the
instructions which `torch.save` writes, imports nothing, calls nothing but three
functions of this module, and puts an empty placeholder wherever an object of some class
is asked for. The work and memory that a file can cause are bounded by its size.
"""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from napari_mtm.errors import WeightsError, in_short
from napari_mtm.files import reading
from napari_mtm.masking.tasks import TASKS

# `pickle` is imported for the names of its instructions; nothing is unpickled.

_LONGEST_PICKLE = 2_000_000
_LONGEST_NAME = 200
_MOST_PARTS = 100_000
_MOST_DIMENSIONS = 8

_DTYPES: dict[str, np.dtype[Any]] = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype("<u2"),
}

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
)
"""What `zipfile` raises on damaged archives."""

_DAMAGED = "is damaged: its pickle cannot be read. Download it again."


@dataclass(frozen=True)
class PublishedCheckpoint:
    """What a published checkpoint holds.

    Attributes
    ----------
    state
        Parameters by the authors' names; float32, contiguous, in the module's order.
    heads
        Attention heads of each layer.
    eids
        The sessions of the session table, in its order; empty where there is no table.
    epoch
        The epoch that was saved, where the file says so.
    """

    state: dict[str, npt.NDArray[np.float32]]
    heads: int
    eids: tuple[str, ...]
    epoch: int | None


_USUAL: dict[str, object] = {
    "use_rope": False,
    "tokenize_binary_mask": False,
    "stack": False,
    "scale": 1,
    "mask_types": list(TASKS),
}
"""Settings of the paper's network that no shape of a weight betrays."""


def read_published(path: str | Path) -> PublishedCheckpoint:
    """Read a checkpoint that the authors wrote with `torch.save`.

    Raises WeightsError where the file is missing, damaged, no such checkpoint, or asks
    to run anything. Nothing that it names is imported or called.
    """
    with reading(Path(path), WeightsError) as file:
        try:
            return _read(file)
        except WeightsError as error:
            raise WeightsError(f"{path} {error}") from None
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} is damaged ({in_short(error)}).") from None


def _read(file: BinaryIO) -> PublishedCheckpoint:
    archive = _Archive(file)
    root = _Machine(archive.pickle()).run()
    saved = root if isinstance(root, dict) else {"model": root}
    modules = list(_modules(saved.get("model")))
    state = {
        prefix + name: archive.array(tensor)
        for prefix, attributes in modules
        for name, tensor in attributes["_parameters"].items()
        if tensor is not None
    }
    if not state:
        raise WeightsError("holds a model without weights; is it a checkpoint of MtM?")
    _check_variant(modules)
    epoch = saved.get("epoch")
    return PublishedCheckpoint(
        state=state,
        heads=_heads(modules),
        eids=_eids(modules, state),
        epoch=epoch if isinstance(epoch, int) else None,
    )


@dataclass(frozen=True)
class _Named:
    """A class or function that the pickle names; only its name is known."""

    name: str


class _Placeholder:
    """Stands for an object of any class; holds the state that the pickle gives it."""

    state: object = None


@dataclass(frozen=True)
class _Storage:
    """Numbers in an entry of the archive, not yet read."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, not yet read."""

    storage: _Storage
    offset: int
    size: tuple[Any, ...]
    stride: tuple[Any, ...]


class _Archive:
    """The zip archive of a checkpoint; nothing is extracted to disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._size = os.fstat(file.fileno()).st_size
        self._zip = _open_zip(file)
        names = self._zip.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1 or len(set(names)) != len(names):
            raise WeightsError(
                "is a zip archive, but no checkpoint: torch.save puts one data.pkl in it."
            )
        self._folder = pickles[0].removesuffix("data.pkl")
        if f"{self._folder}byteorder" in names and self._entry("byteorder", 6) != b"little":
            raise WeightsError(
                "was saved on a big-endian machine. Save it again on a little-endian one."
            )
        # Many tensors may share few bytes, so what is read and what is made of it are counted.
        self._bytes_left = self._size
        self._numbers_left = self._size
        self._storages: dict[_Storage, npt.NDArray[Any]] = {}

    def pickle(self) -> bytes:
        """Return what describes the model."""
        return self._entry("data.pkl", _LONGEST_PICKLE)

    def array(self, tensor: object) -> npt.NDArray[np.float32]:
        """Read a tensor as float32."""
        if not isinstance(tensor, _Tensor):
            raise WeightsError("is damaged: a parameter of its model is no tensor.")
        numbers = _checked_size(tensor)
        self._numbers_left -= numbers
        if self._numbers_left < 0:
            raise WeightsError("claims more weights than it holds; refused.")
        values = self._values(tensor.storage)
        if numbers == 0:
            return np.zeros(tensor.size, np.float32)
        strides = [step * values.itemsize for step in tensor.stride]
        view = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides)
        with np.errstate(all="ignore"):  # float64 beyond float32 becomes infinite
            return np.array(view, np.float32, order="C")

    def _values(self, storage: _Storage) -> npt.NDArray[Any]:
        if storage in self._storages:
            return self._storages[storage]
        dtype = _DTYPES.get(storage.kind)
        if dtype is None:
            raise WeightsError(f"has weights of a kind that is not read, {_said(storage.kind)}.")
        nbytes = storage.count * dtype.itemsize
        self._bytes_left -= nbytes
        if self._bytes_left < 0:
            raise WeightsError("claims more weights than it holds; refused.")
        content = self._entry(f"data/{storage.key}", nbytes)
        if len(content) != nbytes:
            raise WeightsError(
                f"is damaged: data/{_said(storage.key)} holds {len(content)} bytes of {nbytes}. "
                "Download it again."
            )
        values: npt.NDArray[Any] = np.frombuffer(content, dtype)
        if storage.kind == "torch.BFloat16Storage":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        self._storages[storage] = values
        return values

    def _entry(self, name: str, longest: int) -> bytes:
        try:
            info = self._zip.getinfo(self._folder + name)
        except KeyError:
            raise WeightsError(
                f"is damaged: {_said(name)} is missing in it. Download it again."
            ) from None
        # torch.save does not compress; what is not compressed cannot swell.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise WeightsError(f"is compressed ({_said(name)}), as torch.save never does; refused.")
        if info.file_size > min(longest, self._size):
            raise WeightsError(f"is damaged, or no checkpoint of MtM: {_said(name)} is too large.")
        try:
            return self._zip.read(info)
        except _ZIP_ERRORS:
            raise WeightsError(
                f"is damaged: {_said(name)} cannot be read. Download it again."
            ) from None


def _open_zip(file: BinaryIO) -> zipfile.ZipFile:
    start = file.read(4)
    try:
        return zipfile.ZipFile(file)
    except _ZIP_ERRORS:
        raise WeightsError(
            "is cut short or damaged. Download it again."
            if start == b"PK\x03\x04"
            else "is no checkpoint that is read here. If torch.save wrote it, save it again "
            "with torch 1.6 or newer."
        ) from None


def _checked_size(tensor: _Tensor) -> int:
    """Numbers in a tensor; refuses one that reaches beyond its storage."""
    size, stride = tensor.size, tensor.stride
    steps = (tensor.offset, *size, *stride)
    if not all(isinstance(n, int) and 0 <= n < 2**48 for n in steps):
        raise WeightsError("is damaged: a tensor in it has no proper size.")
    if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS:
        raise WeightsError("is damaged: a tensor in it has no proper size.")
    if 0 in size:
        return 0
    last = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    numbers = 1
    for n in size:
        numbers *= n
    if max(last + 1, numbers) > tensor.storage.count:
        raise WeightsError("is damaged: a tensor in it reaches beyond its data. Download it again.")
    return numbers


def _rebuild_tensor(args: tuple[Any, ...]) -> _Tensor:
    match args:
        case (_Storage() as storage, int(offset), tuple(size), tuple(stride), _, _):
            return _Tensor(storage, offset, size, stride)
    raise WeightsError("is damaged: a tensor in it is not described as torch does.")


def _rebuild_parameter(args: tuple[Any, ...]) -> object:
    return args[0]


def _rebuild_dict(args: tuple[Any, ...]) -> dict[str, Any]:
    if args:
        raise WeightsError("is damaged: a dictionary in it is not described as torch does.")
    return {}


_REBUILDS: dict[str, Callable[[tuple[Any, ...]], object]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "collections.OrderedDict": _rebuild_dict,
}
"""What we do ourselves where the pickle asks for a function."""

_LEFT_OUT = frozenset(
    {
        "__builtin__.frozenset",
        "__builtin__.set",
        "_codecs.encode",
        "builtins.frozenset",
        "builtins.set",
        "collections.defaultdict",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "numpy.dtype",
        "torch.Size",
        "torch.device",
    }
)
"""Functions that make ordinary attributes of modules, none of them read here."""


class _Machine:
    """Interprets a pickle as far as `torch.save` writes one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> object:
        """Return what the pickle describes."""
        try:
            while (code := self.take(1)) != pickle.STOP:
                step = _STEPS.get(code)
                if step is None:
                    raise WeightsError(
                        f"holds a pickle instruction (0x{code.hex()}) that torch.save does not "
                        "write; refused."
                    )
                step(self)
            return self.pop()
        except (LookupError, ValueError):
            raise WeightsError(_DAMAGED) from None

    def take(self, n: int) -> bytes:
        """Return the next bytes."""
        taken = self._data[self._at : self._at + n]
        if len(taken) < n:
            raise WeightsError(_DAMAGED)
        self._at += n
        return taken

    def number(self, n: int, *, signed: bool = False) -> int:
        """Return the next bytes as an integer."""
        return int.from_bytes(self.take(n), "little", signed=signed)

    def text(self, n: int) -> str:
        """Return the next bytes as text, after their length in `n` bytes."""
        return self.take(self.number(n)).decode("utf-8", "surrogatepass")

    def line(self) -> str:
        """Return what is left of a line."""
        end = self._data.index(b"\n", self._at)
        return self.take(end + 1 - self._at)[:-1].decode()

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take a value off the stack."""
        return self._stack.pop()

    def mark(self) -> None:
        """Begin a group of values."""
        self._below.append(self._stack)
        self._stack = []

    def group(self) -> list[Any]:
        """Take the values since the last mark off the stack."""
        group = self._stack
        self._stack = self._below.pop()
        return group

    def last(self, n: int) -> tuple[Any, ...]:
        """Take values off the stack."""
        return tuple(reversed([self.pop() for _ in range(n)]))

    def store(self, key: int) -> None:
        """Remember the top of the stack."""
        self._memo[key] = self._stack[-1]

    def memoize(self) -> None:
        """Remember the top of the stack under the next number."""
        self.store(len(self._memo))

    def recall(self, key: int) -> None:
        """Put on the stack what was remembered."""
        self.push(self._memo[key])

    def long(self, n: int) -> None:
        """Put an integer on the stack; none of ours needs more than 64 bits."""
        length = self.number(n)
        if length > 8:
            raise WeightsError("is damaged: a number in it is too large.")
        self.push(self.number(length, signed=True))

    def named(self, module: object, name: object) -> None:
        """Put the name of a class or function on the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise WeightsError(_DAMAGED)
        self.push(_Named(f"{module}.{name}"))

    def extend(self, values: list[Any]) -> None:
        """Add to the list on top of the stack."""
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, _Placeholder):
            raise WeightsError(_DAMAGED)

    def update(self, pairs: list[Any]) -> None:
        """Add to the dictionary on top of the stack; only texts are keys of ours."""
        target = self._stack[-1]
        if isinstance(target, dict):
            keys = zip(pairs[::2], pairs[1::2], strict=True)
            target.update({key: value for key, value in keys if isinstance(key, str)})
        elif not isinstance(target, _Placeholder):
            raise WeightsError(_DAMAGED)

    def frozenset(self) -> None:
        """Put a placeholder on the stack in place of a set; none is read here."""
        self.group()
        self.push(_Placeholder())

    def create(self) -> None:
        """Put an empty placeholder on the stack in place of a class and its arguments."""
        made_of, _ = self.last(2)
        if not isinstance(made_of, _Named):
            raise WeightsError(_DAMAGED)
        self.push(_Placeholder())

    def build(self) -> None:
        """Give a placeholder its state; that of an ordered dictionary is not needed."""
        state = self.pop()
        target = self._stack[-1]
        if isinstance(target, _Placeholder):
            target.state = state
        elif not isinstance(target, dict):
            raise WeightsError(_DAMAGED)

    def reduce(self) -> None:
        """Do what a function is asked for, where that is one of ours; call no other."""
        function, args = self.last(2)
        name = function.name if isinstance(function, _Named) else "something that it makes up"
        if name in _REBUILDS and isinstance(args, tuple):
            self.push(_REBUILDS[name](args))
        elif name in _LEFT_OUT:
            self.push(_Placeholder())
        else:
            raise WeightsError(f"asks to run {_said(name)}; refused.")

    def persistent(self) -> None:
        """Put a storage on the stack, wherever the device is that it was on."""
        match self.pop():
            case ("storage", _Named(kind), str(key), str(), int(count)) if count >= 0:
                self.push(_Storage(kind, key, count))
            case _:
                raise WeightsError("is damaged: a tensor in it is not described as torch does.")


_STEPS: dict[bytes, Callable[[_Machine], object]] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.mark(),
    pickle.POP: lambda m: m.pop(),
    pickle.POP_MARK: lambda m: m.group(),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number(4, signed=True)),
    pickle.BININT1: lambda m: m.push(m.number(1)),
    pickle.BININT2: lambda m: m.push(m.number(2)),
    pickle.LONG1: lambda m: m.long(1),
    pickle.LONG4: lambda m: m.long(4),
    pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.text(1)),
    pickle.BINUNICODE: lambda m: m.push(m.text(4)),
    pickle.BINUNICODE8: lambda m: m.push(m.text(8)),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.take(m.number(1))),
    pickle.BINBYTES: lambda m: m.push(m.take(m.number(4))),
    pickle.BINBYTES8: lambda m: m.push(m.take(m.number(8))),
    pickle.BYTEARRAY8: lambda m: m.push(m.take(m.number(8))),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE1: lambda m: m.push(m.last(1)),
    pickle.TUPLE2: lambda m: m.push(m.last(2)),
    pickle.TUPLE3: lambda m: m.push(m.last(3)),
    pickle.TUPLE: lambda m: m.push(tuple(m.group())),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.APPEND: lambda m: m.extend([m.pop()]),
    pickle.APPENDS: lambda m: m.extend(m.group()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.SETITEM: lambda m: m.update(list(m.last(2))),
    pickle.SETITEMS: lambda m: m.update(m.group()),
    pickle.EMPTY_SET: lambda m: m.push(_Placeholder()),
    pickle.ADDITEMS: lambda m: m.group(),
    pickle.FROZENSET: lambda m: m.frozenset(),
    pickle.BINPUT: lambda m: m.store(m.number(1)),
    pickle.LONG_BINPUT: lambda m: m.store(m.number(4)),
    pickle.MEMOIZE: lambda m: m.memoize(),
    pickle.BINGET: lambda m: m.recall(m.number(1)),
    pickle.LONG_BINGET: lambda m: m.recall(m.number(4)),
    pickle.GLOBAL: lambda m: m.named(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.named(*m.last(2)),
    pickle.NEWOBJ: lambda m: m.create(),
    pickle.BUILD: lambda m: m.build(),
    pickle.REDUCE: lambda m: m.reduce(),
    pickle.BINPERSID: lambda m: m.persistent(),
}
"""The instructions of pickle protocols 2 to 5 that describe values; no other is followed."""


def _modules(model: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of a model in torch's order: the start of their names, and attributes."""
    if _attributes(model) is None:
        raise WeightsError(
            "holds no torch module under 'model': it is no checkpoint that the authors published."
        )
    waiting = [("", model)]
    parts = 0
    while waiting:
        prefix, module = waiting.pop()
        attributes = _attributes(module)
        if attributes is None:
            raise WeightsError(f"is damaged: {_said(prefix[:-1])} in it is no torch module.")
        # A module may be in several others, or in itself.
        parts += 1 + len(attributes["_parameters"]) + len(attributes["_modules"])
        names = [*attributes["_parameters"], *attributes["_modules"]]
        longest = max((len(name) for name in names), default=0)
        if parts > _MOST_PARTS or len(prefix) + longest > _LONGEST_NAME:
            raise WeightsError("has more parts than a model can have; refused.")
        if not all(name.isprintable() for name in names):
            raise WeightsError("is damaged: names in its model are not printable.")
        yield prefix, attributes
        waiting.extend(
            (f"{prefix}{name}.", child)
            for name, child in reversed(attributes["_modules"].items())
            if child is not None
        )


def _attributes(module: object) -> dict[str, Any] | None:
    """Attributes of a torch module; None where it is something else."""
    state = module.state if isinstance(module, _Placeholder) else None
    if not isinstance(state, dict):
        return None
    inside = (state.get("_parameters"), state.get("_modules"))
    return state if all(isinstance(part, dict) for part in inside) else None


def _heads(modules: list[tuple[str, dict[str, Any]]]) -> int:
    found = [attributes["n_heads"] for _, attributes in modules if "n_heads" in attributes]
    if not found or not all(isinstance(n, int) and n == found[0] > 0 for n in found):
        raise WeightsError("does not say how many attention heads (n_heads) its layers have.")
    return int(found[0])


def _check_variant(modules: list[tuple[str, dict[str, Any]]]) -> None:
    """Refuse networks whose weights have the same shapes, but mean something else."""
    for prefix, attributes in modules:
        for name, usual in _USUAL.items():
            found = attributes.get(name, usual)
            if found != usual:
                raise WeightsError(
                    f"is not the paper's network: {_said(f'{prefix}{name} is {found}')}."
                )


def _eids(
    modules: list[tuple[str, dict[str, Any]]], state: dict[str, npt.NDArray[np.float32]]
) -> tuple[str, ...]:
    for prefix, attributes in modules:
        table = state.get(f"{prefix}embed_session.weight")
        if table is None:
            continue
        eids = attributes.get("eid_lookup")
        if not isinstance(eids, list) or len(eids) != len(table):
            raise WeightsError("does not name the sessions (eid_lookup) of its session table.")
        if not all(isinstance(eid, str) and eid.isprintable() for eid in eids):
            raise WeightsError("does not name the sessions (eid_lookup) of its session table.")
        return tuple(eids)
    return ()


def _said(text: str) -> str:
    """Text of the file, fit for a message whatever it is."""
    return ascii(text[:80])[1:-1]
