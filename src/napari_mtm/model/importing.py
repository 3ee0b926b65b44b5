"""The authors' checkpoints as models of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_mtm.errors import WeightsError
from napari_mtm.model.grid import Grid
from napari_mtm.model.model import Model
from napari_mtm.model.network import Published, PublishedSizes
from napari_mtm.model.published_file import read_published
from napari_mtm.model.units import Units

WINDOW = (-0.5, 1.5)
"""Seconds around the stimulus that the paper's models were trained on."""

SINGLE = "single"
"""The session of a model without stitchers, which does not say whose it is."""

_IN = "encoder.stitcher.stitcher_dict."
_OUT = "stitch_decoder.stitch_decoder_dict."
_EMBED = "encoder.embedder."


def import_published(path: str | Path) -> Model:
    """Read a checkpoint of the authors; nothing that it names is imported or run.

    Its stitchers are named by a number of units and its tokens by session: a session
    gets both when it is first given. Raises WeightsError where the file is refused.
    """
    found = read_published(path)
    model = from_published_state(found.state, heads=found.heads, eids=found.eids)
    model.record = {"imported": "a published checkpoint", "epoch": found.epoch}
    return model


def from_published_state(
    state: Mapping[str, npt.NDArray[np.float32]], *, heads: int, eids: Sequence[str] = ()
) -> Model:
    """Make a model of weights under the authors' names.

    `eids` are the sessions that the rows of the session table stand for. Without
    stitchers the model is one of a single session, called `SINGLE`.
    """
    weights = {name: torch.from_numpy(np.array(a, np.float32)) for name, a in state.items()}
    try:
        network = _network(weights, heads, eids)
    except (KeyError, RuntimeError, IndexError, ValueError) as error:
        raise WeightsError(
            f"These are not the weights of a published model ({str(error).splitlines()[0]})."
        ) from None
    bins = network.sizes.bins
    start, stop = WINDOW
    model = Model(network, Grid(WINDOW, (stop - start) / bins, bins), device="cpu")
    model.network.eval()
    return model


def _network(weights: Mapping[str, Tensor], heads: int, eids: Sequence[str]) -> Published:
    layers = 0
    while f"encoder.layers.{layers}.ln1.weight" in weights:
        layers += 1
    bins, width = weights[f"{_EMBED}embed_pos.weight"].shape
    if heads < 1 or width % heads:
        raise ValueError(f"{heads} heads do not share a width of {width}")
    inner, channels = weights[f"{_EMBED}embed_spikes.weight"].shape
    counts = [int(k.split(".")[3]) for k in weights if k.startswith(_IN) and k.endswith("weight")]
    tokens = weights.get(f"{_EMBED}embed_session.weight")
    network = Published(
        PublishedSizes(
            bins=bins,
            width=width,
            layers=layers,
            heads=heads,
            hidden=weights["encoder.layers.0.mlp.up_proj.weight"].shape[0],
            channels=channels if counts else None,
            inner=inner,
            prompts=f"{_EMBED}embed_prompt.weight" in weights,
            session_tokens=tokens is not None,
        )
    )
    network.load_state_dict(_shared(weights, layers, stitched=bool(counts)))
    for count in counts:
        network.unclaimed[count] = {
            f"{side}.{name}": weights[f"{prefix}{count}.{name}"]
            for side, prefix in (("in", _IN), ("out", _OUT))
            for name in ("weight", "bias")
        }
    if tokens is not None:
        if len(eids) > len(tokens):
            raise ValueError(f"{len(eids)} sessions are named for {len(tokens)} tokens")
        network.unclaimed_tokens = dict(zip(eids, tokens, strict=False))
    if not counts:
        network.unclaimed[channels] = {
            f"{side}.{name}": weights[f"{prefix}.{name}"]
            for side, prefix in (("in", f"{_EMBED}embed_spikes"), ("out", "decoder.0"))
            for name in ("weight", "bias")
        }
        network.claim(Units.unnamed(SINGLE, channels), SINGLE)
    check_unclaimed(network)
    return network


def check_unclaimed(network: Published) -> None:
    """Raise ValueError where stitchers or tokens that wait for a session do not fit."""
    sizes = network.sizes
    channels = sizes.channels or sizes.inner
    for count, parts in network.unclaimed.items():
        wanted = {
            "in.weight": (channels, count),
            "in.bias": (channels,),
            "out.weight": (count, sizes.width),
            "out.bias": (count,),
        }
        if {name: tuple(part.shape) for name, part in parts.items()} != wanted:
            raise ValueError(f"the stitchers of {count} units have the wrong shape")
    if any(token.shape != (sizes.width,) for token in network.unclaimed_tokens.values()):
        raise ValueError("the tokens of sessions have the wrong shape")


def _shared(weights: Mapping[str, Tensor], layers: int, *, stitched: bool) -> dict[str, Tensor]:
    """Rename what sessions share."""
    names = {"trunk.norm": "encoder.out_norm", "project": f"{_EMBED}projection"}
    if stitched:
        names["widen"] = f"{_EMBED}embed_spikes"
    for i in range(layers):
        ours, theirs = f"trunk.blocks.{i}.", f"encoder.layers.{i}."
        names[f"{ours}norm1"], names[f"{ours}norm2"] = f"{theirs}ln1", f"{theirs}ln2"
        names[f"{ours}attention.out"] = f"{theirs}attn.out_proj"
        for part in ("query", "key", "value"):
            names[f"{ours}attention.{part}"] = f"{theirs}attn.{part}"
        names[f"{ours}up"], names[f"{ours}down"] = (
            f"{theirs}mlp.up_proj",
            f"{theirs}mlp.down_proj",
        )
    shared = {"positions": weights[f"{_EMBED}embed_pos.weight"]}
    if f"{_EMBED}embed_prompt.weight" in weights:
        shared["prompts.weight"] = weights[f"{_EMBED}embed_prompt.weight"]
    for end in ("weight", "bias"):
        shared |= {f"{ours}.{end}": weights[f"{theirs}.{end}"] for ours, theirs in names.items()}
    return shared
