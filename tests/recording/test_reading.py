"""A session folder is read whole, in part, or refused in one sentence."""

import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mtm.errors import MtmError, SourceError
from napari_mtm.recording.alf import FolderFiles
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.reading import read_recording, survey
from tests.conftest import trials, write_alf


def read(folder: Path):
    return read_recording(FolderFiles(folder))


def sorting(folder: Path) -> Path:
    return folder / "alf" / "probe00" / "pykilosort"


def test_all_that_is_there(alf):
    recording = read(alf)
    assert recording.name == "MOUSE 2024-02-03 002"
    assert not recording.simulated
    (probe,) = recording.probes
    assert probe.name == "probe00"
    assert len(probe.times) == 2000
    units = probe.units
    assert units["uuid"].tolist() == [f"probe00-unit-{k}" for k in range(5)]
    assert units["acronym"].tolist() == ["CA1", "VISa5", "LP", "CA1", "cc"]
    assert units["region"].tolist() == ["CA1", "VISa", "LP", "CA1", "root"]
    assert units["depth"].tolist() == [20, 60, 100, 140, 180]
    assert units["label"].tolist() == pytest.approx([1, 1, 2 / 3, 1, 0])
    assert recording.trials["choice"].tolist() == trials(12)["choice"].tolist()
    assert len(recording.wheel_position.times) == 4616
    assert len(recording.whisker.times) == 3600
    assert recording.notes == ()


def test_two_probes(alf):
    write_alf(alf, "probe01")
    recording = read(alf)
    assert [p.name for p in recording.probes] == ["probe00", "probe01"]
    session = prepare(recording, Preparation(units="all"))
    assert session.n_units == 10
    assert set(session.units["probe"]) == {"probe00", "probe01"}


def test_electrode_sites_come_before_the_channels(alf):
    probe = alf / "alf" / "probe00"
    np.save(probe / "electrodeSites.brainLocationIds_ccf_2017.npy", np.full(10, 1020))
    assert set(read(alf).probes[0].units["region"]) == {"PO"}


@pytest.mark.parametrize(
    ("sorters", "chosen"),
    [
        (["pykilosort", "ks2_preproc_tests"], "pykilosort"),
        (["pykilosort", "iblsorter"], "iblsorter"),
        (["custom_long_name", "custom"], "custom"),
    ],
)
def test_the_preferred_sorting(alf, sorters, chosen):
    original = sorting(alf)
    for k, name in enumerate(sorters):
        folder = original.parent / name
        if folder != original:
            shutil.copytree(original, folder)
        np.save(folder / "spikes.times.npy", np.linspace(0, 50 + k, 2000))
    if "pykilosort" not in sorters:
        shutil.rmtree(original)
    assert read(alf).probes[0].times[-1] == 50 + sorters.index(chosen)


def test_trials_in_single_files(alf):
    table = trials(12)
    (alf / "alf" / "_ibl_trials.table.pqt").unlink()
    for name in table.columns.drop(["intervals_0", "intervals_1"]):
        np.save(alf / "alf" / f"_ibl_trials.{name}.npy", table[name].to_numpy())
    np.save(
        alf / "alf" / "_ibl_trials.intervals.npy", table[["intervals_0", "intervals_1"]].to_numpy()
    )
    pd.testing.assert_frame_equal(read(alf).trials[table.columns], table, check_dtype=False)


def test_a_trials_column_of_another_length_is_left_out_and_it_says_so(alf):
    np.save(alf / "alf" / "_ibl_trials.itiDuration.npy", np.zeros(11))
    recording = read(alf)
    assert "itiDuration" not in recording.trials
    assert recording.notes == ("trials.itiDuration has 11 values for 12 trials and is left out.",)


def test_camera_times_that_begin_early_are_cut(alf):
    energy = np.load(alf / "alf" / "leftCamera.ROIMotionEnergy.npy")
    np.save(alf / "alf" / "leftCamera.ROIMotionEnergy.npy", energy[20:])
    whisker = read(alf).whisker
    assert whisker.times[0] == pytest.approx(20 / 60)


def test_the_right_camera_where_the_left_one_is_broken(alf):
    np.save(alf / "alf" / "_ibl_leftCamera.times.npy", np.arange(5.0))
    np.save(alf / "alf" / "_ibl_rightCamera.times.npy", np.arange(100.0))
    np.save(alf / "alf" / "rightCamera.ROIMotionEnergy.npy", np.arange(100.0))
    recording = read(alf)
    assert len(recording.whisker.times) == 100
    assert any("leftCamera" in note for note in recording.notes)


def test_a_wheel_whose_files_disagree_is_left_out(alf):
    np.save(alf / "alf" / "_ibl_wheel.position.npy", np.zeros(10))
    recording = read(alf)
    assert recording.wheel_position is None
    assert recording.notes == ("The wheel has 4616 times for 10 values and is left out.",)


def test_only_spikes(alf, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("times", "clusters"):
        shutil.copy(sorting(alf) / f"spikes.{name}.npy", bare)
    recording = read(bare)
    (probe,) = recording.probes
    assert recording.trials is None
    assert set(probe.units["region"]) == {"unknown"}
    assert probe.units["firing_rate"].sum() == pytest.approx(2000 / np.ptp(probe.times))
    session = prepare(recording, Preparation())
    assert session.align == "any-time"
    assert session.n_units == 5


def test_clusters_without_channels(alf):
    (sorting(alf) / "clusters.channels.npy").unlink()
    recording = read(alf)
    assert set(recording.probes[0].units["region"]) == {"unknown"}
    assert recording.probes[0].units["depth"].tolist() == [20, 60, 100, 140, 180]
    assert any("does not say on which channels" in note for note in recording.notes)


def test_unknown_region_ids_are_said(alf):
    path = sorting(alf) / "channels.brainLocationIds_ccf_2017.npy"
    ids = np.load(path)
    ids[0] = 987654321
    np.save(path, ids)
    recording = read(alf)
    assert recording.probes[0].units["region"].tolist()[0] == "unknown"
    assert any("987654321" in note for note in recording.notes)


def test_clusters_that_never_fired_are_no_units(alf):
    path = sorting(alf) / "spikes.clusters.npy"
    clusters = np.load(path)
    np.save(path, np.where(clusters == 2, 3, clusters))
    assert read(alf).probes[0].units.index.tolist() == [0, 1, 3, 4]


def test_metrics_are_matched_by_cluster_id(alf):
    path = sorting(alf) / "clusters.metrics.pqt"
    metrics = pd.read_parquet(path)
    metrics.iloc[::-1].reset_index(drop=True).to_parquet(path)
    assert read(alf).probes[0].units["label"].tolist() == pytest.approx([1, 1, 2 / 3, 1, 0])
    metrics.iloc[:2].to_parquet(path)
    assert read(alf).probes[0].units["label"].isna().tolist() == [False] * 2 + [True] * 3


def test_without_uuids_units_are_named_by_session_probe_and_cluster(alf):
    (sorting(alf) / "clusters.uuids.csv").unlink()
    recording = read(alf)
    assert recording.probes[0].units["uuid"].tolist()[3] == f"{recording.id}/probe00/3"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("spikes.clusters.npy", None, "no spikes.clusters"),
        ("spikes.times.npy", None, "no spikes.times"),
        ("spikes.times.npy", np.arange(10.0), "10 spike times but 2000 spike clusters"),
        ("spikes.clusters.npy", np.full(2000, 7), "spikes of cluster 7, but only 5 clusters"),
        ("spikes.clusters.npy", np.full(2000, -1), "0 or more; the least is -1"),
        ("spikes.clusters.npy", np.full(2000, 0.5), "fractions"),
        ("spikes.clusters.npy", np.zeros((1000, 2), int), "one axis"),
        ("spikes.times.npy", np.zeros(2000, [("t", "f8")]), "must be numbers"),
        ("spikes.times.npy", np.zeros(2000, complex), "complex"),
        ("clusters.channels.npy", [0, 2, np.nan, 6, 8], "without NaN"),
        ("clusters.channels.npy", [0, 2.5, 4, 6, 8], "fractions"),
        ("clusters.channels.npy", np.zeros((5, 2), int), "one axis"),
        ("clusters.depths.npy", ["a"] * 5, "text"),
        ("channels.localCoordinates.npy", np.zeros(10), "2 axes"),
        ("channels.localCoordinates.npy", np.zeros((10, 3)), "two columns"),
        ("channels.localCoordinates.npy", np.zeros((9, 2)), "have 9 and 10 rows"),
        ("channels.brainLocationIds_ccf_2017.npy", np.full(10, 0.5), "fractions"),
        ("channels.brainLocationIds_ccf_2017.npy", np.zeros((10, 2)), "one axis"),
        ("clusters.channels.npy", np.full(5, 99), "on channel 99, but only 10 channels"),
    ],
)
def test_folders_that_cannot_be_read(alf, file, content, message):
    path = sorting(alf) / file
    path.unlink()
    if content is not None:
        np.save(path, content)
    with pytest.raises(SourceError, match=message):
        read(alf)


def edit_table(path: Path, **columns) -> None:
    pd.read_parquet(path).assign(**columns).to_parquet(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["good"] * 5}, r"clusters\.metrics\.label holds something else than numbers"),
        ({"firing_rate": [[1.0, 2.0]] * 5}, r"clusters\.metrics\.firing_rate holds something else"),
        ({"cluster_id": ["a", "b", "c", "d", "e"]}, r"clusters\.metrics\.cluster_id must be whole"),
        ({"cluster_id": [0, 1, 2, 3, np.nan]}, r"clusters\.metrics\.cluster_id .* without NaN"),
    ],
)
def test_metrics_that_are_no_numbers(alf, columns, message):
    edit_table(sorting(alf) / "clusters.metrics.pqt", **columns)
    with pytest.raises(SourceError, match=message):
        read(alf)


def test_tables_that_do_not_fit_their_clusters_are_left_out_with_a_word(alf):
    folder = sorting(alf)
    edit_table(folder / "clusters.metrics.pqt", cluster_id=[0, 1, 1, 2, 3])
    pd.read_csv(folder / "clusters.uuids.csv")[:3].to_csv(
        folder / "clusters.uuids.csv", index=False
    )
    np.save(folder / "clusters.depths.npy", np.arange(4.0))
    recording = read(alf)
    assert recording.probes[0].units["label"].isna().all()
    assert recording.probes[0].units["depth"].tolist() == [20, 60, 100, 140, 180]  # of the sites
    assert recording.probes[0].units["uuid"].tolist()[0] == f"{recording.id}/probe00/0"
    notes = " ".join(recording.notes)
    for words in ("clusters.metrics names", "clusters.uuids has 3 rows for 5", "depths has 4 rows"):
        assert words in notes


# Probes that are not whole


def test_a_probe_without_spike_times_is_refused(alf):
    write_alf(alf, "probe01")
    path = alf / "alf" / "probe01" / "pykilosort" / "spikes.times.npy"
    path.unlink()
    for _ in range(2):
        with pytest.raises(SourceError, match=r"no spikes\.times in alf/probe01/pykilosort"):
            read(alf)
        with pytest.raises(SourceError, match=r"no spikes\.times in alf/probe01/pykilosort"):
            survey(FolderFiles(alf), Preparation())
        if not path.is_symlink():
            path.symlink_to(alf / "nothing")  # as git-annex leaves what it has not fetched


def test_a_probe_without_any_spikes_is_left_out_with_a_word(alf):
    write_alf(alf, "probe01")
    for name in ("times", "clusters"):
        (alf / "alf" / "probe01" / "pykilosort" / f"spikes.{name}.npy").unlink()
    note = "Probe probe01 has no spikes here, so its units are left out."
    assert note in read(alf).notes
    assert note in survey(FolderFiles(alf), Preparation()).notes
    assert [p.name for p in read(alf).probes] == ["probe00"]


def test_a_sorting_that_is_whole_comes_before_one_that_is_not(alf):
    whole = alf / "alf" / "probe00" / "other"
    shutil.copytree(sorting(alf), whole)
    assert read(alf).notes == ()
    (sorting(alf) / "spikes.times.npy").unlink()
    (note,) = read(alf).notes
    assert "alf/probe00/pykilosort is not complete; the one in alf/probe00/other is used" in note


def test_links_that_lead_nowhere_are_named(alf):
    for name in ("_ibl_wheel.position.npy", "_ibl_wheel.timestamps.npy"):
        (alf / "alf" / name).unlink()
        (alf / "alf" / name).symlink_to(alf / "nothing")
    (note,) = read(alf).notes
    assert note.startswith("These files are listed, but not here: alf/_ibl_wheel.position.npy, alf")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(alf):
    (sorting(alf) / "spikes.times.npy").unlink()
    os.mkfifo(sorting(alf) / "spikes.times.npy")
    with pytest.raises(SourceError, match=r"no spikes\.times"):
        read(alf)


def test_no_channels_for_clusters_that_fired(alf):
    np.save(sorting(alf) / "clusters.channels.npy", np.empty(0, np.uint32))
    recording = read(alf)
    assert recording.probes[0].units["region"].unique().tolist() == ["unknown"]
    assert any("clusters.channels has 0 rows for 5" in note for note in recording.notes)


def test_depths_and_rates_that_cannot_be_are_not_known(alf):
    np.save(sorting(alf) / "clusters.depths.npy", [np.inf, 60.0, -np.inf, 140.0, np.nan])
    edit_table(sorting(alf) / "clusters.metrics.pqt", firing_rate=[np.inf, -1.0, 3.0, np.nan, 7.0])
    units = read(alf).probes[0].units
    assert units["depth"].isna().tolist() == [True, False, True, False, True]
    measured = mean_rates(read(alf).probes[0])
    assert units["firing_rate"].tolist() == pytest.approx([*measured[:2], 3.0, measured[3], 7.0])


def mean_rates(probe) -> list[float]:
    seconds = probe.times.max() - probe.times.min()
    return [(probe.clusters == k).sum() / seconds for k in range(5)]


# Channels and sites


def test_a_cluster_on_no_channel_lies_nowhere_known(alf):
    np.save(sorting(alf) / "clusters.channels.npy", np.array([0, -1, 4, 6, -(2**62)]))
    (sorting(alf) / "clusters.depths.npy").unlink()
    recording = read(alf)
    units = recording.probes[0].units
    assert units["region"].tolist() == ["CA1", "unknown", "LP", "CA1", "unknown"]
    assert units["depth"].tolist()[::2][:2] == [20, 100]
    assert np.isnan(units["depth"].tolist()[1])
    assert any("2 clusters on no channel" in note for note in recording.notes)


def test_channels_may_be_floats_and_atlas_ids_missing(alf):
    np.save(sorting(alf) / "clusters.channels.npy", np.array([0, 2, 4, 6, 8.0]))
    path = sorting(alf) / "channels.brainLocationIds_ccf_2017.npy"
    ids = np.load(path).astype(float)
    ids[4:6] = np.nan
    np.save(path, ids)
    recording = read(alf)
    assert recording.probes[0].units["region"].tolist()[:3] == ["CA1", "VISa", "unknown"]
    assert any("does not know: nan" in note for note in recording.notes)


def more_sites(alf: Path, *, coordinates: bool, raw: bool) -> None:
    """A probe of 14 electrodes, of which the sorting left out the first four."""
    probe, folder = alf / "alf" / "probe00", sorting(alf)
    own = np.load(folder / "channels.brainLocationIds_ccf_2017.npy")
    above = np.full(4, 1020)  # PO
    np.save(probe / "electrodeSites.brainLocationIds_ccf_2017.npy", np.r_[above, np.roll(own, 2)])
    places = np.load(folder / "channels.localCoordinates.npy")
    if coordinates:
        below = places[:4] - [0, 1000]
        np.save(probe / "electrodeSites.localCoordinates.npy", np.r_[below, places])
    (folder / "channels.rawInd.npy").unlink()
    if raw:
        np.save(folder / "channels.rawInd.npy", np.arange(4, 14))


@pytest.mark.parametrize(("coordinates", "raw"), [(True, False), (False, True), (True, True)])
def test_electrode_sites_are_found_by_coordinates_or_number(alf, coordinates, raw):
    more_sites(alf, coordinates=coordinates, raw=raw)
    recording = read(alf)
    assert recording.probes[0].units["acronym"].tolist() == ["cc", "CA1", "VISa5", "LP", "CA1"]
    assert recording.notes == ()


def test_electrode_sites_that_cannot_be_told_apart_are_not_used(alf):
    more_sites(alf, coordinates=False, raw=False)
    recording = read(alf)
    assert recording.probes[0].units["acronym"].tolist() == ["CA1", "VISa5", "LP", "CA1", "cc"]
    assert any("14 electrode sites and 10 channels" in note for note in recording.notes)


# Odd arrays that make sense


def test_high_cluster_ids_take_no_memory(tmp_path):
    rng = np.random.default_rng(0)
    ids = np.array([3, 10**9, 2**62])
    np.save(tmp_path / "spikes.times.npy", np.sort(rng.uniform(0, 60, 600)))
    np.save(tmp_path / "spikes.clusters.npy", ids[rng.integers(0, 3, 600)])
    tracemalloc.start()
    try:
        session = prepare(read(tmp_path), Preparation(units="all"))
        assert survey(FolderFiles(tmp_path), Preparation()).choices[1].n_units == 3
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert session.units["cluster"].tolist() == ids.tolist()


def test_arrays_of_another_byte_order(alf):
    expected = prepare(read(alf), Preparation())
    for path in (alf / "alf").rglob("*.npy"):
        array = np.load(path)
        np.save(path, array.astype(array.dtype.newbyteorder(">")))
    table = pd.read_parquet(alf / "alf" / "_ibl_trials.table.pqt")
    (alf / "alf" / "_ibl_trials.table.pqt").unlink()
    for name in table:
        np.save(alf / "alf" / f"_ibl_trials.{name}.npy", table[name].to_numpy().astype(">f8"))
    found = prepare(read(alf), Preparation())
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.trials["choice"].tolist() == expected.trials["choice"].tolist()
    assert all(dtype.isnative for dtype in found.trials.dtypes)


def test_trials_of_another_kind_are_refused(alf):
    np.save(alf / "alf" / "_ibl_trials.extra.npy", np.zeros(12, dtype=[("a", "f4"), ("b", "i4")]))
    with pytest.raises(SourceError, match=r"_ibl_trials\.extra\.npy must be numbers"):
        read(alf)


@pytest.mark.parametrize(
    "start",
    [
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2000,\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10**30,), }",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (2000,), }",
        b"\x93NUMPY\x09\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2000,), }",
        b"PK\x03\x04",
    ],
    ids=range(5),
)
def test_damaged_headers_of_arrays(alf, start):
    path = sorting(alf) / "spikes.times.npy"
    content = path.read_bytes()
    path.write_bytes(start + content[len(start) :])
    with pytest.raises(SourceError, match=r"spikes\.times\.npy is damaged or cut short"):
        read(alf)


FILES = [
    "probe00/pykilosort/spikes.times.npy",
    "probe00/pykilosort/spikes.clusters.npy",
    "probe00/pykilosort/clusters.channels.npy",
    "probe00/pykilosort/clusters.metrics.pqt",
    "probe00/pykilosort/clusters.uuids.csv",
    "probe00/pykilosort/channels.brainLocationIds_ccf_2017.npy",
    "probe00/pykilosort/channels.localCoordinates.npy",
    "_ibl_trials.table.pqt",
    "_ibl_wheel.position.npy",
    "leftCamera.ROIMotionEnergy.npy",
]


@pytest.mark.parametrize("file", [f for f in FILES if not f.endswith("csv")])
def test_a_file_cut_short_is_named(alf, file):
    path = alf / "alf" / file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=f"{path.name} is damaged or cut short"):
        read(alf)


def test_a_file_that_holds_one_number_is_named(alf):
    path = alf / "alf" / "probe00/pykilosort/spikes.times.npy"
    np.save(path, np.float64(3))
    with pytest.raises(SourceError, match=r"spikes.times.npy must have one axis"):
        read(alf)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    damage=st.lists(
        st.tuples(st.sampled_from(FILES), st.sampled_from(["gone", "empty", "half", "noise"])),
        min_size=1,
        max_size=4,
        unique_by=lambda d: d[0],
    )
)
def test_whatever_is_damaged_it_opens_or_says_why(damage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged") / "M" / "2024-01-01" / "001"
    write_alf(folder)
    for file, how in damage:
        path = folder / "alf" / file
        content = path.read_bytes()
        path.unlink()
        if how != "gone":
            rng = np.random.default_rng(0)
            noise = rng.integers(0, 256, len(content), dtype=np.uint8).tobytes()
            path.write_bytes({"empty": b"", "half": content[: len(content) // 2]}.get(how, noise))
    message = ""
    try:
        assert prepare(read(folder), Preparation()).n_units > 0
    except MtmError as error:
        message = str(error)
    assert len(message) < 600
    assert "\n" not in message


def test_survey_says_what_each_choice_means_without_reading_spikes(alf):
    path = sorting(alf) / "spikes.times.npy"
    size = path.stat().st_size + (sorting(alf) / "spikes.clusters.npy").stat().st_size
    path.write_bytes(b"x" * path.stat().st_size)
    found = survey(FolderFiles(alf), Preparation())
    assert found.title == "MOUSE 2024-02-03 002"
    assert found.probes == ("probe00",)
    assert found.n_trials == 12
    assert found.read_mb == pytest.approx(size / 1e6)
    good, everything = found.choices
    assert (good.units, good.n_units) == ("good", 3)
    assert (everything.units, everything.n_units) == ("all", 5)
    assert everything.counts_mb == pytest.approx(5 * 12 * 100 / 1e6)


def test_survey_of_bare_spikes_counts_what_fired(alf, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("times", "clusters"):
        shutil.copy(sorting(alf) / f"spikes.{name}.npy", bare)
    found = survey(FolderFiles(bare), Preparation())
    assert found.n_trials is None
    assert [c.n_units for c in found.choices] == [5, 5]
    assert found.choices[0].counts_mb == pytest.approx(29 * 100 * 5 / 1e6)  # 59.9 s in 2 s


def test_survey_agrees_with_the_session(sample_path, sample):
    found = survey(FolderFiles(sample_path), Preparation())
    assert found.simulated
    assert "(simulated)" in found.title
    assert found.choices[0].n_units == sample.n_units
