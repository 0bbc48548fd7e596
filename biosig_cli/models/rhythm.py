"""What tokens say of the heart: how likely each rate is, channel by channel, and how clean it is.

Asked of an encoder while pretraining (`objectives/rhythm.py`), and read by a head afterwards.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

LOWEST_HZ, STEP_HZ, N_RATES = 0.5, 0.05, 70
"""Rates from 30 to 237 beats a minute, in steps of three."""
SHARPER = 4
"""Power of the probabilities by which rates are averaged: the mean of 60 and 120 is no rate."""


@dataclass(frozen=True)
class Reading:
    """What a reader makes of tokens.

    Attributes:
        rates: (B, C, N_RATES) logarithms of how likely each rate is; they add up to one.
        snr: (B, C) signal against artefact, in units of 10 dB.
    """

    rates: Tensor
    snr: Tensor

    def summary(self) -> Tensor:
        """Return few numbers on which a line can stand, (B, n_summary(C)).

        For each channel how clean it is, how sure its rate is (negative entropy, and the highest
        probability), and the likely rate; for each pair how well their rates agree: the
        logarithm of the probability that both have the same.
        """
        chances = self.rates.exp()
        sure = (chances * self.rates).sum(-1)
        likely = (SHARPER * self.rates).softmax(dim=-1)
        rate = (likely * rates_hz(chances.device).log()).sum(-1)
        alone = torch.stack([self.snr, sure, self.rates.amax(-1), rate], dim=-1).flatten(1)
        pairs = [
            (chances[:, one] * chances[:, other]).sum(-1).clamp(min=1e-9).log()
            for one, other in combinations(range(chances.shape[1]), 2)
        ]
        return torch.cat([alone, *(pair[:, None] for pair in pairs)], dim=1)


def rates_hz(device: torch.device | str = "cpu") -> Tensor:
    """Return the rates (N_RATES,) that are told apart, in Hz."""
    return LOWEST_HZ + STEP_HZ * torch.arange(N_RATES, device=device)


def n_summary(n_channels: int) -> int:
    """Return how many numbers sum up a reading of `n_channels`."""
    return 4 * n_channels + n_channels * (n_channels - 1) // 2


class RhythmReader(nn.Module):
    """Reads rate and cleanness from the tokens of each channel, from all in the same way.

    Args:
        width: Features of a token, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.rates = nn.Linear(2 * width, N_RATES)
        self.snr = nn.Linear(2 * width, 1)

    def forward(self, tokens: Tensor) -> Reading:
        """Return what tokens (B, C, P, D) say."""
        spread = tokens.var(dim=2, correction=0).add(1e-6).sqrt()
        features = self.norm(torch.cat([tokens.mean(dim=2), spread], dim=-1))
        rates = self.rates(features).float().log_softmax(dim=-1)
        return Reading(rates, self.snr(features)[..., 0].float())
