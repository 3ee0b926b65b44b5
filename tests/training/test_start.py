"""The start in closed form does not hang on what rounding decides."""

import pytest
import torch

from napari_mtm.model.model import new_model
from napari_mtm.training.start import start_reading
from tests.training.waves import SMALL, waves


def test_the_start_is_the_same_whichever_sign_eigenvectors_come_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads and processors round a covariance otherwise, and some vectors turn round."""
    session = waves()
    counts = torch.as_tensor(session.counts)

    def read() -> torch.Tensor:
        model = new_model(session, sizes=SMALL, device="cpu")
        start_reading(model.network, session.id, counts)
        return model.network.loadings(session.id).read.detach().clone()

    before, eigh = read(), torch.linalg.eigh

    def turned(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, vectors = eigh(matrix)
        return values, vectors * torch.tensor([1.0, -1.0] * (len(values) // 2))

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    torch.testing.assert_close(read(), before)
