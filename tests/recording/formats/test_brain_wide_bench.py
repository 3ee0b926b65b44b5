"""A file of BrainWideBench opens as the session it was made of; what is damaged is said."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session, open_session, save_session, survey_source
from napari_mtm.errors import MtmError, SourceError
from napari_mtm.recording.formats import brain_wide_bench
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from tests.recording.formats.bench_files import EID, PIDS, TRIALS, write_bench


@pytest.fixture(scope="session")
def bench(animal, tmp_path_factory) -> Path:
    """The sample as a file of the benchmark."""
    return write_bench(animal, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def opened(bench) -> Session:
    return prepare(brain_wide_bench.find(bench).read(), Preparation())


@pytest.fixture
def damaged(bench, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copy(bench, tmp_path))


def replaced(path: Path, name: str, values: object) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file.create_dataset(name, data=values)


def test_the_session_is_the_one_it_was_made_of(opened, expected):
    assert (opened.id, opened.name) == (EID, "SIM176-000 2024-01-01")
    place = pd.Index(opened.units["uuid"]).get_indexer(expected.units["uuid"])
    assert sorted(place) == list(range(expected.n_units))
    np.testing.assert_array_equal(opened.counts[:, :, place], expected.counts)
    same = ["uuid", "probe", "region", "acronym", "depth", "label", "firing_rate"]
    pd.testing.assert_frame_equal(
        opened.units.iloc[place][same].reset_index(drop=True), expected.units[same]
    )
    assert opened.excluded == expected.excluded


def test_trials_are_in_the_columns_and_signs_of_ibl(opened, expected):
    shared = [name for name in (*TRIALS, "choice", "feedbackType") if name in expected.trials]
    assert len(shared) > 10
    pd.testing.assert_frame_equal(opened.trials[shared], expected.trials[shared], check_dtype=False)
    both = opened.trials["signed_contrast"], expected.trials["signed_contrast"]
    np.testing.assert_array_equal(*both)
    np.testing.assert_array_equal(np.signbit(both[0]), np.signbit(both[1]))
    assert set(opened.trials["choice"]) == {-1.0, 1.0}


@pytest.mark.parametrize("name", ["wheel-velocity", "wheel-speed", "whisker-motion-energy"])
def test_behaviour_of_50_hz_is_close_to_what_was_recorded(opened, expected, name):
    ours, theirs = opened.behaviour[name], expected.behaviour[name]
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.99
    assert np.corrcoef(ours[both], theirs[both])[0, 1] > 0.98
    assert ours[both].std() == pytest.approx(theirs[both].std(), rel=0.1)


def test_further_behaviour(opened, bench):
    recording = brain_wide_bench.find(bench).read()
    assert set(recording.traces) == {"lick-rate", "paw-speed-left"}
    # Samples that the file does not trust are none.
    assert recording.traces["paw-speed-left"].times[-1] < 100.0
    assert set(recording.traces["lick-rate"].values) == {0.0, 50.0}
    starts = opened.trials["stimOn_times"] - 0.5
    late = (starts > 101).to_numpy()
    assert np.isnan(opened.behaviour["paw-speed-left"][late]).all()
    np.testing.assert_allclose(opened.behaviour["paw-speed-left"][(starts < 97).to_numpy()], 3.0)


def test_it_opens_survives_a_store_and_is_surveyed(bench, own_cache, tmp_path, opened):
    session = open_session(bench)
    assert session == opened
    save_session(session, tmp_path / "store")
    assert open_session(tmp_path / "store") == session
    assert session.trials["is_valid"].all()
    survey = survey_source(bench)
    assert survey.probes == ("probe00", "probe01")
    assert survey.title == "SIM176-000 2024-01-01"
    good, every = survey.choices
    assert good.n_units == session.n_units <= every.n_units


def test_other_files_are_none_of_the_benchmark(tmp_path, bench):
    for name, write in {
        "text.h5": lambda path: path.write_text("words"),
        "empty.h5": lambda path: path.write_bytes(b""),
        "other.nwb": lambda path: replaced(new(path), "units/id", [1, 2]),
        "half.h5": lambda path: replaced(new(path), "spikes/timestamps", [1.0]),
    }.items():
        write(tmp_path / name)
        assert brain_wide_bench.find(tmp_path / name) is None
    assert brain_wide_bench.find(tmp_path) is None
    # What a link leads to is another file's.
    with h5py.File(tmp_path / "links.h5", "w") as file:
        for name in ("spikes", "units"):
            file[name] = h5py.ExternalLink(str(bench), name)
    assert brain_wide_bench.find(tmp_path / "links.h5") is None


def new(path: Path) -> Path:
    h5py.File(path, "w").close()
    return path


def test_names_where_the_file_says_less(damaged, tmp_path):
    other = damaged.rename(tmp_path / "mine.h5")
    assert brain_wide_bench.find(other).id == EID
    with h5py.File(other, "r+") as file:
        del file["session"]
    source = brain_wide_bench.find(other)
    assert source.id.startswith("path-")
    assert source.name == "mine"


def test_probes_without_names_are_called_by_their_ids(damaged):
    replaced(damaged, "probes", None)
    recording = brain_wide_bench.find(damaged).read()
    assert [probe.name for probe in recording.probes] == sorted(PIDS.values())


def test_without_probes_all_units_are_of_one(damaged, expected):
    replaced(damaged, "units/probe_id", None)
    recording = brain_wide_bench.find(damaged).read()
    assert [probe.name for probe in recording.probes] == [""]
    session = prepare(recording, Preparation())
    assert session.counts.sum() == expected.counts.sum()


def test_depths_and_rates_of_the_spikes_where_the_units_say_none(damaged, animal):
    for name in ("depths", "firing_rate"):
        replaced(damaged, f"units/{name}", None)
    found = brain_wide_bench.find(damaged).read()
    for probe, known in zip(found.probes, animal.probes, strict=True):
        units = probe.units.set_index("uuid").loc[known.units["uuid"]]
        np.testing.assert_allclose(units["depth"], known.units["depth"])
        number = pd.Series(known.clusters).value_counts().loc[known.units.index]
        np.testing.assert_allclose(units["firing_rate"], number / np.ptp(known.times))


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        (("wheel",), "no wheel trace"),
        (("whisker",), "no whisker motion energy"),
        (("trials",), "no trials table"),
        (("units/label",), "no quality labels"),
        (("units/region_allen", "units/region_beryl"), "in which regions"),
    ],
)
def test_what_is_missing_is_said(damaged, missing, lost):
    for name in missing:
        replaced(damaged, name, None)
    session = prepare(brain_wide_bench.find(damaged).read(), Preparation())
    assert any(lost in note for note in session.notes)


def test_regions_that_the_atlas_does_not_know(damaged):
    with h5py.File(damaged, "r+") as file:
        allen = file["units/region_allen"][:].astype("S20")
        beryl = file["units/region_beryl"][:].astype("S20")
    allen[:4] = [b"Atlantis", b"void", b"", b"\xff\xfe"]
    beryl[:4] = [b"Atlantis", b"void", b"CA1", b"root"]
    replaced(damaged, "units/region_allen", allen)
    replaced(damaged, "units/region_beryl", beryl)
    units = pd.concat([p.units for p in brain_wide_bench.find(damaged).read().probes])
    first = units.set_index("uuid").loc[read(damaged, "units/id")[:4].astype(str)]
    assert first["region"].tolist() == ["unknown", "void", "CA1", "root"]
    assert first["acronym"].tolist()[:3] == ["Atlantis", "void", "CA1"]


def read(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()]


def test_an_opening_block_and_contrasts_on_both_sides(damaged):
    values = read(damaged, "trials/probability_left")
    values[:3] = np.nan
    replaced(damaged, "trials/probability_left", values)
    for side in ("left", "right"):
        contrast = read(damaged, f"trials/contrast_{side}")
        contrast[5] = 0.5
        replaced(damaged, f"trials/contrast_{side}", contrast)
    session = prepare(brain_wide_bench.find(damaged).read(), Preparation())
    assert 0 < session.excluded["no probabilityLeft"] <= 3
    assert any(note.startswith("1 trials have a contrast on both sides") for note in session.notes)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("spikes/timestamps", lambda v: v[:-1], "spike times but the units of"),
        ("spikes/timestamps", lambda v: np.where(v == v[7], np.nan, v), "must be finite"),
        ("spikes/timestamps", lambda v: np.full(len(v), "late").astype("S"), "what is there is"),
        ("spikes/timestamps", lambda v: v[:, None], "must have one axis"),
        ("spikes/unit_index", lambda v: v + 1, "must be at most"),
        ("spikes/unit_index", lambda v: v - 1, "must be 0 or more"),
        ("spikes/unit_index", lambda v: v + 0.5, "there are fractions"),
        ("units/id", lambda v: v[:-1], "must be at most|there are"),
        ("units/id", lambda v: v[:0], "has no units"),
        ("units/id", lambda v: np.arange(len(v)), "must be text"),
        ("units/id", lambda v: v[[0] * len(v)], "names unit"),
        ("units/label", lambda v: v[:-2], "values in units/label where"),
        ("units/label", lambda v: np.full(len(v), b"good"), "what is there is"),
        ("units/probe_id", lambda v: v[:-2], "values in units/probe_id where"),
        ("units/region_allen", lambda v: np.arange(len(v)), "must be text"),
        ("trials/choice", lambda v: v + 5, "must be one of 0, 1, 2; there is"),
        ("trials/choice", lambda v: v[:-1], "columns of"),
        ("trials/start", lambda v: np.full(len(v), b"never"), "what is there is"),
        ("trials/is_valid", lambda v: np.full(len(v), 7), "true and false"),
        ("wheel/wheel_pos", lambda v: np.full(len(v), b"left"), "what is there is"),
        ("wheel/domain/start", lambda v: v * np.nan, "must be finite"),
        ("wheel/domain/end", lambda v: v[:0], "must be of shape"),
        ("whisker/timestamps", lambda v: v[:-5], "values"),
        ("paws/is_left_paw_confident", lambda v: v[:-5], "must be of shape"),
    ],
)
def test_what_is_damaged_is_said_in_a_sentence(damaged, name, change, message):
    replaced(damaged, name, change(read(damaged, name)))
    with pytest.raises(SourceError, match=message):
        prepare(brain_wide_bench.find(damaged).read(), Preparation(units="all"))


@pytest.mark.parametrize("rate", ["fast", 0.0, -50.0, np.nan, [1.0, 2.0], None])
def test_a_sampling_rate_that_is_none(damaged, rate):
    with h5py.File(damaged, "r+") as file:
        del file["wheel"].attrs["sampling_rate"]
        if rate is not None:
            file["wheel"].attrs["sampling_rate"] = rate
    with pytest.raises(SourceError, match="sampling_rate of wheel"):
        brain_wide_bench.find(damaged).read()


def test_gaps_of_a_regular_series_are_left_out(damaged):
    pieces = np.array([[0.0, 10.0], [30.0, 40.0]])
    replaced(damaged, "wheel/wheel_pos", np.arange(2000) % 100)
    for k, name in enumerate(("start", "end")):
        replaced(damaged, f"wheel/domain/{name}", pieces[:, k])
    wheel = brain_wide_bench.find(damaged).read().wheel_position
    assert len(wheel.times) == 1000
    np.testing.assert_allclose(wheel.times[[0, 499, 500, 999]], [0, 9.98, 30, 39.98])
    assert wheel.values[500] == 1500 % 100


def test_no_spikes(damaged):
    for name, kind in (("timestamps", float), ("unit_index", int)):
        replaced(damaged, f"spikes/{name}", np.empty(0, dtype=kind))
    with pytest.raises(SourceError, match="has no spikes"):
        brain_wide_bench.find(damaged).read()


def test_a_probe_without_spikes_is_left_out(damaged):
    ids = read(damaged, "units/probe_id")
    first = int(np.flatnonzero(ids == ids[-1])[0])
    index = read(damaged, "spikes/unit_index")
    for name in ("timestamps", "unit_index"):
        replaced(damaged, f"spikes/{name}", read(damaged, f"spikes/{name}")[index < first])
    recording = brain_wide_bench.find(damaged).read()
    assert [probe.name for probe in recording.probes] == ["probe00"]
    assert "Probe probe01 has no spikes here, so its units are left out." in recording.notes


def test_more_is_claimed_than_is_stored(damaged):
    with h5py.File(damaged, "r+") as file:
        del file["spikes/timestamps"]
        file.create_dataset("spikes/timestamps", shape=(10**12,), chunks=(10**6,), dtype="f8")
    with pytest.raises(SourceError, match="would be 8,000,000,000,000 bytes"):
        brain_wide_bench.find(damaged)


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.999])
def test_a_file_that_is_cut_short(damaged, share):
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceError, match="damaged or cut short"):
        brain_wide_bench.find(damaged)


def test_random_bytes_are_damage_or_nothing(damaged):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(damaged.read_bytes(), dtype=np.uint8)
    with h5py.File(damaged) as file:
        spikes = [file[f"spikes/{n}"] for n in ("timestamps", "unit_index", "depth")]
        taken = [(d.id.get_offset(), d.id.get_storage_size()) for d in spikes]
    about = np.ones(len(whole), dtype=bool)  # what is no spike, where damage does most
    for start, size in taken:
        about[start : start + size] = False
    places = np.flatnonzero(about)
    outcomes = set()
    for _ in range(10):
        bad = whole.copy()
        bad[rng.choice(places, 200)] = rng.integers(0, 256, 200)
        damaged.write_bytes(bad.tobytes())
        try:
            source = brain_wide_bench.find(damaged)
            if source is not None:
                prepare(source.read(), Preparation())
            outcomes.add("read")
        except MtmError as error:
            outcomes.add(type(error).__name__)
    assert "SourceError" in outcomes
