"""Blocks of attention among the tokens of a montage."""

import torch
from torch import Tensor, nn

from biosig_cli.models.attention import attend


class CrissCross(nn.Module):
    """A block: attention along time, across electrodes, and a layer of its own for each token.

    Args:
        width: D.
        n_heads: Heads of each attention.
        dropout: Share of activations dropped.
    """

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.time, self.space = (SelfAttention(width, n_heads) for _ in range(2))
        self.mlp = _mlp(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, absent: Tensor | None) -> Tensor:
        """Return tokens (B, C, P, D); `absent` (B, C) channels are not attended to."""
        tokens = tokens + self.dropout(self.time(tokens))
        across = self.space(tokens.transpose(1, 2), absent).transpose(1, 2)
        tokens = tokens + self.dropout(across)
        out: Tensor = tokens + self.dropout(self.mlp(tokens))
        return out


class FullAttention(nn.Module):
    """A block: attention among all electrodes and times, and a layer of its own for each token.

    Args:
        width: D.
        n_heads: Heads.
        dropout: Share of activations dropped.
    """

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.all = SelfAttention(width, n_heads)
        self.mlp = _mlp(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, absent: Tensor | None) -> Tensor:
        """Return tokens (B, C, P, D); `absent` (B, C) channels are not attended to."""
        n_channels, n_positions = tokens.shape[1:3]
        if absent is not None:
            absent = absent.repeat_interleave(n_positions, dim=1)
        among = self.all(tokens.flatten(1, 2)[:, None], absent)[:, 0]
        tokens = tokens + self.dropout(among.unflatten(1, (n_channels, n_positions)))
        out: Tensor = tokens + self.dropout(self.mlp(tokens))
        return out


class SelfAttention(nn.Module):
    """Attention among the tokens of a row: (B, N, S, D) over S.

    Args:
        width: D.
        n_heads: Heads.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, absent: Tensor | None = None) -> Tensor:
        """Return what each token takes from those of its row; `absent` (B, S) says nothing."""
        qkv = self.qkv(self.norm(tokens)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = (part.transpose(2, 3).flatten(0, 1) for part in qkv.unbind(dim=3))
        mask = None
        if absent is not None:
            # A token that nobody may look at looks at itself, or there would be nothing to sum.
            itself = torch.eye(absent.shape[1], dtype=torch.bool, device=absent.device)
            allowed = ~absent[:, None] | itself
            mask = allowed.repeat_interleave(tokens.shape[1], dim=0)[:, None]
        made = attend(q, k, v, mask)
        n_windows, n_rows, n_tokens, _ = tokens.shape
        made = made.view(n_windows, n_rows, self.n_heads, n_tokens, -1).transpose(2, 3).flatten(3)
        answer: Tensor = self.out(made)
        return answer


def _mlp(width: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width),
        nn.GELU(),
        nn.Linear(4 * width, width),
    )
