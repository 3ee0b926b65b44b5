"""Published checkpoints are read as the authors wrote them, and nothing in one can run."""

import copyreg
import gc
import io
import json
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from datetime import timedelta

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from torch import nn

from napari_mtm.errors import WeightsError
from napari_mtm.model.published_file import read_published

FOLDER = "model_best"
QUICK = timedelta(seconds=5)


@pytest.fixture(scope="module")
def published(reference):
    return reference / "published_stitching_model_best.pt"


@pytest.fixture(scope="module")
def expected(reference):
    return load_file(reference / "published_stitching.safetensors")


# What the authors' file holds


def test_the_weights_are_the_authors(published, expected):
    state = read_published(published).state
    assert state.keys() == expected.keys()
    for name, array in state.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.owndata
        np.testing.assert_array_equal(array, expected[name])


def test_heads_sessions_and_epoch(published, reference):
    checkpoint = read_published(str(published))
    meta = json.loads((reference / "published_meta.json").read_text())
    assert checkpoint.heads == meta["sizes"]["n_heads"] == 4
    assert list(checkpoint.eids) == meta["session_table_order"]
    assert checkpoint.epoch == 3


def test_reading_imports_nothing_that_the_file_names(published):
    code = (
        "import sys; from napari_mtm.model.published_file import read_published\n"
        "read_published(sys.argv[1])\n"
        "print({'models', 'utils', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(published)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


# What torch writes for other modules


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.n_heads = 2
        self.query = nn.Linear(3, 3)


class Net(nn.Module):
    """All the ways in which a module can hold parameters."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(()))
        self.turned = nn.Parameter(torch.randn(5, 3).T)
        self.part = nn.Parameter(torch.randn(4, 6)[1:3, ::2])
        self.none = nn.Parameter(torch.zeros(0, 3))
        self.absent = None
        self.register_parameter("without", None)
        self.by_name = nn.ParameterDict({"19": torch.randn(3), "b": torch.randn(2, 2)})
        self.in_order = nn.ParameterList([torch.randn(2), torch.randn(1)])
        self.layers = nn.ModuleList([Attention(), Attention()])
        self.stitchers = nn.ModuleDict({"7": nn.Linear(7, 2), "9": nn.Linear(9, 2, bias=False)})
        self.tied = self.stitchers["7"]
        self.scale.note = "has a state of its own"
        self.register_buffer("mask", torch.ones(3, 3, dtype=torch.bool))
        self.regions = [np.str_("CA1"), np.float64(2.5), np.arange(3), {1, 2}, torch.Size([2])]
        self.where = torch.device("cpu")
        self.activation = nn.functional.gelu


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_modules_of_torch(dtype, protocol, tmp_path):
    net = Net().to(dtype)
    torch.save({"model": net, "epoch": 12}, tmp_path / "net.pt", pickle_protocol=protocol)
    checkpoint = read_published(tmp_path / "net.pt")
    whole = {name: p for name, p in net.state_dict().items() if name != "mask"}
    assert list(checkpoint.state) == list(whole)
    for name, array in checkpoint.state.items():
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, whole[name].float().numpy(), strict=True)
    assert (checkpoint.heads, checkpoint.eids, checkpoint.epoch) == (2, (), 12)


def test_a_module_saved_alone(tmp_path):
    torch.save(Net(), tmp_path / "net.pt")
    assert read_published(tmp_path / "net.pt").epoch is None


def test_storages_that_were_on_a_gpu(published, expected, tmp_path):
    data, entries = taken_apart(published)
    assert text("cpu") in data
    data = data.replace(text("cpu"), text("cuda:0"))
    state = read_published(put_together(tmp_path, data, entries)).state
    np.testing.assert_array_equal(state["decoder.0.weight"], expected["decoder.0.weight"])


def test_float64_beyond_float32_becomes_infinite(tmp_path):
    net = Attention().double()
    nn.init.constant_(net.query.weight, 1e300)
    torch.save(net, tmp_path / "net.pt")
    assert np.isinf(read_published(tmp_path / "net.pt").state["query.weight"]).all()


# What is no such file


def test_no_file(tmp_path):
    with pytest.raises(WeightsError, match=r"Cannot read .*nothing\.pt: No such file"):
        read_published(tmp_path / "nothing.pt")
    with pytest.raises(WeightsError, match="it is a folder"):
        read_published(tmp_path)
    with pytest.raises(WeightsError, match="Cannot read"):
        read_published("\0")


@pytest.mark.parametrize("content", [b"", b"PK", b"text", b"\x80\x02."])
def test_no_archive(content, tmp_path):
    (tmp_path / "other.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"other\.pt is no checkpoint that is read here"):
        read_published(tmp_path / "other.pt")


def test_old_files_of_torch(tmp_path):
    torch.save(Net(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"save it again with torch 1\.6 or newer"):
        read_published(tmp_path / "old.pt")


def test_another_archive(tmp_path):
    for names in [], ["data.pkl"], ["a/data.pkl", "b/data.pkl"], ["a/b/data.pkl"]:
        with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
            for name in names:
                archive.writestr(name, b"\x80\x02N.")
        with pytest.raises(WeightsError, match="no checkpoint: torch"):
            read_published(tmp_path / "other.pt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_the_same_name_twice(published, tmp_path):
    data, entries = taken_apart(published)
    path = put_together(tmp_path, data, entries)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{FOLDER}/data.pkl", data)
    with pytest.raises(WeightsError, match="no checkpoint: torch"):
        read_published(path)


@pytest.mark.parametrize(
    "saved", [None, 3, [], {}, {"model": None}, {"model": {"weight": 1}}, {"state_dict": {}}]
)
def test_no_model(saved, tmp_path):
    with pytest.raises(WeightsError, match="holds no torch module under 'model'"):
        read_published(written(tmp_path, saved))


def test_a_state_dict_is_no_model(tmp_path):
    torch.save({"model": Net().state_dict()}, tmp_path / "state.pt")
    with pytest.raises(WeightsError, match="holds no torch module"):
        read_published(tmp_path / "state.pt")


def test_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="holds a model without weights"):
        read_published(written(tmp_path, module(n_heads=1)))
    with pytest.raises(WeightsError, match="layers in it is no torch module"):
        read_published(written(tmp_path, module(modules={"layers": 3})))
    with pytest.raises(WeightsError, match="a parameter of its model is no tensor"):
        read_published(written(tmp_path, module(parameters={"w": 3})))
    with pytest.raises(WeightsError, match="not printable"):
        read_published(written(tmp_path, module(parameters={"\x1b[31m": tensor()})))


@pytest.mark.parametrize("heads", [{}, {"n_heads": 0}, {"n_heads": "4"}, {"n_heads": []}])
def test_no_heads(heads, tmp_path):
    model = module(parameters={"w": tensor()}, **heads)
    with pytest.raises(WeightsError, match="how many attention heads"):
        read_published(written(tmp_path, model))


@pytest.mark.parametrize("lookup", [None, [], ["a"], ["a", 1], ["a", "\x1b"], {"a": 0, "b": 1}])
def test_a_session_table_without_its_sessions(lookup, tmp_path):
    table = module({"weight": tensor(size=(2, 2), stride=(2, 1))})
    model = module(modules={"embed_session": table}, n_heads=1, eid_lookup=lookup)
    with pytest.raises(WeightsError, match="does not name the sessions"):
        read_published(written(tmp_path, model))


def test_weights_of_other_kinds(tmp_path):
    model = module({"w": tensor("LongStorage")}, n_heads=1)
    with pytest.raises(WeightsError, match=r"not read, torch\.LongStorage"):
        read_published(written(tmp_path, model))


@pytest.mark.parametrize("order", [b"big", b"", b"middle"])
def test_other_byte_orders(order, published, tmp_path):
    data, entries = taken_apart(published)
    with pytest.raises(WeightsError, match="big-endian"):
        read_published(put_together(tmp_path, data, entries | {"byteorder": order}))


def test_files_from_before_the_byte_order_was_noted(published, tmp_path):
    data, entries = taken_apart(published)
    del entries["byteorder"]
    assert read_published(put_together(tmp_path, data, entries)).heads == 4


# What asks to run something


def name(module, function):
    return b"c%s\n%s\n" % (module.encode(), function.encode())


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(module, function, *args):
    return name(module, function) + b"(" + b"".join(args) + b"tR"


def runs(canary):
    """Pickles that make the canary when unpickled, by what they ask to run."""
    shell = text(f"touch {canary}")
    python = text(f"open({str(canary)!r}, 'w').close()")
    opened = text(str(canary)) + text("w")
    system = call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system"))
    stated = call("types", "SimpleNamespace") + b"}" + text("__setstate__") + name("os", "system")
    return {
        "posix.system": call("posix", "system", shell),
        "os.system": call("os", "system", shell),
        "builtins.eval": call("builtins", "eval", python),
        "__builtin__.eval": call("__builtin__", "eval", python),
        "builtins.exec": call("builtins", "exec", python),
        "io.open": call("io", "open", opened),
        "subprocess.Popen": call("subprocess", "Popen", b"](" + text("touch") + opened[:-6] + b"e"),
        "subprocess.check_call": call(
            "subprocess", "check_call", b"](" + text("touch") + opened[:-6] + b"e"
        ),
        "builtins.__import__": system + shell + b"\x85R",
        "torch.serialization.os.system": b"\x80\x04"
        + text("torch.serialization")
        + text("os.system")
        + b"\x93"
        + shell
        + b"\x85R",
        "numpy.memmap": call("numpy", "memmap", text(str(canary)), text("u1"), text("w+"))[:-2]
        + b"K\x00K\x01tR",
        "nt.system": b"\x80\x04" + text("posix") + text("system") + b"\x93" + shell + b"\x85R",
        "0x69": b"(" + shell + b"iposix\nsystem\n",
        "0x6f": b"(" + name("posix", "system") + shell + b"o",
        "0x82": b"\x82\xf0" + shell + b"\x85R",
        "0x83": b"\x83\xf1\x00" + shell + b"\x85R",
        "0x84": b"\x84\xf2\x00\x00\x00" + shell + b"\x85R",
        "types.SimpleNamespace": stated + b"sb" + shell + b"b",
    }


RUNS = list(runs(""))
MISNAMED = {"nt.system": "posix.system"}


@pytest.fixture
def extensions():
    """Codes of copyreg that stand for a shell."""
    codes = {0xF0: ("posix", "system"), 0xF1: ("os", "system"), 0xF2: ("os", "popen")}
    for code, (module_name, function) in codes.items():
        copyreg.add_extension(module_name, function, code)
    yield
    for code, (module_name, function) in codes.items():
        copyreg.remove_extension(module_name, function, code)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", RUNS)
def test_what_would_run_is_refused_by_name(what, published, extensions, tmp_path):
    canary = tmp_path / "canary"
    payload = runs(canary)[what]
    data, entries = taken_apart(published)
    alone = b"\x80\x02" + payload + b"."
    inside = in_place_of_the_epoch(data, payload)
    for hostile in alone, inside:
        with pytest.raises(WeightsError) as refusal:
            read_published(put_together(tmp_path, hostile, entries))
        assert MISNAMED.get(what, what) in str(refusal.value)
        assert str(refusal.value).endswith("refused.")
    time.sleep(0.02)
    assert not canary.exists()
    done = pickle.loads(alone)  # so the refusals above were worth something
    for _ in range(200):
        if canary.exists():
            break
        time.sleep(0.02)
    assert canary.exists()
    with warnings.catch_warnings():  # no open pipe or child is left for a later test
        warnings.simplefilter("ignore", ResourceWarning)
        del done
        gc.collect()
        subprocess._cleanup()


@pytest.mark.parametrize(
    "function",
    [
        "torch.load",
        "torch.hub.load",
        "torch.storage._load_from_bytes",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch.jit._pickle.build_intlist",
        "numpy.load",
        "numpy.fromfile",
        "numpy.core.multiarray.fromfile",
        "numpy.zeros",
        "builtins.getattr",
        "builtins.setattr",
        "builtins.bytearray",
        "functools.partial",
        "operator.attrgetter",
        "importlib.import_module",
        "pickle.loads",
        "copyreg.__newobj__",
        "models.ndt1.NDT1",
        "napari_mtm.model.published_file.read_published",
    ],
)
def test_other_functions_are_refused_by_name(function, published, tmp_path):
    data, entries = taken_apart(published)
    payload = call(*function.rsplit(".", 1), text("x"))
    path = put_together(tmp_path, in_place_of_the_epoch(data, payload), entries)
    with pytest.raises(WeightsError, match=f"asks to run {function}; refused"):
        read_published(path)


@pytest.mark.parametrize(
    "payload",
    [
        text("os.system") + b")R",
        name("models.ndt1", "NDT1") + b")\x81)R",
        name("collections", "OrderedDict") + b"]R",
        name("collections", "OrderedDict") + b"](" + text("a") + b"K\x01\x86e\x85R",
        name("torch._utils", "_rebuild_parameter") + b")R",
        name("torch._utils", "_rebuild_tensor_v2") + b")R",
        text("storage") + b"Q",
        b"(" + text("module") + text("x") + text("0") + text("cpu") + b"K\x01tQ",
        b"P0\n",
        b"(",
        b"0" * 50,
        b"e",
        b"\x86",
        b"j\xff\xff\xff\xff",
        b"NNa",
        b"N}b",
        b"}(Nu",
        b"}(K\x01K\x02K\x03u",
        b"N)\x81",
        b"NN\x93",
        b"c\xff\nx\n",
        b"cno end",
        b"X\x01\x00\x00\x00\xff",
        b"\x8a\x09" + b"\xff" * 9,
    ],
)
def test_pickles_that_torch_does_not_write(payload, published, tmp_path):
    data, entries = taken_apart(published)
    with pytest.raises(WeightsError, match=r"^.*checkpoint\.pt "):
        read_published(put_together(tmp_path, in_place_of_the_epoch(data, payload), entries))


def test_what_is_only_named_is_left_alone(published, expected, tmp_path):
    """Classes are named by every module; a placeholder for one does nothing, whatever it is."""
    canary = tmp_path / "canary"
    shell = text(f"touch {canary}")
    hook = b"}" + text("__setstate__") + name("posix", "system") + b"sb" + shell + b"b"
    data, entries = taken_apart(published)
    for payload in (
        name("posix", "system"),
        name("posix", "system") + shell + b"\x85\x81",
        name("subprocess", "Popen") + shell + b"\x85\x81",
        name("models.ndt1", "NDT1") + b")\x81" + hook,
        name("utils.config_utils", "DictConfig") + b")\x81(" + text("a") + b"K\x01u",
        name("some", "List") + b")\x81K\x01a(K\x01K\x02e",
        call("copyreg", "_reconstructor", name("posix", "system"), name("os", "popen"), b"N"),
        call("numpy", "dtype", shell),
    ):
        path = put_together(tmp_path, in_place_of_the_epoch(data, payload), entries)
        checkpoint = read_published(path)
        assert checkpoint.epoch is None
        assert checkpoint.state.keys() == expected.keys()
    assert not canary.exists()


def test_a_refusal_names_no_control_characters(published, tmp_path):
    data, entries = taken_apart(published)
    payload = call("\x1b[31m", "\x07" + "x" * 1000)
    with pytest.raises(WeightsError) as refusal:
        read_published(put_together(tmp_path, in_place_of_the_epoch(data, payload), entries))
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300 + len(str(tmp_path))


def test_names_in_the_archive_lead_nowhere(published, tmp_path):
    data, entries = taken_apart(published)
    path = put_together(tmp_path, data, entries)
    with zipfile.ZipFile(path, "a") as archive:
        for outside in "../outside", "/outside", f"{FOLDER}/../../outside":
            archive.writestr(outside, b"x")
    assert read_published(path).heads == 4
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    secret = tmp_path / "secret"
    secret.write_bytes(b"1234" * 4)
    for key in "../../secret", str(secret), "../data.pkl":
        with pytest.raises(WeightsError, match=r"is missing in it|is damaged"):
            read_published(written(tmp_path, module({"w": tensor(key=key)}, n_heads=1)))


# What claims more than there is


@pytest.mark.parametrize(
    "claim",
    [
        {"count": 5},
        {"count": 3},
        {"count": 2**40},
        {"count": -1},
        {"kind": "DoubleStorage"},
        {"key": "1"},
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**62},
        {"size": (5,)},
        {"size": (-1,)},
        {"size": (2**62,)},
        {"size": (2**47,) * 8, "stride": (0,) * 8},
        {"size": (1,) * 9, "stride": (1,) * 9},
        {"size": ("2",)},
        {"size": (2.0,)},
        {"size": [4]},
        {"stride": (2,)},
        {"stride": (-1,)},
        {"stride": ()},
        {"stride": (1, 1)},
        {"size": (1000,), "stride": (0,)},
        {"size": (0, 2**60), "stride": (1, 1)},
    ],
)
def test_tensors_beyond_their_data(claim, tmp_path):
    model = module({"w": tensor(**claim)}, n_heads=1)
    with pytest.raises(WeightsError, match=r"damaged|more weights"), little_memory():
        read_published(written(tmp_path, model))


def test_views_within_their_data(tmp_path):
    views = {
        "last": tensor(offset=3, size=(), stride=()),
        "turned": tensor(size=(2, 2), stride=(1, 2)),
        "apart": tensor(offset=1, size=(2,), stride=(2,)),
        "nothing": tensor(offset=9, size=(0, 7), stride=(1, 1)),
    }
    state = read_published(written(tmp_path, module(views, n_heads=1))).state
    assert state["last"] == 3
    np.testing.assert_array_equal(state["turned"], [[0, 2], [1, 3]])
    np.testing.assert_array_equal(state["apart"], [1, 3])
    assert state["nothing"].shape == (0, 7)


def test_many_tensors_of_the_same_data(tmp_path):
    content = {"0": np.arange(1_000_000, dtype="<f4").tobytes()}
    view = tensor(count=1_000_000, size=(1_000_000,))
    model = module({f"w{k}": view for k in range(2000)}, n_heads=1)
    with pytest.raises(WeightsError, match="more weights"), little_memory(50_000_000):
        read_published(written(tmp_path, model, content))


def test_modules_within_modules(tmp_path):
    itself = module({"w": tensor()})
    itself.__dict__["_modules"]["again"] = itself
    many = module({"w": tensor()})
    for _ in range(60):
        many = module(modules={"a": many, "b": many})
    long = module({"w" * 1000: tensor()})
    wide = module({f"w{k}": None for k in range(50_000)})
    wide = module(modules=dict.fromkeys("abcd", wide))
    for model in itself, many, long, wide:
        with (
            pytest.raises(WeightsError, match="more parts than a model"),
            little_memory(60_000_000),
        ):
            read_published(written(tmp_path, model))


@pytest.mark.parametrize(
    "payload",
    [
        b"B\xff\xff\xff\xff",
        b"X\xff\xff\xff\xff",
        b"\x8e" + b"\xff" * 8,
        b"\x8e" + struct.pack("<Q", 2**62),
        b"\x8d" + struct.pack("<Q", 2**62),
        b"\x96" + struct.pack("<Q", 2**40),
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"I" + b"9" * 100_000 + b"\n",
        b"L" + b"9" * 100_000 + b"L\n",
    ],
)
def test_instructions_that_claim_much(payload, published, tmp_path):
    data, entries = taken_apart(published)
    path = put_together(tmp_path, in_place_of_the_epoch(data, payload), entries)
    with pytest.raises(WeightsError), little_memory():
        read_published(path)


@pytest.mark.parametrize(
    "payload",
    [
        b"Nr\xff\xff\xff\xff",
        b"\x95" + struct.pack("<Q", 2**40) + b"N",
        b"](" + b"h\x01" * 100_000 + b"e",
        b")" + b"\x85" * 100_000,
        b"}" + (text("a") + b"}") * 30_000 + b"s" * 30_000,
        b"]q\xf0" + b"]h\xf0ah\xf0aq\xf0" * 10_000,
        b"(" * 50_000 + b"t" * 50_000,
    ],
)
def test_pickles_made_to_grow(payload, published, tmp_path):
    data, entries = taken_apart(published)
    path = put_together(tmp_path, in_place_of_the_epoch(data, payload), entries)
    with little_memory(50_000_000):
        assert read_published(path).epoch is None


def test_a_pickle_that_is_too_long(published, tmp_path):
    data, entries = taken_apart(published)
    path = put_together(tmp_path, in_place_of_the_epoch(data, b"N0" * 1_000_000), entries)
    with pytest.raises(WeightsError, match=r"data\.pkl is too large"), little_memory(20_000_000):
        read_published(path)


@pytest.mark.parametrize("swollen", ["data.pkl", "data/0", "byteorder"])
def test_compressed_entries(swollen, published, tmp_path):
    data, entries = taken_apart(published)
    zeros = {swollen: bytes(30_000_000)}
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in ({"data.pkl": data} | entries | zeros).items():
            archive.writestr(f"{FOLDER}/{key}", content)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(WeightsError, match=r"is compressed .*; refused"), little_memory():
        read_published(path)


@pytest.mark.parametrize("sizes", [(2**32 - 2,) * 2, (2**31, 100), (100, 2**31)])
def test_entries_larger_than_the_file(sizes, published, tmp_path):
    data, entries = taken_apart(published)
    path = put_together(tmp_path, data, entries)
    content = bytearray(path.read_bytes())
    for key in [b"/data.pkl", b"/data/0", b"/byteorder"]:
        at = content.rindex(FOLDER.encode() + key)
        content[at - 26 : at - 18] = struct.pack("<II", *sizes)
    path.write_bytes(content)
    with pytest.raises(WeightsError), little_memory():
        read_published(path)


# What was damaged


@settings(
    max_examples=150,
    deadline=QUICK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_checkpoint_cut_short(cut, published, tmp_path):
    whole = published.read_bytes()
    (tmp_path / "short.pt").write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(WeightsError, match=r"short\.pt is (cut short|no checkpoint)"):
        read_published(tmp_path / "short.pt")


@settings(
    max_examples=300,
    deadline=QUICK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.floats(0, 1, exclude_max=True), directory=st.booleans(), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_harmless(
    place, directory, flip, published, expected, tmp_path
):
    content = bytearray(published.read_bytes())
    start = content.index(b"PK\x01\x02") if directory else 0
    content[start + int(place * (len(content) - start))] ^= flip
    (tmp_path / "changed.pt").write_bytes(content)
    checkpoint, refusal = read_or_refused(tmp_path / "changed.pt")
    if checkpoint is None:
        assert "changed.pt" in refusal
    else:
        assert checkpoint.state.keys() == expected.keys()
        assert all(np.array_equal(checkpoint.state[key], expected[key]) for key in expected)


@settings(
    max_examples=300,
    deadline=QUICK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4))))
def test_a_changed_pickle_is_refused_or_read(changes, published, tmp_path):
    data, entries = taken_apart(published)
    for place, content in changes:
        at = int(place * len(data))
        data = data[:at] + content + data[at + len(content) :]
    path = put_together(tmp_path, data, entries)
    checkpoint, refusal = read_or_refused(path)
    assert refusal.startswith(str(path)) if checkpoint is None else checkpoint.heads > 0


@settings(deadline=QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_as_a_pickle(data, tmp_path):
    with pytest.raises(WeightsError):
        read_published(put_together(tmp_path, data, {}))


# Checkpoints made by hand


class Stored:
    def __init__(self, kind, key, count):
        self.id = ("storage", getattr(torch, kind), key, "cpu", count)


class Tensor:
    def __init__(self, *args):
        self.args = (*args, False, OrderedDict())

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.args


class Module:
    pass


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Stored) else None


def tensor(kind="FloatStorage", *, key="0", count=4, offset=0, size=(4,), stride=(1,)):
    """The first numbers of an entry that holds 0, 1, 2, 3."""
    return Tensor(Stored(kind, key, count), offset, size, stride)


def module(parameters=None, modules=None, **attributes):
    made = Module()
    made.__dict__ = {"_parameters": parameters or {}, "_modules": modules or {}, **attributes}
    return made


def written(folder, saved, content=None):
    """Write a checkpoint, its entry 0 holding 0, 1, 2, 3 unless told."""
    file = io.BytesIO()
    Pickler(file, 2).dump(saved)
    content = content or {"0": np.arange(4, dtype="<f4").tobytes()}
    entries = {f"data/{key}": value for key, value in content.items()}
    return put_together(folder, file.getvalue(), entries)


def taken_apart(path):
    """The pickle and the other entries of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        entries = {n.split("/", 1)[1]: archive.read(n) for n in archive.namelist()}
    return entries.pop("data.pkl"), entries


def put_together(folder, data, entries):
    path = folder / "checkpoint.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for key, content in ({"data.pkl": data} | entries).items():
            archive.writestr(f"{FOLDER}/{key}", content)
    return path


def in_place_of_the_epoch(data, payload):
    assert data.endswith(b"K\x03u.")
    return data[:-4] + payload + b"u."


def read_or_refused(path):
    """A checkpoint, or None and why it was refused."""
    try:
        return read_published(path), ""
    except WeightsError as error:
        return None, str(error)


class little_memory:  # noqa: N801
    """Checks that what happens inside needs little memory and time."""

    def __init__(self, most=5_000_000):
        self.most = most

    def __enter__(self):
        tracemalloc.start()
        self.start = time.monotonic()

    def __exit__(self, *_):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self.most
        assert time.monotonic() - self.start < QUICK.total_seconds()
