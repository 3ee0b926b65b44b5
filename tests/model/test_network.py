"""The networks: what reaches the rates and what does not, and what a unit never seen is given."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtm import Session
from napari_mtm.masking.mask import Mask
from napari_mtm.masking.tasks import TASKS
from napari_mtm.model.model import build, new_model
from napari_mtm.model.network import Attention, Dropout, decode, encode, log_rates
from napari_mtm.model.units import Units
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
SEEDS = st.integers(0, 2**32 - 1)
MASKS = {
    "nothing": Mask.nothing(SESSION),
    "a unit": Mask.neurons(SESSION, [3]),
    "two units": Mask.neurons(SESSION, [0, 5]),
    "a region": Mask.region(SESSION, "CA1"),
    "a unit within a region": Mask.within_region(SESSION, "CA1", [3]),
    "the last bins": Mask.forward(SESSION, -0.3),
    "all but a region": ~Mask.region(SESSION, "LP"),
    "everything": ~Mask.nothing(SESSION),
}


def predicted(preset, counts, hidden, task):
    return MODELS[preset].predict(counts, hidden, task=task, session=SESSION)


def redrawn(counts, where, seed):
    """Other counts where told, up to the most that a count can be."""
    other = np.random.default_rng(seed).integers(0, 256, counts.shape, dtype=np.uint8)
    return np.where(where, other, counts)


def test_counts_are_uneven_enough_to_matter():
    assert len(np.unique(SESSION.counts)) > 3
    for preset in PRESETS:
        rates = predicted(preset, SESSION.counts, MASKS["nothing"].hidden, "neuron")
        assert rates.std() > 0.1


# What the future tells the past


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, now=st.integers(1, BINS - 1), share=st.sampled_from([0, 0.4]))
def test_default_causal_rates_never_see_the_future(seed, now, share):
    hidden = some_hidden(seed, share, len(SESSION.counts))
    future = np.arange(BINS)[:, None] >= now
    other_hidden = np.where(future, some_hidden(seed + 1, 0.5, len(hidden)), hidden)
    before = predicted("default", SESSION.counts, hidden, "causal")
    after = predicted("default", redrawn(SESSION.counts, future, seed), other_hidden, "causal")
    np.testing.assert_array_equal(before[:, :now], after[:, :now])


@pytest.mark.parametrize("now", [1, 7, BINS - 2])
def test_what_happens_now_changes_later_causal_rates(now):
    nothing = MASKS["nothing"].hidden
    counts = SESSION.counts.copy()
    counts[:, now] += 5
    before = predicted("default", SESSION.counts, nothing, "causal")
    after = predicted("default", counts, nothing, "causal")
    assert (np.abs(before - after).max(axis=(0, 2))[now:] > 1e-3).all()


@pytest.mark.parametrize("task", ["neuron", "inter-region", "intra-region"])
@pytest.mark.parametrize("preset", PRESETS)
def test_other_prompts_see_the_future(preset, task):
    nothing = MASKS["nothing"].hidden
    later = redrawn(SESSION.counts, np.arange(BINS)[:, None] >= 12, 1)
    before = predicted(preset, SESSION.counts, nothing, task)
    after = predicted(preset, later, nothing, task)
    assert np.abs(before[:, :12] - after[:, :12]).max() > 1e-3


@pytest.mark.parametrize("now", [1, 7, BINS - 1])
@pytest.mark.parametrize("preset", PRESETS)
def test_strict_latents_never_see_the_future(preset, now):
    nothing = MASKS["nothing"].hidden
    later = redrawn(SESSION.counts, np.arange(BINS)[:, None] >= now, 1)

    def latents(counts, strict):
        return MODELS[preset].latents(
            counts, nothing, task="causal", session=SESSION, strict=strict
        )

    before, after = latents(SESSION.counts, strict=True), latents(later, strict=True)
    np.testing.assert_array_equal(before[:, :now], after[:, :now])
    assert np.abs(before[:, now:] - after[:, now:]).max() > 1e-3
    # The paper's two tokens carry the future back.
    leak = np.abs(latents(SESSION.counts, strict=False) - latents(later, strict=False))[:, :now]
    assert (leak.max() > 0) == (preset == "published")


def test_at_full_size_too():
    counts = np.random.default_rng(0).poisson(0.5, (2, 100, 9))
    session = Session.from_counts(counts, ["CA1"] * 5 + ["LP"] * 4, id="long")
    model = new_model(session, device="cpu")
    later, hidden = session.counts.copy(), np.random.default_rng(1).random((100, 9)) < 0.3
    later[:, 61:] += 3
    before = model.predict(session.counts, hidden, task="causal", session=session)
    after = model.predict(later, hidden, task="causal", session=session)
    np.testing.assert_array_equal(before[:, :61], after[:, :61])
    assert np.abs(before[:, 61:] - after[:, 61:]).max() > 1e-3


# What is hidden


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_mask_hides_never_reaches_the_rates(preset, name, task):
    hidden = MASKS[name].hidden
    before = predicted(preset, SESSION.counts, hidden, task)
    after = predicted(preset, redrawn(SESSION.counts, hidden, 1), hidden, task)
    np.testing.assert_array_equal(before, after)
    if not hidden.all():
        seen = predicted(preset, redrawn(SESSION.counts, ~hidden, 1), hidden, task)
        assert np.abs(before - seen).max() > 1e-3


@settings(max_examples=15, deadline=None)
@given(
    seed=SEEDS,
    share=st.floats(0, 1),
    preset=st.sampled_from(PRESETS),
    task=st.sampled_from(TASKS),
    by_trial=st.booleans(),
)
def test_whatever_is_hidden_never_reaches_the_rates(seed, share, preset, task, by_trial):
    hidden = some_hidden(seed, share, len(SESSION.counts) if by_trial else None)
    before = predicted(preset, SESSION.counts, hidden, task)
    after = predicted(preset, redrawn(SESSION.counts, hidden, seed), hidden, task)
    np.testing.assert_array_equal(before, after)


def test_default_tells_hidden_from_silent():
    """A zero that is hidden is not a zero that was seen."""
    counts = SESSION.counts.copy()
    counts[:, :, 3] = 0
    hidden = predicted("default", counts, MASKS["a unit"].hidden, "neuron")
    silent = predicted("default", counts, MASKS["nothing"].hidden, "neuron")
    assert np.abs(hidden - silent)[:, :, [0, 1, 2, 4, 5, 6]].max() > 1e-3


# The linear ends


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, unit=st.integers(0, UNITS - 1), preset=st.sampled_from(PRESETS))
def test_hiding_a_unit_subtracts_what_it_says(seed, unit, preset):
    network, loadings = MODELS[preset].network, MODELS[preset].loadings(SESSION.id)
    activity = network.activity(torch.as_tensor(SESSION.counts))
    visible = torch.as_tensor(~some_hidden(seed, 0.3, len(SESSION.counts)))
    visible[:, :, unit] = True
    without = visible.clone()
    without[:, :, unit] = False
    with torch.no_grad():
        said = activity[:, :, unit, None] * loadings.read[unit]
        if loadings.present is not None:
            said = said + loadings.present[unit]
        left = encode(loadings, activity, visible) - said
        torch.testing.assert_close(left, encode(loadings, activity, without), rtol=1e-4, atol=1e-4)
    assert said.abs().max() > 0.1


@pytest.mark.parametrize("preset", PRESETS)
def test_units_that_are_hidden_throughout_need_only_the_latents(preset):
    model, hidden = MODELS[preset], MASKS["a region"].hidden
    latents = model.latents(SESSION.counts, hidden, task="inter-region", session=SESSION)
    rates = predicted(preset, SESSION.counts, hidden, "inter-region")
    found = decode(model.loadings(SESSION.id), torch.as_tensor(latents)).detach().numpy()
    expert = model.expert(SESSION.id)
    if expert is not None:  # a half of what is predicted
        level, counts = expert.level(), torch.as_tensor(SESSION.counts)
        deviation = counts.float().sqrt() - level.roots
        linear = expert.log_rates(deviation, torch.as_tensor(~hidden), level, "inter-region")
        found = (found + linear.numpy()) / 2
    inside = hidden.all(axis=0)
    np.testing.assert_allclose(found[..., inside], rates[..., inside], atol=1e-5)
    assert (np.abs(found - rates)[..., ~inside].max() > 1e-3) == (preset == "default")


@pytest.mark.parametrize("now", [0, 9])
def test_the_own_past_tells_a_unit_alone_and_fades(now):
    """Latents apart, a spike reaches the rates of its own unit in later bins, and no others."""
    model = MODELS["default"]
    loadings = model.loadings(SESSION.id)
    visible = torch.ones(1, BINS, UNITS, dtype=torch.bool)
    latents = torch.zeros(1, BINS, loadings.write.shape[1])
    counts = torch.as_tensor(SESSION.counts[:1])

    def rates(counts, visible):
        return log_rates(loadings, latents, model.network.activity(counts), visible).detach()[0]

    for unit in range(UNITS):
        more, hides = counts.clone(), visible.clone()
        more[0, now, unit] += 1
        hides[0, now, unit] = False
        for changed in (rates(more, visible), rates(counts, hides)):
            told = (changed - rates(counts, visible)).abs()
            assert not told[: now + 1].any()
            assert not told[:, torch.arange(UNITS) != unit].any()
            assert told[now + 1 : now + 4, unit].min() > 1e-4
            assert told[-1, unit] < told[:, unit].max()
        assert torch.equal(rates(more, hides), rates(counts, hides))


# Prompts


@pytest.mark.parametrize("preset", PRESETS)
def test_every_prompt_gives_other_rates(preset):
    rates = [predicted(preset, SESSION.counts, MASKS["a unit"].hidden, task) for task in TASKS]
    apart = [np.abs(a - b).max() for i, a in enumerate(rates) for b in rates[:i]]
    assert min(apart) > 1e-3


# Units never seen


def loadings_of(regions, seed=5):
    """Loadings that the default network gives to units of a session never seen."""
    model = small_model("default", SESSION)
    other = small_session(regions=regions, seed=seed)
    return model.network, model.loadings(model.attach(other)), other


def test_neutral_units_are_their_region():
    network, loadings, other = loadings_of(["CA1", "CA1", "VISa", "CA1"])
    at = {name: np.flatnonzero(other.units["region"] == name) for name in ("CA1", "VISa")}
    for part in (loadings.read, loadings.write):
        ca1 = part[at["CA1"]]
        torch.testing.assert_close(ca1, ca1[:1].expand_as(ca1), rtol=0, atol=0)
        assert (part[at["CA1"][0]] - part[at["VISa"][0]]).abs().max() > 1e-3
    means = network.region_means[network.regions.index("CA1")].detach()
    sizes = SIZES["default"]
    write = means[sizes.rank :][: sizes.head]
    torch.testing.assert_close(loadings.write[at["CA1"][0]].detach(), write)


def test_trained_units_of_a_region_differ():
    loadings = MODELS["default"].loadings(SESSION.id)
    for region in SESSION.regions:
        units = range(region.units.start, region.units.stop)
        for part in (loadings.read, loadings.write):
            apart = [(part[i] - part[j]).abs().max() for i in units for j in units if i < j]
            assert min(apart) > 1e-3


def test_a_region_never_seen_is_the_mean_of_regions():
    network, loadings, _ = loadings_of(["PO", "PO"])
    assert "PO" not in network.regions
    sizes = SIZES["default"]
    mean = network.region_means.detach().mean(dim=0)
    read = mean[: sizes.rank] * 4 / np.sqrt(2)
    torch.testing.assert_close(loadings.read.detach()[0, : sizes.rank], read)
    write = mean[sizes.rank :][: sizes.head]
    torch.testing.assert_close(loadings.write.detach()[1], write)


def test_a_neutral_unit_keeps_its_own_rate():
    network, loadings, other = loadings_of(["CA1", "CA1", "VISa"])
    rates = other.counts[other.split().train].mean(axis=(0, 1), dtype=np.float64)
    rows = [network.regions.index(name) for name in other.units["region"]]
    bias = network.region_means.detach()[rows, -1].numpy()
    np.testing.assert_allclose(loadings.bias.detach(), np.log(rates) + bias, rtol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_silent_unit_has_a_finite_rate(preset):
    counts = small_counts()
    counts[:, :, 2] = 0
    session = Session.from_counts(counts, REGIONS, id="silent")
    model = small_model(preset, SESSION)
    rates = model.predict(session.counts, MASKS["nothing"].hidden, session=session)
    assert np.isfinite(rates).all()


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_number_of_units(preset, n):
    session = small_session(n_trials=3, regions=["CA1"] * n, id=f"of {n}")
    trained = small_model(preset, session)
    neutral = MODELS[preset]
    for task in TASKS:
        for model in (trained, neutral):
            rates = model.predict(
                session.counts, np.zeros((BINS, n), bool), task=task, session=session
            )
            assert rates.shape == (3, BINS, n)
            assert np.isfinite(rates).all()


# Learning


@pytest.mark.parametrize("preset", PRESETS)
def test_a_loss_reaches_every_weight(preset):
    torch.manual_seed(0)
    network = small_model(preset, SESSION).network
    network.train()
    counts = torch.as_tensor(SESSION.counts)
    loadings, activity = network.loadings(SESSION.id), network.activity(counts)
    visible = torch.as_tensor(~some_hidden(1))
    loss = 0
    for i, task in enumerate(TASKS):
        inputs = encode(loadings, activity, visible)
        latents = network.latents(inputs, torch.tensor([i]), SESSION.id, causal=task == "causal")
        rates = log_rates(loadings, latents, activity, visible)
        loss = loss + (rates.exp() - counts * rates).mean()
    loss.backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    assert network.prompts.weight.grad.abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("preset", PRESETS)
def test_dropout_is_for_training_only(preset):
    model = small_model(preset, SESSION)
    nothing = MASKS["nothing"].hidden
    inputs = torch.zeros(2, BINS, SIZES[preset].inner if preset == "published" else 5)
    prompt = torch.tensor([0])
    once, again = (
        [model.network.train(mode).latents(inputs, prompt, SESSION.id, causal=False) for _ in "ab"]
        for mode in (True, False)
    )
    assert not torch.equal(*once)
    assert torch.equal(*again)
    model.network.train()
    first = model.predict(SESSION.counts, nothing, session=SESSION)
    np.testing.assert_array_equal(first, model.predict(SESSION.counts, nothing, session=SESSION))
    assert model.network.training


@pytest.mark.parametrize("preset", PRESETS)
def test_parameters_of_sessions_are_apart(preset):
    network = build(preset, SIZES[preset])
    nothing = sum(p.numel() for p in network.shared().values())
    network.add_session(Units.of(SESSION), neutral=True)
    assert sum(p.numel() for p in network.shared().values()) == nothing
    assert network.sessions[SESSION.id].ids == tuple(SESSION.units["uuid"])
    all_weights = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in network.own(SESSION.id)) == all_weights - nothing > 0


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_dropout_drops_a_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    x = torch.rand(50, 41, 31) + 1
    dropped = Dropout(share)(x)
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(1 - share, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(float(x.mean()), rel=0.01)
    torch.testing.assert_close(dropped[kept], x[kept] / (1 - share))
    rows = kept.flatten(1).double()
    assert (torch.corrcoef(rows) - torch.eye(50)).abs().max() < 0.2
    torch.manual_seed(0)
    torch.rand(50, 41, 31)
    assert torch.equal(Dropout(share)(x), dropped)


@pytest.mark.parametrize(("causal", "masked"), [(False, False), (True, False), (False, True)])
def test_attention_that_drops_next_to_nothing_is_attention(causal, masked):
    attention = Attention(16, 2, 1e-9, None)
    x = torch.randn(3, 11, 16)
    mask = torch.rand(11, 11) < 0.5 if masked else None
    if mask is not None:
        mask.fill_diagonal_(fill_value=True)
    ours = attention.train()(x, mask, causal=causal)
    torch.testing.assert_close(ours, attention.eval()(x, mask, causal=causal))
