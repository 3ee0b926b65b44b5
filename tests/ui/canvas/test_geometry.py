"""Where labels, ticks and pixels go."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtm.ui.canvas.geometry import Band, View, nice_ticks, spread_labels

GREY = (1, 2, 3)


def test_world_and_pixels():
    view = View(centre=(2.0, 0.5), zoom=100.0, size=(400, 600))
    assert view.to_x(0.5) == 300
    assert view.to_x(1.5) == 400
    assert view.to_y(2.0) == 200
    assert view.x_range == (-2.5, 3.5)


def stacked(heights: list[float]) -> list[Band]:
    tops = np.concatenate([[0], np.cumsum(heights)])
    return [Band(str(k), GREY, tops[k], tops[k + 1]) for k in range(len(heights))]


def test_labels_lie_at_the_middle_of_roomy_bands():
    labels = spread_labels(stacked([100, 50, 150]), 12, 300)
    assert [centre for _, centre in labels] == [50, 125, 225]


@given(
    st.lists(st.floats(0.1, 200), min_size=1, max_size=60),
    st.integers(100, 1200),
    st.floats(-300, 300),
)
def test_labels_never_overlap_keep_their_order_and_stay_inside(heights, height, scroll):
    line = 13.0
    bands = [Band(b.name, GREY, b.top - scroll, b.bottom - scroll) for b in stacked(heights)]
    labels = spread_labels(bands, line, height)
    centres = [c for _, c in labels]
    assert all(b - a >= line - 1e-6 for a, b in pairwise(centres))
    assert all(line / 2 - 1e-6 <= c <= height - line / 2 + 1e-6 for c in centres)
    names = [int(b.name) for b, _ in labels]
    assert names == sorted(names)
    visible = [b for b in bands if b.bottom > 0 and b.top < height]
    assert len(labels) == min(len(visible), int(height // line))


def test_where_there_is_no_room_the_tallest_bands_are_named():
    labels = spread_labels(stacked([1, 30, 1, 30, 1, 30, 1]), 30, 94)
    assert [b.name for b, _ in labels] == ["1", "3", "5"]


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (-0.5, 1.5, 10, [-0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]),
        (-0.5, 1.5, 4, [-0.5, 0.0, 0.5, 1.0, 1.5]),
        (0.013, 0.0199, 4, [0.014, 0.016, 0.018]),
        (0, 2, 1, [0.0, 2.0]),
        (1, 1, 5, []),
        (float("nan"), 1, 5, []),
    ],
)
def test_ticks_are_round(low, high, most, ticks):
    assert nice_ticks(low, high, most) == ticks
