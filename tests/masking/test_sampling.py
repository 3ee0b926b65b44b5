"""Masks drawn for training: how much they hide, where, how often, and the same from a seed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtm.masking.sampling import DEFAULT, PUBLISHED, Layout, Recipe, draw, draw_temporal
from napari_mtm.masking.tasks import TASKS

TRIALS, BINS = 400, 50
NAMES = ["VISa"] * 40 + ["CA1"] * 9 + ["LP"] + ["CA1"] * 30 + ["DG"] * 20
LAYOUT = Layout.of(NAMES, power=0.5)
UNITS = len(NAMES)
IN = {name: torch.tensor([n == name for n in NAMES]) for name in dict.fromkeys(NAMES)}
OF_REGIONS = ("inter-region", "intra-region")


def drawn(task, recipe=DEFAULT, seed=0, layout=LAYOUT, trials=TRIALS, bins=BINS):
    """What is hidden and what is scored, (trials, bins, units)."""
    generator = torch.Generator().manual_seed(seed)
    found = draw(task, recipe, layout, trials=trials, bins=bins, generator=generator)
    shape = (trials, bins, len(layout.regions))
    assert found.visible.dtype == found.scored.dtype == torch.bool
    return ~found.visible.expand(shape), found.scored.expand(shape)


def region_of(where) -> str:
    """The region that is all of some units."""
    return next(name for name, units in IN.items() if torch.equal(units, where))


def share(mask) -> torch.Tensor:
    """Of each trial, the share that a mask covers."""
    return mask.float().mean(dim=(1, 2))


def scored_regions(task, layout=LAYOUT, recipe=DEFAULT, trials=TRIALS, seed=0) -> list[str]:
    """The region of each trial that was drawn; of `intra-region` where a unit was scored."""
    _, scored = drawn(task, recipe, seed, layout, trials, bins=1)
    found = []
    for units in scored[:, 0]:
        names = {name for name, hit in zip(NAMES, units.tolist(), strict=True) if hit}
        assert len(names) < 2
        found += names
    return found


# All tasks


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    task=st.sampled_from(TASKS),
    recipe=st.sampled_from([DEFAULT, PUBLISHED, Recipe(units=(0, 1), bins=(0, 1))]),
    names=st.lists(st.sampled_from(["CA1", "LP", "DG"]), min_size=1, max_size=6),
    trials=st.integers(1, 5),
    bins=st.integers(1, 7),
)
def test_only_what_is_hidden_is_scored(seed, task, recipe, names, trials, bins):
    layout = Layout.of(names, power=recipe.region_power)
    hidden, scored = drawn(task, recipe, seed, layout, trials, bins)
    assert not (scored & ~hidden).any()
    if task != "intra-region":
        assert torch.equal(scored, hidden)


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED])
@pytest.mark.parametrize("task", TASKS)
def test_a_seed_draws_the_same_again(task, recipe):
    first, again, other = (drawn(task, recipe, seed) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("task", TASKS)
def test_a_generator_leaves_the_randomness_of_torch_alone(task):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    drawn(task)
    draw_temporal(trials=2, bins=3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_torch_draws():
    def draw_it():
        torch.manual_seed(7)
        return draw("neuron", DEFAULT, LAYOUT, trials=3, bins=4).visible

    assert torch.equal(draw_it(), draw_it())


# Units


def test_neuron_hides_units_in_all_bins():
    hidden, scored = drawn("neuron")
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    assert torch.equal(hidden, scored)
    # 5 to 50% of the units, give or take what chance adds to 100 of them.
    shares = share(hidden)
    assert shares.min() < 0.1
    assert 0.45 < shares.max() < 0.66
    assert shares.mean() == pytest.approx(0.275, abs=0.02)
    assert hidden[:, 0].float().mean(dim=0).sub(0.275).abs().max() < 0.1


@pytest.mark.parametrize("bound", [0.0, 0.2, 0.7, 1.0])
def test_shares_are_drawn_between_bounds(bound):
    """Shares vary as a coin of that bias would, no more."""
    of_units = share(drawn("neuron", Recipe(units=(bound, bound)))[0])
    of_bins = share(drawn("causal", Recipe(bins=(bound, bound), future=0))[0])
    for shares, n in ((of_units, UNITS), (of_bins, BINS)):
        spread = (bound * (1 - bound) / n) ** 0.5
        assert shares.mean() == pytest.approx(bound, abs=4 * spread / TRIALS**0.5)
        assert shares.std() == pytest.approx(spread, rel=0.2)


def test_bounds_are_spread_over_trials():
    wide = share(drawn("neuron", Recipe(units=(0.2, 0.8)))[0])
    assert wide.mean() == pytest.approx(0.5, abs=0.04)
    assert wide.std() == pytest.approx((0.36 / 12 + 0.22 / UNITS) ** 0.5, rel=0.1)


# Bins


def test_causal_hides_all_units_in_the_same_bins():
    hidden, scored = drawn("causal", replace(DEFAULT, future=0.0))
    assert torch.equal(hidden, hidden[..., :1].expand_as(hidden))
    assert torch.equal(hidden, scored)


def test_of_the_future_what_comes_next_is_scored():
    hidden, scored = drawn("causal", replace(DEFAULT, ahead=5), trials=500)
    first = hidden[..., 0].int().argmax(dim=1)
    time = torch.arange(BINS)
    expected = (time >= first[:, None]) & (time < first[:, None] + 5)
    assert torch.equal(scored, expected[..., None].expand_as(scored))


def test_a_share_of_the_causal_masks_hides_the_future():
    hidden = drawn("causal", replace(DEFAULT, future=0.5), trials=2000)[0][..., 0]
    later = hidden.int().diff(dim=1).ge(0).all(dim=1)
    assert later.float().mean() == pytest.approx(0.5, abs=0.04)


def test_the_future_reaches_the_end():
    hidden = drawn("causal", replace(DEFAULT, future=1.0), trials=2000)[0][..., 0]
    assert hidden[:, -1].all()
    assert hidden.int().diff(dim=1).ge(0).all()
    lengths = hidden.sum(dim=1)
    assert lengths.min() == 1
    assert 0.55 * BINS < lengths.max() <= 0.6 * BINS
    assert lengths.float().mean() == pytest.approx(0.3 * BINS, rel=0.05)


def test_no_future_without_a_share_of_it():
    hidden = drawn("causal", replace(DEFAULT, future=0.0), trials=1000)[0][..., 0]
    assert hidden.int().diff(dim=1).ge(0).all(dim=1).float().mean() < 0.01
    assert share(hidden[..., None]).mean() == pytest.approx(0.35, abs=0.02)


def test_temporal_hides_three_bins_in_ten():
    found = draw_temporal(trials=TRIALS, bins=BINS, generator=torch.Generator().manual_seed(0))
    hidden = ~found.visible
    assert torch.equal(hidden, found.scored)
    assert hidden.shape == (TRIALS, BINS, 1)
    assert share(hidden).mean() == pytest.approx(0.3, abs=0.01)
    most = draw_temporal(trials=TRIALS, bins=BINS, ratio=0.9).scored
    assert share(most).mean() == pytest.approx(0.9, abs=0.01)


# Regions


def test_inter_hides_a_whole_region_and_scores_it():
    hidden, scored = drawn("inter-region")
    assert torch.equal(hidden, scored)
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    assert {region_of(units) for units in hidden[:, 0]} == set(NAMES)


def test_intra_hides_all_but_a_region_and_scores_inside():
    hidden, scored = drawn("intra-region")
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))
    inside = {}
    for hides, scores in zip(hidden[:, 0], scored[:, 0], strict=True):
        name = region_of(~hides | scores)
        inside.setdefault(name, []).append(scores[IN[name]].float().mean())
        assert torch.equal(hides & IN[name], scores)
    assert inside.keys() == set(NAMES)
    assert torch.stack(inside["VISa"]).mean() == pytest.approx(0.275, abs=0.05)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_regions_are_drawn_by_a_power_of_their_size(power):
    layout = Layout.of(NAMES, power=power)
    sizes = {name: NAMES.count(name) for name in IN}
    total = sum(size**power for size in sizes.values())
    n = 4000
    found = scored_regions("inter-region", layout, trials=n)
    assert len(found) == n
    # Chi-squared of 4 regions, 3 degrees of freedom: above 21 once in ten thousand times.
    expected = {name: n * size**power / total for name, size in sizes.items()}
    assert sum((found.count(k) - v) ** 2 / v for k, v in expected.items()) < 21


def test_regions_may_be_scattered_among_units():
    layout = Layout.of(["LP", "CA1", "LP", "DG"], power=1)
    assert layout.regions.tolist() == [0, 1, 0, 2]
    assert layout.chances.tolist() == [2, 1, 1]


@pytest.mark.parametrize("task", OF_REGIONS)
def test_a_region_per_trial_or_one_for_the_batch(task):
    assert set(scored_regions(task)) == set(NAMES)
    one = replace(DEFAULT, region_per_trial=False, units=(0.5, 0.5))
    batches = [set(scored_regions(task, recipe=one, trials=30, seed=k)) for k in range(20)]
    assert all(len(names) <= 1 for names in batches)
    assert len(set().union(*batches)) > 1


# The paper's masks


def test_the_published_masks():
    """30% of the units, 60% of the bins, and one region for the batch, all alike likely."""
    assert share(drawn("neuron", PUBLISHED)[0]).mean() == pytest.approx(0.3, abs=0.01)
    assert share(drawn("causal", PUBLISHED)[0]).mean() == pytest.approx(0.6, abs=0.01)
    layout = Layout.of(NAMES, power=PUBLISHED.region_power)
    firsts = []
    for seed in range(400):
        hidden, _ = drawn("inter-region", PUBLISHED, seed, layout, trials=5, bins=1)
        assert torch.equal(hidden, hidden[:1].expand_as(hidden))
        firsts.append(region_of(hidden[0, 0]))
    assert sum((firsts.count(name) - 100) ** 2 / 100 for name in IN) < 21


def test_the_published_masks_within_a_region():
    for seed in range(20):
        hidden, scored = drawn("intra-region", PUBLISHED, seed, trials=200, bins=1)
        seen_somewhere = (~hidden).any(dim=0)[0]
        name = region_of(seen_somewhere)
        assert not scored[..., ~IN[name]].any()
        inside = scored[:, 0][:, IN[name]].float().mean()
        assert inside == pytest.approx(0.3, abs=0.15 if name == "LP" else 0.05)
