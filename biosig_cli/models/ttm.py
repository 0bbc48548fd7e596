"""TTM, IBM's TinyTimeMixer, as an encoder that knows its channels and can hide patches.

The only file that imports `tsfm_public` (granite-tsfm), and only when a model is built.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.models.base import Encoder, Encoding, ModelConfig
from biosig_cli.models.layers import ChannelMixer
from biosig_cli.signal.spec import SignalSpec

OWN_PARAMETERS = ("channel_embedding", "mask_token", "mixer.")
"""What this encoder adds to a TTM, and released weights do not have."""

BLOCK = "TinyTimeMixerLayer"
"""What granite-tsfm calls one layer of mixers over time and features."""

_FIXED = {
    "mode": "common_channel",
    "scaling": "std",
    "norm_mlp": "LayerNorm",
    "self_attn": False,
    "use_positional_encoding": False,
    "resolution_prefix_tuning": False,
}
"""Settings of TTM that this encoder relies on; weights made with others are refused."""


class TtmConfig(ModelConfig):
    """Size of a TTM, and where its weights come from."""

    kind: Literal["ttm"] = "ttm"
    context_length: int = Field(1250, gt=0, le=10_000_000)
    """Samples in a window."""
    patch_size: int = Field(125, gt=0)
    """Samples in a patch; divides the context length."""
    width: int = Field(192, gt=0)
    """Features of a token (d_model)."""
    n_layers: int = Field(3, gt=0, le=256)
    """Mixer layers at each level."""
    n_levels: int = Field(3, ge=0, le=16)
    """Levels of adaptive patching."""
    expansion: int = Field(2, gt=0)
    """Width of the hidden layers, as a multiple."""
    is_gated: bool = False
    """Gates in every mixer, as released weights have them. A gate is a softmax over features, so it
    divides what a layer adds by its width: from scratch, training is much slower with them."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations dropped; 0 while pretraining, where it costs a third of a step."""

    @model_validator(mode="after")
    def _patches_fill_the_context(self) -> Self:
        if self.context_length % self.patch_size or self.context_length == self.patch_size:
            fitting = [n for n in range(2, self.context_length) if self.context_length % n == 0]
            close = sorted(sorted(fitting, key=lambda n: abs(math.log(n / self.patch_size)))[:4])
            raise ValueError(
                f"patches of {self.patch_size} do not divide a context of {self.context_length}; "
                f"patch sizes that do, near it: {', '.join(map(str, close)) or 'none'}"
            )
        return self

    @property
    def n_positions(self) -> int:
        """Patches in a window."""
        return self.context_length // self.patch_size

    def build(self, spec: SignalSpec) -> "TtmEncoder":
        """Return an encoder for windows of `spec`, with random weights.

        Raises:
            ConfigError: If the windows have another length than the context.
        """
        if spec.n_samples != self.context_length:
            is_eeg = any(channel.kind == "eeg" for channel in spec.channels)
            raise ConfigError(
                f"the model takes {self.context_length} samples, the windows have {spec.n_samples}",
                hint="EEG has a model of its own: --set model.kind=eeg, or --config eeg_phase1b"
                if is_eeg
                else f"give --context-length {spec.n_samples} with a patch size that divides it, "
                f"or cut windows of {self.context_length} samples: `biosig build-windows` "
                "with --windows-yaml (windows: 1250 samples, windows_1024: 1024)",
            )
        return TtmEncoder(
            spec,
            patch_length=self.patch_size,
            width=self.width,
            n_layers=self.n_layers,
            n_levels=self.n_levels,
            expansion=self.expansion,
            is_gated=self.is_gated,
            dropout=self.dropout,
        )

    @classmethod
    def from_released(cls, released: Mapping[str, Any], source: str) -> Self:
        """Return the settings of released weights, from their `config.json`.

        Dropout does not come with the weights: it belongs to how they were trained.

        Raises:
            CheckpointError: If the architecture is not one that this encoder can be.
        """
        other = {
            name: released[name]
            for name, value in _FIXED.items()
            if name in released and released[name] != value
        }
        if released.get("model_type") != "tinytimemixer" or other:
            raise CheckpointError(
                f"{source} is not a TTM that can be used here: model_type "
                f"{released.get('model_type')!r}, {other or 'settings missing'}",
                hint="use TTM r1 or r2 weights, such as "
                "ibm-granite/granite-timeseries-ttm-r1@1024_96_v1",
            )
        if released["patch_stride"] != released["patch_length"]:
            raise CheckpointError(
                f"{source} has overlapping patches (length {released['patch_length']}, "
                f"stride {released['patch_stride']})",
                hint="use weights whose stride equals the patch length",
            )
        return cls(
            context_length=released["context_length"],
            patch_size=released["patch_length"],
            width=released["d_model"],
            n_layers=released["num_layers"],
            n_levels=released["adaptive_patching_levels"],
            expansion=released["expansion_factor"],
            is_gated=released["gated_attn"],
            init_from=source,
        )


class TtmEncoder(Encoder):
    """A TinyTimeMixer backbone that treats channels by name.

    The backbone sees every channel alone and alike. Two additions, both without effect at the
    start: an embedding per channel, added to its patches, and a mixer through which channels
    inform each other. A hidden patch enters as a learned token; scaling uses visible samples only.

    Source:
        Ekambaram et al., NeurIPS 2024, arXiv 2401.03955, through granite-tsfm's own modules.
        Deviations: channel embedding, channel mixer, mask token; no forecasting decoder.
    """

    def __init__(
        self,
        spec: SignalSpec,
        *,
        patch_length: int,
        width: int,
        n_layers: int,
        n_levels: int,
        expansion: int,
        is_gated: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.patch_length = patch_length
        self.channel_dims = {"channel_embedding": (0,), "mixer.weight": (0, 1)}
        self.fusion = "mixer.*"
        self.only_when_hidden = ("mask_token",)
        self.n_positions = spec.n_samples // patch_length
        self.width = width
        self.backbone = _backbone(
            context_length=spec.n_samples,
            patch_length=patch_length,
            patch_stride=patch_length,
            d_model=width,
            num_layers=n_layers,
            adaptive_patching_levels=n_levels,
            expansion_factor=expansion,
            gated_attn=is_gated,
            dropout=dropout,
        )
        self.blocks = tuple(
            f"backbone.{name}"
            for name, module in self.backbone.named_modules()
            if type(module).__name__ == BLOCK
        )
        self.channel_embedding = nn.Parameter(torch.zeros(spec.n_channels, width))
        self.mixer = ChannelMixer(spec.n_channels, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.reset_mask_token()

    def reset_mask_token(self) -> None:
        """Start the token of a hidden patch as that of a patch that is flat at the mean."""
        with torch.no_grad():
            self.mask_token.copy_(self.backbone.encoder.patcher.bias)

    def forward(
        self, signal: Tensor, hidden: Tensor | None = None, spec: SignalSpec | None = None
    ) -> Encoding:
        """Encode windows (B, C, T); see `Encoder`."""
        patches = self._scaled_patches(signal, hidden)
        tokens = self.backbone.encoder.patcher(patches)
        if hidden is not None:
            tokens = torch.where(hidden[..., None], self.mask_token.to(tokens.dtype), tokens)
        tokens = tokens + self.channel_embedding[:, None]
        tokens, _ = self.backbone.encoder.mlp_mixer_encoder(tokens)
        absent = None if hidden is None else hidden.all(dim=-1)
        return Encoding(self.mixer(tokens, absent), patches)

    def _scaled_patches(self, signal: Tensor, hidden: Tensor | None) -> Tensor:
        """Return patches (B, C, P, L) in units of the visible signal's deviation."""
        values = signal.transpose(1, 2)
        if hidden is None:
            visible = torch.ones_like(values)
        else:
            samples = hidden.repeat_interleave(self.patch_length, dim=-1)
            visible = (~samples).transpose(1, 2).to(values.dtype)
        scaled, _, _ = self.backbone.scaler(values, visible)
        patches: Tensor = self.backbone.patching(scaled)
        return patches


def _backbone(**settings: Any) -> Any:
    """Return granite-tsfm's backbone; its import may not touch the logging of the program."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        from tsfm_public.models.tinytimemixer import TinyTimeMixerConfig, TinyTimeMixerModel
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return TinyTimeMixerModel(TinyTimeMixerConfig(**_FIXED, **settings))
