"""Activity of a session's units with nothing missing: recorded where it is visible, else predicted.

What is linear in it, as decoders of behaviour are, is under a mask what is expected of it there.
"""

import torch
from torch import Tensor

from napari_mtm.model.expert import Expert, Level


def filled_activity(
    expert: Expert,
    level: Level,
    counts: Tensor,
    visible: Tensor,
    log_rates: Tensor,
    directions: Tensor,
    *,
    smooth: bool,
) -> Tensor:
    """Return how far activity (B, T, N) is from usual, in some directions (N, P): (B, T, P).

    It is `counts` where `visible`, else what `log_rates` predict, of busy units less in
    proportion. Smoothed, a bin knows of later ones.
    """
    usual = level.log_rates.exp()
    change = torch.where(visible, counts.float(), log_rates.exp()) - usual
    course = expert.log_course.exp().mean(dim=0)
    found = (change * (1 + 4 * course).rsqrt()) @ directions
    return torch.matmul(expert.wide, found) if smooth else found
