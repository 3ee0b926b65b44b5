"""Where runs that nobody named a folder for are kept, session by session."""

import os
from datetime import datetime
from itertools import count
from pathlib import Path
from urllib.parse import quote


def folder() -> Path:
    """Return the folder of runs: the environment's NAPARI_MTM_RUNS, or the platform's place."""
    from platformdirs import user_data_path

    named = os.environ.get("NAPARI_MTM_RUNS")
    return Path(named) if named else user_data_path("napari-mtm", appauthor=False) / "runs"


def new_folder(session: str) -> Path:
    """Return a folder, not there yet, for a new run on a session, by the session's id."""
    begun = datetime.now().strftime("%Y-%m-%d %H-%M-%S")  # in a person's own time
    names = (begun if n == 1 else f"{begun} ({n})" for n in count(1))
    return next(path for name in names if not (path := folder_of(session) / name).exists())


def folder_of(session: str) -> Path:
    """Return the folder of the runs on a session, by the session's id."""
    # An id may hold what no name of a folder can, and be one that means another folder.
    return folder() / quote(session, safe=" ").replace(".", "%2E")
