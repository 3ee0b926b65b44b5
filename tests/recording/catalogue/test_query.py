"""What is asked for is checked before anything is looked at."""

import pytest

from napari_mtm.errors import SourceError
from napari_mtm.recording.catalogue.query import Found, Query, named_as_asked, passes_region

EID = "6d9a1f5e-52f3-4c0b-9c5e-1f0a6b7c8d9e"
SESSION = Found(EID, "KS014", "2019-12-03", 1, "cortexlab", EID, None, regions=("VISa", "CA1"))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({}, True),
        ({"subject": "ks0"}, True),
        ({"subject": " KS014 "}, True),
        ({"subject": "KS015"}, False),
        ({"lab": "cortex"}, True),
        ({"lab": "angelaki"}, False),
        ({"project": "BRAINWIDE"}, True),
        ({"project": "autism"}, False),
        ({"first": "2019-12-03"}, True),
        ({"first": "2019-12-04"}, False),
        ({"last": "2019-12-03"}, True),
        ({"last": "2019-12-02"}, False),
        ({"first": "2019-01-01", "last": "2020-01-01"}, True),
        ({"among": frozenset({EID})}, True),
        ({"among": frozenset()}, False),
    ],
)
def test_names_and_days(asked, answer):
    assert named_as_asked(Query(**asked), SESSION, ["ibl_brainwide_01"]) is answer


def test_without_a_day_no_range_of_days_holds_it():
    folder = Found("path-1", "mine", "", 0, "", "/mine", None)
    assert named_as_asked(Query(), folder)
    assert not named_as_asked(Query(last="2020-01-01"), folder)
    assert not named_as_asked(Query(first="2020-01-01"), folder)


@pytest.mark.parametrize(("region", "answer"), [("", True), ("ca1", True), ("CA3", False)])
def test_regions(region, answer):
    assert passes_region(Query(region=region), SESSION) is answer


def test_a_region_that_is_not_known_is_not_passed():
    nowhere = Found(EID, "KS014", "2019-12-03", 1, "cortexlab", EID, None)
    assert not passes_region(Query(region="CA1"), nowhere)


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [
        ("2019-01-01:2020-01-01", "2019-01-01", "2020-01-01"),
        ("2019-01-01:", "2019-01-01", ""),
        (":2020-01-01", "", "2020-01-01"),
        ("2020-01-01", "2020-01-01", "2020-01-01"),
        ("", "", ""),
    ],
)
def test_ranges_of_days(days, first, last):
    query = Query().between(days)
    assert (query.first, query.last) == (first, last)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"region": "CA11"}, "'CA11' is no region of the Beryl atlas.* Did you mean CA1"),
        ({"region": "nowhere at all"}, "is no region of the Beryl atlas"),
        ({"region": "root"}, "is no region"),
        ({"first": "1.2.2020"}, "'1.2.2020' is no day; write it as 2020-12-31"),
        ({"last": "20200101"}, "is no day"),
        ({"first": "2020-02-30"}, "is no day"),
        ({"first": "2020-02-02", "last": "2020-02-01"}, "no day from 2020-02-02 to 2020-02-01"),
        ({"id": "KS014"}, "KS014 is no id"),
    ],
)
def test_what_cannot_be_asked(asked, said):
    with pytest.raises(SourceError, match=said):
        Query(**asked)


def test_three_days_are_no_range():
    with pytest.raises(SourceError, match="no range of days"):
        Query().between("2020-01-01:2020-01-02:2020-01-03")
