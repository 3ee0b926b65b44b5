"""A release of the Brain-Wide Map opens as the session it was made of; what is damaged is said."""

import builtins
import json
import os
import shutil
from pathlib import Path

import blosc
import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session, open_session, search
from napari_mtm.errors import MtmError, SourceError
from napari_mtm.recording.formats import brain_wide_map
from napari_mtm.recording.many import prepare_many
from napari_mtm.recording.opening import find_source, survey_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from tests.recording.formats.releases import (
    EID,
    LOST,
    PIDS,
    on_ticks,
    packed,
    write_behaviour,
    write_release,
)

OTHER = "f1111111-33a3-405e-8336-b65ebc5cb07c"


@pytest.fixture(scope="session")
def release(animal, tmp_path_factory) -> Path:
    """The sample as a release of one session, with its behaviour beside it."""
    place = tmp_path_factory.mktemp("release")
    write_release(place / "bwm_ephys" / "1.2.1", animal)
    write_behaviour(place / "bwm_behavior" / "2.0.0", animal)
    return place / "bwm_ephys" / "1.2.1"


@pytest.fixture(scope="session")
def reference(animal) -> Session:
    """The sample, with spikes on the ticks of the release."""
    return prepare(on_ticks(animal), Preparation())


@pytest.fixture(scope="session")
def opened(release) -> Session:
    return prepare(brain_wide_map.source(release, EID).read(), Preparation())


@pytest.fixture
def damaged(release, tmp_path) -> Path:
    """A copy that a test may damage, without behaviour."""
    return Path(shutil.copytree(release, tmp_path / "copy"))


def add_session(folder: Path) -> None:
    """Let a second session be in the tables, whose probe has no spikes here."""
    for name in ("insertions", "units"):
        path = folder / "metadata" / f"{name}.parquet"
        table = pd.read_parquet(path)
        more = table[table["pid"] == PIDS["probe00"]].assign(eid=OTHER, pid="c0", subject="SECOND")
        pd.concat([table, more]).to_parquet(path)


def change(folder: Path, probe: str, **changes: object) -> None:
    """Change what is said of a probe's spikes; None takes it away."""
    path = folder / "spikes" / PIDS[probe] / "meta.json"
    meta = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in meta.items() if v is not None}))


def rewrite(folder: Path, probe: str, name: str, array: np.ndarray) -> None:
    """Write an array of a probe anew, as it should be written."""
    place = folder / "spikes" / PIDS[probe]
    payload, about = packed(array)
    (place / f"{name}.blosc").write_bytes(payload)
    meta = json.loads((place / "meta.json").read_text())
    meta["arrays"][name] = about
    (place / "meta.json").write_text(json.dumps(meta))


def array(folder: Path, probe: str, name: str) -> np.ndarray:
    place = folder / "spikes" / PIDS[probe]
    about = json.loads((place / "meta.json").read_text())["arrays"][name]
    raw = blosc.decompress((place / f"{name}.blosc").read_bytes())
    return np.frombuffer(raw, about["dtype"])


def test_the_session_is_the_one_it_was_made_of(opened, reference):
    assert (opened.id, opened.name) == (EID, "SIM176-000 2024-01-01 001")
    place = pd.Index(opened.units["uuid"]).get_indexer(reference.units["uuid"])
    assert sorted(place) == list(range(reference.n_units))
    np.testing.assert_array_equal(opened.counts[:, :, place], reference.counts)
    same = [c for c in reference.units if c != "label"]
    pd.testing.assert_frame_equal(
        opened.units.iloc[place][same].reset_index(drop=True), reference.units[same]
    )
    theirs = [c for c in opened.trials if c in reference.trials]
    assert {"choice", "contrastLeft", "signed_contrast", "stimOn_times"} <= set(theirs)
    pd.testing.assert_frame_equal(opened.trials[theirs], reference.trials[theirs])
    assert opened.trials["bwm_include"].all()
    assert opened.excluded == reference.excluded


@pytest.mark.parametrize("name", ["wheel-velocity", "wheel-speed", "whisker-motion-energy"])
def test_behaviour_is_close_to_what_was_recorded(opened, reference, name):
    ours, theirs = opened.behaviour[name], reference.behaviour[name]
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.99
    assert np.corrcoef(ours[both], theirs[both])[0, 1] > 0.98
    assert ours[both].std() == pytest.approx(theirs[both].std(), rel=0.1)


def test_samples_that_are_none_are_left_out(release, animal):
    wheel = brain_wide_map.source(release, EID).read().wheel_position
    since = wheel.times[[LOST - 1, LOST]] - animal.wheel_position.times[0]
    np.testing.assert_allclose(since, [9.99, 10.01], atol=1e-3)
    whole = np.interp(wheel.times, animal.wheel_position.times, animal.wheel_position.values)
    assert np.abs(wheel.values - whole).max() < 0.05


def test_it_opens_by_its_folder_its_id_and_from_many(release, own_cache, tmp_path, opened):
    assert open_session(release) == opened
    assert open_session(EID.upper(), one=release) == opened
    (outcome,) = prepare_many([EID], tmp_path / "out", Preparation(), one=release, workers=1)
    assert outcome.status == "done"
    assert open_session(outcome.store) == opened
    survey = survey_source(EID, one=str(release))
    assert survey.probes == ("probe00", "probe01")
    assert survey.choices[0].n_units == opened.n_units


def test_a_release_may_be_named_from_within_it(release, monkeypatch, opened):
    monkeypatch.chdir(release)
    source = find_source(EID, one=".")
    assert prepare(source.read(), Preparation()) == opened
    assert ("bwm_behavior" in " ".join(name for name, *_ in source.content())) is True


def test_the_table_of_sessions(damaged, reference):
    add_session(damaged)
    table = brain_wide_map.sessions(damaged)
    first, second = table.to_dict("records")
    assert (first["eid"], first["subject"], first["date"]) == (EID, "SIM176-000", "2024-01-01")
    assert (first["number"], first["lab"]) == (1, "simulation")
    assert first["probes"] == ("probe00", "probe01")
    known = dict.fromkeys(reference.units["region"])
    assert first["regions"] == tuple(r for r in known if r not in ("root", "void", "unknown"))
    assert first["good_units"] == reference.n_units
    size = sum(f.stat().st_size for f in (damaged / "spikes").rglob("*") if f.is_file())
    assert first["megabytes"] == pytest.approx(size / 1e6)
    assert (second["eid"], second["probes"], second["megabytes"]) == (OTHER, ("probe00",), 0.0)


def test_a_release_is_searched_by_its_tables(damaged, own_cache):
    add_session(damaged)
    table = search(one=damaged, region="CA1", lab="simul")
    assert table["eid"].tolist() == [OTHER, EID]  # by subject
    assert table["on_disk"].tolist() == [False, True]
    assert open_session(table["eid"][1], one=damaged).id == EID
    assert len(search(one=damaged, subject="SIM")) == 1
    assert len(search(one=damaged, region="MOp")) == 0


def test_a_release_of_several_sessions_asks_for_one(damaged):
    add_session(damaged)
    with pytest.raises(SourceError, match=f"holds 2 sessions; name one .* {EID}, {OTHER}"):
        find_source(damaged)
    with pytest.raises(SourceError, match="Session nobody is not in the release"):
        find_source("nobody", one=damaged)
    with pytest.raises(SourceError, match="has no spikes in"):
        find_source(OTHER, one=damaged).read()


def test_other_folders_are_no_releases(tmp_path, alf):
    assert not brain_wide_map.is_release(tmp_path)
    assert not brain_wide_map.is_release(tmp_path / "nothing")
    assert brain_wide_map.find(alf) is None


def test_what_is_missing_is_said(damaged):
    (damaged / "metadata" / "trials.parquet").unlink()
    (damaged / "clusters.pqt").unlink()
    shutil.rmtree(damaged / "spikes" / PIDS["probe01"])
    session = prepare(brain_wide_map.source(damaged, EID).read(), Preparation())
    said = " ".join(session.notes)
    for words in (
        "Probe probe01 has no spikes here",
        "no trials table",
        "no wheel trace",
        "no whisker",
        "does not hold the uuids",
    ):
        assert words in said
    assert set(session.units["probe"]) == {"probe00"}
    assert session.units["uuid"].str.startswith(f"{PIDS['probe00']}/").all()


def test_uuids_of_the_table_of_units_and_units_that_no_table_knows(damaged, reference):
    path = damaged / "metadata" / "units.parquet"
    table = pd.read_parquet(path)
    table["uuid"] = [f"mine-{i}" for i in range(len(table))]
    table.iloc[1:].to_parquet(path)
    session = prepare(brain_wide_map.source(damaged, EID).read(), Preparation(units="all"))
    names = set(session.units["uuid"])
    assert len(names) == reference.n_units
    assert names - set(table["uuid"]) == {f"{table['pid'].iloc[0]}/{table['cluster_id'].iloc[0]}"}
    lost = session.units[~session.units["uuid"].isin(table["uuid"])].iloc[0]
    assert lost["region"] == "unknown"
    assert np.isnan(lost["label"])
    assert lost["firing_rate"] > 0


def test_regions_that_the_atlas_does_not_know_and_depths_of_channels(damaged):
    path = damaged / "metadata" / "units.parquet"
    table = pd.read_parquet(path).drop(columns="depths").assign(axial_um=40.0)
    table["acronym"] = ["Atlantis", None, *table["acronym"][2:]]
    table["beryl_acronym"] = ["Atlantis", "CA1", *table["beryl_acronym"][2:]]
    table.to_parquet(path)
    units = brain_wide_map.source(damaged, EID).read().probes[0].units
    first = units.loc[table["cluster_id"].iloc[:2]]
    assert first["region"].tolist() == ["unknown", "CA1"]
    assert first["acronym"].tolist() == ["Atlantis", "CA1"]
    assert (units["depth"] == 40.0).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_spikes", 5, "where 5 numbers should be"),
        ("n_spikes", -1, "greater than or equal to 0 in n_spikes"),
        ("n_spikes", None, "Field required in n_spikes"),
        ("n_spikes", "many", "in n_spikes"),
        ("time_encoding", "float_seconds", "in time_encoding"),
        ("cluster_encoding", "letters", "in cluster_encoding"),
        ("time_quantization_us", 0, "in time_quantization_us"),
        ("time_origin_ticks", 2**60, "in time_origin_ticks"),
        ("time_origin_ticks", "soon", "in time_origin_ticks"),
        ("arrays", {}, "does not say what cluster_ids.blosc holds"),
        ("arrays", [1], "in arrays"),
    ],
)
def test_what_is_said_of_spikes_is_checked(damaged, name, value, message):
    change(damaged, "probe00", **{name: value})
    with pytest.raises(SourceError, match=message):
        brain_wide_map.source(damaged, EID).read()


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("spike_clusters", lambda v: v[:-1], "numbers should be"),
        ("spike_clusters", lambda v: v + 1, "there are only"),
        ("spike_clusters", lambda v: v - 1, "there are only"),
        ("spike_clusters", lambda v: v[::-1], None),
        ("spike_clusters", lambda v: np.where(v == 0, 1, v), "the spikes are others"),
        ("spike_clusters", lambda v: v.astype(float), "numbers are of type <f8"),
        ("spike_clusters", lambda v: v.astype("S3"), "numbers are of type|unknown type"),
        ("spike_clusters", lambda v: v[:, None], "its shape is"),
        ("cluster_ids", lambda v: v * 0, "names a cluster twice"),
        ("cluster_ids", lambda v: -v, "or below 0"),
        ("cluster_spike_counts", lambda v: v[1:], "numbers should be"),
        ("cluster_spike_counts", lambda v: v + 1, "the spikes are others"),
        ("spike_times_delta_ticks", lambda v: v[:-1], "numbers should be"),
        ("spike_times_delta_ticks", lambda v: v.astype(np.int32), "numbers are of type <i4"),
        ("spike_times_delta_ticks", lambda v: np.full(len(v), 2**63, "u8"), "too far apart"),
    ],
)
def test_arrays_that_do_not_fit_each_other(damaged, name, edit, message):
    rewrite(damaged, "probe00", name, np.ascontiguousarray(edit(array(damaged, "probe00", name))))
    source = brain_wide_map.source(damaged, EID)
    if message is None:  # as good as any, for all that is known
        assert len(source.read().probes) == 2
        return
    with pytest.raises(SourceError, match=message):
        source.read()


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: b"",
        lambda raw: raw[:10],
        lambda raw: raw[:-1],
        lambda raw: raw + b"0",
        lambda raw: raw[:4] + b"\xff\xff\xff\x7f" + raw[8:],  # would unpack to 2 GB
        lambda raw: raw[:16] + b"\xff" * 40 + raw[56:],
        lambda raw: b"\0" * len(raw),
    ],
)
def test_shards_that_are_damaged_or_would_unpack_to_more(damaged, edit):
    path = damaged / "spikes" / PIDS["probe00"] / "spike_clusters.blosc"
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(SourceError, match=r"spike_clusters\.blosc is damaged or cut short"):
        brain_wide_map.source(damaged, EID).read()


def test_a_file_of_spikes_that_is_not_there(damaged):
    (damaged / "spikes" / PIDS["probe01"] / "cluster_ids.blosc").unlink()
    source = brain_wide_map.source(damaged, EID)
    for use in (source.content, source.read):
        with pytest.raises(SourceError, match=r"Cannot read .*cluster_ids.blosc: No such file"):
            use()


def test_a_pipe_instead_of_a_file(damaged):
    path = damaged / "spikes" / PIDS["probe01"] / "meta.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match="it is a device or a pipe"):
        brain_wide_map.source(damaged, EID).read()


def test_a_probe_whose_shard_is_empty(damaged):
    for name in ("spike_times_delta_ticks", "spike_clusters"):
        rewrite(damaged, "probe01", name, array(damaged, "probe01", name)[:0])
    counts = array(damaged, "probe01", "cluster_spike_counts")
    rewrite(damaged, "probe01", "cluster_spike_counts", counts * 0)
    change(damaged, "probe01", n_spikes=0)
    recording = brain_wide_map.source(damaged, EID).read()
    assert [probe.name for probe in recording.probes] == ["probe00"]
    assert any(note.startswith("Probe probe01 has no spikes") for note in recording.notes)


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("insertions", "eid", None, "has no column eid"),
        ("insertions", "pid", "../../etc", "is no pid"),
        ("insertions", "pid", PIDS["probe00"], "names a probe twice"),
        ("insertions", "probe_name", "probe00", "names a probe twice"),
        ("insertions", "session_number", "first", "what is there is"),
        ("units", "cluster_id", None, "has no column cluster_id"),
        ("units", "cluster_id", 1.5, "there are fractions"),
        ("units", "cluster_id", 3, "names a cluster twice"),
        ("units", "label", "good", "label holds something else than numbers"),
        ("units", "depths", "deep", "depths holds something else than numbers"),
        ("trials", "eid", None, "has no column eid"),
        ("trials", "choice", "left", "choice holds something else than numbers"),
        ("trials", "trial_id", "first", "trial_id holds something else than numbers"),
    ],
)
def test_tables_that_are_not_as_they_should_be(damaged, table, column, value, message):
    path = damaged / "metadata" / f"{table}.parquet"
    rows = pd.read_parquet(path)
    rows = rows.drop(columns=column) if value is None else rows.assign(**{column: value})
    rows.to_parquet(path)
    with pytest.raises(SourceError, match=message):
        prepare(brain_wide_map.source(damaged, EID).read(), Preparation())


@pytest.mark.parametrize("name", ["insertions", "units", "trials"])
def test_tables_that_are_cut_short(damaged, name):
    path = damaged / "metadata" / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(SourceError, match=f"{name}.parquet is damaged or cut short"):
        brain_wide_map.source(damaged, EID).read()


def test_without_blosc_it_is_said_what_to_install(release, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "blosc":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceError, match=r'pip install "napari-mtm\[bwm\]"'):
        brain_wide_map.source(release, EID).read()


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw[:-30],
        lambda raw: b"words",
        lambda raw: raw.replace(b"scaled_numeric", b"another_coding"),
        lambda raw: raw.replace(b"timestamp_fixed_rate", b"timestamp_other_rate"),
        lambda raw: raw.replace(b'"rate_hz": 60.0', b'"rate_hz": 00.0'),
        lambda raw: raw.replace(b'"entry": "w"', b'"entry": "v"'),
        lambda raw: raw[:60] + b"\xff" * 300 + raw[360:],
    ],
)
def test_behaviour_that_cannot_be_read_is_left_out_and_said(release, damaged, tmp_path, edit):
    ours = tmp_path / "bwm_behavior" / "sessions" / f"{EID}.zip"
    ours.parent.mkdir(parents=True)
    theirs = release.parents[1] / "bwm_behavior" / "2.0.0" / "sessions" / f"{EID}.zip"
    ours.write_bytes(edit(theirs.read_bytes()))
    recording = brain_wide_map.source(damaged, EID).read()
    assert recording.wheel_position is None
    assert any("Wheel and whiskers are left out" in note for note in recording.notes)
    assert len(recording.probes) == 2


def test_random_bytes_are_damage_or_nothing(damaged):
    rng = np.random.default_rng(0)
    files = sorted(f for f in damaged.rglob("*") if f.is_file())
    outcomes = set()
    for path in files:
        whole = path.read_bytes()
        for _ in range(2):
            bad = bytearray(whole)
            for place in rng.integers(0, len(bad), 20):
                bad[place] = rng.integers(256)
            path.write_bytes(bytes(bad))
            try:
                brain_wide_map.source(damaged, EID).read()
                outcomes.add("read")
            except MtmError as error:
                outcomes.add(type(error).__name__)
        path.write_bytes(whole)
    assert "SourceError" in outcomes
