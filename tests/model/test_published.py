"""The published preset is the authors' network: the same weights give their numbers."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from napari_mtm import Session
from napari_mtm.errors import WeightsError
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.importing import SINGLE, from_published_state, import_published
from napari_mtm.model.weights import load_model, save_model

CLOSE = {"rtol": 0, "atol": 1e-4}
NOT_TUNED = "not fine-tuned"
SESSIONS = ("s0", "s1")


@pytest.fixture(scope="module")
def meta(reference):
    return json.loads((reference / "published_meta.json").read_text())


@pytest.fixture(scope="module")
def state(reference):
    return load_file(reference / "published_stitching.safetensors")


@pytest.fixture(scope="module")
def single_state(reference):
    return load_file(reference / "published_single.safetensors")


@pytest.fixture(scope="module")
def expected(reference):
    with np.load(reference / "published_stitching_io.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def expected_single(reference):
    with np.load(reference / "published_single_io.npz") as file:
        return dict(file)


@pytest.fixture
def model(state, meta):
    return from_published_state(state, heads=4, eids=meta["session_table_order"])


def eid_of(meta, session: str) -> str:
    return meta["sessions"][SESSIONS.index(session)]["eid"]


def given(expected, session: str):
    """Counts and what of them is hidden."""
    return expected[f"{session}_counts"], expected[f"{session}_keep"] == 0


def held_out_nll(log_rates, counts, hidden) -> float:
    log_rates, counts = log_rates[hidden].astype(np.float64), counts[hidden]
    return float((np.exp(log_rates) - counts * log_rates).sum())


def in_regions(counts, eid: str) -> Session:
    """A session of these counts whose units are put in another order."""
    names = ["LP", "VISa", "CA1"]
    regions = [names[i % 3] for i in range(counts.shape[2])]
    session = Session.from_counts(counts, regions, id=eid)
    columns = session.units["cluster"].to_numpy()
    assert not np.array_equal(columns, np.arange(len(columns)))
    return session


# The stitched network


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("session", SESSIONS)
def test_log_rates_are_the_authors(session, task, model, meta, expected):
    counts, hidden = given(expected, session)
    found = model.predict(counts, hidden, task=task, session=eid_of(meta, session))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[f"{session}_{task}_lograte"], **CLOSE)
    nll = float(expected[f"{session}_{task}_heldout_nll_sum"])
    assert held_out_nll(found, counts, hidden) == pytest.approx(nll, abs=0.01)


def test_the_prompts_give_numbers_that_this_would_tell_apart(expected):
    for session in SESSIONS:
        rates = [expected[f"{session}_{task}_lograte"] for task in TASKS]
        apart = [np.abs(a - b).max() for i, a in enumerate(rates) for b in rates[:i]]
        assert min(apart) > 10 * CLOSE["atol"]


@pytest.mark.parametrize("way", ["imported", "saved", "saved after a session was claimed"])
def test_other_ways_to_the_same_network(way, model, meta, expected, reference, tmp_path):
    if way == "imported":
        model = import_published(reference / "published_stitching_model_best.pt")
        assert model.record["epoch"] == 3
    else:
        counts, hidden = given(expected, "s1")
        if "claimed" in way:
            model.predict(counts, hidden, session=eid_of(meta, "s1"))
        save_model(model, tmp_path / "m.safetensors")
        model = load_model(tmp_path / "m.safetensors", device="cpu")
    assert model.preset == "published"
    for session in SESSIONS:
        counts, hidden = given(expected, session)
        for task in TASKS:
            found = model.predict(counts, hidden, task=task, session=eid_of(meta, session))
            np.testing.assert_allclose(found, expected[f"{session}_{task}_lograte"], **CLOSE)


# The network of a single session


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_a_network_of_one_session(task, saved, single_state, expected_single, tmp_path):
    model = from_published_state(single_state, heads=4)
    if saved:
        save_model(model, tmp_path / "m.safetensors")
        model = load_model(tmp_path / "m.safetensors", device="cpu")
    counts, hidden = expected_single["counts"], expected_single["keep"] == 0
    found = model.predict(counts, hidden, task=task, session=SINGLE)
    ways = {True: "causal", False: "temporal"}
    right = expected_single[f"{ways[task == 'causal']}_lograte"]
    wrong = expected_single[f"{ways[task != 'causal']}_lograte"]
    np.testing.assert_allclose(found, right, **CLOSE)
    assert np.abs(found - wrong).max() > 0.01


def test_a_network_of_one_session_is_strictly_causal(single_state, expected_single):
    model = from_published_state(single_state, heads=4)
    counts = expected_single["counts"]
    hidden = np.zeros(counts.shape[1:], bool)
    later = counts.copy()
    later[:, 60:] += 1
    before = model.predict(counts, hidden, task="causal", session=SINGLE)
    after = model.predict(later, hidden, task="causal", session=SINGLE)
    np.testing.assert_array_equal(before[:, :60], after[:, :60])
    assert np.abs(before[:, 60:] - after[:, 60:]).max() > 0.01


# Sessions find their own stitchers


@pytest.mark.parametrize("named_first", [False, True])
@pytest.mark.parametrize("session", SESSIONS)
def test_units_in_another_order_get_their_own_columns(session, named_first, model, meta, expected):
    counts, hidden = given(expected, session)
    eid = eid_of(meta, session)
    if named_first:
        model.predict(counts, hidden, session=eid)
    ours = in_regions(counts, eid)
    columns = ours.units["cluster"].to_numpy()
    np.testing.assert_array_equal(ours.counts, counts[:, :, columns])
    for task in TASKS:
        found = model.predict(ours.counts, hidden[:, :, columns], task=task, session=ours)
        right = expected[f"{session}_{task}_lograte"][:, :, columns]
        np.testing.assert_allclose(found, right, **CLOSE)
    result = model.reconstruct(ours, Mask.neurons(ours, [0]))
    assert not any(NOT_TUNED in note for note in result.notes)
    assert result.units == tuple(ours.units["uuid"])


def test_a_choice_of_units_keeps_its_columns(model, meta, expected):
    """19 of the 31 units are not the session whose stitchers are called 19."""
    counts, hidden = given(expected, "s1")
    whole = in_regions(counts, eid_of(meta, "s1"))
    model.predict(whole.counts, hidden, session=whole)
    part = whole.select(units=np.arange(19))
    hide_the_rest = np.zeros(counts.shape[1:], bool)
    hide_the_rest[:, 19:] = True
    found = model.predict(part.counts, hide_the_rest[:, :19], session=part)
    right = model.predict(whole.counts, hide_the_rest, session=whole)[:, :, :19]
    np.testing.assert_allclose(found, right, **CLOSE)


def test_sessions_that_are_not_in_the_table_are_not_fine_tuned(model, expected):
    counts, hidden = given(expected, "s0")
    with pytest.raises(WeightsError, match="does not know session elsewhere; give the session"):
        model.predict(counts, hidden, session="elsewhere")
    ours = in_regions(counts, "elsewhere")
    result = model.reconstruct(ours, Mask.neurons(ours, [0]))
    assert [NOT_TUNED in note and "elsewhere" in note for note in result.notes] == [True]
    mean = ours.counts[ours.split().train].mean(axis=(0, 1))
    np.testing.assert_allclose(result.rates, np.broadcast_to(mean, counts.shape), rtol=1e-4)


def test_other_numbers_of_units_are_refused(model, meta, expected):
    counts, hidden = given(expected, "s0")
    eid = eid_of(meta, "s0")
    with pytest.raises(WeightsError, match="does not know"):
        model.predict(counts[:, :, :7], hidden[:, :, :7], session=eid)
    model.predict(counts, hidden, session=eid)
    with pytest.raises(WeightsError, match=f"knows 19 units of session {eid}, not 7"):
        model.predict(counts[:, :, :7], hidden[:, :, :7], session=eid)
    ours = in_regions(counts, eid)
    with pytest.raises(WeightsError, match="has 19 units, but the counts 7"):
        model.predict(counts[:, :, :7], hidden[:, :, :7], session=ours)


# What is no published network


@pytest.mark.parametrize(
    ("change", "heads"),
    [
        ({}, 0),
        ({}, 5),
        ({"encoder.embedder.embed_pos.weight": None}, 4),
        ({"encoder.embedder.embed_pos.weight": (100,)}, 4),
        ({"encoder.embedder.embed_prompt.weight": (3, 32)}, 4),
        ({"encoder.embedder.embed_session.weight": (40, 31)}, 4),
        ({"encoder.embedder.embed_session.weight": (2, 32)}, 4),
        ({"encoder.layers.1.mlp.up_proj.weight": None}, 4),
        ({"encoder.layers.1.attn.key.bias": (31,)}, 4),
        ({"encoder.stitcher.stitcher_dict.19.weight": (24, 18)}, 4),
        ({"encoder.stitcher.stitcher_dict.19.bias": None}, 4),
        ({"stitch_decoder.stitch_decoder_dict.31.weight": (31, 1)}, 4),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, heads, state, meta):
    changed = dict(state)
    for name, shape in change.items():
        assert name in changed
        if shape is None:
            del changed[name]
        else:
            changed[name] = np.zeros(shape, np.float32)
    with pytest.raises(WeightsError, match="not the weights of a published model") as error:
        from_published_state(changed, heads=heads, eids=meta["session_table_order"])
    assert "\n" not in str(error.value)
