"""The process in which IBL's own code reads behaviour; the one module that imports brainbox.

    python -m napari_mtm.recording.brainbox_child

What to read is the first line of standard input, in JSON; what was read goes to standard output,
as an npz file. It ends at once when its standard input does: with whoever started it.
"""

import io
import json
import os
import sys
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_mtm.errors import SourceError, in_short

LIKELIHOOD = 0.9
"""Least likelihood with which a body part was seen where it is said to be."""


class Files:
    """Files that are here, as `SessionLoader` asks a ONE for them.

    Which files those are, of several revisions and folders, was chosen before. A ONE of its own
    would need tables of them, and unpickles what they hold.
    """

    def __init__(self, paths: Mapping[str, Mapping[str, str]]) -> None:
        self.paths = paths

    def eid2path(self, eid: str) -> Path:  # noqa: ARG002  as a ONE has it
        """Return no folder in particular."""
        return Path()

    def load_object(
        self,
        eid: str,  # noqa: ARG002
        obj: str,
        attribute: Collection[str] | None = None,
        **_: object,
    ) -> dict[str, Any]:
        """Return what is there of an object by attribute; raise SourceError where nothing is."""
        paths = self.paths.get(obj, {})
        wanted = [name for name in paths if attribute is None or name in attribute]
        if not wanted:
            raise SourceError(f"There is no {obj}.")
        return {name: _load(Path(paths[name])) for name in wanted}


def read(files: Files, place: tuple[str, str, str]) -> dict[str, Any]:
    """Read what one trace is made of, by IBL's loader."""
    from brainbox.io.one import SessionLoader

    loader = SessionLoader(one=files, eid="here")
    object_, attribute, body_part = place
    if object_ == "licks":
        loader.load_licks()
        times = loader.licks["times"].to_numpy()
        return {"times": times, "filmed": _filmed(files, times)}
    if body_part:
        view = object_.removesuffix("Camera")
        loader.load_pose(likelihood_thr=LIKELIHOOD, views=[view], tracker=attribute)
        pose = loader.pose[object_]
        return {"times": pose["times"], "x": pose[f"{body_part}_x"], "y": pose[f"{body_part}_y"]}
    loader.load_pupil()
    pupil = loader.pupil
    # Where it works the diameter out from the pose, the times stand there alone.
    times = pupil["times"] if "times" in pupil else loader.pose[object_]["times"]
    return {"times": times, "diameter": pupil["pupilDiameter_smooth"]}


def _filmed(files: Files, otherwise: Any) -> list[float]:
    """First and last second at which a camera filmed; those of something else without any."""
    times = [
        files.load_object("here", camera, ["times"])["times"]
        for camera in ("leftCamera", "rightCamera")
        if camera in files.paths
    ]
    known = np.concatenate([np.ravel(t) for t in times] or [otherwise]).astype(np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        raise SourceError("There is no lick, and no camera says when it filmed.")
    return [known.min(), known.max()]


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        return pd.read_parquet(path)
    except Exception as error:  # noqa: BLE001  damage may make a library raise anything
        raise SourceError(f"{path} is damaged or cut short ({in_short(error)}).") from None


def _told(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read all that is wanted; what cannot be read is told as a problem."""
    files, told = Files(request["files"]), {}
    for name, place in request["wanted"].items():
        try:
            for what, values in read(files, place).items():
                told[f"{name}/{what}"] = np.asarray(values, dtype=np.float64)
        except Exception as error:  # noqa: BLE001  damage may make the loader raise anything
            told[f"{name}/problem"] = np.array(_sentence(error))
    return told


def _sentence(error: Exception) -> str:
    if isinstance(error, SourceError):
        return str(error)
    return f"its file has no {error}." if isinstance(error, KeyError) else f"{in_short(error)}."


def main() -> None:
    """Do what the first line on standard input says."""
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_starter, daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    buffer = io.BytesIO()
    np.savez(buffer, **_told(request))
    with out:
        out.write(buffer.getvalue())


def _end_with_starter() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
