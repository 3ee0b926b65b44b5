"""See, mask and reconstruct Neuropixels recordings of the International Brain Laboratory.

Importing this package is cheap: everything below is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from napari_mtm.errors import Cancelled as Cancelled
    from napari_mtm.errors import MtmError as MtmError
    from napari_mtm.recording.opening import open_session as open_session
    from napari_mtm.recording.opening import survey_source as survey_source
    from napari_mtm.recording.session import Session as Session
    from napari_mtm.recording.store import save_session as save_session

_HOMES = {
    "Cancelled": "napari_mtm.errors",
    "MtmError": "napari_mtm.errors",
    "Session": "napari_mtm.recording.session",
    "open_session": "napari_mtm.recording.opening",
    "save_session": "napari_mtm.recording.store",
    "survey_source": "napari_mtm.recording.opening",
}

__all__ = [
    "Cancelled",
    "MtmError",
    "Session",
    "__version__",
    "open_session",
    "save_session",
    "survey_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
