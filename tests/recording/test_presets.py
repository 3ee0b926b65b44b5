"""The lists of sessions that have a name."""

from argparse import ArgumentParser

import pytest

from napari_mtm.cli import _parser
from napari_mtm.recording.alf import is_eid
from napari_mtm.recording.presets import NAMES, eids


@pytest.mark.parametrize(
    ("name", "n"), [("paper", 40), ("held-out", 5), ("training", 35), ("repeated-site", 83)]
)
def test_lists(name, n):
    found = eids(name)
    assert len(found) == len(set(found)) == n
    assert all(is_eid(eid) for eid in found)


def test_what_is_part_of_what():
    assert set(eids("held-out")) | set(eids("training")) == set(eids("paper"))
    assert set(eids("paper")) < set(eids("repeated-site"))
    assert eids("held-out")[:1] == ("5dcee0eb-b34d-4652-acc3-d10afc6eae68",)


def test_the_command_line_knows_all():
    (commands,) = (a for a in _parser()._actions if isinstance(a.choices, dict))
    prepare = commands.choices["prepare"]
    assert isinstance(prepare, ArgumentParser)
    (named,) = (a for a in prepare._actions if a.dest == "list")
    assert tuple(named.choices) == NAMES
