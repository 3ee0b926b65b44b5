"""What must hold whenever a program that was used at random has come to rest."""

from typing import Any

import numpy as np

from napari_mtm.masking.mask import Mask
from napari_mtm.masking.painting import labels_of
from napari_mtm.ui.canvas.strips import EventStrip, Gutter, TimeAxis
from napari_mtm.ui.layers.cells import CELLS, outline_of
from tests.faults.person import Person, settle, wait_until


def wrong(person: Person) -> list[str]:
    """Let the program come to rest, and return what is not as it must be."""
    live = person.coordinator.live
    if not wait_until(lambda: person.at_rest):
        return [f"it does not come to rest: {live.doing}"]
    settle(0.05)
    found = [*_wrong_frame(person), *_wrong_layers(person), *_wrong_answer(person)]
    if person.other is not None:
        found += [f"in the other viewer: {what}" for what in wrong(person.other)]
    return found


def wrong_at_last(person: Person) -> list[str]:
    """Ask the model itself what it should have answered, and say what differs."""
    coordinator, session = person.coordinator, person.session
    live, masks = coordinator.live, coordinator.masks
    if session is None or live.model is None or live.answer is None:
        return ["there is nothing to compare with at the end"]
    asked = live.model.reconstruct(
        session, masks.mask, [coordinator.trial], task=masks.prompt, decode=False
    )
    same = np.allclose(asked.rates, live.answer.reconstruction.rates, rtol=1e-3, atol=1e-5)
    return [] if same else ["the last answer does not belong to the last mask"]


def _wrong_frame(person: Person) -> list[str]:
    """What of the frame around the canvas is not there once."""
    parts = {kind: len(person.main.findChildren(kind)) for kind in (Gutter, EventStrip, TimeAxis)}
    return [f"there are {n} of {kind.__name__}" for kind, n in parts.items() if n != 1]


def _wrong_layers(person: Person) -> list[str]:
    """What of the layers does not belong to what is open."""
    coordinator, layers = person.coordinator, person.viewer.layers
    mask, session = coordinator.masks.layer, person.session
    ours = [layer for layer in layers if _is_ours(layer)]
    if session is None:
        return [f"no session is open, but there are {ours}"] if ours else []
    cells = [coordinator.cells._cells[n] for n in CELLS if n in coordinator.cells._cells]
    parts = [part for cell in cells for part in (cell.image, cell.outline)]
    wanted = [coordinator.layer, mask, *parts]
    if {id(one) for one in ours} != {id(one) for one in wanted}:
        return [f"there are the layers {ours}, not {wanted}"]
    wrong = []
    drawn = coordinator.masks.painting.labels(coordinator.trial)[:, coordinator.rows].T
    if not np.array_equal(mask.data, drawn):
        wrong.append("what is painted is not what is hidden")
    for layer in (mask, *(p for c in cells if c.image.visible for p in (c.image, c.outline))):
        fine = np.array(layer.data.shape) / drawn.shape  # outlines are finer
        if (fine % 1).any() or ((fine > 1).any() and "outline" not in layer.name):
            wrong.append(f"{layer.name} is {layer.data.shape}, not {drawn.shape}")
        if not np.allclose(layer.scale * fine, coordinator.layer.scale[1:]):
            wrong.append(f"{layer.name} lies beside the raster")
    return wrong


def _wrong_answer(person: Person) -> list[str]:
    """How the answer, and what is drawn of it, differ from what was asked for last."""
    coordinator, session = person.coordinator, person.session
    live, masks = coordinator.live, coordinator.masks
    if session is None or not live.on or not live._fits():
        return []
    if live.answer is None:
        return ["there is no answer"]
    request = live.answer.request
    wanted = masks.mask
    wrong = []
    if request.session is not session:
        wrong.append("the answer is of another session")
    elif request.mask != wanted:
        wrong.append(f"the answer hides {request.mask.describe()}, not {wanted.describe()}")
    if (request.trial, request.prompt) != (coordinator.trial, masks.prompt):
        wrong.append("the answer is of another trial or prompt")
    if live.whole is None or not live.whole.done:
        wrong.append("the test trials are not scored")
    if wrong:
        return wrong
    return _wrong_picture(person, wanted)


def _is_ours(layer: Any) -> bool:
    return any(str(key).startswith("napari_mtm") for key in layer.metadata)


def _wrong_picture(person: Person, wanted: Mask) -> list[str]:
    """How what is drawn of an answer differs from what it says."""
    coordinator, session, live = person.coordinator, person.session, person.coordinator.live
    assert session is not None
    assert live.answer is not None
    wrong = []
    rows, hidden = coordinator.rows, wanted.hidden
    observed = session.counts[coordinator.trial]
    rates = live.answer.reconstruction.rates[0]
    expected = np.where(hidden, rates, observed)[:, rows].T
    cell = coordinator.cells._cells.get("reconstructed")
    if cell is not None and cell.image.visible:
        if not np.allclose(cell.image.data, expected):
            wrong.append("what is drawn is not what was answered")
        outlined = labels_of(wanted)[:, rows].T
        fine = tuple(n // m for n, m in zip(cell.outline.data.shape, outlined.shape, strict=True))
        if not np.array_equal(cell.outline.data, outline_of(outlined, fine)):
            wrong.append("what is outlined is not what is hidden")
        if cell.image.opacity != 1:
            wrong.append("what is new is drawn as old")
    return wrong
