"""Layers that more than one encoder uses."""

import torch
from torch import Tensor, nn


class ChannelMixer(nn.Module):
    """Lets the channels of a window inform each other; at the start it changes nothing.

    Every channel adds a weighted sum of what the others say: `x_c + sum_k w[c, k] value(x_k)`.
    The weights `w` are zero at the start, so that a new mixer is the identity, and they are the
    only parameter that depends on channels: a row and a column for each. A channel that is absent
    says nothing, so that the others are as if it did not exist.

    Args:
        n_channels: C.
        width: D.
    """

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.weight = nn.Parameter(torch.zeros(n_channels, n_channels))

    def forward(self, tokens: Tensor, absent: Tensor | None = None) -> Tensor:
        """Return mixed tokens (B, C, P, D); `absent` (B, C) is True where there is no channel."""
        said = self.value(self.norm(tokens))
        if absent is not None:
            said = said.masked_fill(absent[:, :, None, None], 0.0)
        return tokens + torch.einsum("ck,bkpd->bcpd", self.weight, said)
