"""Choices: on other units, and as far as they go on getting better."""

import numpy as np
import pytest

from napari_mtm.scoring.baselines.choosing import by_units_alike, deviance, walked


def test_a_deviance_is_that_of_poisson_counts():
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (4, 5, 3)).astype(np.uint8)
    rates = rng.uniform(0.1, 2.0, counts.shape).astype(np.float32)
    expected = [
        sum(
            rates[i, t, n] - counts[i, t, n] * np.log(rates[i, t, n])
            for i in range(4)
            for t in range(5)
        )
        for n in range(3)
    ]
    np.testing.assert_allclose(deviance(counts, rates), expected, rtol=1e-5)


def test_units_choose_what_is_best_for_others_of_their_rate():
    mean = np.repeat([0.01, 1.0], 20)
    deviances = np.zeros((2, 40))
    deviances[0, :20], deviances[1, 20:] = 1.0, 1.0
    assert by_units_alike(deviances, mean).tolist() == [1] * 20 + [0] * 20


def test_what_a_unit_would_like_itself_does_not_count():
    deviances = np.zeros((2, 40))
    deviances[0] = 1.0
    deviances[:, 7] = [0.0, 5.0]
    assert by_units_alike(deviances, np.ones(40))[7] == 1


def test_one_odd_unit_does_not_choose_for_itself():
    mean = np.concatenate([[1e-6, 1.1e-6], np.ones(98)])
    deviances = np.zeros((3, 100))
    deviances[1:, :2], deviances[:2, 2:] = 1.0, 1.0
    assert set(by_units_alike(deviances, mean)) == {2}


@pytest.mark.parametrize(
    ("best", "expected"), [(0, [-1, 0, 1, 2]), (1, [0, 1, 2]), (4, [0, 1, 2, 3, 4, 5])]
)
def test_a_walk_goes_on_past_the_best(best, expected):
    found, deviances = walked(
        lambda level: np.full((1, 5), float((level - best) ** 2)),
        np.ones(5),
        first=(0, 2),
        limits=(-9, 9),
    )
    assert found == expected
    assert deviances.shape == (1, len(expected), 5)
    assert deviances[0, :, 0].argmin() == expected.index(best)


def test_a_walk_ends_at_the_limit():
    found, _ = walked(
        lambda level: np.full((2, 3), -level), np.ones(3), first=(0, 1), limits=(-1, 3)
    )
    assert found == [0, 1, 2, 3]
