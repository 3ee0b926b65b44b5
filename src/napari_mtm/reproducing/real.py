"""A study of prepared sessions: which they are, whose, and what is left out in turn."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_mtm.errors import SourceError
from napari_mtm.files import is_folder, is_regular, new_folder, reading
from napari_mtm.model.grid import Grid
from napari_mtm.progress import Progress, silent
from napari_mtm.recording.naming import parts_of_name
from napari_mtm.recording.session import Session
from napari_mtm.recording.store import SUFFIX, open_store
from napari_mtm.reproducing.arms import REAL, REAL_FULL, Scale
from napari_mtm.reproducing.real_page import Animals, write_real_page
from napari_mtm.reproducing.study import Fold, compare

ABOUT = "about.txt"
"""The file beside stores that says whose recordings they are, for the page."""

_LONGEST = 10_000


def reproduce_real(
    stores: Sequence[str | Path],
    out: str | Path,
    *,
    scale: Scale = REAL_FULL,
    device: str | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> str:
    """Run the comparisons on prepared sessions into a folder; return the page as text.

    `stores` are files, or folders of them. Each animal's sessions are held out in turn, and the
    others' are pretrained on. What `about.txt` beside the stores says stands on the page. What
    the folder holds already is not worked out again; several `workers` share the work.
    """
    paths = [path for store in stores for path in _stores_in(Path(store))]
    animals = by_animal([open_store(path) for path in paths])
    out = new_folder(Path(out))
    results = compare(
        folds(animals), REAL, scale, out, device=device, workers=workers, progress=progress
    )
    return write_real_page(results, scale, out, animals, _about(paths))


def by_animal(sessions: Sequence[Session]) -> Animals:
    """Return sessions by the animal that their names say, in order.

    Raises SourceError where an animal is not known, there is but one, a session is there twice,
    or sessions are cut differently.
    """
    found: dict[str, list[Session]] = {}
    for session in sessions:
        named = parts_of_name(session.name)
        if named is None:
            raise SourceError(
                f"It is not known which animal {session.title} is of, so that none can be left "
                'out: a session\'s name must begin as in "KS014 2019-12-03".'
            )
        found.setdefault(named.subject, []).append(session)
    if len(found) < 2:
        raise SourceError(
            "One animal is left out at a time, so that there must be two; these sessions are of "
            f"{next(iter(found), 'none')}."
        )
    if len({session.id for session in sessions}) < len(sessions):
        raise SourceError("A session is there twice. Name each once.")
    first = sessions[0]
    for session in sessions:
        if str(Grid.of(session)) != str(Grid.of(first)):
            raise SourceError(
                f"{first.title} is cut into {Grid.of(first)}, but {session.title} into "
                f"{Grid.of(session)}. Prepare them alike, or name those that are."
            )
    return {animal: sorted(found[animal], key=lambda s: (s.name, s.id)) for animal in sorted(found)}


def folds(animals: Animals) -> list[Fold]:
    """Return what is held out in turn: the sessions of an animal, beside all of the others."""
    return [
        Fold(
            held_out, [s for name, some in animals.items() if name != animal for s in some], animal
        )
        for animal, held_out in animals.items()
    ]


def _stores_in(path: Path) -> list[Path]:
    """The stores that are meant by a file or a folder."""
    if not is_folder(path):
        return [path]
    stores = sorted(path.glob(f"*{SUFFIX}"))
    if not stores:
        raise SourceError(f"{path} holds no prepared sessions (*{SUFFIX}).")
    return stores


def _about(stores: Sequence[Path]) -> str:
    """What texts beside the stores say, on one line."""
    return " ".join(dict.fromkeys(_texts(stores)))


def _texts(stores: Sequence[Path]) -> Iterator[str]:
    for folder in dict.fromkeys(path.parent for path in stores):
        if is_regular(folder / ABOUT):
            with reading(folder / ABOUT, SourceError) as file:
                yield " ".join(file.read(_LONGEST).decode("utf-8", "replace").split())
