"""From nothing to the page: the animals, the study, the page."""

from pathlib import Path

from napari_mtm.errors import SourceError
from napari_mtm.files import new_folder
from napari_mtm.progress import Progress, part, silent
from napari_mtm.recording.opening import open_session
from napari_mtm.recording.presets import eids
from napari_mtm.recording.servers import LoginNeeded
from napari_mtm.recording.session import Session
from napari_mtm.recording.simulation.animal import Recipe
from napari_mtm.recording.simulation.cache_writer import simulate
from napari_mtm.reproducing.arms import FULL, SIMULATED, SimulatedScale
from napari_mtm.reproducing.page import write_page
from napari_mtm.reproducing.study import Fold, compare

SEED = 2000
"""Of the first simulated animal; those that are held out come first."""


def reproduce(
    out: str | Path,
    *,
    scale: SimulatedScale = FULL,
    one: str | Path | None = None,
    device: str | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> str:
    """Run the paper's comparisons into a folder; return the page as text.

    On simulated animals, or with `one`, a ONE cache folder or the address of a server, on those
    of the paper's sessions that are in it. What the folder holds already is not worked out again.
    With several `workers`, that many processes share the work.
    """
    out = new_folder(Path(out))
    told = part(progress, 0.0, 0.05)
    if one is None:
        held_out, others = _simulated(out, scale, told)
        data = (
            f"{len(held_out)} simulated animals that are held out and {len(others)} others, "
            f"{scale.units} units and {scale.trials} trials each."
        )
    else:
        held_out, others = _paper(one, told)
        data = f"{len(held_out)} of the paper's held-out sessions, and {len(others)} others."
    results = compare(
        [Fold(held_out, others)],
        SIMULATED,
        scale,
        out,
        device=device,
        workers=workers,
        progress=part(progress, 0.05, 1.0),
    )
    return write_page(results, scale, out, data)


def _simulated(
    out: Path, scale: SimulatedScale, progress: Progress
) -> tuple[list[Session], list[Session]]:
    cache = out / "animals"
    n = scale.animals + scale.pretraining
    if not cache.exists():
        recipe = Recipe(SEED, units=scale.units, trials=scale.trials)
        simulate(cache, recipe, animals=n, progress=progress)
    folders = sorted(cache.glob("*/Subjects/*/*/*"))
    sessions = [open_session(folder) for folder in folders]
    return sessions[: scale.animals], sessions[scale.animals :]


def _paper(one: str | Path, progress: Progress) -> tuple[list[Session], list[Session]]:
    listed = paper_sessions()
    found: dict[str, list[Session]] = {"held_out": [], "training": []}
    for kind, sessions in found.items():
        for i, eid in enumerate(listed[kind]):
            progress(i / len(listed[kind]), f"opening {eid}")
            try:
                sessions.append(open_session(eid, one=one, units="all"))
            except LoginNeeded:
                raise
            except SourceError:
                continue
    if not found["held_out"] or not found["training"]:
        raise SourceError(
            f"{one} lacks the paper's sessions: it holds "
            f"{len(found['held_out'])} of {len(listed['held_out'])} held out, for example "
            f"{listed['held_out'][0]}, and {len(found['training'])} of "
            f"{len(listed['training'])} for training, for example {listed['training'][0]}."
        )
    return found["held_out"], found["training"]


def paper_sessions() -> dict[str, list[str]]:
    """Eids of the paper's sessions: those `held_out`, and those for `training`."""
    return {"held_out": list(eids("held-out")), "training": list(eids("training"))}
