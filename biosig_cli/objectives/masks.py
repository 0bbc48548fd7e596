"""Which patches are hidden: exactly as many as asked for, every position equally often."""

from typing import Literal

import torch
from torch import Tensor

from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.draws import uniform

MaskType = Literal["random", "block"]


def n_hidden(n_positions: int, ratio: float) -> int:
    """Return how many of `n_positions` patches a mask of `ratio` hides.

    Raises:
        ConfigError: If none or all would be hidden.
    """
    count = round(n_positions * ratio)
    if not 0 < count < n_positions:
        raise ConfigError(
            f"a mask ratio of {ratio} hides {count} of {n_positions} patches",
            hint=f"give --mask-ratio between {1 / n_positions:.2f} and {1 - 1 / n_positions:.2f}",
        )
    return count


def random_mask(keys: Tensor, n_positions: int, n_hidden: int) -> Tensor:
    """Hide `n_hidden` patches anywhere.

    Args:
        keys: (B,) int64 keys to draw from.
        n_positions: Patches in a window, P.
        n_hidden: How many to hide.

    Returns:
        (B, P) bool, True where hidden.
    """
    rank = uniform(keys, n_positions).argsort(dim=1).argsort(dim=1)
    return rank < n_hidden


def block_mask(keys: Tensor, n_positions: int, n_hidden: int, span: int) -> Tensor:
    """Hide `n_hidden` patches in runs of `span` (the last run takes the rest).

    The runs and the visible patches are shuffled on a circle, which is then turned by a random
    angle, so that every position is hidden equally often. Runs may meet, and a run may go over
    the end and on from the start.

    Args:
        keys: (B,) int64 keys to draw from.
        n_positions: Patches in a window, P.
        n_hidden: How many to hide.
        span: Patches in a run.

    Returns:
        (B, P) bool, True where hidden.
    """
    whole, rest = divmod(n_hidden, span)
    runs = [span] * whole + [rest] * (rest > 0)
    lengths = torch.tensor(runs + [1] * (n_positions - n_hidden), device=keys.device)
    draws = uniform(keys, len(lengths) + 1)
    order = draws[:, 1:].argsort(dim=1)
    ends = lengths[order].cumsum(dim=1)
    positions = torch.arange(n_positions, device=keys.device).expand(len(keys), -1)
    piece = torch.searchsorted(ends, positions.contiguous(), right=True)
    hidden = order.gather(1, piece) < len(runs)
    turn = (draws[:, :1] * n_positions).long()
    return hidden.gather(1, (positions + turn) % n_positions)
