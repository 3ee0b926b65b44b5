"""NWB files open, as labs write them and as IBL's are on DANDI, or say what is wrong."""

import re

import h5py
import numpy as np
import pytest

from napari_mtm import open_session, survey_source
from napari_mtm.errors import PreparationError, SourceError
from napari_mtm.recording.formats import nwb
from napari_mtm.recording.opening import find_source
from tests.recording.formats.conftest import must_be
from tests.recording.formats.nwb_files import EID, write_as_a_lab, write_as_ibl

pytestmark = pytest.mark.filterwarnings("ignore:::hdmf", "ignore:::pynwb")


@pytest.fixture(scope="module")
def of_a_lab(tmp_path_factory, animal, all_units, trains):
    path = tmp_path_factory.mktemp("nwb") / "lab.nwb"
    write_as_a_lab(path, animal, all_units, trains)
    return path


@pytest.fixture(scope="module")
def of_ibl(tmp_path_factory, animal, all_units, trains):
    folder = tmp_path_factory.mktemp("nwb")
    path = folder / f"sub-MOUSE_ses-{EID}_desc-processed_behavior+ecephys.nwb"
    write_as_ibl(path, animal, all_units, trains)
    return path


def test_a_labs_file(of_a_lab, expected, own_cache):
    session = open_session(of_a_lab)
    must_be(session, expected)
    assert (session.id, session.name) == ("made up", "MOUSE 2024-02-03")


def test_ibls_file(of_ibl, expected, own_cache):
    session = open_session(of_ibl)
    must_be(session, expected)
    assert session.id == EID
    assert survey_source(of_ibl).n_trials == 250


def test_ibls_trials_and_behaviour_have_ibls_names_and_units(of_ibl, expected, own_cache):
    """Trials are those of the reference; the wheel was written in half degrees."""
    session = open_session(of_ibl)
    for name in session.trials.columns.intersection(expected.trials.columns):
        np.testing.assert_array_equal(session.trials[name], expected.trials[name], name)
    assert {"choice", "feedbackType", "contrastLeft", "contrastRight", "stimOn_times"} <= {
        *session.trials
    }
    for name, trace in expected.behaviour.items():
        np.testing.assert_allclose(session.behaviour[name], trace, rtol=1e-3, atol=1e-4)


def test_a_real_file(real_data, own_cache):
    path = real_data / "nwb" / "pynapple_A8604-211122.nwb"
    session = open_session(path)
    assert session.units["cluster"].tolist() == [6, 191, 206]
    assert session.units["probe"].tolist() == ["group0_psb"] * 3
    with h5py.File(path) as file:
        times = file["units/spike_times"][()]
        per_unit = np.diff(file["units/spike_times_index"][()], prepend=0)
    assert session.counts.sum() > 0.99 * len(times)  # but for the end that fills no window
    duration = times.max() - times.min()
    np.testing.assert_allclose(session.units["firing_rate"], per_unit / duration)
    assert any("no trials table" in note for note in session.notes)


@pytest.fixture
def small(tmp_path):
    """The least that makes a session: three units with 200 spikes each within 20 s."""
    path = tmp_path / "small.nwb"
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["identifier"] = "small"
        file["units/spike_times"] = np.random.default_rng(1).uniform(0, 20, 600)
        file["units/spike_times_index"] = [200, 400, 600]
        file["units/id"] = [4, 5, 9]
    return path


def changed(path, changes):
    """Replace or add datasets by path; None removes one."""
    with h5py.File(path, "a") as file:
        for name, values in changes.items():
            if name in file:
                del file[name]
            if values is not None:
                file[name] = values
    return path


def electrodes(**columns):
    where = "general/extracellular_ephys/electrodes"
    return {f"{where}/{name}": values for name, values in columns.items()}


def test_each_units_spikes_are_its_own(small, own_cache):
    session = open_session(small)
    with h5py.File(small) as file:
        times = file["units/spike_times"][()].reshape(3, 200)
    start = session.trials["intervals_0"][0]
    for k, unit in enumerate([4, 5, 9]):
        expected = np.histogram(times[k], start + 0.02 * np.arange(session.n_trials * 100 + 1))[0]
        mine = session.counts[:, :, session.units.index[session.units["cluster"] == unit][0]]
        np.testing.assert_array_equal(mine.ravel(), expected)
    assert session.units["uuid"].tolist() == ["small//4", "small//5", "small//9"]
    assert session.units["region"].tolist() == ["unknown"] * 3
    assert session.units["label"].isna().all()


@pytest.mark.parametrize(
    ("changes", "acronyms", "regions"),
    [
        ({"units/location": ["CA1", "VISa5", "nowhere"]}, ["VISa5", "CA1", "nowhere"], None),
        # A name that the atlas knows comes before one that it does not.
        (
            {"units/location": ["here", "there", "?"], "units/brain_area": ["LP", "", "CA1"]},
            ["CA1", "LP", "unknown"],
            ["CA1", "LP", "unknown"],
        ),
        # The first electrode of each unit; the second one has none.
        (
            {
                "units/electrodes": [1, 0, 0],
                "units/electrodes_index": [2, 2, 3],
                **electrodes(id=[7, 8], location=["Field CA1", "LP"]),
            },
            ["CA1", "LP", "unknown"],
            ["CA1", "LP", "unknown"],
        ),
        # By the id of the electrode, as the Allen Institute has it.
        (
            {
                "units/peak_channel_id": [8, 7, 8],
                **electrodes(id=[7, 8], location=["CA1", "LP"]),
            },
            ["CA1", "LP", "LP"],
            ["CA1", "LP", "LP"],
        ),
    ],
)
def test_where_units_lie(changes, acronyms, regions, small, own_cache):
    units = open_session(changed(small, changes)).units
    assert units["acronym"].tolist() == acronyms
    assert units["region"].tolist() == (regions or ["VISa", "CA1", "unknown"])


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("quality", ["good", "noise", ""], [1, 0, None]),
        ("KSLabel", ["mua", "Good", "unsorted"], [0, 1, None]),
        ("ibl_quality_score", [1.0, 1 / 3, np.nan], [1, 1 / 3, None]),
        ("group", [0, 0, 0], [None] * 3),  # a number of a shank, not a quality
        ("label", [17.0, 3.0, 1.0], [None] * 3),
        ("label", ["a", "b", "c"], [None] * 3),
    ],
)
def test_how_good_units_are(name, values, labels, small, own_cache):
    units = open_session(changed(small, {f"units/{name}": values}), units="all").units
    found = units.sort_values("cluster")["label"]
    assert [None if np.isnan(label) else label for label in found] == labels


def test_shanks_of_one_device_are_one_probe(small, own_cache):
    with h5py.File(small, "a") as file:
        ephys = file.create_group("general/extracellular_ephys")
        for group, device in (("shank0", "left"), ("shank1", "left"), ("only", "right")):
            file.require_group(f"general/devices/{device}")
            ephys.create_group(group)["device"] = h5py.SoftLink(f"/general/devices/{device}")
        references = [ephys[name].ref for name in ("shank0", "shank1", "only")]
        file.create_dataset("units/electrode_group", data=references, dtype=h5py.ref_dtype)
    units = open_session(small).units
    assert units.set_index("cluster")["probe"].to_dict() == {4: "left", 5: "left", 9: "only"}


def test_trials_without_a_known_event_open_and_can_be_aligned(small, own_cache):
    changes = {
        "intervals/trials/id": [0, 1, 2],
        "intervals/trials/start_time": [2.0, 8.0, 14.0],
        "intervals/trials/cue": [3.0, 9.0, 15.0],
        "intervals/trials/kind": ["a", "b", "a"],
        "intervals/trials/choice": [0, 1, 1],
        "intervals/trials/tags": ["x", "y"],
        "intervals/trials/tags_index": [1, 1, 2],
        "intervals/trials/short": [1.0, 2.0],
    }
    session = open_session(changed(small, changes))
    assert session.align == "any-time"
    said = " ".join(session.notes)
    assert "no stimOn_times; the recording is cut into adjoining windows" in said
    assert "align to one of its columns: cue, intervals_0" in said
    assert "choice is not -1, 0 or 1" in said
    assert "trials.short has 2 values for 3 trials" in said
    assert survey_source(small).choices[1].counts_mb == session.counts.nbytes / 1e6
    aligned = open_session(small, align="cue")
    assert aligned.trials["cue"].tolist() == [3.0, 9.0, 15.0]
    assert sorted(aligned.trials) == ["cue", "intervals_0"]
    with pytest.raises(PreparationError, match="no trials column 'kind'"):
        open_session(small, align="kind")


@pytest.mark.parametrize(("unit", "factor"), [("radians", 1.0), ("degrees", np.pi / 180)])
def test_a_wheel_with_a_rate(unit, factor, small, own_cache):
    """It turns by 3 of its units a second, which are written doubled."""
    changed(
        small,
        {"processing/behavior/CompassDirection/WheelPosition/data": 1.5 * np.arange(200) / 10},
    )
    with h5py.File(small, "a") as file:
        series = file["processing/behavior/CompassDirection/WheelPosition"]
        series["data"].attrs.update({"unit": unit, "conversion": 2.0})
        series["starting_time"] = 0.0
        series["starting_time"].attrs["rate"] = 10.0
    velocity = open_session(small).behaviour["wheel-velocity"]
    np.testing.assert_allclose(velocity[4], 3 * factor, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "attributes", "said"),
    [
        ({}, {"unit": "meters"}, "in meters, not rad, and is left out"),
        ({"data": ["a", "b"]}, {"unit": "rad"}, "The wheel is left out: .* must be numbers"),
        ({"timestamps": None}, {"unit": "rad"}, "The wheel is left out: Its starting time"),
        ({"timestamps": [1.0]}, {"unit": "rad"}, "The wheel is left out: 1 times for 2 values"),
        ({"data": np.ones((2, 3))}, {"unit": "rad"}, "The wheel is left out: .* one axis"),
        ({}, {"unit": "rad", "conversion": "two"}, "The wheel is left out: conversion must be"),
    ],
)
def test_a_wheel_that_is_none_is_left_out(changes, attributes, said, small, own_cache):
    where = "processing/wheel/WheelPosition"
    given = {"data": [1.0, 2.0], "timestamps": [1.0, 2.0]} | changes
    changed(small, {f"{where}/{name}": values for name, values in given.items()})
    with h5py.File(small, "a") as file:
        file[f"{where}/data"].attrs.update(attributes)
    assert re.search(said, " ".join(open_session(small).notes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"units": None}, "no units with spike times.*desc-processed"),
        ({"units/spike_times": None}, "no units with spike times"),
        ({"units/spike_times_index": None}, "no units with spike times"),
        ({"units/spike_times": ["text"] * 600}, "units/spike_times in .* must be numbers"),
        ({"units/spike_times": np.ones((600, 2))}, "units/spike_times in .* one axis"),
        ({"units/spike_times": np.append(np.ones(599), np.nan)}, "1 spike times that are not numb"),
        ({"units/spike_times_index": [200, 100, 600]}, "does not part its 600 spike times"),
        ({"units/spike_times_index": [200, 400, 601]}, "does not part its 600 spike times"),
        ({"units/spike_times_index": [200, 400, 500]}, "does not part its 600 spike times"),
        ({"units/spike_times_index": [0.5, 400, 600]}, "must be whole numbers"),
        ({"units/id": [1, 2]}, "has 2 units, but spikes of 3"),
        ({"units/id": ["a", "b", "c"]}, "units/id in .* must be whole numbers"),
    ],
)
def test_spikes_that_cannot_be_read(changes, said, small, own_cache):
    with pytest.raises(SourceError, match=said):
        open_session(changed(small, changes))


def test_no_spikes_at_all(small, own_cache):
    none = {"units/spike_times": np.empty(0), "units/spike_times_index": [0, 0, 0]}
    with pytest.raises(PreparationError, match="shorter than one window"):
        open_session(changed(small, none))


def test_ids_that_will_not_do_are_replaced(small, own_cache):
    session = open_session(changed(small, {"units/id": [4, 4, -1]}))
    assert sorted(session.units["cluster"]) == [0, 1, 2]
    assert any("numbered instead" in note for note in session.notes)


def test_electrodes_that_are_not_there(small, own_cache):
    changes = {"units/max_electrode": [1, 5, -2], **electrodes(id=[0, 1], location=["LP", "CA1"])}
    session = open_session(changed(small, changes))
    assert session.units["region"].tolist() == ["CA1", "unknown", "unknown"]
    assert any("2 units name no electrode" in note for note in session.notes)


def test_nothing_outside_the_file_is_read(small, tmp_path, own_cache):
    """Neither what a link leads to, nor what a dataset keeps in another file."""
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.full(3, b"CA1")
    (tmp_path / "secret.bin").write_bytes(b"CA1" * 3)
    with h5py.File(small, "a") as file:
        file["units/location"] = h5py.ExternalLink(str(other), "secret")
        file["far"] = h5py.ExternalLink(str(other), "/")
        file["units/region"] = h5py.SoftLink("/far/secret")
        external = [(str(tmp_path / "secret.bin"), 0, 9)]
        file.create_dataset("units/acronym", (3,), "S3", external=external)
        layout = h5py.VirtualLayout((3,), "S3")
        layout[:] = h5py.VirtualSource(str(other), "secret", (3,), "S3")
        file.create_virtual_dataset("units/brain_area", layout)
        file["units/quality"] = h5py.SoftLink("/units/quality")  # to itself
    units = open_session(small).units
    assert units["region"].tolist() == ["unknown"] * 3
    assert units["label"].isna().all()


def test_links_within_the_file_are_followed(small, own_cache):
    with h5py.File(small, "a") as file:
        file["scratch/places"] = ["CA1", "LP", "LP"]
        file["units/location"] = h5py.SoftLink("/scratch/places")
    assert open_session(small).units["region"].tolist() == ["CA1", "LP", "LP"]


def test_a_file_that_would_fill_the_memory_is_refused(small, own_cache):
    with h5py.File(small, "a") as file:
        del file["units/spike_times"]
        file.create_dataset("units/spike_times", (10**12,), "f8", chunks=(1000,))
    with pytest.raises(SourceError, match="8,000,000,000,000 bytes, more than can be packed"):
        open_session(small)


def test_files_that_are_cut_short(small, own_cache):
    whole = small.read_bytes()
    for end in np.random.default_rng(0).integers(len(whole), size=30):
        small.write_bytes(whole[:end])
        with pytest.raises(SourceError, match="damaged"):
            find_source(small)


def test_spikes_whose_packing_is_damaged(small, own_cache):
    """Bytes within the packed values; what lies around them, the library reads as it likes."""
    with h5py.File(small, "a") as file:
        times = file["units/spike_times"][()]
        del file["units/spike_times"]
        packed = file.create_dataset("units/spike_times", data=times, compression="gzip")
        at = packed.id.get_chunk_info(0).byte_offset
    damaged = bytearray(small.read_bytes())
    damaged[at + 100 : at + 140] = bytes(40)
    small.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"small\.nwb is damaged or cut short"):
        open_session(small)


def test_what_is_no_nwb_file(small, tmp_path):
    assert nwb.find(tmp_path) is None
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["units/spike_times"] = [1.0]
    assert nwb.find(tmp_path / "other.h5") is None
    (tmp_path / "text.nwb").write_text("words")
    with pytest.raises(SourceError, match="no HDF5 file"):
        open_session(tmp_path / "text.nwb")
    (tmp_path / "cut.nwb").write_bytes(small.read_bytes()[:600])
    with pytest.raises(SourceError, match="damaged or cut short"):
        open_session(tmp_path / "cut.nwb")


@pytest.mark.parametrize(
    ("changes", "id", "name"),
    [
        ({"general/session_id": EID}, EID, "small"),
        ({"general/session_id": "42"}, "small", "small"),
        ({"identifier": None}, None, "small"),
        (
            {"general/subject/subject_id": "A1", "session_start_time": "2024-05-06T10:00:00+02:00"},
            "small",
            "A1 2024-05-06",
        ),
        ({"general/subject/subject_id": "A1", "session_start_time": "?"}, "small", "small"),
    ],
)
def test_what_a_file_is_called(changes, id, name, small):
    source = nwb.find(changed(small, changes))
    assert source.name == name
    assert source.id == id if id else source.id.startswith("path-")
