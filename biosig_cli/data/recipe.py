"""How recordings become windows: which channels, how they are cut and judged."""

from typing import Any

from pydantic import Field, model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.data.channels import ChannelConfig, spec_channels
from biosig_cli.data.segments import SegmentConfig
from biosig_cli.signal.denoise import DenoiseConfig
from biosig_cli.signal.normalize import ScaleMethod
from biosig_cli.signal.quality import QualityConfig, Rule, rules
from biosig_cli.signal.spec import SignalSpec

LATER = ("denoise", "segments", "edge_s", "min_record_s", "max_bad_channels")
"""Settings that came after the first stores were built."""


class WindowsConfig(QualityConfig):
    """How long a window is, how often one begins, and when it is usable."""

    duration_s: float = Field(gt=0)
    """Length of a window, in seconds."""
    sampling_hz: float = Field(gt=0)
    """Sampling rate of a window, in Hz."""
    n_samples: int = Field(gt=0)
    """Length of a window, in samples: `duration_s` times `sampling_hz`."""
    step_s: float = Field(gt=0)
    """Time from the start of a window to the start of the next, in seconds."""
    segments: tuple[SegmentConfig, ...] = ()
    """Where windows stand: in these stretches beside events; anywhere, when left out."""
    edge_s: float = Field(0.0, ge=0)
    """Seconds at either end of a recording that no window touches."""
    min_record_s: float = Field(0.0, ge=0)
    """Shorter recordings have no windows, in seconds."""
    pad_s: float = Field(0.05, ge=0, le=1)
    """The end of a slowly sampled track may be continued by so many seconds, until the moment at
    which its next sample would have come: 10 s at 30 Hz end at 9.967 s, at 125 Hz at 9.992 s."""
    normalization: ScaleMethod = "window"
    """What a window is normalized by: its own mean and spread or its record's, its own lowest and
    highest value (0 to 1), nothing, or (`robust`) one spread for all channels of its recording."""
    denoise: DenoiseConfig | None = None
    """How the denoised twin of a window is made, the target of a reconstruction; null: none is."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "WindowsConfig":
        expected = self.duration_s * self.sampling_hz
        if abs(expected - self.n_samples) > 1e-6:
            raise ValueError(
                f"duration_s {self.duration_s:g} x sampling_hz {self.sampling_hz:g} makes "
                f"{expected:g} samples, n_samples says {self.n_samples}"
            )
        step = self.step_s * self.sampling_hz
        if abs(step - round(step)) > 1e-6:
            raise ValueError(f"step_s {self.step_s:g} is not a whole number of samples ({step:g})")
        for segment in self.segments:
            length_s = segment.to_s - segment.from_s
            if length_s < self.duration_s - 1e-6:
                raise ValueError(
                    f"segment {segment.name} lasts {length_s:g} s, a window {self.duration_s:g} s"
                )
        return self

    @property
    def step(self) -> int:
        """Samples from the start of a window to the start of the next."""
        return round(self.step_s * self.sampling_hz)


PIPELINE = 2
"""Raised when a recording and a recipe give windows that differ in any bit from those before."""


class WindowRecipe(Config):
    """Everything that decides what the windows of a record are."""

    channels: dict[str, ChannelConfig]
    """The channels of a window, in its order."""
    windows: WindowsConfig
    """How they are cut and judged."""

    @property
    def spec(self) -> SignalSpec:
        """What the windows are."""
        return SignalSpec(
            channels=spec_channels(self.channels),
            sampling_hz=self.windows.sampling_hz,
            n_samples=self.windows.n_samples,
        )

    @property
    def min_quality(self) -> dict[str, float]:
        """The lowest score of each channel that states its own."""
        stated = {name: channel.min_quality for name, channel in self.channels.items()}
        return {name: lowest for name, lowest in stated.items() if lowest is not None}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What every window is asked."""
        return rules(self.spec, self.min_quality, self.windows)

    @property
    def denoise(self) -> dict[str, DenoiseConfig]:
        """How each channel is denoised, of those that are.

        Raises:
            ConfigError: If a channel is named that no window has, or none is left to denoise.
        """
        config = self.windows.denoise
        if config is None:
            return {}
        unknown = [name for name in config.channels if name not in self.channels]
        pulses = [name for name, channel in self.channels.items() if channel.kind == "ppg"]
        chosen = config.channels or pulses
        if unknown or not chosen:
            raise ConfigError(
                f"windows.denoise.channels names {', '.join(unknown)}, which no window has"
                if unknown
                else "no channel is of kind ppg, and windows.denoise.channels names none",
                hint=f"the channels are {', '.join(self.channels)}",
            )
        return dict.fromkeys(chosen, config)

    def identity(self) -> dict[str, Any]:
        """Return what decides the windows; a setting that came later and is not used is no part."""
        defaults = {name: WindowsConfig.model_fields[name].default for name in LATER}
        unused = {name for name in LATER if getattr(self.windows, name) == defaults[name]}
        windows = {key: each for key, each in self.windows.dump().items() if key not in unused}
        channels = {name: channel.identity() for name, channel in self.channels.items()}
        return {"channels": channels, "windows": windows}
