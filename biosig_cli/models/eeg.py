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
from biosig_cli.models.attention import attend
from biosig_cli.models.base import Encoder, Encoding, ModelConfig
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
    n_layers: int = Field(4, gt=0)
    """Blocks of attention over time, then over electrodes."""
    n_heads: int = Field(4, gt=0)
    """Heads of each attention; divides the width."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations dropped."""
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
    times C. No parameter belongs to a channel: 19 or 129 electrodes take the same weights, in any
    order. Signals are taken as the store scales them, one scale per recording, so that how strong
    a rhythm is stays visible.

    Source:
        Criss-cross attention after CBraMod (Wang et al., ICLR 2025, arXiv 2412.07236), here one
        after the other instead of half of the heads each; places as Fourier features (Tancik et
        al., NeurIPS 2020, arXiv 2006.10739), as in REVE (arXiv 2510.21585).
    """

    any_montage = True

    def __init__(self, spec: SignalSpec, config: EegConfig) -> None:
        super().__init__()
        self.spec = spec
        self.patch_length = config.patch_size
        self.n_positions = spec.n_samples // config.patch_size
        self.width = config.width
        self.channel_dims = {}
        self.fusion = ""
        self.only_when_hidden = ("mask_token",)
        self.adapter = config.adapter.build()
        self.wave = nn.Linear(config.patch_size, config.width)
        self.spectrum = nn.Linear(config.patch_size // 2 + 1, config.width)
        self.place = nn.Linear(3 + 6 * N_FREQUENCIES, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.perceiver: Perceiver | None = None
        if config.adapter.kind == "perceiver":
            self.perceiver = Perceiver(config.adapter.targets(), config.width, config.n_heads)
        self.layers = nn.ModuleList(
            CrissCross(config.width, config.n_heads, config.dropout) for _ in range(config.n_layers)
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
        # In float32: the FFT knows no half precision.
        with torch.autocast(patches.device.type, enabled=False):
            spectrum = torch.fft.rfft(patches.float(), norm="ortho").abs().log1p()
        tokens: Tensor = self.wave(patches) + self.spectrum(spectrum)
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
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, absent: Tensor | None) -> Tensor:
        """Return tokens (B, C, P, D); `absent` (B, C) channels are not attended to."""
        tokens = tokens + self.dropout(self.time(tokens))
        across = self.space(tokens.transpose(1, 2), absent).transpose(1, 2)
        tokens = tokens + self.dropout(across)
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
