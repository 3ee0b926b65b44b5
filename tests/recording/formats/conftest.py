"""What other formats are compared with: the simulated sample, read from its ALF folder."""

import numpy as np
import pandas as pd
import pytest

from napari_mtm import Session
from napari_mtm.recording.opening import find_source
from napari_mtm.recording.preparation import Preparation
from napari_mtm.recording.prepare import prepare
from napari_mtm.recording.raw import Recording


@pytest.fixture(scope="session")
def animal() -> Recording:
    """The sample as its source holds it."""
    return find_source("sample").read()


@pytest.fixture(scope="session")
def expected(animal: Recording) -> Session:
    """The sample cut as by default."""
    return prepare(animal, Preparation())


@pytest.fixture(scope="session")
def all_units(animal: Recording) -> pd.DataFrame:
    """The units of both probes in one table, with an `id` that no other has."""
    tables = [p.units.assign(probe=p.name, cluster=p.units.index) for p in animal.probes]
    return pd.concat(tables, ignore_index=True).rename_axis("id").reset_index()


@pytest.fixture(scope="session")
def trains(animal: Recording, all_units: pd.DataFrame) -> list[np.ndarray]:
    """Spike times of each of `all_units`."""
    found = []
    for probe in animal.probes:
        order = np.argsort(probe.clusters, kind="stable")
        stops = np.searchsorted(probe.clusters[order], probe.units.index, side="right")
        found += np.split(probe.times[order], stops)[: len(probe.units)]
    assert [len(t) for t in found] == [
        int((p.clusters == c).sum()) for p in animal.probes for c in p.units.index
    ]
    return found


def must_be(session: Session, expected: Session, *, uuids: bool = True) -> None:
    """Compare counts and what is known of the units, unit by unit."""
    assert session.n_units == expected.n_units
    key = ["uuid"] if uuids else ["probe", "region", "depth"]
    mine, theirs = (s.units.sort_values(key, kind="stable") for s in (session, expected))
    np.testing.assert_array_equal(
        session.counts[:, :, mine.index], expected.counts[:, :, theirs.index]
    )
    for column in ("region", "acronym", "depth", "label", "probe"):
        assert mine[column].tolist() == theirs[column].tolist(), column
    np.testing.assert_allclose(mine["firing_rate"], theirs["firing_rate"], rtol=1e-3)
