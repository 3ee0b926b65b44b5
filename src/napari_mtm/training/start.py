"""A start in closed form for the loadings of a session's units."""

import torch
from torch import Tensor

from napari_mtm.model.network import RATE_FLOOR, Default, own_kernels, recent

_SD = 4.0
_SHRINK = 0.3
_LARGEST = 1.0
_FLOOR = 0.02
_CHUNK = 64
_AHEAD = 10
_RIDGE = 0.1


def start(network: Default, session: str, counts: Tensor) -> None:
    """Start the loadings of a session's units from `counts` (trials, bins, units) to train on."""
    start_linear_path(network, session, counts)
    start_own_past(network, session, counts)


def start_linear_path(network: Default, session: str, counts: Tensor) -> None:
    """Start the linear path on the principal components of smoothed activity.

    `counts` (trials, bins, units) are those to train on. Units are weighed between
    their covariance and their correlation, so that neither the busiest nor the noisiest
    rule; what a component says of a unit's rate is shrunk, for training to raise.
    """
    centre = torch.as_tensor(network.sessions[session].roots, device=counts.device)
    weight = (centre + _FLOOR).rsqrt()
    covariance = _covariance(counts, centre, weight)
    values, vectors = torch.linalg.eigh(covariance)
    rank = min(network.sizes.rank, len(values))
    size = values.flip(0)[:rank].clamp(min=1e-8).sqrt()
    directions = vectors.flip(1)[:, :rank]
    components = directions * weight[:, None] / size
    # A deviation of the root is one of the rate, and of its log where divided by the mean.
    weights = directions / weight[:, None] * size / (centre[:, None] + _FLOOR) * _SHRINK
    spare = network.sizes.rank - rank
    network.set_linear_path(
        session,
        torch.nn.functional.pad(components, (0, spare)),
        torch.nn.functional.pad(weights.clamp(-_LARGEST, _LARGEST), (0, spare)),
    )


def _covariance(counts: Tensor, centre: Tensor, weight: Tensor) -> Tensor:
    """Covariance (N, N) of weighed, smoothed deviations of square roots."""
    trials, bins, n_units = counts.shape
    time = torch.arange(bins, device=counts.device)
    kernel = torch.exp(-0.5 * ((time[:, None] - time) / _SD) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    total = torch.zeros(n_units, n_units, device=counts.device)
    for part in torch.split(counts, _CHUNK):
        smooth = kernel @ (part.float().sqrt() - centre)
        flat = (smooth * weight).flatten(0, 1)
        total += flat.T @ flat
    return total / max(trials * bins, 1)


def start_own_past(network: Default, session: str, counts: Tensor) -> None:
    """Start each unit's own past on a regression of the bins after some times on those before."""
    scales, bins = network.sizes.own, counts.shape[1]
    if not scales or bins <= _AHEAD:
        return
    centre = torch.as_tensor(network.sessions[session].roots, device=counts.device)
    kernels = own_kernels(scales, bins).to(counts.device)
    gram = torch.zeros(len(centre), scales, scales, device=counts.device)
    product = torch.zeros(len(centre), scales, device=counts.device)
    for part in torch.split(counts, _CHUNK):
        change = (part.float().sqrt() - centre) / (centre + RATE_FLOOR)
        for cut in range(bins - _AHEAD, 0, -_AHEAD):
            ahead = slice(cut, cut + _AHEAD)
            seen = change[:, :cut]
            there = seen.new_ones(1, cut, 1)
            past = torch.stack([recent(kernel[ahead, :cut], seen, there) for kernel in kernels])
            gram += torch.einsum("jbtn,kbtn->njk", past, past)
            product += torch.einsum("jbtn,btn->nj", past, change[:, ahead])
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-6
    gains = torch.linalg.solve(gram + ridge * torch.eye(scales, device=gram.device), product)
    network.set_own_past(session, gains.clamp(-_LARGEST, _LARGEST))
