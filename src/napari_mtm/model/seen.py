"""Which trials of a session the weights have seen, as their record says."""

import numpy as np
import numpy.typing as npt

from napari_mtm.model.model import Model
from napari_mtm.recording.session import Session

_SEEN = "seen"
"""What of a model's record holds, by session, the number of trials and a bit for each, in hex."""


def remember(model: Model, session: Session, trials: npt.NDArray[np.intp]) -> None:
    """Write down that a model is trained on trials of a session, or chosen by them.

    Call it before the session is among those that the model is trained on. What was not
    written down before cannot be made up for: such a session stays unknown.
    """
    marks = seen(model, session)
    kept = {name: value for name, value in _kept(model).items() if name != session.id}
    if marks is not None:
        marks[trials] = True
        bits = np.packbits(marks).tobytes().hex()
        kept[session.id] = {"trials": session.n_trials, "bits": bits}
    model.record[_SEEN] = kept


def seen(model: Model, session: Session) -> npt.NDArray[np.bool_] | None:
    """Mark the trials that weights were trained on, or chosen by; None where nobody knows.

    That is so of a session that they were trained on before this was written down, or that
    was cut into other trials then.
    """
    n = session.n_trials
    found = _kept(model).get(session.id)
    if found is None and not model.knows(session):
        return np.zeros(n, dtype=bool)
    if not isinstance(found, dict) or found.get("trials") != n:
        return None
    try:
        bits = np.frombuffer(bytes.fromhex(found["bits"]), dtype=np.uint8)
    except (KeyError, TypeError, ValueError):
        return None
    return np.unpackbits(bits, count=n).astype(bool) if len(bits) == -(-n // 8) else None


def _kept(model: Model) -> dict[str, object]:
    found = model.record.get(_SEEN)
    return found if isinstance(found, dict) else {}
