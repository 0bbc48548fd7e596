"""A codebook: unit vectors that stand for what an encoder says, and follow it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biosig_cli.engine import distributed

N_IDLE = 20
"""Steps after which a code that nothing was given takes a new place."""
MOST_AT_ONCE = 4096
"""Vectors that are compared with all codes at once."""


class Codebook(nn.Module):
    """Codes are given by direction; each follows the mean of what it was given.

    A code that nothing was given for `N_IDLE` steps is put where the codebook serves worst, so that
    it can't collapse to a few codes unseen: `in_use` and `perplexity` say how many there are.

    Args:
        n_codes: K.
        width: Features of a code, W.
        decay: Share of the past in a running mean.

    Source:
        Van den Oord et al., NeurIPS 2017, arXiv 1711.00937, appendix A.1 (running means); unit
        vectors as in BEiT v2 (arXiv 2208.06366) and LaBraM (ICLR 2024, arXiv 2405.18765). Dead
        codes after Jukebox (Dhariwal et al., arXiv 2005.00341, section 3.1), which draws their
        new places at random.
    """

    vectors: Tensor
    counts: Tensor
    unused: Tensor
    idle: Tensor
    given: Tensor
    given_sum: Tensor
    worst: Tensor

    def __init__(self, n_codes: int, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("vectors", F.normalize(torch.randn(n_codes, width), dim=1))
        # Running mean of what a step gives each, steps since it was given something, and since it
        # was given something or moved.
        self.register_buffer("counts", torch.zeros(n_codes))
        self.register_buffer("unused", torch.full((n_codes,), N_IDLE))
        self.register_buffer("idle", torch.zeros(n_codes, dtype=torch.int64))
        # What this step was given so far, and what of it was served worst.
        self.register_buffer("given", torch.zeros(n_codes), persistent=False)
        self.register_buffer("given_sum", torch.zeros(n_codes, width), persistent=False)
        self.register_buffer("worst", torch.zeros(n_codes, width), persistent=False)

    def begin(self, vectors: Tensor) -> None:
        """Put the codes at some of `vectors` (N, W), spread evenly."""
        n_codes = len(self.vectors)
        rows = torch.arange(n_codes, device=vectors.device) * len(vectors) // n_codes
        self.vectors.copy_(vectors[rows])

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the code (...) of each unit vector (..., W); in training they are remembered."""
        flat = vectors.detach().flatten(0, -2)
        best = [(some @ self.vectors.T).max(dim=1) for some in torch.split(flat, MOST_AT_ONCE)]
        nearness, codes = (torch.cat(each) for each in zip(*best, strict=True))
        if self.training:
            self.given += torch.bincount(codes, minlength=len(self.vectors))
            self.given_sum.index_add_(0, codes, flat)
            worst = flat[nearness.argsort(stable=True)[: len(self.worst)]]
            if distributed.is_first():
                self.worst[: len(worst)] = worst
        return codes.view(vectors.shape[:-1])

    @torch.no_grad()
    def follow(self) -> None:
        """Move the codes to what a step gave them in all processes, and forget it."""
        for each in (self.given, self.given_sum, self.worst):
            distributed.add_up(each)
        is_given = self.given > 0
        mean = F.normalize(self.given_sum, dim=1)
        moved = F.normalize(self.decay * self.vectors + (1 - self.decay) * mean, dim=1)
        self.vectors.copy_(torch.where(is_given[:, None], moved, self.vectors))
        self.counts.mul_(self.decay).add_(self.given, alpha=1 - self.decay)
        for steps in (self.unused, self.idle):
            steps.add_(1).masked_fill_(is_given, 0)
        self._revive()
        for each in (self.given, self.given_sum, self.worst):
            each.zero_()

    def _revive(self) -> None:
        """Put codes that were idle for long, the longest first, where codes serve worst."""
        places = self.worst[self.worst.any(dim=1)]
        n = min(int((self.idle >= N_IDLE).sum()), len(places))
        dead = self.idle.argsort(descending=True, stable=True)[:n]
        self.vectors[dead] = places[:n]
        self.idle[dead] = 0

    @property
    def in_use(self) -> Tensor:
        """Share of the codes, (), that something was given in the last `N_IDLE` steps."""
        return (self.unused < N_IDLE).float().mean()

    @property
    def perplexity(self) -> Tensor:
        """As how many codes, all equally frequent, those given lately tell as much, ()."""
        share = self.counts / self.counts.sum().clamp(min=1e-9)
        as_many: Tensor = torch.special.entr(share).sum().exp()
        return as_many
