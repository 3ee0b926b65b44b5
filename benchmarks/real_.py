"""Our network against reduced-rank regression, on real sessions that lie beside the checkout."""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.report import Result, Results
from napari_mtm.masking.tasks import SCORES
from napari_mtm.reproducing.arms import REAL, REAL_FULL, Study
from napari_mtm.reproducing.study import Fold, compare
from napari_mtm.reproducing.tables import Claim, of_arm, paired
from tools.steinmetz_sessions import read_session

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "real" / "steinmetz"
SESSIONS = ("session03*", "session07*", "session11*")
"""One of each animal, those with the fewest units."""

STEPS = 800
_PROCESSES = 2
_OURS, _THEIRS = "default", "reduced-rank"


def run() -> Results:
    """Train from scratch on each session, and score both on its test trials, in quick mode."""
    sessions = [read_session(path) for name in SESSIONS for path in FOLDER.glob(name)]
    if not sessions:
        raise FileNotFoundError(2, "There are no recordings", str(FOLDER))
    study = Study({_OURS: REAL.arms[_OURS]}, (_THEIRS,))
    scale = replace(REAL_FULL, seeds=1, steps=STEPS)
    with tempfile.TemporaryDirectory() as out:
        found = compare([Fold(sessions, [])], study, scale, Path(out), workers=_PROCESSES)
    results: Results = {}
    for score in SCORES:
        difference = statistics.fmean(paired(found, Claim("", _OURS, _THEIRS), score).values())
        theirs = statistics.fmean(of_arm(found, _THEIRS, score).values())
        results[f"default_minus_reduced_rank_{score}"] = Result(difference, "bits/spike", theirs)
    mean = statistics.fmean(result.value for result in results.values())
    return {"default_minus_reduced_rank": Result(mean, "bits/spike"), **results}
