"""Numbers on screen: a real minus, and no sign of what is rounded to 0."""

import pytest

from napari_mtm.ui.text.numbers import number, rate, signed


@pytest.mark.parametrize(
    ("value", "decimals", "written"),
    [
        (1.234, 2, "1.23"),
        (-1.567, 2, "−1.57"),
        (-0.004, 2, "0.00"),
        (-0.004, 3, "−0.004"),
        (0.0, 1, "0.0"),
        (-56.4, 0, "−56"),
        (float("nan"), 2, "nan"),
        (float("-inf"), 2, "−inf"),
    ],
)
def test_numbers(value, decimals, written):
    assert number(value, decimals) == written


@pytest.mark.parametrize(
    ("value", "written"), [(0.5, "+0.50"), (-0.5, "−0.50"), (0.001, "0.00"), (-0.001, "0.00")]
)
def test_signed_numbers(value, written):
    assert signed(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (0.0123, "0.012"), (2.53, "2.5"), (51.2, "51"), (99.9, "100"), (1234.5, "1234")],
)
def test_rates(value, written):
    assert rate(value) == f"{written} spikes/s"
