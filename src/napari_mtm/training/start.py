"""A start in closed form for the loadings of a session's units."""

import torch
from torch import Tensor

from napari_mtm.model.network import RATE_FLOOR, Default, encode, own_kernels, recent

_SD = 4.0
_LARGEST = 1.0
_FLOOR = 0.02
_CHUNK = 64
_AHEAD = 10
_RIDGE = 0.1
_GROUPS = 4
_PRIOR = 0.1


def start(network: Default, session: str, counts: Tensor) -> None:
    """Start the loadings of a session's units from `counts` (trials, bins, units) to train on."""
    start_reading(network, session, counts)
    start_own_past(network, session, counts)
    start_writing(network, session, counts)


def start_reading(network: Default, session: str, counts: Tensor) -> None:
    """Start what units say on the principal components of smoothed activity.

    Units are weighed between their covariance and their correlation, so that neither
    the busiest nor the noisiest rule.
    """
    centre = torch.as_tensor(network.sessions[session].roots, device=counts.device)
    weight = (centre + _FLOOR).rsqrt()
    values, vectors = torch.linalg.eigh(_covariance(counts, centre, weight))
    rank = min(network.sizes.rank, len(values))
    size = values.flip(0)[:rank].clamp(min=1e-8).sqrt()
    components = vectors.flip(1)[:, :rank] * weight[:, None] / size
    spare = network.sizes.rank - rank
    network.set_reading(session, torch.nn.functional.pad(components, (0, spare)))


def start_writing(network: Default, session: str, counts: Tensor) -> None:
    """Start what is made of latents on a regression of units that were hidden from them.

    One step of Newton's method from the mean rates, with a prior on the weights.
    """
    n_units, device = counts.shape[2], counts.device
    mean = torch.as_tensor(network.sessions[session].rates, device=device).clamp(min=1e-4)
    generator = torch.Generator().manual_seed(0)
    group = torch.randperm(n_units, generator=generator).to(device) % _GROUPS
    weights = torch.zeros(n_units, network.sizes.head, device=device)
    bias = torch.zeros(n_units, device=device)
    training = network.training
    network.eval()
    for k in range(_GROUPS):
        hidden = group == k
        gram, product, average = _moments(network, session, counts, hidden, mean)
        precision = mean[hidden, None, None] * gram + torch.eye(len(gram), device=device) / _PRIOR
        found = torch.linalg.solve(precision, product)
        weights[hidden] = found.clamp(-_LARGEST, _LARGEST)
        bias[hidden] = -weights[hidden] @ average
    network.train(training)
    network.set_writing(session, weights, bias)


@torch.no_grad()
def _moments(
    network: Default, session: str, counts: Tensor, hidden: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over trials and bins of latents' products with each other and with hidden counts.

    Latents are taken from their average, which is returned last.
    """
    loadings = network.loadings(session)
    prompt = torch.zeros(1, dtype=torch.long, device=counts.device)
    found = []
    for part in torch.split(counts, _CHUNK):
        inputs = encode(loadings, network.activity(part), ~hidden[None, None])
        found.append(network.latents(inputs, prompt, session, causal=False).flatten(0, 1))
    latents = torch.cat(found)
    average = latents.mean(0)
    latents = latents - average
    change = counts[:, :, hidden].flatten(0, 1).float() - mean[hidden]
    return latents.T @ latents, change.T @ latents, average


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
