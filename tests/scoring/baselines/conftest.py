"""A session that drifts, and the regression of it."""

import pytest

from napari_mtm import Session
from napari_mtm.scoring.baselines import ReducedRank
from tests.scoring.baselines.worlds import planted


@pytest.fixture(scope="session")
def session() -> Session:
    return planted(drift=0.5)


@pytest.fixture(scope="session")
def regression(session) -> ReducedRank:
    return ReducedRank.fit(session, session.split())
