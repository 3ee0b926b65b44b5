"""Names of sessions say whose they are."""

import pytest

from napari_mtm.recording.naming import Named, parts_of_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("KS014 2019-12-03 001", Named("KS014", "2019-12-03", 1)),
        ("Cori 2016-12-14", Named("Cori", "2016-12-14", 0)),
        ("a mouse 2016-12-14 12", Named("a mouse", "2016-12-14", 12)),
        ("2016-12-14 001", None),
        ("counts-ab12", None),
        ("Cori 2016-12-14 late", None),
    ],
)
def test_a_name_is_taken_apart(name: str, parts: Named | None) -> None:
    assert parts_of_name(name) == parts
