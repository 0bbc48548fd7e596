"""An encoder for EEG that knows where each electrode sits, and takes any number of them."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError
from biosig_cli.models.adapters import AdapterConfig, Channels, Perceiver, places_of
from biosig_cli.models.base import Encoder, Encoding, ModelConfig
from biosig_cli.models.eeg_blocks import CrissCross, FullAttention
from biosig_cli.models.eeg_patches import TemporalConv
from biosig_cli.signal.spec import Channel, SignalSpec

N_FREQUENCIES = 4
"""Octaves of the waves that a place is told by."""


class EegConfig(ModelConfig):
    """Size of an EEG encoder, and how it takes other montages."""

    kind: Literal["eeg"] = "eeg"
    patch_size: int = Field(25, gt=1)
    """Samples in a patch: 10 to 25 where timing matters, 200 as in LaBraM."""
    width: int = Field(128, gt=0)
    """Features of a token."""
    n_layers: int = Field(4, gt=0, le=256)
    """Blocks of attention over time, then over electrodes."""
    n_heads: int = Field(4, gt=0)
    """Heads of each attention; divides the width."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations dropped."""
    embedding: Literal["linear", "conv"] = "linear"
    """What makes a token of a patch: a line through its wave and one through its spectrum, or the
    temporal convolutions of LaBraM."""
    attention: Literal["criss_cross", "full"] = "criss_cross"
    """Along time, then across electrodes; or among all patches at once, as in LaBraM."""
    adapter: AdapterConfig = AdapterConfig()

    def build(self, spec: SignalSpec) -> "EegEncoder":
        """Return an encoder, with random weights, for windows of `spec` and of other montages.

        Raises:
            ConfigError: If patches do not divide the windows, heads the width, or a channel has no
                position.
        """
        if spec.n_samples % self.patch_size:
            fitting = [n for n in range(5, spec.n_samples) if spec.n_samples % n == 0]
            raise ConfigError(
                f"patches of {self.patch_size} do not divide windows of {spec.n_samples} samples",
                hint=f"patch sizes that do: {', '.join(map(str, fitting[:6]))}",
            )
        if self.width % self.n_heads:
            raise ConfigError(f"{self.n_heads} heads do not divide a width of {self.width}")
        return EegEncoder(spec, self)


class EegEncoder(Encoder):
    """Patches of each electrode become tokens that know their place on the head and in time.

    A token is the patch and its spectrum, each through a linear layer, plus an embedding of where
    the electrode sits and a wave for when. Blocks of attention go along time within an electrode,
    then across electrodes at one time, so that cost grows with C squared times P plus P squared
    times C; `attention: full` looks at all at once, for C squared times P squared. No parameter
    belongs to a channel: 19 or 129 electrodes take the same weights, in any order. Signals are
    taken as the store scales them, one scale per recording, so that how strong a rhythm is stays
    visible.

    Source:
        Criss-cross attention after CBraMod (Wang et al., ICLR 2025, arXiv 2412.07236), here one
        after the other instead of half of the heads each; places as Fourier features (Tancik et
        al., NeurIPS 2020, arXiv 2006.10739), as in REVE (arXiv 2510.21585). `embedding: conv` and
        `attention: full` after LaBraM (Jiang, Zhao, Lu, ICLR 2024, arXiv 2405.18765).
    """

    any_montage = True

    def __init__(self, spec: SignalSpec, config: EegConfig) -> None:
        super().__init__()
        self.spec = spec
        self.patch_length = config.patch_size
        self.n_positions = spec.n_samples // config.patch_size
        self.width = config.width
        self.n_heads = config.n_heads
        self.channel_dims = {}
        self.fusion = ""
        self.only_when_hidden = ("mask_token",)
        self.adapter = config.adapter.build()
        self.conv: TemporalConv | None = None
        if config.embedding == "conv":
            self.conv = TemporalConv(config.patch_size, config.width)
        else:
            self.wave = nn.Linear(config.patch_size, config.width)
            self.spectrum = nn.Linear(config.patch_size // 2 + 1, config.width)
        self.place = nn.Linear(3 + 6 * N_FREQUENCIES, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.perceiver: Perceiver | None = None
        if config.adapter.kind == "perceiver":
            self.perceiver = Perceiver(config.adapter.targets(), config.width, config.n_heads)
        block = CrissCross if config.attention == "criss_cross" else FullAttention
        self.layers = nn.ModuleList(
            block(config.width, config.n_heads, config.dropout) for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.blocks = tuple(f"layers.{number}" for number in range(config.n_layers))
        self._places: dict[tuple[Channel, ...], Tensor] = {}
        self.montage()

    def montage(self, spec: SignalSpec | None = None) -> tuple[Channel, ...]:
        """Return the channels that tokens are of, for windows of `spec`; its own if None."""
        channels = self.adapter.channels((spec or self.spec).channels)
        places_of(channels)
        return channels

    def forward(
        self, signal: Tensor, hidden: Tensor | None = None, spec: SignalSpec | None = None
    ) -> Encoding:
        """Encode windows (B, C, T) of any montage; see `Encoder`."""
        there = (spec or self.spec).channels
        adapted = self.adapter(signal, there)
        channels = self.adapter.channels(there)
        patches = adapted.signal.unflatten(-1, (-1, self.patch_length))
        hidden = _without_absent(hidden, adapted.absent, patches)
        tokens = self.embed(patches, hidden)
        place, time = self.embed_places(channels), self.embed_times(patches)
        absent = None if hidden is None else hidden.all(dim=-1)
        if self.perceiver is None:
            tokens = tokens + place[:, None] + time
        else:
            target = self.embed_places(self.perceiver.targets)
            tokens = self.perceiver.gather(tokens + time, place, target, hidden)
            absent = None
        for layer in self.layers:
            tokens = layer(tokens, absent)
        if self.perceiver is not None:
            tokens = self.perceiver.read(tokens, place, target) + time
        return Encoding(self.norm(tokens), patches)

    def embed(self, patches: Tensor, hidden: Tensor | None) -> Tensor:
        """Return tokens (B, C, P, D) of patches (B, C, P, L); a learned one where hidden."""
        tokens: Tensor
        if self.conv is not None:
            tokens = self.conv(patches)
        else:
            # In float32: the FFT knows no half precision.
            with torch.autocast(patches.device.type, enabled=False):
                spectrum = torch.fft.rfft(patches.float(), norm="ortho").abs().log1p()
            tokens = self.wave(patches) + self.spectrum(spectrum)
        if hidden is not None:
            tokens = torch.where(hidden[..., None], self.mask_token.to(tokens.dtype), tokens)
        return tokens

    def embed_places(self, channels: Channels) -> Tensor:
        """Return the embedded places (C, D) of channels."""
        known = tuple(channels)
        if known not in self._places:
            self._places[known] = fourier_features(torch.from_numpy(places_of(known)).float())
        embedded: Tensor = self.place(self._places[known].to(self.mask_token.device))
        return embedded

    def embed_times(self, patches: Tensor) -> Tensor:
        """Return a wave (P, D) for each position in time."""
        n_positions = patches.shape[2]
        half = self.width // 2
        rates = torch.exp(torch.arange(half) * (-math.log(1000.0) / half))
        angles = torch.arange(n_positions)[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        return F.pad(waves, (0, self.width - waves.shape[1])).to(patches.device, patches.dtype)


def need_eeg(encoder: Encoder, objective: str) -> EegEncoder:
    """Return the encoder if it is one for EEG.

    Raises:
        ConfigError: If not.
    """
    if not isinstance(encoder, EegEncoder):
        raise ConfigError(
            f"{objective} needs an encoder that knows places, not {type(encoder).__name__}",
            hint="give model.kind=eeg; or ask for hidden patches in time: objectives.masked",
        )
    return encoder


def fourier_features(places: Tensor) -> Tensor:
    """Return (C, 3 + 6 F) waves of places (C, 3): the place itself, sines, and cosines."""
    angles = [places * (math.pi * 2.0**octave / 2) for octave in range(N_FREQUENCIES)]
    waves: Sequence[Tensor] = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    return torch.cat([places, *waves], dim=1)


def _without_absent(hidden: Tensor | None, absent: Tensor | None, patches: Tensor) -> Tensor | None:
    """Return what is hidden (B, C, P), absent channels everywhere; None if nothing is."""
    if absent is None:
        return hidden
    everywhere = absent[None, :, None].expand(patches.shape[:3])
    return everywhere if hidden is None else hidden | everywhere
