"""The model: predictions, what it refuses, sessions that come and go, and memory that runs out."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mtm import Session
from napari_mtm.errors import MaskError, WeightsError
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASKS
from napari_mtm.metrics import tally
from napari_mtm.model.batches import Batches
from napari_mtm.model.model import Blend, Model, build, new_model
from napari_mtm.recording.slow import SlowLevels
from tests.conftest import trials
from tests.model.small import (
    BINS,
    PRESETS,
    REGIONS,
    SIZES,
    UNITS,
    small_counts,
    small_model,
    small_session,
    some_hidden,
)

SESSION = small_session()
MODELS = {preset: small_model(preset, SESSION) for preset in PRESETS}
NOTHING = np.zeros((BINS, UNITS), bool)
both = pytest.mark.parametrize("preset", PRESETS)


def behaving(n_trials=40, seed=3) -> Session:
    rng = np.random.default_rng(seed)
    return small_session(
        n_trials,
        seed=seed,
        trials=trials(n_trials).assign(probabilityLeft=np.where(np.arange(n_trials) % 3, 0.8, 0.2)),
        behaviour={"wheel-speed": rng.random((n_trials, BINS))},
    )


# Predictions


@both
def test_predictions_are_log_rates_of_all_units(preset):
    found = MODELS[preset].predict(SESSION.counts, NOTHING, task="neuron", session=SESSION)
    assert found.shape == SESSION.counts.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    by_id = MODELS[preset].predict(SESSION.counts, NOTHING, session=SESSION.id)
    np.testing.assert_array_equal(found, by_id)


@both
@pytest.mark.parametrize("task", TASKS)
def test_one_mask_for_all_trials_or_one_for_each(preset, task):
    hidden, counts = some_hidden(), SESSION.counts
    model = MODELS[preset]
    one = model.predict(counts, hidden, task=task, session=SESSION)
    each = np.broadcast_to(hidden, counts.shape)
    np.testing.assert_array_equal(one, model.predict(counts, each, task=task, session=SESSION))
    own = some_hidden(1, n_trials=len(counts))
    found = model.predict(counts, own, task=task, session=SESSION)
    for k in range(len(counts)):
        alone = model.predict(counts[k : k + 1], own[k], task=task, session=SESSION)
        np.testing.assert_allclose(found[k], alone[0], atol=1e-5)
    assert np.abs(found - one).max() > 1e-3


@both
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_of_any_size_give_the_same(preset, size, monkeypatch):
    model, counts = MODELS[preset], small_counts(20)
    hidden = some_hidden(1, n_trials=20)
    whole = model.predict(counts, hidden, session=SESSION)
    monkeypatch.setattr(model, "batches", lambda _: Batches(size, pytest.fail))
    found = model.predict(counts, hidden, session=SESSION)
    np.testing.assert_allclose(found, whole, atol=1e-5)


@both
def test_no_trials_give_no_rates(preset):
    found = MODELS[preset].predict(SESSION.counts[:0], NOTHING, session=SESSION)
    assert found.shape == (0, BINS, UNITS)


@both
def test_predicting_leaves_the_network_and_torch_as_they_were(preset):
    model = small_model(preset, SESSION)
    weights = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    model.network.train()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    counts = SESSION.counts.copy()
    model.predict(counts, NOTHING, session=SESSION)
    assert model.network.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(counts, SESSION.counts)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, weights[name])


@both
def test_counts_may_be_read_only(preset):
    counts, hidden = SESSION.counts.copy(), some_hidden()
    expected = MODELS[preset].predict(counts, hidden, session=SESSION)
    counts.setflags(write=False)
    hidden.setflags(write=False)
    found = MODELS[preset].predict(counts, hidden, session=SESSION)
    np.testing.assert_array_equal(found, expected)


# What is refused


def off_grid(bins=BINS, align="stimOn_times", **about) -> Session:
    counts = np.zeros((2, bins, UNITS), np.uint8)
    return replace(Session.from_counts(counts, REGIONS, id="off", **about), align=align)


@both
@pytest.mark.parametrize(
    ("counts", "hidden", "error", "said"),
    [
        (SESSION.counts[:, :-1], NOTHING[:-1], WeightsError, "20 bins"),
        (SESSION.counts[0], NOTHING, WeightsError, "20 bins"),
        ([[1], [1, 2]], NOTHING, WeightsError, "as many in each row"),
        (np.array(5), NOTHING, WeightsError, "20 bins"),
        (SESSION.counts[..., :-1], NOTHING[:, :-1], WeightsError, "7 units, but the counts 6"),
        (SESSION.counts, NOTHING.astype(int), MaskError, "int64, but must be bool"),
        (SESSION.counts, NOTHING[0], MaskError, r"\(7,\) bool"),
        (SESSION.counts, NOTHING[:-1], MaskError, r"\(19, 7\)"),
        (SESSION.counts, np.zeros((5, BINS, UNITS), bool), MaskError, r"\(5, 20, 7\)"),
    ],
)
def test_arrays_that_do_not_fit(preset, counts, hidden, error, said):
    with pytest.raises(error, match=said):
        MODELS[preset].predict(counts, hidden, session=SESSION)


@both
def test_a_prompt_that_there_is_not(preset):
    with pytest.raises(MaskError, match=r"no prompt 'temporal'; there are neuron, causal, inter"):
        MODELS[preset].predict(SESSION.counts, NOTHING, task="temporal", session=SESSION)


@both
def test_a_session_that_is_only_named(preset):
    model = MODELS[preset]
    with pytest.raises(WeightsError, match="does not know session who; give the session itself"):
        model.predict(SESSION.counts, NOTHING, session="who")
    with pytest.raises(WeightsError, match="knows 7 units of session small-0, not 6"):
        model.predict(SESSION.counts[..., 1:], NOTHING[:, 1:], session=SESSION.id)


@pytest.mark.parametrize(
    ("about", "theirs"),
    [
        ({"bin_size": 0.01}, "20 bins of 10 ms from -0.5 to -0.3 s"),
        ({"bins": 21}, "21 bins of 20 ms from -0.5 to -0.08 s"),
        ({"window": (0.0, 0.4)}, "20 bins of 20 ms from 0 to 0.4 s"),
        ({"bins": 40, "bin_size": 0.01}, "40 bins of 10 ms from -0.5 to -0.1 s"),
    ],
)
def test_the_papers_network_refuses_a_session_cut_otherwise(about, theirs):
    session, model = off_grid(**about), MODELS["published"]
    with pytest.raises(WeightsError) as error:
        model.predict(session.counts, np.zeros(session.counts.shape, bool), session=session)
    assert "20 bins of 20 ms from -0.5 to -0.1 s" in str(error.value)
    assert theirs in str(error.value)
    with pytest.raises(WeightsError):
        model.reconstruct(session, Mask.nothing(session))


@pytest.mark.parametrize(
    "about",
    [
        {"bins": 21},
        {"bins": 3},
        {"bins": 500},
        {"window": (0.0, 0.4)},
        {"window": (30.0, 30.4)},
        {"align": "feedback_times"},
        {"align": "any-time", "window": (0.0, 0.4)},
    ],
    ids=str,
)
def test_our_network_takes_any_window(about):
    """Also after it was taught another; what lies under the mask is never looked at."""
    session, model = off_grid(**about), small_model("default", SESSION)
    hidden = some_hidden(bins=session.n_bins)
    found = model.predict(session.counts, hidden, session=session)
    assert found.shape == session.counts.shape
    assert np.isfinite(found).all()
    other = np.where(hidden, 200, session.counts).astype(np.uint8)
    np.testing.assert_array_equal(model.predict(other, hidden, session=session), found)
    assert model.reconstruct(session, Mask.nothing(session)).rates.shape == session.counts.shape


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"bin_size": 0.01}, "bins of 20 ms, but those of session off are 10 ms wide. Open the"),
        ({"bins": 501}, "at most 10 s, but those of session off are 10.02 s long. Open the"),
    ],
    ids=str,
)
def test_our_network_refuses_other_bins_and_endless_windows(about, said):
    session = off_grid(**about)
    for model in (MODELS["default"], small_model("default", SESSION)):
        with pytest.raises(WeightsError, match=said):
            model.reconstruct(session, Mask.nothing(session))


def test_our_network_knows_when_bins_are():
    """A bin of known time is told apart from the same bin at another time, or at none."""
    model = small_model("default", SESSION)

    def latents(**about):
        session = replace(SESSION, id=f"{about}", **about)
        return model.latents(SESSION.counts, NOTHING, task="neuron", session=session)

    usual, again = latents(window=(-0.5, -0.1)), latents(window=(-0.5 + 1e-9, -0.1))
    np.testing.assert_array_equal(usual, again)
    later, unknown = latents(window=(-0.4, 0.0)), latents(align="feedback_times")
    beyond = latents(window=(5.0, 5.4))
    assert np.abs(later - usual).max() > 1e-3
    assert np.abs(unknown - usual).max() > 1e-3
    np.testing.assert_allclose(beyond, unknown, atol=1e-5)


@both
def test_a_window_off_by_rounding_is_the_same(preset):
    session = replace(SESSION, window=(-0.5 + 1e-9, -0.1), bin_size=0.02 * (1 + 1e-9))
    found = MODELS[preset].predict(session.counts, NOTHING, session=session)
    np.testing.assert_array_equal(
        found, MODELS[preset].predict(SESSION.counts, NOTHING, session=SESSION)
    )


def test_a_device_that_there_is_not():
    for name in ("nonsense", "cuda:99"):
        with pytest.raises(WeightsError, match=f"Cannot use {name}"):
            small_model("default", SESSION).to(name)


# Memory


@both
def test_batches_are_halved_where_memory_runs_out(preset, monkeypatch):
    model, counts = small_model(preset, SESSION), small_counts(20)
    hidden = some_hidden(1, n_trials=20)
    expected = model.predict(counts, hidden, session=SESSION)
    tried, latents = [], model.network.latents

    def short_of_memory(inputs, *args, **settings):
        tried.append(len(inputs))
        if len(inputs) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return latents(inputs, *args, **settings)

    monkeypatch.setattr(model.network, "latents", short_of_memory)
    found = model.predict(counts, hidden, session=SESSION)
    assert tried == [16, 8, 4, 4, 4, 4, 4]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not model.notes


def test_a_cpu_without_memory_for_a_trial(monkeypatch):
    model = small_model("default", SESSION)

    def no_memory(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model.network, "latents", no_memory)
    with pytest.raises(WeightsError, match="not enough memory for a single trial"):
        model.predict(SESSION.counts, NOTHING, session=SESSION)


@both
def test_an_accelerator_without_memory_is_left_for_the_cpu(preset, monkeypatch):
    """The device `meta`, which holds no numbers, plays an accelerator that fits nothing."""
    model = small_model(preset, SESSION)
    expected = model.predict(SESSION.counts, NOTHING, session=SESSION)
    devices = [torch.device("meta")]
    tried, activity = [], model.network.activity

    def only_on_the_cpu(counts, *level):
        tried.append((counts.device.type, len(counts)))
        if counts.device.type != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return activity(counts, *level)

    monkeypatch.setattr(Model, "device", property(lambda _: devices[-1]))
    monkeypatch.setattr(Model, "to", lambda _, device: devices.append(torch.device(device)))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(model.network, "activity", only_on_the_cpu)
    mask = Mask.neurons(SESSION, [0])
    found = model.predict(SESSION.counts, NOTHING, session=SESSION)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert tried == [("meta", 6), ("meta", 3), ("meta", 1), *[("cpu", 1)] * 6]
    assert devices[-1].type == "cpu"
    (note,) = model.notes
    assert note == "Memory of meta ran out; the model moved to the CPU."
    assert note in model.reconstruct(SESSION, mask).notes


@pytest.mark.parametrize(
    ("size", "n", "most", "expected"),
    [
        (4, 10, 9, [4, 4, 2]),
        (4, 3, 9, [3]),
        (8, 10, 3, [2, 2, 2, 2, 2]),
        (100, 6, 3, [3, 3]),
        (5, 4, 1, [1, 1, 1, 1]),
        (3, 0, 1, []),
    ],
)
def test_batches_cover_all_in_order(size, n, most, expected):
    def work(part):
        if part.stop - part.start > most:
            raise torch.OutOfMemoryError
        return list(range(part.start, part.stop))

    done = list(Batches(size, pytest.fail).run(n, work))
    assert [len(part) for part in done] == expected
    assert [k for part in done for k in part] == list(range(n))


def test_giving_up_happens_once_and_the_rest_goes_on():
    room, gave_up = [0], []

    def work(part):
        if part.stop - part.start > room[0]:
            raise torch.OutOfMemoryError
        return part.start

    def give_up():
        gave_up.append(True)
        room[0] = 1

    assert list(Batches(4, give_up).run(3, work)) == [0, 1, 2]
    assert gave_up == [True]


def test_other_errors_are_not_taken_for_want_of_memory():
    def work(_):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(Batches(4, pytest.fail).run(3, work))


# Weights that change


@both
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("mode", [False, True])
def test_a_step_of_an_optimiser_changes_predictions(preset, fused, mode):
    model = small_model(preset, SESSION)
    before = model.predict(SESSION.counts, NOTHING, session=SESSION)
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=0.01, fused=fused)
    model.network.train(mode)
    loadings = model.network.loadings(SESSION.id)
    (loadings.read.sum() + loadings.write.sum() + loadings.bias.sum()).backward()
    optimiser.step()
    model.network.eval()
    after = model.predict(SESSION.counts, NOTHING, session=SESSION)
    fresh = small_model(preset, SESSION)
    fresh.network.load_state_dict(model.network.state_dict())
    np.testing.assert_array_equal(after, fresh.predict(SESSION.counts, NOTHING, session=SESSION))
    assert np.abs(after - before).max() > 1e-3


@both
def test_loading_weights_changes_predictions(preset):
    model, other = small_model(preset, SESSION), small_model(preset, SESSION, seed=1)
    before = model.predict(SESSION.counts, NOTHING, session=SESSION)
    model.network.load_state_dict(other.network.state_dict())
    after = model.predict(SESSION.counts, NOTHING, session=SESSION)
    np.testing.assert_array_equal(after, other.predict(SESSION.counts, NOTHING, session=SESSION))
    assert np.abs(after - before).max() > 1e-3


# Sessions


@both
def test_a_choice_of_units_keeps_their_parameters(preset):
    """Hidden units say nothing, so that leaving them out is the same as hiding them."""
    model = small_model(preset, SESSION)
    keep = np.array([0, 2, 3, 6])
    part = SESSION.select(units=keep)
    full = model.loadings(SESSION.id)
    found = model.loadings(model.attach(part))
    torch.testing.assert_close(found.write, full.write[keep], rtol=0, atol=0)
    torch.testing.assert_close(found.bias, full.bias[keep], rtol=1e-5, atol=1e-6)
    if preset == "published":
        hidden = np.ones((BINS, UNITS), bool)
        hidden[:, keep] = False
        mine = model.predict(part.counts, hidden[:, keep], session=part)
        whole = model.predict(SESSION.counts, hidden, session=SESSION)
        np.testing.assert_allclose(mine, whole[..., keep], atol=1e-5)
    assert model.knows(part)
    assert not model.notes_on(part)
    same = model.predict(SESSION.counts, NOTHING, session=SESSION)
    np.testing.assert_array_equal(
        same, MODELS[preset].predict(SESSION.counts, NOTHING, session=SESSION)
    )


@both
def test_units_in_another_order_are_the_same_units(preset):
    order = np.array([6, 2, 0, 1, 5, 4, 3])
    turned = replace(
        SESSION,
        counts=np.ascontiguousarray(SESSION.counts[..., order]),
        units=SESSION.units.iloc[order].reset_index(drop=True),
    )
    hidden = some_hidden()
    expected = MODELS[preset].predict(SESSION.counts, hidden, session=SESSION)[..., order]
    found = MODELS[preset].predict(turned.counts, hidden[:, order], session=turned)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@both
def test_notes_say_what_is_not_fine_tuned(preset):
    model, mask = small_model(preset, SESSION), Mask.neurons(SESSION, [0])
    assert model.knows(SESSION)
    assert model.knows(SESSION.id)
    assert model.reconstruct(SESSION, mask).notes == ()
    other = small_session(seed=1)
    assert not model.knows(other)
    (note,) = model.reconstruct(other, Mask.neurons(other, [0])).notes
    assert note.startswith("The model is not fine-tuned on small-1")
    assert ("linear regression" if preset == "default" else "mean rate") in note
    assert other.id not in model.trained


@both
def test_many_selections_do_not_mix(preset):
    model = small_model(preset, SESSION, small_session(seed=1))
    parts = [SESSION.select(units=[i, i + 1]) for i in range(5)]
    first = [model.predict(p.counts, NOTHING[:, :2], session=p) for p in parts]
    again = [model.predict(p.counts, NOTHING[:, :2], session=p) for p in reversed(parts)]
    for one, other in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({rates.tobytes() for rates in first}) == len(parts)


# Reconstructions


@both
def test_a_reconstruction_is_what_was_predicted(preset):
    model, mask = MODELS[preset], Mask.region(SESSION, "CA1")
    chosen = [4, 0, 5]
    result = model.reconstruct(SESSION, mask, chosen)
    asked = SESSION.counts[chosen], mask.hidden
    about = {"task": "inter-region", "session": SESSION}
    rates = model.predict(*asked, trials=np.array(chosen), **about)
    np.testing.assert_array_equal(result.rates, np.exp(rates))
    alike = model.reconstruct(SESSION, mask, chosen, slow_levels=False)
    np.testing.assert_array_equal(alike.rates, np.exp(model.predict(*asked, **about)))
    np.testing.assert_array_equal(result.counts, SESSION.counts[chosen])
    assert result.trials.tolist() == chosen
    assert result.units == tuple(SESSION.units["uuid"])
    assert (result.session, result.prompt, result.mask) == (SESSION.id, "inter-region", mask)
    assert result.decoded == {}
    assert "3 trials of small-0" in repr(result)


@both
def test_trials_are_chosen_by_index_or_boolean(preset):
    model, mask = MODELS[preset], Mask.neurons(SESSION, [0])
    whole = model.reconstruct(SESSION, mask)
    assert whole.trials.tolist() == [0, 1, 2, 3, 4, 5]
    for given in ([1, 4], np.array([1, 4]), np.isin(np.arange(6), [1, 4])):
        some = model.reconstruct(SESSION, mask, given)
        assert some.trials.tolist() == [1, 4]
        np.testing.assert_allclose(some.rates, whole.rates[[1, 4]], rtol=1e-5)
    one = model.reconstruct(SESSION, mask, [3])
    assert one.rates.shape == (1, BINS, UNITS)


@pytest.mark.parametrize(
    "wrong", [[6], [0, -1], [True, False], [0.7], [[0, 1]], slice(0, 2)], ids=str
)
def test_trials_that_there_are_not(wrong):
    with pytest.raises(MaskError, match="small-0 are chosen by indices from 0 to 5"):
        MODELS["default"].reconstruct(SESSION, Mask.neurons(SESSION, [0]), wrong)


def test_a_mask_of_another_session():
    other = small_session(regions=["CA1"] * 3, seed=4)
    said = r"\(20 bins, 3 units\) is of another session than small-0 \(20 bins, 7 units\)"
    with pytest.raises(MaskError, match=said):
        MODELS["default"].reconstruct(SESSION, Mask.neurons(other, [0]))


def test_a_mask_of_another_session_of_equal_shape():
    """Its units, or the regions and times that it names them by, are not those of the session."""
    elsewhere = small_session(regions=["LP"] * UNITS)
    assert elsewhere.units["uuid"].tolist() == SESSION.units["uuid"].tolist()
    later = small_session(window=(0.0, 0.4))
    for other, part in (
        (small_session(seed=1), "units"),
        (elsewhere, "regions"),
        (later, "window"),
    ):
        mask = Mask.neurons(other, [0])
        assert mask.hidden.shape == (SESSION.n_bins, SESSION.n_units)
        for ask in (MODELS["default"].reconstruct, MODELS["default"].decode):
            with pytest.raises(MaskError, match=f"another session .* differ in their {part}"):
                ask(SESSION, mask)


@both
def test_what_is_under_the_mask_may_be_anything(preset):
    hidden = some_hidden()
    expected = MODELS[preset].predict(SESSION.counts, hidden, session=SESSION)
    for anything in (np.nan, np.inf, -1.0):
        counts = np.where(hidden, anything, SESSION.counts)
        found = MODELS[preset].predict(counts, hidden, session=SESSION)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.nan, "finite"), (np.inf, "finite"), (-1.0, "0 or more"), (1j, "complex")],
)
def test_what_is_visible_may_not(value, said):
    counts = SESSION.counts.astype(type(value))
    counts[0, 3, 2] = value
    with pytest.raises(WeightsError, match=f"[Cc]ounts must be .*{said}"):
        MODELS["default"].predict(counts, NOTHING, session=SESSION)


@both
def test_the_prompt_is_the_masks_unless_told(preset):
    model = MODELS[preset]
    mask = Mask.forward(SESSION, -0.3)
    assert model.reconstruct(SESSION, mask).prompt == "causal"
    told = model.reconstruct(SESSION, mask, task="neuron")
    assert told.prompt == "neuron"
    rates = model.predict(
        SESSION.counts, mask.hidden, task="neuron", session=SESSION, trials=np.arange(6)
    )
    np.testing.assert_array_equal(told.rates, np.exp(rates))


def test_scores_compare_what_was_scored_by_hand():
    mask = Mask.from_array(SESSION, some_hidden(2, 0.6) & (np.arange(UNITS) < 5))
    result = MODELS["default"].reconstruct(SESSION, mask)
    scores = result.scores()
    bits, spikes = [], []
    for unit in range(5):
        here = mask.scored[:, unit]
        k = SESSION.counts[:, here, unit].astype(np.float64)
        rate = result.rates[:, here, unit].astype(np.float64)
        gain = (k * np.log(rate) - rate).sum() - (k * np.log(k.mean()) - k.mean()).sum()
        bits.append(gain / np.log(2))
        spikes.append(k.sum())
    bits, spikes = np.array(bits), np.array(spikes)
    np.testing.assert_allclose(scores.units["bps"], bits / spikes, rtol=1e-5)
    np.testing.assert_array_equal(scores.units["spikes"], spikes)
    assert scores.bps == pytest.approx((bits / spikes).mean(), rel=1e-5)
    assert scores.bps_pooled == pytest.approx(bits.sum() / spikes.sum(), rel=1e-5)
    assert scores.d2 == pytest.approx(tally(result.counts, result.rates, mask.scored).mean_d2())
    assert scores.units["uuid"].tolist() == SESSION.units["uuid"].tolist()[:5]
    regions = SESSION.units["region"].to_numpy()[:5]
    assert scores.regions["region"].tolist() == list(dict.fromkeys(regions))
    for row in scores.regions.itertuples():
        inside = regions == row.region
        assert row.units == inside.sum()
        assert row.bps == pytest.approx((bits / spikes)[inside].mean(), rel=1e-5)
        assert row.bps_pooled == pytest.approx(bits[inside].sum() / spikes[inside].sum(), rel=1e-5)


def test_scores_of_nothing_are_nan():
    scores = MODELS["default"].reconstruct(SESSION, Mask.nothing(SESSION)).scores()
    assert np.isnan([scores.bps, scores.bps_pooled, scores.d2]).all()
    assert len(scores.units) == len(scores.regions) == 0


# Behaviour


@both
def test_decoded_behaviour(preset):
    session = behaving()
    model = small_model(preset, session)
    mask = Mask.neurons(session, [2])
    assert model.reconstruct(session, mask, [0]).decoded == {}
    readouts = model.fit_readouts(session)
    assert model.readouts == {session.id: readouts}
    result = model.reconstruct(session, mask, [7, 3, 20])
    shapes = {name: values.shape for name, values in result.decoded.items()}
    of_bins = (3, BINS)
    assert shapes == {
        "wheel-speed": of_bins,
        "choice": of_bins,
        "choice-by-trial": (3,),
        "block": (3,),
    }
    assert all(values.dtype == np.float32 for values in result.decoded.values())
    for name in ("choice", "choice-by-trial", "block"):
        assert ((result.decoded[name] >= 0) & (result.decoded[name] <= 1)).all()
    alone = model.reconstruct(session, mask, [3]).decoded
    for name, values in alone.items():
        np.testing.assert_allclose(values[0], result.decoded[name][1], atol=1e-3)


@both
@pytest.mark.parametrize("task", [None, "causal"])
def test_decoding_alone_is_what_comes_with_the_rates(preset, task):
    session = behaving()
    model = small_model(preset, session)
    model.fit_readouts(session)
    chosen = np.arange(session.n_trials) % 9 == 1
    for mask in (Mask.region(session, "CA1"), Mask.nothing(session)):
        for some in ([7, 3, 20], chosen, None):
            result = model.reconstruct(session, mask, some, task=task)
            found = model.decode(session, mask, some, task=task)
            assert set(found) == set(result.decoded) > set()
            for name, values in result.decoded.items():
                np.testing.assert_array_equal(found[name], values)


@both
def test_rates_come_without_decoding_too(preset):
    session = behaving()
    model = small_model(preset, session)
    model.fit_readouts(session)
    mask = Mask.region(session, "CA1")
    full = model.reconstruct(session, mask, [7, 3])
    rates_alone = model.reconstruct(session, mask, [7, 3], decode=False)
    assert rates_alone.decoded == {}
    np.testing.assert_array_equal(rates_alone.rates, full.rates)
    np.testing.assert_array_equal(rates_alone.counts, full.counts)
    assert rates_alone.prompt == full.prompt
    assert rates_alone.notes == full.notes


def test_decoding_without_readouts_gives_nothing():
    session = behaving()
    model = small_model("default", session)
    assert model.decode(session, Mask.region(session, "CA1"), [0]) == {}


def test_decoding_what_does_not_fit():
    session = behaving()
    model = small_model("default", session)
    model.fit_readouts(session)
    other = small_session(3, regions=("CA1", "LP"))
    with pytest.raises(MaskError, match="session"):
        model.decode(session, Mask.nothing(other))
    with pytest.raises(MaskError, match="indices from 0"):
        model.decode(session, Mask.nothing(session), [session.n_trials])


@both
def test_what_is_hidden_is_not_decoded(preset):
    session = behaving()
    model = small_model(preset, session)
    model.fit_readouts(session)
    mask = Mask.region(session, "CA1")
    test = session.split().test  # of others the levels of units are known
    other = session.counts.copy()
    other[test] = np.where(mask.hidden, 9, session.counts[test])
    before = model.reconstruct(session, mask, test).decoded
    after = model.reconstruct(replace(session, counts=other), mask, test).decoded
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


@both
def test_the_choice_so_far_knows_nothing_of_the_future(preset):
    session = behaving()
    model = small_model(preset, session)
    model.fit_readouts(session)
    later, test = session.counts.copy(), session.split().test
    later[test, 11:] += 3
    mask = Mask.nothing(session)
    before = model.reconstruct(session, mask, test).decoded
    after = model.reconstruct(replace(session, counts=later), mask, test).decoded
    np.testing.assert_array_equal(before["choice"][:, :11], after["choice"][:, :11])
    assert np.abs(before["choice"][:, 11:] - after["choice"][:, 11:]).max() > 1e-4


def test_readouts_of_another_cut_are_not_used():
    """The same session in other windows: neither its bins nor their times are the same."""
    session = behaving()
    model = small_model("default", session)
    whole = model.fit_readouts(session)
    later = replace(session, window=(-0.4, 0.0))
    shorter = replace(
        session,
        counts=session.counts[:, :10],
        window=(-0.5, -0.3),
        behaviour={"wheel-speed": session.behaviour["wheel-speed"][:, :10]},
    )
    for other in (later, shorter):
        assert model.reconstruct(other, Mask.nothing(other)).decoded == {}
        model.fit_readouts(other)
        found = model.reconstruct(other, Mask.nothing(other)).decoded["wheel-speed"]
        assert found.shape == other.counts.shape[:2]
        assert model.decode(session, Mask.nothing(session)) == {}
        model.readouts[session.id] = whole
        assert model.reconstruct(session, Mask.nothing(session)).decoded


def test_readouts_are_fitted_on_training_trials():
    session = behaving()
    model = small_model("default", session)
    others = session.split().test
    trace = session.behaviour["wheel-speed"].copy()
    trace[others] = 1e6
    changed = replace(session, behaviour={"wheel-speed": trace})
    mask = Mask.neurons(session, [0])
    found = []
    for one in (session, changed):
        model.fit_readouts(one)
        found.append(model.reconstruct(one, mask).decoded["wheel-speed"])
    np.testing.assert_array_equal(*found)
    model.fit_readouts(changed, np.arange(session.n_trials))
    assert model.reconstruct(changed, mask).decoded["wheel-speed"].max() > 1e3


# New models


@both
def test_a_seed_makes_a_model(preset):
    def weights(seed):
        model = new_model(SESSION, preset, seed=seed, sizes=SIZES[preset], device="cpu")
        return torch.cat([p.detach().flatten() for p in model.network.parameters()])

    torch.manual_seed(0)
    first = weights(3)
    torch.manual_seed(1)
    assert torch.equal(first, weights(3))
    assert not torch.equal(first, weights(4))


@both
def test_a_new_model_leaves_the_randomness_of_torch_alone(preset):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    new_model(SESSION, preset, seed=3, sizes=SIZES[preset], device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


@both
def test_a_new_model_knows_where_it_belongs(preset):
    other = small_session(regions=["CA1", "PO"], seed=1)
    model = new_model([SESSION, other], preset, sizes=SIZES[preset], device="cpu")
    assert model.preset == preset
    assert model.device == torch.device("cpu")
    assert list(model.network.sessions) == [SESSION.id, other.id]
    assert not model.trained
    assert model.describe().startswith(f"{preset}, 0.0 M weights, trained on 0 sessions, 20 bins")
    assert model.describe() in repr(model)


def test_sessions_that_do_not_share_a_model():
    with pytest.raises(WeightsError, match="at least one session"):
        new_model([])
    with pytest.raises(WeightsError, match="10 ms"):
        new_model([SESSION, off_grid(bin_size=0.01)])
    with pytest.raises(WeightsError, match="once"):
        new_model([SESSION, SESSION])
    with pytest.raises(WeightsError, match="cut into"):
        new_model([SESSION, off_grid(bins=21)], "published")
    with pytest.raises(WeightsError, match="20 bins does not fit sessions of 21"):
        new_model(off_grid(bins=21), "published", sizes=SIZES["published"])


def test_presets_that_there_are_not():
    with pytest.raises(WeightsError, match="no preset 'better'"):
        new_model(SESSION, "better")
    with pytest.raises(WeightsError, match="no preset 'default' with such sizes"):
        build("default", SIZES["published"])


@pytest.mark.parametrize("none", [[], np.zeros(0, int), "a boolean for each"])
def test_no_trials_are_a_mistake(none):
    session = small_session()
    chosen = np.zeros(session.n_trials, bool) if isinstance(none, str) else none
    with pytest.raises(MaskError, match="No trials of session"):
        small_model("default", session).reconstruct(session, Mask.nothing(session), chosen)


# The network and the linear expert


def test_shares_put_network_and_expert_together():
    """A weighed sum of log rates; the network's follow the slow levels as far as is said."""
    session = behaving()
    model, test = small_model("default", session), session.split().test
    hidden = np.zeros((BINS, UNITS), bool)
    hidden[:, 2] = True

    def rates(expert, drift, task="neuron"):
        model.blends[session.id] = Blend((expert,) * 4, (drift,) * 4)
        asked = session.counts[test], hidden
        return model.predict(*asked, task=task, session=session, trials=test)

    network, expert = rates(0, 0), rates(1, 0)
    np.testing.assert_allclose(rates(0.25, 0), 0.75 * network + 0.25 * expert, atol=1e-5)
    np.testing.assert_array_equal(rates(1, 1), expert)
    levels, _ = SlowLevels.of(session).at(test)
    np.testing.assert_allclose(
        rates(0, 0.5) - network,
        np.broadcast_to(0.5 * np.log(levels)[:, None], network.shape),
        atol=1e-4,
    )
    hidden[:] = True
    usual = model.expert(session.id).level(test).log_rates.numpy()
    np.testing.assert_allclose(rates(1, 0, "causal"), usual, atol=1e-5)


def test_without_validation_the_expert_counts_most_where_nothing_was_learned():
    model = small_model("default", SESSION)
    other = small_session(seed=1)
    known, new = (model.blend(model.attach(session)) for session in (SESSION, other))
    for task in TASKS:
        assert 0 < known.at(task)[0] < new.at(task)[0] == 1
    part = SESSION.select(units=[0, 2])
    assert model.blend(model.attach(part)) == known
