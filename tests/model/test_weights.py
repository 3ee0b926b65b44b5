"""Weights come back bit for bit, and files that are damaged, foreign or hostile are refused."""

import errno
import json
import os
import pickle
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from napari_mtm.errors import StoreError, WeightsError
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model import weights
from napari_mtm.model.importing import from_published_state
from napari_mtm.model.model import Blend
from napari_mtm.model.tensors import checksum, read_tensors
from napari_mtm.model.weights import load_model, save_model
from tests.conftest import trials
from tests.model.small import (
    BINS,
    PRESETS,
    small_counts,
    small_model,
    small_session,
    some_hidden,
)

KEY = "napari-mtm"
SESSION = small_session(
    40,
    trials=trials(40).assign(probabilityLeft=np.where(np.arange(40) % 3, 0.8, 0.2)),
    behaviour={"wheel-speed": np.random.default_rng(0).random((40, BINS))},
)
OTHER = small_session(regions=["CA1", "PO", "LP"], seed=1)
both = pytest.mark.parametrize("preset", PRESETS)


def full_model(preset, seed=0):
    """Two sessions, readouts of one, and a record."""
    model = small_model(preset, SESSION, OTHER, seed=seed)
    model.fit_readouts(SESSION)
    model.record = {"seed": 3, "losses": [1.5, None, 2], "note": "ünï\n"}
    return model


@pytest.fixture(scope="module")
def models():
    return {preset: full_model(preset) for preset in PRESETS}


@pytest.fixture(scope="module")
def files(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for preset, model in models.items():
        save_model(model, folder / f"{preset}.safetensors")
    return {preset: folder / f"{preset}.safetensors" for preset in models}


def loaded(path):
    return load_model(path, device="cpu")


def refused(path) -> str:
    """Why a file is refused, in a line that names it."""
    with pytest.raises(WeightsError) as error:
        loaded(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 400 + len(str(path))
    return message


def parts(path):
    """The header and the tensors of a file of ours."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"][KEY]
    return json.loads(header), load_file(path)


def write(folder, header, tensors, *, sign=False) -> Path:
    """Write a file of a header and tensors as they are given; `sign` makes the checksum right."""
    if sign:
        checked = weights._Header.model_validate_json(json.dumps(header))
        header = header | {"checksum": weights._checksum(checked, tensors)}
    path = folder / "changed.safetensors"
    save_file(tensors, path, {KEY: json.dumps(header)})
    return path


# What is held open


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no /proc/self/maps")
def test_where_maps_lock_files_tensors_are_copies(models, tmp_path, monkeypatch):
    """A training replaces its best weights while a window shows them, on Windows, too."""
    monkeypatch.setattr("napari_mtm.model.tensors._MAPS_LOCK", True)
    path = tmp_path / "held.safetensors"
    save_model(models["default"], path)
    _, held = read_tensors(path, "weights", WeightsError)
    assert held
    assert str(path) not in Path("/proc/self/maps").read_text()


# What comes back


@both
def test_predictions_come_back_bit_for_bit(preset, models, files):
    model, found = models[preset], loaded(files[preset])
    assert found.preset == preset
    assert found.grid == model.grid
    assert found.device == torch.device("cpu")
    assert not found.network.training
    for session in (SESSION, OTHER):
        counts = session.counts[:6]
        hidden = np.random.default_rng(0).random(counts.shape) < 0.3
        for task in TASKS:
            np.testing.assert_array_equal(
                found.predict(counts, hidden, task=task, session=session),
                model.predict(counts, hidden, task=task, session=session),
            )


@both
def test_sessions_and_record_come_back(preset, models, files):
    model, found = models[preset], loaded(files[preset])
    assert found.record == model.record
    assert found.trained == {SESSION.id, OTHER.id}
    assert list(found.network.sessions) == [SESSION.id, OTHER.id]
    for session in (SESSION, OTHER):
        units = found.network.sessions[session.id]
        assert units.ids == tuple(session.units["uuid"])
        assert units.regions == tuple(session.units["region"])
        train = session.counts[session.split().train].astype(float)
        np.testing.assert_allclose(units.rates, train.mean(axis=(0, 1)), rtol=1e-5)
        np.testing.assert_allclose(units.roots, np.sqrt(train).mean(axis=(0, 1)), rtol=1e-5)
    assert found.knows(SESSION)
    assert not found.notes_on(SESSION)


@both
def test_readouts_come_back(preset, models, files):
    model, found = models[preset], loaded(files[preset])
    assert list(found.readouts) == [SESSION.id]
    mask = Mask.neurons(SESSION, [1])
    before, after = (m.reconstruct(SESSION, mask).decoded for m in (model, found))
    assert list(before) == ["wheel-speed", "choice-by-trial", "block", "choice"] == list(after)
    for name, values in before.items():
        np.testing.assert_allclose(values, after[name], atol=1e-3)
        assert values.std() > 0
    # What is read is written again as it is.
    np.testing.assert_array_equal(
        found.readouts[SESSION.id].latents.around.mean,
        model.readouts[SESSION.id].latents.around.mean.astype(np.float32),
    )


@both
def test_sessions_that_were_not_trained_are_left_behind(preset, files, tmp_path):
    model = loaded(files[preset])
    stranger = small_session(seed=7)
    hidden = some_hidden()
    before = model.predict(stranger.counts, hidden, session=stranger)
    model.predict(SESSION.counts[..., :2], hidden[:, :2], session=SESSION.select(units=[0, 1]))
    save_model(model, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == files[preset].read_bytes()
    again = loaded(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(before, again.predict(stranger.counts, hidden, session=stranger))
    assert again.notes_on(stranger)


@both
def test_a_loaded_model_can_be_trained_on(preset, files):
    model = loaded(files[preset])
    hidden, counts = some_hidden(), SESSION.counts[:4]
    before = model.predict(counts, hidden, session=SESSION)
    optimiser = torch.optim.SGD(model.network.parameters(), lr=0.1)
    loadings = model.network.loadings(SESSION.id)
    (loadings.write.sum() + loadings.read.sum()).backward()
    optimiser.step()
    assert np.abs(model.predict(counts, hidden, session=SESSION) - before).max() > 1e-3
    np.testing.assert_array_equal(
        before, loaded(files[preset]).predict(counts, hidden, session=SESSION)
    )


@both
def test_the_same_model_gives_the_same_bytes(preset, models, files, tmp_path):
    for name, model in {"one": models[preset], "two": full_model(preset)}.items():
        save_model(model, str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == files[preset].read_bytes()
    save_model(full_model(preset, seed=1), tmp_path / "other")
    assert (tmp_path / "other").read_bytes() != files[preset].read_bytes()


@pytest.mark.parametrize("shares", [[0.5] * 3, [0.5, 0.5, 0.5, 1.5], [float("nan")] * 4], ids=str)
def test_shares_that_are_none_are_refused(shares, tmp_path):
    model = small_model("default", SESSION)
    model.blends[SESSION.id] = Blend((0.125, 0.25, 0.0, 1.0), (0.0, 0.5, 1.0, 0.0))
    save_model(model, tmp_path / "m")
    assert loaded(tmp_path / "m").blends == model.blends
    header, tensors = parts(tmp_path / "m")
    header["sessions"][0]["blend"][1] = shares
    refused(write(tmp_path, header, tensors, sign=True))


# A save that fails


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file(error, files, models, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(models["default"], path)

    def half_written(*_):
        raise error

    monkeypatch.setattr(weights, "save", half_written)
    with pytest.raises((StoreError, KeyboardInterrupt)) as caught:
        save_model(models["published"], path)
    assert path.read_bytes() == files["default"].read_bytes()
    assert names(tmp_path) == [path.name]
    if isinstance(error, OSError):
        assert "No space left. Nothing was changed." in str(caught.value)


def test_a_save_over_a_folder_or_under_a_file(models, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "folder", tmp_path / "file" / "model"):
        with pytest.raises(StoreError, match="Cannot write"):
            save_model(models["default"], path)
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_model_that_could_not_be_read_again_is_not_written(tmp_path):
    session = small_session(id="../elsewhere")
    with pytest.raises(WeightsError, match=r"cannot be saved.*'\.\./elsewhere' is a path"):
        save_model(small_model("default", session), tmp_path / "m")
    assert not names(tmp_path)


# Files that are no weights


def test_what_is_not_there(tmp_path):
    assert "No such file" in refused(tmp_path / "missing.safetensors")
    assert "it is a folder" in refused(tmp_path)
    (tmp_path / "empty").touch()
    assert "is not a file of weights" in refused(tmp_path / "empty")


@pytest.mark.parametrize(
    "content",
    [b"{", b"a text", b"\0" * 100, b"\x02\0\0\0\0\0\0\0{}", struct.pack("<Q", 2**62) + b"{" * 50],
)
def test_other_files(content, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(content)
    refused(path)


def test_weights_of_somebody_else(tmp_path):
    path = tmp_path / "theirs.safetensors"
    for about in ({}, {"format": "pt"}):
        save_file({"weight": torch.ones(3)}, path, about)
        assert "holds weights, but not of napari-mtm" in refused(path)


class Command:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("kind", ["pickle", "checkpoint", "in the header", "in a tensor"])
def test_nothing_is_unpickled(kind, files, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "weights"
    data = pickle.dumps(Command(canary))
    header, tensors = parts(files["default"])
    if kind == "pickle":
        path.write_bytes(data)
    elif kind == "checkpoint":
        torch.save({"model": Command(canary)}, path)
    elif kind == "in the header":
        header["record"] = {"pickle": data.decode("latin1")}
        header["sizes"]["pickle"] = data.decode("latin1")
        path = write(tmp_path, header, tensors)
    else:
        tensors["pickle"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        path = write(tmp_path, header, tensors, sign=True)
    refused(path)
    assert not canary.exists()
    pickle.loads(data)
    assert canary.exists()


# Files that are damaged


@both
def test_a_file_that_is_cut_short(preset, files, tmp_path):
    content = files[preset].read_bytes()
    path = tmp_path / "cut"
    length = int.from_bytes(content[:8], "little")
    edges = [0, 1, 7, 8, 9, 100, length, length + 7, length + 8, length + 9, len(content) - 1]
    for size in [*edges, *range(200, len(content), len(content) // 40)]:
        path.write_bytes(content[:size])
        refused(path)
    path.write_bytes(content + b"\0")
    refused(path)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), in_header=st.booleans())
def test_a_flipped_byte(place, flip, in_header, files, models, tmp_path):
    content = bytearray(files["published"].read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    at = int(place * start) if in_header else start + int(place * (len(content) - start))
    content[at] ^= flip
    path = tmp_path / "flipped"
    path.write_bytes(content)
    try:
        found = loaded(path)
    except WeightsError:
        refused(path)
        return
    # JSON has more than one way to write a number or a space.
    assert at < start
    save_model(found, path)
    assert path.read_bytes() == files["published"].read_bytes()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_numbers_that_were_changed(data, files, tmp_path_factory):
    """One digit of the header, with the file else as it should be."""
    header, tensors = parts(files["default"])
    text = json.dumps(header)
    digits = [i for i, letter in enumerate(text) if letter.isdigit()]
    at = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from([d for d in "123456789" if d != text[at]]))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(save(tensors, {KEY: text[:at] + other + text[at + 1 :]}))
    refused(path)


# Headers that say what they should not


PATHS = ["../../x", "/etc/passwd", "~/x", "a/../../b", "\\\\server\\x", "..\\x"]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("where", ["session", "unit", "region", "readout", "token", "size"])
def test_a_path_in_place_of_a_name(name, where, files, tmp_path):
    header, tensors = parts(files["default"])
    if where == "session":
        header["sessions"][0]["id"] = name
    elif where == "unit":
        header["sessions"][0]["units"][2] = name
    elif where == "region":
        header["regions"][0] = name
    elif where == "readout":
        header["readouts"][0]["traces"] = [name]
    elif where == "token":
        header["unclaimed_tokens"] = [name]
    else:
        header["sizes"][name] = 1
    assert "is a path" in refused(write(tmp_path, header, tensors))


@pytest.mark.parametrize(
    "change",
    [
        {"module": "os"},
        {"sessions": [{"id": "s", "units": [], "regions": [], "class": "os.system"}]},
        {"format": "napari-mtm session"},
        {"preset": "better"},
        {"sizes": [1, 2]},
        {"sizes": {"width": "16"}},
        {"window": [0]},
        {"checksum": "0"},
        {"version": "one"},
        {"version": None},
        {"version": float("inf")},
        {"record": 3},
    ],
)
def test_a_header_with_what_does_not_belong(change, files, tmp_path):
    header, tensors = parts(files["default"])
    refused(write(tmp_path, header | change, tensors))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, '{"version": 1}'])
def test_a_header_that_is_none(text, files, tmp_path):
    path = tmp_path / "changed"
    save_file({"a": torch.ones(1)}, path, {KEY: text})
    refused(path)


def test_a_newer_version(files, tmp_path):
    header, tensors = parts(files["default"])
    header |= {"version": weights.VERSION + 1, "something": "new"}
    message = refused(write(tmp_path, header, tensors))
    version = weights.VERSION
    said = f"is from a newer napari-mtm (weights version {version + 1}, this one reads {version})"
    assert said in message


def test_weights_of_the_first_version_are_read(tmp_path):
    """They knew less of their sessions."""
    model = small_model("default", SESSION)
    save_model(model, tmp_path / "m")
    header, tensors = parts(tmp_path / "m")
    del header["align"]
    for session in header["sessions"]:
        for name in ("first", "blend", "taught", "of"):
            del session[name]
    header["version"] = 1
    signed = json.dumps(
        {name: value for name, value in header.items() if name != "checksum"},
        separators=(",", ":"),
    )
    found = loaded(write(tmp_path, header | {"checksum": checksum(signed, tensors)}, tensors))
    np.testing.assert_array_equal(
        *(m.predict(SESSION.counts, some_hidden(), session=SESSION) for m in (found, model))
    )


# Parts that do not fit, in files that are else as they should be


@both
def test_signed_as_it_was_the_file_is_read(preset, files, tmp_path):
    """What the next tests change is all that is wrong there."""
    assert loaded(write(tmp_path, *parts(files[preset]), sign=True)).trained


def tensor_names(preset):
    names = {"shared/positions", "session/1/0", "session/0/rates", "session/1/roots"}
    return names | {"readouts/0/around/mean", "readouts/0/choice/weights", "shared/trunk.norm.bias"}


@pytest.mark.parametrize("change", ["gone", "longer", "scalar", "turned", "doubles", "whole"])
@both
def test_tensors_of_the_wrong_shape_or_kind(preset, change, files, tmp_path):
    header, tensors = parts(files[preset])
    changes = {
        "longer": lambda t: torch.cat([t, t]),
        "scalar": lambda t: t.sum(),
        "turned": lambda t: t[..., None],
        "doubles": lambda t: t.double(),
        "whole": lambda t: t.view(torch.int32),
    }
    for name in tensor_names(preset):
        changed = dict(tensors)
        tensor = changed.pop(name)
        if change != "gone":
            changed[name] = changes[change](tensor).contiguous()
        message = refused(write(tmp_path, header, changed, sign=True))
        assert ("floats" if change in ("doubles", "whole") else "do not fit") in message


@pytest.mark.parametrize("key", ["id", "units", "regions"])
def test_sessions_that_do_not_fit(key, files, tmp_path):
    header, tensors = parts(files["default"])
    first, second = header["sessions"]
    second[key] = first[key]
    assert "do not fit" in refused(write(tmp_path, header, tensors, sign=True))


def test_a_session_that_is_there_twice(files, tmp_path):
    header, tensors = parts(files["default"])
    header["sessions"][1] = header["sessions"][0]
    first = {name: t for name, t in tensors.items() if name.startswith("session/0/")}
    tensors |= {name.replace("/0/", "/1/", 1): tensor.clone() for name, tensor in first.items()}
    assert "there twice" in refused(write(tmp_path, header, tensors, sign=True))


@pytest.mark.parametrize("change", ["stitcher", "token", "missing", "count"])
def test_parts_that_wait_for_a_session(change, reference, tmp_path):
    eids = ["a", "b"]
    state = load_file(reference / "published_stitching.safetensors")
    model = from_published_state({k: v.numpy() for k, v in state.items()}, heads=4, eids=eids)
    path = tmp_path / "imported.safetensors"
    save_model(model, path)
    header, tensors = parts(path)
    assert header["unclaimed"] == [19, 31]
    assert header["unclaimed_tokens"] == eids
    if change == "stitcher":
        tensors["unclaimed/19/in.weight"] = torch.zeros(24, 1)
    elif change == "token":
        tensors["token/1"] = torch.zeros(1)
    elif change == "missing":
        del tensors["unclaimed/31/out.bias"]
    else:
        header["unclaimed"] = [19, 10**18]
    assert "do not fit" in refused(write(tmp_path, header, tensors, sign=True))


class Largest(TorchDispatchMode):
    """Remembers the most numbers that a tensor was made of, in memory."""

    found = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.device.type != "meta":
            self.found = max(self.found, out.numel())
        return out


@pytest.mark.parametrize(
    ("preset", "lie"),
    [
        ("default", {"width": 20_000}),
        ("default", {"hidden": 100_000}),
        ("default", {"bins": 100_000}),
        ("default", {"own": 100_000}),
        ("default", {"head": 100_000}),
        ("default", {"layers": 10**12}),
        ("default", {"layers": 300}),
        ("default", {"heads": 0}),
        ("default", {"heads": 5}),
        ("default", {"reach": 0}),
        ("default", {"dropout": -1}),
        ("default", {"channels": 3}),
        ("published", {"width": 20_000}),
        ("published", {"channels": 100_000}),
        ("published", {"inner": 100_000}),
        ("published", {"heads": 0}),
        ("published", {"heads": 32}),
        ("published", {"prompts": False}),
        ("published", {"session_tokens": False}),
    ],
)
def test_sizes_that_lie(preset, lie, files, tmp_path):
    header, tensors = parts(files[preset])
    header["sizes"] |= lie
    path = write(tmp_path, header, tensors, sign=True)
    start = time.monotonic()
    with Largest() as largest:
        refused(path)
    assert largest.found < 1_000_000
    assert time.monotonic() - start < 5


def test_sizes_that_lie_where_no_session_tells(tmp_path):
    """Without regions or sessions nothing in the file says how wide loadings are."""
    model = small_model("default", SESSION)
    model.trained.clear()
    save_model(model, tmp_path / "m")
    header, tensors = parts(tmp_path / "m")
    header["regions"], header["sizes"]["own"] = [], 100_000
    width = 2 * header["sizes"]["rank"] + header["sizes"]["head"]
    tensors["shared/region_means"] = torch.zeros(0, width + 100_001)
    header["sessions"] = [
        {
            "id": "s",
            "units": list(map(str, range(50_000))),
            "regions": ["CA1"] * 50_000,
            "first": 0,
            "blend": None,
            "taught": None,
            "of": 0,
        }
    ]
    tensors |= {f"session/0/{name}": torch.zeros(50_000) for name in ("rates", "roots", "0", "1")}
    path = write(tmp_path, header, tensors, sign=True)
    with Largest() as largest:
        refused(path)
    assert largest.found < 1_000_000


@pytest.mark.parametrize(
    "about",
    [
        {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]},
        {"dtype": "F32", "shape": [2**63, 2**63], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_tensors_that_lie(about, files, tmp_path):
    header, _ = parts(files["default"])
    text = json.dumps({"__metadata__": {KEY: json.dumps(header)}, "shared/positions": about})
    path = tmp_path / "lying"
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + bytes(4))
    refused(path)


def test_a_window_is_kept(tmp_path):
    session = small_session(window=(0.25, 0.65), id="later")
    save_model(small_model("published", session), tmp_path / "m")
    model = loaded(tmp_path / "m")
    model.predict(session.counts, some_hidden(), session=session)
    moved = replace(session, window=(0.0, 0.4))
    with pytest.raises(WeightsError, match=r"from 0.25 to 0.65 s"):
        model.predict(small_counts(), some_hidden(), session=moved)
