"""Folders of Kilosort and Phy open, whatever they lack; nothing in them is run."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm import open_session
from napari_mtm.errors import MtmError, PreparationError, SourceError
from napari_mtm.recording.formats import phy
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.raw import Probe, Recording

RATE = 30_000


def write(folder, **files):
    """Write arrays as npy, tables as tsv and text as it is; "." in names stands as "__"."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if isinstance(content, pd.DataFrame):
            content.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        elif isinstance(content, str):
            (folder / name.replace("__", ".")).write_text(content)
        else:
            np.save(folder / f"{name}.npy", content)
    return folder


@pytest.fixture
def small(tmp_path):
    """Three clusters, 3, 5 and 6, within 20 s."""
    rng = np.random.default_rng(2)
    return write(
        tmp_path / "sorted",
        spike_times=np.sort(np.append([0, 20 * RATE], rng.integers(0, 20 * RATE, 898))),
        spike_clusters=np.resize([3, 5, 6], 900).astype("int32"),
        params__py=f"dat_path = 'raw.bin'\nsample_rate = {RATE}.\n",
    )


def units_of(folder):
    return open_session(folder, units="all").units.set_index("cluster").sort_index()


def test_the_first_probe_of_the_sample(tmp_path, animal, own_cache):
    """Times are put on the grid of samples, in the reference as well."""
    probe = animal.probes[0]
    samples = np.round(probe.times * RATE).astype("uint64")
    info = probe.units.rename_axis("cluster_id").reset_index()
    folder = write(
        tmp_path / "probe00",
        spike_times=samples[:, None],
        spike_clusters=probe.clusters.astype("uint32"),
        cluster_info=info[["cluster_id", "depth"]].assign(brain_area=info["acronym"]),
        cluster_group=pd.DataFrame(
            {
                "cluster_id": info["cluster_id"],
                "group": np.where(info["label"] == 1, "good", "mua"),
            }
        ),
        params__py=f"sample_rate = {RATE}",
    )
    known = probe.units.assign(label=(probe.units["label"] == 1).astype(float))
    on_grid = Probe("", samples.astype(float) / RATE, probe.clusters, known)
    expected = prepare(
        Recording("r", "r", (on_grid,)), Preparation(align="any-time", window=(0.0, 2.0))
    )
    session = open_session(folder)
    assert session.n_units == (probe.units["label"] == 1).sum()
    np.testing.assert_array_equal(session.counts, expected.counts)
    same = ["cluster", "region", "acronym", "depth", "label", "firing_rate"]
    pd.testing.assert_frame_equal(session.units[same], expected.units[same])
    assert session.name == "probe00"
    assert session.id.startswith("path-")


def test_a_real_folder_of_kilosort4(real_data, own_cache):
    folder = real_data / "phy" / "kilosort4"
    session = open_session(folder)
    table = pd.read_csv(folder / "cluster_KSLabel.tsv", sep="\t")
    assert set(session.units["cluster"]) == set(table["cluster_id"][table["KSLabel"] == "good"])
    clusters, positions = (
        np.load(folder / f"{name}.npy") for name in ("spike_clusters", "spike_positions")
    )
    for cluster, depth in zip(session.units["cluster"], session.units["depth"], strict=True):
        assert depth == pytest.approx(np.median(positions[clusters == cluster, 1]), abs=1e-3)
    assert session.units["depth"].is_monotonic_increasing


def test_a_real_folder_with_next_to_nothing(real_data, own_cache):
    session = open_session(real_data / "phy" / "minimal")
    assert session.n_units == 140
    assert any("30,000 are ASSUMED" in note for note in session.notes)


def test_depth_is_that_of_the_channel_on_which_a_template_is_largest(small, own_cache):
    """Cluster 6 was split off: it has no template of its own, but spikes of template 3."""
    templates = np.zeros((6, 5, 2), dtype="float32")
    templates[3, 2] = 1, -8
    templates[5, 2] = 4, 1
    write(
        small,
        templates=templates,
        templates_ind=np.tile([0, 2], (6, 1)),
        channel_positions=np.array([[0, 20.0], [0, 40.0], [0, 60.0]]),
    )
    assert units_of(small)["depth"].fillna(-1).tolist() == [60, 20, -1]
    write(small, spike_templates=np.resize([3, 5, 3], 900))
    assert units_of(small)["depth"].tolist() == [60, 20, 60]


def test_a_persons_group_comes_before_the_sorters_label(small, own_cache):
    ids = [3, 5, 6]
    write(small, cluster_KSLabel=pd.DataFrame({"cluster_id": ids, "KSLabel": ["good"] * 3}))
    assert units_of(small)["label"].tolist() == [1, 1, 1]
    write(small, cluster_group=pd.DataFrame({"cluster_id": [3, 5], "group": ["noise", "unsorted"]}))
    assert units_of(small)["label"].tolist() == [0, 1, 1]


def test_params_are_never_run(small, tmp_path, own_cache):
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nsample_rate = 20000\n"
    write(small, params__py=code)
    session = open_session(small)
    assert not (tmp_path / "ran").exists()
    samples = np.load(small / "spike_times.npy")
    assert session.trials["intervals_1"].iloc[-1] <= samples[-1] / 20_000
    assert session.n_trials == 15  # 20 s of 30,000 samples are 30 s of 20,000
    write(small, params__py=f"sample_rate = float(open({str(tmp_path / 'ran')!r}, 'w').name)")
    with pytest.raises(SourceError, match="must say sample_rate = a number above 0"):
        open_session(small)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("said", ["0", "-1", "nan", "inf", "'fast'", "", "[30000]"])
def test_a_rate_that_is_none(said, small):
    write(small, params__py=f"sample_rate = {said}")
    with pytest.raises(SourceError, match="must say sample_rate = a number above 0"):
        open_session(small)


@pytest.mark.parametrize("said", ["30_000", "30000.0  # per second", "3e4", "1\nsample_rate=30000"])
def test_ways_to_write_a_rate(said, small, own_cache):
    write(small, params__py=f"sample_rate = {said}")
    assert open_session(small).n_trials == 10


@pytest.mark.parametrize("params", ["", "n_channels_dat = 385\n", "my_sample_rate = 7\n"])
def test_without_a_rate_it_is_assumed_loudly(params, small, own_cache):
    write(small, params__py=params)
    assert any("30,000 are ASSUMED" in note for note in open_session(small).notes)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "has no column cluster_id"),
        ("a\tb\n1\t2\n", "has no column cluster_id"),
        ("cluster_id\tgroup\nthree\tgood\n", "does not name each cluster once"),
        ("cluster_id\tgroup\n3\tgood\n3\tmua\n", "does not name each cluster once"),
        ("cluster_id\tgroup\n-3\tgood\n", "does not name each cluster once"),
        ("cluster_id\tgroup\n3\n", "no quality labels"),
        ("cluster_id\tgroup\n3\tgood\textra\n99\tgood\n", "without a quality label"),
        ("cluster_id\tgroup\n3\t\x00\ufffd\n", "no quality labels"),
    ],
)
def test_tables_that_make_no_sense_are_left_out(table, said, small, own_cache):
    write(small, cluster_group__tsv=table)
    assert any(said in note for note in open_session(small).notes)


def test_positions_of_other_spikes_are_left_out(small, own_cache):
    write(small, spike_positions=np.ones((7, 2)))
    session = open_session(small)
    assert session.units["depth"].isna().all()
    assert any("7 templates or positions of spikes for 900" in note for note in session.notes)


def test_templates_stand_in_for_clusters(small, own_cache):
    expected = open_session(small)
    (small / "spike_clusters.npy").rename(small / "spike_templates.npy")
    np.testing.assert_array_equal(open_session(small).counts, expected.counts)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"spike_times": np.arange(5)}, "5 spike times but 900 spike clusters"),
        ({"spike_times": np.full(900, 0.5)}, "must be whole numbers"),
        ({"spike_times": np.full(900, np.nan)}, "must be whole numbers"),
        ({"spike_times": np.full(900, "a")}, "what is there is text"),
        ({"spike_times": np.ones((450, 2), int)}, "must have one axis"),
        ({"spike_clusters": np.full(900, -1)}, "must be 0 or more"),
        ({"spike_positions__npy": "text"}, "spike_positions.npy is damaged"),
        ({"channel_positions": np.ones(4), "templates": np.ones((6, 5, 2))}, "must have [23] axes"),
    ],
)
def test_what_cannot_be_read(files, said, small):
    write(small, **files)
    with pytest.raises(SourceError, match=said):
        open_session(small)


def test_a_folder_without_clusters(small):
    (small / "spike_clusters.npy").unlink()
    with pytest.raises(SourceError, match=r"has no spike_clusters.npy"):
        open_session(small)


def test_no_spikes_at_all(small):
    write(small, spike_times=np.empty(0, int), spike_clusters=np.empty(0, int))
    with pytest.raises(PreparationError, match="no units at all"):
        open_session(small)


def test_files_that_are_cut_short(small, own_cache):
    rng = np.random.default_rng(0)
    write(small, templates=np.ones((7, 5, 2)), channel_positions=np.ones((2, 2)))
    for file in sorted(small.iterdir()):
        whole = file.read_bytes()
        for end in rng.integers(len(whole), size=5):
            file.write_bytes(whole[:end])
            try:
                prepare(phy.find(small).read(), Preparation())
            except MtmError:
                continue
        file.write_bytes(whole)
    assert open_session(small).n_units == 3


def test_other_folders_are_none_of_phy(tmp_path, alf):
    assert phy.find(tmp_path) is None
    assert phy.find(alf) is None
    np.save(tmp_path / "spike_times.npy", np.arange(3))
    assert phy.find(tmp_path) is None
    assert phy.find(tmp_path / "spike_times.npy") is None
