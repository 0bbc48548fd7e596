"""Heads: from the tokens of a window to an answer about it."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.models.rhythm import RhythmReader, n_summary


class HeadConfig(Config):
    """What stands on an encoder to answer a task."""

    kind: Literal["linear", "mlp", "attention", "rhythm", "temporal"] = "linear"
    """`linear`: one layer on the mean of each channel's tokens; `mlp`: with a hidden layer;
    `attention`: one layer on tokens weighted by how much they matter; `rhythm`: one layer on the
    rates that the tokens show, how sure they are, and how well channels agree; `temporal`: when in
    the window something happens."""
    hidden: int = Field(64, gt=0)
    """Features of the hidden layer of `mlp` and `temporal`."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of features dropped before the last layer."""
    span_s: tuple[float, float] = (0.0, 1.0)
    """Start and end of the window on the label's scale, for `temporal`, such as [0.5, 2.5] for
    windows that begin half a second after the stimulus from which a reaction time counts."""

    @field_validator("span_s")
    @classmethod
    def _has_a_length(cls, span_s: tuple[float, float]) -> tuple[float, float]:
        if span_s[1] <= span_s[0]:
            raise ValueError(f"{span_s[0]:g} to {span_s[1]:g} is no stretch of time")
        return span_s

    @property
    def new(self) -> tuple[str, ...]:
        """Patterns of the parameters that start anew; others come from pretraining."""
        return ("out.*",) if self.kind == "rhythm" else ("*",)

    def build(self, n_channels: int, width: int, n_outputs: int) -> nn.Module:
        """Return a head: tokens (B, C, P, D) in, (B, n_outputs) out.

        Raises:
            ConfigError: If a moment is to be found where classes are asked for.
        """
        if self.kind == "temporal":
            if n_outputs != 1:
                raise ConfigError(
                    f"a temporal head says when, one number; the task asks for {n_outputs}",
                    hint="use it for regression of a time; for classes, --head linear",
                )
            return TemporalHead(width, self.hidden, self.dropout, self.span_s)
        if self.kind == "attention":
            return AttentionHead(width, n_outputs, self.dropout)
        if self.kind == "rhythm":
            return RhythmHead(n_channels, width, n_outputs)
        if self.kind == "mlp":
            return MlpHead(n_channels, width, n_outputs, self.hidden, self.dropout)
        return LinearHead(n_channels, width, n_outputs, self.dropout)


def pool(tokens: Tensor) -> Tensor:
    """Return one vector per window, (B, 2 * C * D): mean and spread over time, channel by channel.

    Channels stand side by side: a mean over them would make PPG and ECG interchangeable. The spread
    tells a steady signal from a changing one, which a mean over time can't.

    Args:
        tokens: (B, C, P, D).
    """
    spread = tokens.var(dim=2, correction=0).add(1e-6).sqrt()
    return torch.cat([tokens.mean(dim=2), spread], dim=-1).flatten(1)


class LineHead(nn.Module, ABC):
    """A head whose last layer is a line through numbers that it takes from tokens."""

    out: nn.Linear

    @abstractmethod
    def numbers(self, tokens: Tensor) -> Tensor:
        """Return what the last layer is given, (B, F), of tokens (B, C, P, D)."""


class LinearHead(LineHead):
    """One layer on the pooled tokens."""

    def __init__(self, n_channels: int, width: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        n_features = 2 * n_channels * width
        self.norm = nn.LayerNorm(n_features)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(n_features, n_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, n_outputs) from tokens (B, C, P, D)."""
        answer: Tensor = self.out(self.dropout(self.numbers(tokens)))
        return answer

    def numbers(self, tokens: Tensor) -> Tensor:
        """Return the pooled tokens, in units of their spread."""
        scaled: Tensor = self.norm(pool(tokens))
        return scaled


class MlpHead(nn.Module):
    """Two layers on the pooled tokens."""

    def __init__(
        self, n_channels: int, width: int, n_outputs: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        n_features = 2 * n_channels * width
        self.norm = nn.LayerNorm(n_features)
        self.hidden = nn.Linear(n_features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, n_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, n_outputs) from tokens (B, C, P, D)."""
        features = functional.gelu(self.hidden(self.norm(pool(tokens))))
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


class RhythmHead(LineHead):
    """One layer on what a reader of rhythm says: few numbers, where labels are few.

    The reader comes from pretraining with the rhythm objective, the layer starts at zero. Its
    numbers are taken times ten: it has few weights, and they are to be found in few steps.
    """

    gain = 10.0

    def __init__(self, n_channels: int, width: int, n_outputs: int) -> None:
        super().__init__()
        self.reader = RhythmReader(width)
        self.out = nn.Linear(n_summary(n_channels), n_outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, n_outputs) from tokens (B, C, P, D)."""
        answer: Tensor = self.out(self.numbers(tokens))
        return answer

    def numbers(self, tokens: Tensor) -> Tensor:
        """Return what the last layer is given, (B, n_summary)."""
        summary: Tensor = self.reader(tokens).summary()
        return self.gain * summary


class TemporalHead(nn.Module):
    """Says when something happens: the mean time of tokens, weighted by how much each shows of it.

    y = sum_p softmax(h)_p t_p, with t_p the middle of patch p on the label's scale and h_p the mean
    over channels of two layers on each token. All weights start equal: the middle of the window.

    Args:
        width: D.
        hidden: Features between the two layers.
        dropout: Share of them dropped.
        span_s: Start and end of the window on the label's scale.

    Source:
        Soft-argmax over time, as entries to the EEG Foundation Challenge 2025 have it (arXiv
        2506.19141, challenge 1); integral regression: Sun et al., ECCV 2018, arXiv 1711.08229,
        equation 3. Deviation: no bias and no clamp, as the mean lies within the window anyway.
    """

    def __init__(
        self, width: int, hidden: int, dropout: float, span_s: tuple[float, float]
    ) -> None:
        super().__init__()
        self.span_s = span_s
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, 1) times from tokens (B, C, P, D)."""
        features = functional.gelu(self.hidden(self.norm(tokens)))
        shown = self.out(self.dropout(features))[..., 0].mean(dim=1).float()
        start_s, end_s = self.span_s
        n_positions = tokens.shape[2]
        middle = (torch.arange(n_positions, device=tokens.device) + 0.5) / n_positions
        times_s = start_s + (end_s - start_s) * middle
        answer: Tensor = (shown.softmax(dim=1) * times_s).sum(dim=1, keepdim=True)
        return answer
