"""Reconstruction: draw a window again from the few numbers that an autoencoder keeps of it."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.draws import fork, uniform
from biosig_cli.engine.stages import Stage
from biosig_cli.models.base import Encoder
from biosig_cli.models.ppg_autoencoder import PATCH_LENGTH, AutoencoderDecoder, PpgAutoencoder
from biosig_cli.objectives.augment import AugmentConfig, augment
from biosig_cli.objectives.base import Objective, ObjectiveConfig
from biosig_cli.objectives.similarity import (
    fft_distance,
    low_pass,
    pearson,
    ssim_1d,
    waves_between,
)

CROPS, WHOLE = "random crops", "whole windows"
"""Names of the two stages of a training."""

AUGMENTING = 1000
"""Purpose of the draws for changes; those for crops count from 0 on."""


class ReconstructionConfig(ObjectiveConfig):
    """What is to be drawn, and how the drawing is judged."""

    judged: ClassVar[str] = "mse"
    measure: ClassVar[str] = "mean squared error"
    trivial: ClassVar[Mapping[str, str]] = {
        "zero": "predict zero",
        "low_pass": "slowest waves in as many numbers",
    }

    mse_weight: float = Field(0.5, ge=0)
    """Weight of the mean squared error."""
    ssim_weight: float = Field(0.3, ge=0)
    """Weight of 1 - SSIM, the local structure."""
    fft_weight: float = Field(0.2, ge=0)
    """Weight of the error in magnitudes and phases."""
    data_range: float = Field(8.0, gt=0)
    """From the lowest to the highest value: 8 for z-scored windows, 1 for windows in [0, 1]."""
    band_hz: tuple[float, float] = (0.5, 10.0)
    """Waves that magnitudes and phases are compared of, in Hz."""
    target: Literal["input", "denoised"] = "input"
    """What is to be drawn: the window itself, or the denoised one stored beside it."""
    crop_samples: int | None = Field(7500, gt=0)
    """Length of the random crops that training begins with; whole windows throughout if none."""
    crops_per_window: int = Field(8, gt=0, lt=AUGMENTING)
    """Crops of each window in a batch: a read of ten minutes is used for more than one of them."""
    whole_epochs: int = Field(5, ge=0)
    """Epochs on whole windows, at the end of training."""
    whole_lr: float = Field(0.1, gt=0)
    """Learning rate on whole windows, as a multiple of that on crops."""
    augment: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Self:
        total = self.mse_weight + self.ssim_weight + self.fft_weight
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(
                f"the weights of mse, ssim and fft must sum to 1, they sum to {total:g} "
                f"({self.mse_weight:g} + {self.ssim_weight:g} + {self.fft_weight:g})"
            )
        return self

    def build(self, encoder: Encoder) -> "Reconstruction":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If the encoder is no autoencoder's, or its windows have no wave in the
                band.
        """
        if not isinstance(encoder, PpgAutoencoder):
            raise ConfigError(
                "reconstruction needs an encoder that keeps a small part of what it sees; "
                f"{type(encoder).__name__} keeps more than there is",
                hint="give model.kind=ppg_autoencoder, or ask for hidden patches instead "
                "(objectives.masked)",
            )
        for n_samples in (encoder.spec.n_samples, self.crop_samples or encoder.spec.n_samples):
            waves_between(n_samples, encoder.spec.sampling_hz, self.band_hz)
        return Reconstruction(
            encoder,
            weights={"mse": self.mse_weight, "ssim": self.ssim_weight, "fft": self.fft_weight},
            data_range=self.data_range,
            band_hz=self.band_hz,
            target=self.target,
            crop_samples=self.crop_samples,
            crops_per_window=self.crops_per_window,
            augment=self.augment,
        )

    def stages(self, epochs: int, lr: float) -> list[Stage]:
        """Return the stages of a training of `epochs`: crops first, whole windows at the end."""
        n_whole = min(self.whole_epochs, epochs) if self.crop_samples else epochs
        stages = [Stage(CROPS, epochs - n_whole, lr), Stage(WHOLE, n_whole, lr * self.whole_lr)]
        if epochs == n_whole:
            return [Stage(WHOLE, epochs, lr)]
        return [stage for stage in stages if stage.epochs]


class Reconstruction(Objective):
    """Has windows drawn from what the encoder keeps of them, and judges the drawing.

    The total is a weighted sum of the mean squared error, 1 - SSIM, and the error in magnitudes
    and phases; an answer of zero to normalized windows scores about 1 in each. They are computed
    in float32, whatever the layers compute in. In train mode windows are cut into random crops and
    changed at random; in eval mode they are whole and as they are, and two answers are judged for
    comparison: zero, and the slowest waves that the same number of numbers can hold.

    Source:
        SSIM and the mean squared error as one loss: Zhao et al., IEEE TCI 3(1), 2017,
        doi 10.1109/TCI.2016.2644865. Deviations: squared instead of absolute error, one scale, one
        dimension, and the spectral term.
    """

    def __init__(
        self,
        encoder: PpgAutoencoder,
        *,
        weights: Mapping[str, float],
        data_range: float,
        band_hz: tuple[float, float],
        target: Literal["input", "denoised"],
        crop_samples: int | None,
        crops_per_window: int,
        augment: AugmentConfig,
    ) -> None:
        super().__init__()
        self.decoder = AutoencoderDecoder(encoder.widths)
        self.latent_width = encoder.latent_width
        self.sampling_hz = encoder.spec.sampling_hz
        self.weights = dict(weights)
        self.data_range = data_range
        self.band_hz = band_hz
        self.target = target
        self.crop_samples = crop_samples
        self.crops_per_window = crops_per_window
        self.augment = augment
        self.is_cropping = True

    def enter(self, stage: str) -> None:
        """Train on crops of the windows, or on whole ones, as the name of the stage says."""
        self.is_cropping = stage == CROPS

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `mse`, `ssim`, `fft`, and in eval mode `r`, `zero` and `low_pass`."""
        signal, target = batch.signal, self.wanted(batch)
        if self.training:
            signal, target = self._changed(signal, target, batch.key)
        answer = self.draw(encoder, signal)
        # Sums over ten minutes do not fit into half precision.
        with torch.autocast(signal.device.type, enabled=False):
            return self._judge(answer.flatten(0, 1).float(), target.flatten(0, 1).float())

    def draw(self, encoder: Encoder, signal: Tensor) -> Tensor:
        """Return windows (B, C, T) drawn from what `encoder` keeps of the windows `signal`."""
        drawn: Tensor = self.decoder(encoder(signal).tokens, signal.shape[-1])
        return drawn

    def wanted(self, batch: Batch) -> Tensor:
        """Return what is to be drawn, (B, C, T).

        Raises:
            DataError: If denoised windows are asked for, and the batch has none.
        """
        if self.target == "input":
            return batch.signal
        if batch.target is None:
            raise DataError(
                "the denoised windows that are to be drawn are not in the store",
                hint="build them: `biosig build-windows --denoise`, or ask for the windows "
                "themselves: --set objectives.reconstruction.target=input",
            )
        return batch.target

    def _changed(self, signal: Tensor, target: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return crops of both, moved, scaled and disturbed."""
        if self.crop_samples and self.is_cropping and self.crop_samples < signal.shape[-1]:
            keys = torch.stack([fork(keys, n) for n in range(self.crops_per_window)], 1).flatten()
            signal, target = (
                crop(each.repeat_interleave(self.crops_per_window, dim=0), keys, self.crop_samples)
                for each in (signal, target)
            )
        if not self.augment.changes_anything:
            return signal, target
        return augment(signal, target, fork(keys, AUGMENTING), self.augment, self.sampling_hz)

    def _judge(self, answer: Tensor, target: Tensor) -> Losses:
        """Return what the answer (N, T) to the target (N, T) costs."""
        spectra = fft_distance(answer, target, sampling_hz=self.sampling_hz, band_hz=self.band_hz)
        errors = {
            "mse": F.mse_loss(answer, target),
            "ssim": 1 - ssim_1d(answer, target, self.data_range).mean(),
            "fft": spectra.total.mean(),
        }
        total = torch.stack([self.weights[name] * error for name, error in errors.items()]).sum()
        parts = {name: error.detach() for name, error in errors.items()}
        parts["ssim"] = 1 - parts["ssim"]
        return Losses(total, parts if self.training else parts | self._compare(answer, target))

    def _compare(self, answer: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the correlation, and the mean squared errors of two trivial answers."""
        n_numbers = -(-target.shape[-1] // PATCH_LENGTH) * self.latent_width
        return {
            "r": pearson(answer, target).mean(),
            "zero": target.square().mean(),
            "low_pass": F.mse_loss(low_pass(target, n_numbers), target),
        }


def crop(windows: Tensor, keys: Tensor, n_samples: int) -> Tensor:
    """Return a stretch (B, C, n_samples) of each window (B, C, T), its start drawn from its key."""
    n_starts = windows.shape[-1] - n_samples + 1
    starts = (uniform(keys, 1) * n_starts).long()
    time = starts + torch.arange(n_samples, device=windows.device)
    return windows.gather(-1, time[:, None].expand(-1, windows.shape[1], -1))
