"""Heads: from the tokens of a window to an answer about it."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.config import Config


class HeadConfig(Config):
    """What stands on an encoder to answer a task."""

    kind: Literal["linear", "mlp", "attention"] = "linear"
    """`linear`: one layer on the mean of each channel's tokens; `mlp`: with a hidden layer;
    `attention`: one layer on tokens weighted by how much they matter."""
    hidden: int = Field(64, gt=0)
    """Features of the hidden layer of `mlp`."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of features dropped before the last layer."""

    def build(self, n_channels: int, width: int, n_outputs: int) -> nn.Module:
        """Return a head: tokens (B, C, P, D) in, (B, n_outputs) out."""
        if self.kind == "attention":
            return AttentionHead(width, n_outputs, self.dropout)
        return PooledHead(
            n_channels, width, n_outputs, self.hidden if self.kind == "mlp" else None, self.dropout
        )


def pool(tokens: Tensor) -> Tensor:
    """Return one vector per window, (B, 2 * C * D): mean and spread over time, channel by channel.

    Channels stand side by side: a mean over them would make PPG and ECG interchangeable. The spread
    tells a steady signal from a changing one, which a mean over time can't.

    Args:
        tokens: (B, C, P, D).
    """
    spread = tokens.var(dim=2, correction=0).add(1e-6).sqrt()
    return torch.cat([tokens.mean(dim=2), spread], dim=-1).flatten(1)


class PooledHead(nn.Module):
    """One or two layers on the pooled tokens."""

    def __init__(
        self, n_channels: int, width: int, n_outputs: int, hidden: int | None, dropout: float
    ) -> None:
        super().__init__()
        n_features = 2 * n_channels * width
        self.norm = nn.LayerNorm(n_features)
        self.hidden = nn.Identity() if hidden is None else nn.Linear(n_features, hidden)
        self.activation = nn.Identity() if hidden is None else nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(n_features if hidden is None else hidden, n_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, n_outputs) from tokens (B, C, P, D)."""
        features = self.activation(self.hidden(self.norm(pool(tokens))))
        answer: Tensor = self.out(self.dropout(features))
        return answer


class AttentionHead(nn.Module):
    """A learned question weighs the tokens of all channels and moments; their sum answers."""

    def __init__(self, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.question = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, n_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, n_outputs) from tokens (B, C, P, D)."""
        each = self.norm(tokens.flatten(1, 2))
        weights = self.question(each).softmax(dim=1)
        answer: Tensor = self.out(self.dropout((weights * each).sum(dim=1)))
        return answer
