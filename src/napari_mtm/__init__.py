"""See, mask and reconstruct Neuropixels recordings of the International Brain Laboratory.

Importing this package is cheap: everything below is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from napari_mtm.errors import Cancelled as Cancelled
    from napari_mtm.errors import MtmError as MtmError
    from napari_mtm.masking.mask import Mask as Mask
    from napari_mtm.model.importing import import_published as import_published
    from napari_mtm.model.model import Model as Model
    from napari_mtm.model.model import new_model as new_model
    from napari_mtm.model.reconstruction import Reconstruction as Reconstruction
    from napari_mtm.model.weights import load_model as load_model
    from napari_mtm.model.weights import save_model as save_model
    from napari_mtm.recording.catalogue.looking import search as search
    from napari_mtm.recording.opening import open_session as open_session
    from napari_mtm.recording.opening import survey_source as survey_source
    from napari_mtm.recording.session import Session as Session
    from napari_mtm.recording.store import save_session as save_session
    from napari_mtm.scoring.evaluate import evaluate as evaluate
    from napari_mtm.training.finetuning import finetune as finetune
    from napari_mtm.training.pretraining import pretrain as pretrain
    from napari_mtm.training.run import Run as Run
    from napari_mtm.training.settings import Settings as Settings

_HOMES = {
    "Cancelled": "napari_mtm.errors",
    "MtmError": "napari_mtm.errors",
    "Mask": "napari_mtm.masking.mask",
    "Model": "napari_mtm.model.model",
    "Reconstruction": "napari_mtm.model.reconstruction",
    "Run": "napari_mtm.training.run",
    "Session": "napari_mtm.recording.session",
    "Settings": "napari_mtm.training.settings",
    "evaluate": "napari_mtm.scoring.evaluate",
    "finetune": "napari_mtm.training.finetuning",
    "import_published": "napari_mtm.model.importing",
    "load_model": "napari_mtm.model.weights",
    "new_model": "napari_mtm.model.model",
    "pretrain": "napari_mtm.training.pretraining",
    "save_model": "napari_mtm.model.weights",
    "open_session": "napari_mtm.recording.opening",
    "save_session": "napari_mtm.recording.store",
    "search": "napari_mtm.recording.catalogue.looking",
    "survey_source": "napari_mtm.recording.opening",
}

__all__ = [
    "Cancelled",
    "Mask",
    "Model",
    "MtmError",
    "Reconstruction",
    "Run",
    "Session",
    "Settings",
    "__version__",
    "evaluate",
    "finetune",
    "import_published",
    "load_model",
    "new_model",
    "open_session",
    "pretrain",
    "save_model",
    "save_session",
    "search",
    "survey_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
