"""Masked signal modelling: hide patches of a window, ask for them back."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.draws import fork
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.base import Objective, ObjectiveConfig
from biosig_cli.objectives.distances import MultiResolutionStft, interpolate, masked_mse
from biosig_cli.objectives.masks import MaskType, block_mask, n_hidden, random_mask


class MaskedConfig(ObjectiveConfig):
    """How much is hidden, and how the answer is judged."""

    hides: ClassVar[bool] = True
    judged: ClassVar[str] = "msm"
    measure: ClassVar[str] = "mean squared error"
    trivial: ClassVar[Mapping[str, str]] = {
        "zero": "predict zero",
        "interpolation": "linear interpolation",
    }

    mask_ratio: float = Field(0.4, gt=0, lt=1)
    """Share of patches hidden."""
    mask_type: MaskType = "random"
    """Single patches anywhere, or runs of them."""
    span: int = Field(5, gt=0)
    """Patches in a run, for block masks."""
    share_channels: bool = True
    """Hide the same patches in every channel."""
    stft_weight: float = Field(0.3, ge=0)
    """Weight of the spectral distance."""
    n_ffts: tuple[int, ...] | None = None
    """STFT windows, in samples; by default 256, 512 and 1024 as far as they fit with room."""

    def build(self, encoder: Encoder) -> "Masked":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If nothing or everything would be hidden, or an STFT window is too long.
        """
        n_samples = encoder.n_positions * encoder.patch_length
        # A window as long as the signal has one frame and a half: it resolves no time any more.
        fitting = tuple(n_fft for n_fft in (256, 512, 1024) if n_fft < n_samples)
        return Masked(
            encoder,
            n_hidden=n_hidden(encoder.n_positions, self.mask_ratio),
            mask_type=self.mask_type,
            span=self.span,
            share_channels=self.share_channels,
            stft_weight=self.stft_weight,
            n_ffts=fitting if self.n_ffts is None else self.n_ffts,
        )


class Masked(Objective):
    """Hides patches, asks for them back, and judges the answer in samples and in spectra.

    The total is the mean squared error on hidden patches, plus `stft_weight` times the spectral
    distance of the whole window, in which visible patches come from the target, so that only
    the hidden ones count. Everything is in units of the visible signal's deviation. In eval mode
    two trivial answers are scored on the same masks: zero, and a line between visible neighbours.

    Source:
        He et al., CVPR 2022, doi 10.1109/CVPR52688.2022.01553. Deviations: one-dimensional
        patches, a linear decoder, hidden patches pass the encoder as a learned token, and the
        spectral term.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_hidden: int,
        mask_type: MaskType,
        span: int,
        share_channels: bool,
        stft_weight: float,
        n_ffts: Sequence[int],
    ) -> None:
        super().__init__()
        self.decoder = nn.Linear(encoder.width, encoder.patch_length)
        # The first answer is zero, the mean of the visible signal: training only improves on it.
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)
        self.n_hidden = n_hidden
        self.mask_type = mask_type
        self.span = span
        self.share_channels = share_channels
        self.stft_weight = stft_weight
        n_samples = encoder.n_positions * encoder.patch_length
        self.stft = MultiResolutionStft(n_ffts, n_samples) if stft_weight else None
        if self.stft is not None and not n_ffts:
            raise ConfigError(
                f"no STFT window fits {n_samples} samples",
                hint="give --stft-weight 0"
                + ("; EEG is asked by objectives.masked_eeg" if encoder.any_montage else ""),
            )

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `msm`, `stft`, and in eval mode `zero` and `interpolation`."""
        hidden = self.draw(batch.key, encoder.spec.n_channels, encoder.n_positions)
        encoding = encoder(batch.signal, hidden)
        answer = self.reconstruct(encoding.tokens)
        target = encoding.patches
        msm = masked_mse(answer, target, hidden)
        parts = {"msm": msm.detach()}
        total = msm
        if self.stft is not None:
            composite = torch.where(hidden[..., None], answer, target)
            stft = self.stft(composite.flatten(2).flatten(0, 1), target.flatten(2).flatten(0, 1))
            parts["stft"] = stft.detach()
            total = msm + self.stft_weight * stft
        if not self.training:
            parts |= trivial_errors(target, hidden)
        return Losses(total, parts)

    def draw(self, keys: Tensor, n_channels: int, n_positions: int) -> Tensor:
        """Return which patches are hidden, (B, C, P) bool."""
        if self.share_channels:
            return self._draw_one(keys, n_positions)[:, None].expand(-1, n_channels, -1)
        each = [self._draw_one(fork(keys, channel), n_positions) for channel in range(n_channels)]
        return torch.stack(each, dim=1)

    def reconstruct(self, tokens: Tensor) -> Tensor:
        """Return patches (B, C, P, L) float32 from tokens (B, C, P, D)."""
        answer: Tensor = self.decoder(tokens)
        return answer.float()

    def _draw_one(self, keys: Tensor, n_positions: int) -> Tensor:
        if self.mask_type == "block":
            return block_mask(keys, n_positions, self.n_hidden, self.span)
        return random_mask(keys, n_positions, self.n_hidden)


def trivial_errors(target: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Return what predicting zero, and interpolating linearly, score on hidden patches.

    Args:
        target: (B, C, P, L).
        hidden: (B, C, P) bool.
    """
    samples = hidden[..., None].expand(target.shape).flatten(2)
    line = interpolate(target.flatten(2), samples).view(target.shape)
    return {
        "zero": masked_mse(torch.zeros_like(target), target, hidden),
        "interpolation": masked_mse(line, target, hidden),
    }
