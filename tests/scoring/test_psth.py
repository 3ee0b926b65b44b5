"""Averages by condition, against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm.scoring.psth import averages, by_group, groupings, smooth


@pytest.fixture
def trials() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "choice": [1.0, -1.0, -1.0, 1.0, 0.0],  # IBL: -1 is right
            "probabilityLeft": [0.5, 0.2, 0.8, 0.8, np.nan],
            "feedbackType": [1.0, 1.0, 1.0, 1.0, 1.0],
        }
    )


def as_lists(groups):
    return {group.name: group.trials.tolist() for group in groups}


def test_trials_are_grouped_by_what_they_were(trials):
    found = groupings(trials)
    assert {by: as_lists(groups) for by, groups in found.items()} == {
        "choice": {"left": [0, 3], "right": [1, 2]},
        "block": {"left": [2, 3], "50:50": [0], "right": [1]},
        "reward": {"reward": [0, 1, 2, 3, 4]},
    }


def test_what_the_table_does_not_know_is_left_out(trials):
    assert list(groupings(trials[["choice"]])) == ["choice"]
    assert not groupings(pd.DataFrame(index=range(3)))


def test_rows_by_group_and_the_others_last(trials):
    groups = groupings(trials)
    assert by_group(groups["choice"], 5).tolist() == [0, 3, 1, 2, 4]
    assert by_group((), 3).tolist() == [0, 1, 2]


def test_each_bin_is_averaged_with_its_neighbours():
    np.testing.assert_allclose(smooth([[0, 3, 0, 6, 9]]), [[1.5, 1, 3, 5, 7.5]])
    np.testing.assert_allclose(smooth([[0, 3, 0, 6, 9]], width=1), [[0, 3, 0, 6, 9]])
    np.testing.assert_allclose(smooth([[4, 2]], width=5), [[3, 3]])


def test_averages_of_groups(trials):
    values = [[0, 6, 0], [1, 1, 1], [3, 3, 3], [2, 0, 0], [99, 99, 99]]
    found = averages(values, groupings(trials)["choice"])
    # Left: the mean of rows 0 and 3 is 1, 3, 0.
    np.testing.assert_allclose(found, [[2, 4 / 3, 1.5], [2, 2, 2]])
    assert averages(values, ()).shape == (0, 3)
