"""A server with sessions of two animals, and a ONE that asks it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from one.api import OneAlyx

from tests.conftest import write_alf
from tests.recording.alyx import Alyx, serving

FIBRES = 776
"""Atlas id of a fibre tract, which is no region."""


@pytest.fixture
def alyx(alf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alyx]:
    """A server with three sessions, one of them with two probes; one lies in no region."""
    other = tmp_path / "elsewhere" / "Subjects" / "RAT"
    first, second = other / "2024-03-01" / "001", other / "2024-03-02" / "001"
    write_alf(first)
    write_alf(first, "probe01")
    write_alf(second)
    (ids,) = second.rglob("channels.brainLocationIds_ccf_2017.npy")
    np.save(ids, np.full(10, FIBRES))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with serving(tmp_path, alf, first, second, page=2) as served:
        yield served


@pytest.fixture
def one(alyx: Alyx, tmp_path: Path) -> OneAlyx:
    """A ONE that is logged in to it, and has downloaded nothing."""
    return OneAlyx(
        base_url=alyx.address,
        username="someone",
        password="a password",
        silent=True,
        cache_dir=tmp_path / "downloads",
        cache_rest=None,
    )
