"""Numbers from outside are plain when they are let in, or are refused in a sentence."""

import numpy as np
import pytest

from napari_mtm.arrays import chosen, numbers
from napari_mtm.errors import MaskError, SourceError

FOREIGN = [
    np.array([1 + 2j]),
    np.array(["1", "2"]),
    np.array([1, None], dtype=object),
    np.zeros(2, dtype=[("a", "f4")]),
    np.array(["2024-01-01"], dtype="datetime64[D]"),
    np.ma.masked_array([1.0, 2.0], mask=[False, True]),
    [[1, 2], [3]],
    {"a": 1},
    slice(0, 2),
]


@pytest.mark.parametrize("values", FOREIGN, ids=lambda v: str(getattr(v, "dtype", type(v))))
def test_what_is_no_number_is_refused(values):
    with pytest.raises(SourceError, match=r"^The times must (be numbers|not be masked).*\.$"):
        numbers(values, "The times", SourceError, ndim=None)


def test_plain_numbers_are_not_copied():
    for dtype in ("u1", "u2", "i4", "f4", "f8", "?"):
        given = np.zeros(3, dtype=dtype)
        assert np.shares_memory(numbers(given, "It", SourceError), given)


def test_a_foreign_byte_order_is_turned():
    for dtype in (">u2", ">i8", ">f4", ">f8"):
        found = numbers(np.array([1, 2, 500], dtype=dtype), "It", SourceError)
        assert found.dtype.isnative
        assert found.tolist() == [1, 2, 500]


def test_a_mask_that_masks_nothing_goes():
    found = numbers(np.ma.masked_array([1.0, 2.0]), "It", SourceError)
    assert type(found) is np.ndarray


def test_whole_numbers_may_come_as_floats_of_any_width():
    for given in ([1.0, -2.0], np.array([1, -2], dtype=np.longdouble), [True, False]):
        found = numbers(given, "It", SourceError, kind="whole")
        assert found.dtype == np.int64
        assert found.tolist() == [int(v) for v in given]
    assert numbers(np.array([7], np.uint64), "It", SourceError, kind="whole").dtype == np.int64


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([0.5], "fractions"),
        ([np.nan], "without NaN"),
        ([np.inf], "without NaN and infinite"),
        ([1e300], "infinite"),
        (np.array([2**63], np.uint64), r"below 2\*\*63"),
    ],
)
def test_what_is_not_whole_is_refused(values, why):
    with pytest.raises(SourceError, match=f"It must be whole numbers.*{why}"):
        numbers(values, "It", SourceError, kind="whole")


def test_true_and_false_may_come_as_1_and_0():
    assert numbers([1, 0.0], "It", SourceError, kind="bool").tolist() == [True, False]
    with pytest.raises(SourceError, match="It must be true and false, or 1 and 0"):
        numbers([1, 2], "It", SourceError, kind="bool")


def test_shapes():
    with pytest.raises(SourceError, match=r"It must have one axis; the shape is \(2, 2\)\."):
        numbers(np.zeros((2, 2)), "It", SourceError)
    with pytest.raises(SourceError, match=r"It must have 2 axes; the shape is \(3,\)"):
        numbers(np.zeros(3), "It", SourceError, ndim=2)
    with pytest.raises(SourceError, match=r"It must be of shape \(2, 3\); this one is \(3, 2\)"):
        numbers(np.zeros((3, 2)), "It", SourceError, shape=(2, 3))
    assert numbers(np.zeros((3, 2)), "It", SourceError, shape=(3, 2)).shape == (3, 2)


def test_narrow_and_wide_floats():
    for dtype in (np.float16, np.longdouble):
        given = np.array([1, 2], dtype=dtype)
        assert numbers(given, "It", SourceError, least=-1e30, most=1e30).tolist() == [1.0, 2.0]
        assert numbers(given, "It", SourceError, kind="whole").tolist() == [1, 2]


def test_bounds_and_finiteness():
    assert numbers([np.nan, 1.0], "It", SourceError, least=0).tolist()[1] == 1.0
    with pytest.raises(SourceError, match=r"It must be 0 or more; the least is -1\."):
        numbers([np.nan, -1.0, 5.0], "It", SourceError, least=0)
    with pytest.raises(SourceError, match=r"It must be at most 4; the most is 5\."):
        numbers([1, 5], "It", SourceError, most=4)
    for bad in (np.nan, np.inf):
        with pytest.raises(SourceError, match="It must be finite"):
            numbers([1.0, bad], "It", SourceError, finite=True)


def test_values_beyond_the_first_piece_are_looked_at_too():
    values = np.zeros(5_000_000, dtype=np.float32)
    values[-1] = -1
    with pytest.raises(SourceError, match="the least is -1"):
        numbers(values, "It", SourceError, least=0)


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (2, [2]),
        ([2, 0, 2], [2, 0, 2]),
        (np.array([True, False, True]), [0, 2]),
        ([], []),
        (range(2), [0, 1]),
        (np.array([1], ">u2"), [1]),
    ],
)
def test_what_is_chosen(selection, found):
    assert chosen(selection, 3, "Trials", MaskError).tolist() == found
    assert chosen(selection, 3, "Trials", MaskError).dtype == np.intp


@pytest.mark.parametrize(
    "selection",
    [
        [0.7],
        [0.0],
        [3],
        [-1],
        [True, False],
        np.zeros((1, 2), int),
        np.ones((3, 1), bool),
        ["0"],
        slice(0, 2),
        [None],
        np.array([2**63], np.uint64),
    ],
    ids=str,
)
def test_what_chooses_nothing_that_is_there(selection):
    told = "^Trials are chosen by indices from 0 to 2, or by a boolean for each"
    with pytest.raises(MaskError, match=told):
        chosen(selection, 3, "Trials", MaskError)
