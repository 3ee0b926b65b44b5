"""Linear experts that are not fitted before a test says so."""

import threading

from napari_mtm.live import learning
from napari_mtm.model.expert import Expert

SECONDS = 10.0


def waiting(monkeypatch, seconds: float) -> None:
    """Have answers wait so long for an expert before the network says them alone."""
    monkeypatch.setattr(learning, "PATIENCE", seconds)


class Held:
    """Holds fits back until it is opened, or until they are given up."""

    def __init__(self, monkeypatch, *, patience: float = 0.0) -> None:
        self.fits = 0
        self.open = threading.Event()
        fit = Expert.fit

        def held(session, trials, *, device, progress):
            self.fits += 1
            while not self.open.wait(0.005):
                progress(0.5, "linear expert: within regions")
            return fit(session, trials, device=device, progress=progress)

        monkeypatch.setattr(Expert, "fit", held)
        waiting(monkeypatch, patience)


def expert_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "napari-mtm expert"}
