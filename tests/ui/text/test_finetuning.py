"""Words of the fine-tune panel."""

import pytest

from napari_mtm.ui.text.finetuning import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "5 seconds"),
        (31, "35 seconds"),
        (60, "a minute"),
        (89, "a minute"),
        (125, "2 minutes"),
        (3700, "1 h 02 min"),
    ],
)
def test_durations_are_rough(seconds, words):
    assert duration(seconds) == words
