"""The plain format: one npz, or a folder of arrays, with names that docs/formats.md tells."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session, open_session, survey_source
from napari_mtm.errors import MtmError, PreparationError, SourceError
from napari_mtm.recording.formats import plain
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from tests.recording.formats.conftest import must_be


@pytest.fixture(scope="module")
def everything(animal, all_units, trains):
    """The sample in the names of the plain format; ids skip every other number."""
    wheel, energy = animal.wheel_position, animal.whisker
    return {
        "times": np.concatenate(trains),
        "clusters": np.repeat(2 * all_units["id"], [len(t) for t in trains]).to_numpy(),
        "ids": 2 * all_units["id"].to_numpy()[::-1],
        "regions": all_units["acronym"].to_numpy(str)[::-1],
        "depths": all_units["depth"].to_numpy()[::-1],
        "labels": all_units["label"].to_numpy()[::-1],
        "probes": all_units["probe"].to_numpy(str)[::-1],
        "uuids": all_units["uuid"].to_numpy(str)[::-1],
        **{f"trials.{name}": animal.trials[name].to_numpy() for name in animal.trials},
        "wheel.times": wheel.times,
        "wheel.position": wheel.values,
        "whisker-motion-energy.times": energy.times,
        "whisker-motion-energy.values": energy.values,
        "pupil.times": energy.times,
        "pupil.values": np.full(len(energy.times), 4.0),
    }


def write_folder(folder, arrays):
    """Write the units' texts and the trials as csv, all else as npy."""
    folder.mkdir()
    trials = {name[7:]: values for name, values in arrays.items() if name.startswith("trials.")}
    pd.DataFrame(trials).assign(kind="a").to_csv(folder / "trials.csv", index=False)
    for name, values in arrays.items():
        if values.dtype.kind == "U":
            pd.DataFrame({name: values}).to_csv(folder / f"{name}.csv", index=False)
        elif not name.startswith("trials."):
            np.save(folder / f"{name}.npy", values)


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_the_sample(kind, everything, expected, tmp_path, own_cache):
    path = tmp_path / "mine"
    if kind == "npz":
        np.savez_compressed(path, **everything)
        path = path.with_suffix(".npz")
    else:
        write_folder(path, everything)
    session = open_session(path)
    must_be(session, expected)
    assert session.name == "mine"
    assert survey_source(path).n_trials == 250
    must_behave(session, expected)


def test_the_sample_from_arrays(everything, animal, all_units, own_cache):
    """Session.from_spikes takes the same, and keeps all units."""
    expected = prepare(animal, Preparation(units="all"))
    regions, depths = (
        dict(zip(everything["ids"].tolist(), everything[name].tolist(), strict=True))
        for name in ("regions", "depths")
    )
    names = ("whisker-motion-energy", "pupil")
    behaviour = {n: (everything[f"{n}.times"], everything[f"{n}.values"]) for n in names}
    behaviour["wheel-position"] = everything["wheel.times"], everything["wheel.position"]
    session = Session.from_spikes(
        everything["times"],
        everything["clusters"],
        regions=regions,
        depths=depths,
        trials=animal.trials,
        behaviour=behaviour,
    )
    uuids = all_units["uuid"].to_numpy()[session.units["cluster"] // 2]
    where = pd.Index(expected.units["uuid"]).get_indexer(uuids)
    assert sorted(where) == list(range(expected.n_units))
    np.testing.assert_array_equal(session.counts, expected.counts[:, :, where])
    must_behave(session, expected)


def must_behave(session, expected):
    for name, trace in expected.behaviour.items():
        np.testing.assert_allclose(session.behaviour[name], trace, rtol=1e-4, atol=1e-6)
    assert np.nanmax(np.abs(session.behaviour["pupil"] - 4)) < 1e-6
    assert session.trials["choice"].tolist() == expected.trials["choice"].tolist()


SMALL = {"times": np.linspace(0, 20, 900), "clusters": np.resize([0, 2, 1], 900)}


def small(tmp_path, **changes):
    path = tmp_path / "small.npz"
    np.savez(path, **{k: v for k, v in (SMALL | changes).items() if v is not None})
    return path


def test_the_least_there_can_be(tmp_path, own_cache):
    session = open_session(small(tmp_path))
    expected = Session.from_spikes(SMALL["times"], SMALL["clusters"])
    np.testing.assert_array_equal(session.counts, expected.counts)
    assert session.align == "any-time"


def test_units_in_order_of_clusters(tmp_path, own_cache):
    given = {"regions": ["LP", "CA1", "VISa5"], "labels": ["good", "mua", "unsorted"]}
    units = open_session(small(tmp_path, **given), units="all").units.set_index("cluster")
    assert units["region"].to_dict() == {0: "LP", 1: "CA1", 2: "VISa"}
    assert units["acronym"].to_dict() == {0: "LP", 1: "CA1", 2: "VISa5"}
    assert units["label"].fillna(-1).to_dict() == {0: 1, 1: 0, 2: -1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"times": np.ones(3)}, "3 spike times but 900 spike clusters"),
        ({"times": np.full(900, "a")}, "times in .* what is there is text"),
        ({"times": np.full(900, np.nan)}, "900 spike times that are not numbers"),
        ({"times": np.ones((3, 300))}, "times in .* one axis"),
        ({"clusters": np.full(900, 0.5)}, "clusters in .* whole numbers"),
        ({"clusters": np.full(900, -1)}, "clusters in .* 0 or more"),
        ({"clusters": np.array([None] * 900)}, "clusters in it is no array of numbers or text"),
        ({"regions": ["CA1"]}, "spikes of cluster 2, but only 1 regions"),
        ({"regions": [1.0, 2.0, 3.0]}, "Regions must be Allen acronyms"),
        ({"regions": np.array([["CA1"] * 3])}, "regions in .* one axis"),
        ({"depths": ["a", "b", "c"]}, "Depths must be numbers"),
        ({"labels": ["x", "y", "z"]}, 'words such as "good"'),
        ({"ids": [0, 1], "depths": [1, 2, 3]}, "3 depths for 2 ids"),
        ({"ids": [0, 1, 1], "depths": [1, 2, 3]}, "3 depths for 2 ids"),
        ({"ids": [0.5, 1, 2], "depths": [1, 2, 3]}, "ids in .* whole numbers"),
        ({"trials.a": [1.0], "trials.b": [1.0, 2.0]}, r"shapes are \(1,\) and \(2,\)"),
        ({"trials.a": np.ones((2, 2))}, "must have one value for each trial"),
        ({"wheel.times": [1.0]}, "wheel.times but no wheel.position"),
        ({"wheel.position": [1.0]}, "wheel.position but no wheel.times"),
        ({"lick.times": [1.0]}, "lick.times but no lick.values"),
        ({"lick.times": [1.0], "lick.values": [1.0, 2.0]}, "lick has 1 times for 2 values"),
        ({"lick.times": [1.0], "lick.values": ["a"]}, "lick.values in .* text"),
    ],
)
def test_what_cannot_be_read(changes, said, tmp_path, own_cache):
    with pytest.raises(SourceError, match=said):
        open_session(small(tmp_path, **changes))


def test_no_spikes_at_all(tmp_path):
    none = {"times": np.empty(0), "clusters": np.empty(0, int)}
    with pytest.raises(PreparationError, match="no units at all"):
        open_session(small(tmp_path, **none))


def test_no_trials_are_as_none_given(tmp_path, own_cache):
    path = small(tmp_path, **{"trials.stimOn_times": np.empty(0), "trials.kind": np.empty(0, str)})
    assert any("no trials table" in note for note in open_session(path).notes)


def test_pickles_are_not_loaded(tmp_path, own_cache):
    """An array of objects is a pickle, which may run anything when it is loaded."""

    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path = tmp_path / "trap.npz"
    np.savez(path, **SMALL, regions=np.array([Trap()] * 3, dtype=object))
    with pytest.raises(SourceError, match="regions in it is no array of numbers or text"):
        open_session(path)
    assert not (tmp_path / "ran").exists()


def test_what_would_fill_the_memory_is_not_unpacked(tmp_path):
    """A member that says that it is larger than what deflate can pack into the file."""
    path = small(tmp_path)
    whole = bytearray(path.read_bytes())
    entry = whole.rfind(b"clusters.npy") - 46  # in the list at the end
    assert whole[entry : entry + 4] == b"PK\x01\x02"
    whole[entry + 24 : entry + 28] = (3_000_000_000).to_bytes(4, "little")
    path.write_bytes(whole)
    with pytest.raises(SourceError, match=r"3,000,[0-9,]+ bytes, more than can be packed"):
        open_session(path)


def test_an_array_that_says_that_it_is_larger_than_it_is(tmp_path):
    path = tmp_path / "lie.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("times.npy", head.getvalue())
        archive.writestr("clusters.npy", head.getvalue())
    with pytest.raises(SourceError, match="times in it is no array"):
        open_session(path)


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_what_is_damaged_or_cut_short(kind, tmp_path, own_cache):
    given = SMALL | {"regions": np.array(["CA1", "LP", "PO"]), "trials.cue": np.arange(2.0, 18)}
    if kind == "npz":
        path = tmp_path / "some.npz"
        np.savez_compressed(path, **given)
        files = [path]
    else:
        path = tmp_path / "some"
        write_folder(path, given)
        files = sorted(path.iterdir())
    rng, refused = np.random.default_rng(1), 0
    for file in files:
        whole = file.read_bytes()
        for k in range(60 // len(files)):
            damaged = bytearray(whole)
            at = rng.integers(len(whole))
            damaged[at : None if k % 2 else at + 1] = b"" if k % 2 else bytes([rng.integers(256)])
            file.write_bytes(damaged)
            try:
                source = plain.find(path)
                refused += source is None
                if source is not None:
                    prepare(source.read(), Preparation())
            except MtmError:
                refused += 1
        file.write_bytes(whole)
    assert refused > 10
    assert open_session(path).n_units == 3


def test_a_csv_must_say_which_column_it_is(tmp_path, own_cache):
    folder = tmp_path / "some"
    write_folder(folder, SMALL)
    (folder / "regions.csv").write_text("name\nLP\nCA1\n\nPO\n")
    assert sorted(open_session(folder).units["region"]) == ["CA1", "LP", "PO"]
    (folder / "regions.csv").write_text("a,b\nLP,1\nCA1,2\nPO,3\n")
    with pytest.raises(SourceError, match="one column, or one that is called regions"):
        open_session(folder)
    (folder / "regions.csv").write_text("a,regions\n1,LP\n2,CA1\n3,PO\n")
    assert sorted(open_session(folder).units["region"]) == ["CA1", "LP", "PO"]


def test_other_files_are_none_of_ours(tmp_path, alf):
    np.savez(tmp_path / "images.npz", image=np.ones((3, 3)))
    (tmp_path / "words.npz").write_text("words")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("times.txt", "1")
    for name in ("images.npz", "words.npz", "some.zip", "nothing"):
        assert plain.find(tmp_path / name) is None
    assert plain.find(tmp_path) is None
    assert plain.find(alf) is None
    whole = small(tmp_path).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-30])
    with pytest.raises(SourceError, match="its list of arrays"):
        plain.find(tmp_path / "cut.npz")
