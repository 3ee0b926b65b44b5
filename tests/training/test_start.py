"""The start in closed form does not hang on what rounding decides."""

import numpy as np
import pytest
import torch

from napari_mtm.model.model import new_model
from napari_mtm.model.network import LITTLE, RATE_FLOOR, own_kernels
from napari_mtm.training.start import start_own_past, start_reading
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


def test_the_own_past_is_a_regression_of_what_came_on_what_was_before() -> None:
    """Example by example, for one unit: the bins after 10, 20 and 30 of all trials."""
    session, unit = waves(), 3
    counts = torch.as_tensor(session.counts)
    model = new_model(session, sizes=SMALL, device="cpu")
    start_own_past(model.network, session.id, counts)
    found = model.network.loadings(session.id).own.detach().numpy()[unit]
    usual = float(model.network.sessions[session.id].roots[unit])
    change = (np.sqrt(session.counts[:, :, unit].astype(float)) - usual) / (usual + RATE_FLOOR)
    kernels = own_kernels(SMALL.own, session.n_bins, torch.device("cpu")).double().numpy()
    rows, came = [], []
    for cut in (10, 20, 30):
        for bin_ in range(cut, cut + 10):
            weights = kernels[:, bin_, :cut]
            share = weights.sum(axis=1)
            rows.append(change[:, :cut] @ weights.T / (share + LITTLE) * (1 + LITTLE))
            came.append(change[:, bin_])
    past = np.concatenate(rows)
    square = past.T @ past
    ridge = 0.1 * square.diagonal().mean() * np.eye(len(square))
    gains = np.linalg.solve(square + ridge, past.T @ np.concatenate(came))
    found = found * (usual + RATE_FLOOR)  # of changes in proportion
    np.testing.assert_allclose(found, gains.clip(-1, 1), rtol=1e-3, atol=1e-4)
