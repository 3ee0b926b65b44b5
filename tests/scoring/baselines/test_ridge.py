"""Ridge regression: the textbook's, and leaving out is leaving out."""

import numpy as np
import pytest

from napari_mtm.scoring.baselines.ridge import Ridge

N_UNITS = 6


@pytest.fixture(scope="module")
def data():
    """Rows of features, the first of all units and then the second, and of targets."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(300, 2 * N_UNITS))
    features *= np.tile(rng.uniform(0.2, 2.0, N_UNITS), 2)
    features[:, N_UNITS:] += 0.5 * features[:, :N_UNITS]
    targets = rng.normal(size=(300, N_UNITS)) + features[:, :N_UNITS] + features[:, [0]]
    return features, targets


@pytest.fixture(scope="module")
def ridge(data):
    features, targets = data
    return Ridge.of(features.T @ features, features.T @ targets, len(features))


def solved(data, level: int, unit: int, left_out) -> np.ndarray:
    """Weights of a unit from the features of the units that are not left out, by one solve."""
    features, targets = data
    kept = np.flatnonzero(~np.isin(np.arange(2 * N_UNITS) % N_UNITS, left_out))
    scale = (features**2).mean(axis=0) ** -0.25
    scaled = features * scale
    penalty = 10 ** (level / 2) * np.mean((scaled**2).sum(axis=0))
    some = scaled[:, kept]
    weights = np.zeros(2 * N_UNITS)
    weights[kept] = scale[kept] * np.linalg.solve(
        some.T @ some + penalty * np.eye(len(kept)), some.T @ targets[:, unit]
    )
    return weights


@pytest.mark.parametrize("level", [-2, 1])
def test_all_units_together_are_the_textbook_solution(data, ridge, level):
    weights = ridge.solution(level).all_units()
    for unit in range(N_UNITS):
        np.testing.assert_allclose(weights[:, unit], solved(data, level, unit, []), atol=1e-5)


@pytest.mark.parametrize("level", [-2, 1])
def test_each_unit_is_solved_without_itself(data, ridge, level):
    weights = ridge.solution(level).each_unit()
    for unit in range(N_UNITS):
        expected = solved(data, level, unit, [unit])
        np.testing.assert_allclose(weights[:, unit], expected, atol=1e-5)
        assert not weights[[unit, unit + N_UNITS], unit].any()


def test_each_group_is_solved_without_itself(data, ridge):
    groups = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    weights = ridge.solution(0).each_group(groups)
    for group in groups:
        for unit in group:
            expected = solved(data, 0, unit, group)
            np.testing.assert_allclose(weights[:, unit], expected, atol=1e-5)
            assert not weights[np.concatenate([group, group + N_UNITS]), unit].any()


def test_hidden_units_are_left_out_of_all(data, ridge):
    hidden = np.array([1, 4])
    weights = ridge.solution(0).without(hidden).each_unit()
    for unit in range(N_UNITS):
        expected = solved(data, 0, unit, [*hidden, unit])
        np.testing.assert_allclose(weights[:, unit], expected, atol=1e-5)
    twice = ridge.solution(0).without(hidden[:1]).without(hidden[1:]).each_unit()
    np.testing.assert_allclose(twice, weights, atol=1e-5)


def test_among_some_units_the_others_are_left_out(data, ridge):
    among = np.array([0, 2, 3])
    weights = ridge.among(among).solution(1).each_unit()
    for place, unit in enumerate(among):
        expected = solved(data, 1, unit, [*np.setdiff1d(np.arange(N_UNITS), among), unit])
        rows = np.concatenate([among, among + N_UNITS])
        np.testing.assert_allclose(weights[:, place], expected[rows], atol=1e-5)


def test_a_rank_holds_fitted_values_to_that_many_directions(data, ridge):
    features, _ = data
    mean = np.linspace(0.05, 2.0, N_UNITS)
    full, groups = ridge.solution(0).all_units(), [np.arange(N_UNITS)]
    two, six = ridge.reduced(full, groups, mean, (2, 6))
    assert np.linalg.matrix_rank(features @ full, tol=1e-3) == 6
    assert np.linalg.matrix_rank(features @ two, tol=1e-3) == 2
    np.testing.assert_allclose(six, full, atol=1e-5)
    # The best that is left of whitened fitted values is their truncated decomposition.
    left, sizes, right = np.linalg.svd(features @ full / np.sqrt(mean), full_matrices=False)
    best = (left[:, :2] * sizes[:2]) @ right[:2] * np.sqrt(mean)
    np.testing.assert_allclose(features @ two, best, atol=1e-3)


def test_a_unit_without_a_feature_that_varies_says_nothing(data):
    features, targets = (part.copy() for part in data)
    features[:, [2, 2 + N_UNITS]] = 0.0
    weights = Ridge.of(features.T @ features, features.T @ targets, 300).solution(0).each_unit()
    assert np.isfinite(weights).all()
    assert not weights[[2, 2 + N_UNITS]].any()
    assert weights[:, 2].any()
