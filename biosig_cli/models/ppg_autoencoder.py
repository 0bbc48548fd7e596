"""Ten minutes of PPG in 2,344 numbers: an encoder that keeps the order of time, and its mirror."""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.models.base import Encoder, Encoding, ModelConfig
from biosig_cli.signal.spec import SignalSpec

N_BLOCKS = 4
"""Each halves the length and doubles the features."""

PATCH_LENGTH = 2 ** (1 + N_BLOCKS)
"""Samples to a position: the first layer and every block halve the length."""

CONTEXT = 9
"""Positions that a number of the latent is made from, and that a token looks at: 2.3 s at 125 Hz.
A beat has only three or four of them; next to so narrow a latent, a long kernel costs nothing."""

N_GROUPS = 8
"""Groups of features that are normalized together."""


class PpgAutoencoderConfig(ModelConfig):
    """Widths of the autoencoder."""

    kind: Literal["ppg_autoencoder"] = "ppg_autoencoder"
    width: int = Field(32, gt=0, multiple_of=N_GROUPS)
    """Features after the first layer; each of the four blocks doubles them, to 512."""
    hidden: int = Field(768, gt=0)
    """Features before and after the latent."""
    latent: int = Field(1, gt=0)
    """Numbers that are kept of every 32 samples: 1 keeps a 32nd."""

    def build(self, spec: SignalSpec) -> "PpgAutoencoder":
        """Return an encoder for windows of `spec`, with random weights.

        Raises:
            ConfigError: If the windows are shorter than one position.
        """
        if spec.n_samples < PATCH_LENGTH:
            raise ConfigError(
                f"the model takes {PATCH_LENGTH} samples or more, the windows have "
                f"{spec.n_samples}",
                hint="cut longer windows: `biosig build-windows` with windows.n_samples",
            )
        return PpgAutoencoder(spec, width=self.width, hidden=self.hidden, latent=self.latent)


class PpgAutoencoder(Encoder):
    """A residual network that halves the length five times, down to a latent narrow as a wave.

    Of every 32 samples the latent keeps `latent_width` numbers, in order: 75,000 samples become
    2,344. Nothing else reaches the tokens, which are the latent made 512 features wide again; the
    mean of the tokens is the embedding of a window. Channels are treated alike and apart. Windows
    of any length from 32 samples on are taken, also of another one than `spec` says: the end is
    held until a position is full.

    Attributes:
        latent_width: Numbers of the latent per position, K.
        widths: Features after the first layer and after each block.

    Source:
        Blocks after He et al., ECCV 2016, doi 10.1007/978-3-319-46493-0_38 (normalized before
        each convolution). Deviations: one dimension, group normalization (Wu and He, ECCV 2018,
        doi 10.1007/978-3-030-01261-8_1), which does not depend on the other windows of a batch;
        the first layer is not normalized, so that the size of the signal comes through.
    """

    def __init__(self, spec: SignalSpec, *, width: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.spec = spec
        self.patch_length = PATCH_LENGTH
        self.n_positions = -(-spec.n_samples // PATCH_LENGTH)
        self.widths = tuple(width * 2**stage for stage in range(N_BLOCKS + 1))
        self.width = self.widths[-1]
        self.latent_width = latent
        self.channel_dims = {}
        self.fusion = ""
        self.only_when_hidden = ()
        self.blocks = (*(f"down.{stage}" for stage in range(N_BLOCKS)), "squeeze", "widen")
        self.first = nn.Conv1d(1, width, 7, stride=2, padding=3)
        self.down = nn.Sequential(*(Down(n_in, n_out) for n_in, n_out in pairwise(self.widths)))
        self.squeeze = nn.Sequential(
            nn.GroupNorm(N_GROUPS, self.width),
            nn.ReLU(),
            nn.Conv1d(self.width, hidden, 1),
            nn.ReLU(),
            nn.Conv1d(hidden, latent, CONTEXT, padding=CONTEXT // 2),
        )
        self.widen = nn.Sequential(
            nn.Conv1d(latent, hidden, CONTEXT, padding=CONTEXT // 2),
            nn.ReLU(),
            nn.Conv1d(hidden, self.width, 1),
        )

    def forward(
        self, signal: Tensor, hidden: Tensor | None = None, spec: SignalSpec | None = None
    ) -> Encoding:
        """Encode windows (B, C, T); see `Encoder`.

        Raises:
            ConfigError: If something is to be hidden.
            DataError: If the windows are shorter than one position.
        """
        if hidden is not None:
            raise ConfigError(
                "the PPG autoencoder sees all of a window and can't hide patches of it",
                hint="train it with the objective `reconstruction`, or hide patches from a `ttm`",
            )
        tokens = self.expand(self.compress(signal))
        return Encoding(tokens, fill(signal).view(*tokens.shape[:3], PATCH_LENGTH))

    def compress(self, signal: Tensor) -> Tensor:
        """Return the latent (B, C, P, K) of windows (B, C, T): all that is kept of them."""
        each = self.down(self.first(fill(signal).flatten(0, 1)[:, None]))
        return unfold_channels(self.squeeze(each), signal.shape[1])

    def expand(self, latent: Tensor) -> Tensor:
        """Return tokens (B, C, P, D) from a latent (B, C, P, K)."""
        return unfold_channels(self.widen(fold_channels(latent)), latent.shape[1])

    def embed(self, signal: Tensor) -> Tensor:
        """Return one vector per window, (B, C * D): the mean of each channel's tokens."""
        tokens: Tensor = self(signal).tokens
        return tokens.mean(dim=2).flatten(1)

    def latent_size(self, n_samples: int) -> int:
        """Return how many numbers are kept of a channel of `n_samples`."""
        n_positions: int = -(-n_samples // PATCH_LENGTH)
        return n_positions * self.latent_width


class AutoencoderDecoder(nn.Module):
    """The mirror of a `PpgAutoencoder`: draws the signal from its tokens.

    The last layer starts at zero, so that the first answer is the mean of a normalized signal and
    training only improves on it.

    Args:
        widths: Features after the encoder's first layer and after each of its blocks.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        wide_first = widths[::-1]
        self.up = nn.Sequential(*(Up(n_in, n_out) for n_in, n_out in pairwise(wide_first)))
        self.norm = nn.GroupNorm(N_GROUPS, widths[0])
        # A kernel of four steps of two: every sample of the output is drawn by four features.
        self.last = nn.ConvTranspose1d(widths[0], 1, 8, stride=2, padding=3)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, tokens: Tensor, n_samples: int) -> Tensor:
        """Return signals (B, C, n_samples) from tokens (B, C, P, D)."""
        each = self.up(fold_channels(tokens))
        drawn: Tensor = self.last(F.relu(self.norm(each), inplace=True))
        return drawn[..., :n_samples].reshape(*tokens.shape[:2], n_samples)


class Down(nn.Module):
    """Halves the length of (N, F, L) features, past a shorter way that does no more than that."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(N_GROUPS, n_in)
        self.conv1 = nn.Conv1d(n_in, n_in, 3, padding=1)
        self.norm2 = nn.GroupNorm(N_GROUPS, n_in)
        self.conv2 = nn.Conv1d(n_in, n_out, 3, stride=2, padding=1)
        self.short = nn.Conv1d(n_in, n_out, 1, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, n_out, L / 2)."""
        changed = self.conv1(F.relu(self.norm1(features), inplace=True))
        changed = self.conv2(F.relu(self.norm2(changed), inplace=True))
        short = self.short(features)
        halved: Tensor = short + changed
        return halved


class Up(nn.Module):
    """Doubles the length of (N, F, L) features, past a shorter way that does no more than that.

    A transposed convolution whose kernel is as long as its stride is a convolution of length one
    that gives the features of both samples, and is nearly twice as fast that way.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(N_GROUPS, n_in)
        self.conv1 = nn.Conv1d(n_in, 2 * n_out, 1)
        self.norm2 = nn.GroupNorm(N_GROUPS, n_out)
        self.conv2 = nn.Conv1d(n_out, n_out, 3, padding=1)
        self.short = nn.Conv1d(n_in, 2 * n_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, n_out, 2 L)."""
        changed = interleave(self.conv1(F.relu(self.norm1(features), inplace=True)))
        changed = self.conv2(F.relu(self.norm2(changed), inplace=True))
        doubled: Tensor = interleave(self.short(features)) + changed
        return doubled


def interleave(features: Tensor) -> Tensor:
    """Return (N, 2 F, L) as (N, F, 2 L): the two halves are every second sample of the output."""
    n_windows, n_both, n_samples = features.shape
    halves = features.view(n_windows, 2, n_both // 2, n_samples)
    return halves.permute(0, 2, 3, 1).flatten(2)


def fill(signal: Tensor) -> Tensor:
    """Return windows (B, C, T), the last sample held until the last position is full.

    Raises:
        DataError: If they are shorter than one position.
    """
    n_samples = signal.shape[-1]
    if n_samples < PATCH_LENGTH:
        raise DataError(
            f"windows of {n_samples} samples are too short for the PPG autoencoder",
            hint=f"give windows of {PATCH_LENGTH} samples or more",
        )
    return F.pad(signal, (0, -n_samples % PATCH_LENGTH), mode="replicate")


def fold_channels(tokens: Tensor) -> Tensor:
    """Return (B, C, P, D) as (B * C, D, P), time last, as convolutions take it."""
    return tokens.flatten(0, 1).transpose(1, 2)


def unfold_channels(features: Tensor, n_channels: int) -> Tensor:
    """Return (B * C, D, P) as (B, C, P, D)."""
    tokens = features.transpose(1, 2)
    return tokens.reshape(-1, n_channels, *tokens.shape[1:])
