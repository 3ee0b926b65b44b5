"""Low-rank updates: what sessions share moves by a little, in few directions."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mtm.model.model import Model
from napari_mtm.model.network import Network

RANK = 8


class _Updated(nn.Linear):
    """A linear layer to whose weight a product of two thin matrices is added."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        device = layer.weight.device
        narrow = torch.randn(rank, layer.in_features, device=device) / layer.in_features**0.5
        self.narrow = nn.Parameter(narrow)
        self.widen = nn.Parameter(torch.zeros(layer.out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.narrow), self.widen)

    def plain(self) -> nn.Linear:
        """Return one layer that does the same."""
        layer = nn.Linear(self.in_features, self.out_features, device="meta")
        layer.weight = nn.Parameter(self.weight.detach() + self.widen @ self.narrow)
        layer.bias = self.bias
        return layer


def add_updates(network: Network) -> set[str]:
    """Give every linear layer of the transformer an update; return the names of their parameters.

    They begin as nothing. What is drawn comes from torch's global generator.
    """
    trunk = network.get_submodule("trunk")
    layers = [(name, part) for name, part in trunk.named_modules() if isinstance(part, nn.Linear)]
    for name, layer in layers:
        trunk.set_submodule(name, _Updated(layer, RANK))
    return {f"trunk.{name}.{part}" for name, _ in layers for part in ("narrow", "widen")}


def merged(model: Model) -> Model:
    """Return the model with its updates added to the weights; itself where it has none."""
    if not any(isinstance(part, _Updated) for part in model.network.modules()):
        return model
    found = copy.deepcopy(model)
    trunk = found.network.get_submodule("trunk")
    for name, part in list(trunk.named_modules()):
        if isinstance(part, _Updated):
            trunk.set_submodule(name, part.plain())
    return found
