"""From a record to windows: resample, filter, cut, judge, normalize, in this order.

Filtering and beat finding see whole stretches between gaps, never single windows; channels meet on
one grid of time, so that a pulse stands at the same place in each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.channels import ChannelConfig, spec_channels
from biosig_cli.data.grid import Grid, Gridded, origin_s, to_grid
from biosig_cli.data.record import Record
from biosig_cli.signal.denoise import DenoiseConfig, decibels
from biosig_cli.signal.normalize import Floats, ScaleMethod, center_and_scale, normalize
from biosig_cli.signal.quality import QualityConfig, Rule, Verdicts, judge, rules
from biosig_cli.signal.spec import SignalSpec

Float16s = NDArray[np.float16]
LARGEST = 65504.0
"""The largest number of float16."""
SMALLEST = 0.06
"""A signal that is smaller everywhere has fewer than 1,000 steps of float16, 6e-5, to move on."""


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
    pad_s: float = Field(0.05, ge=0, le=1)
    """The end of a slowly sampled track may be continued by so many seconds, until the moment at
    which its next sample would have come: 10 s at 30 Hz end at 9.967 s, at 125 Hz at 9.992 s."""
    normalization: ScaleMethod = "window"
    """What a window is normalized by: its own mean and spread or its record's, its own lowest and
    highest value (0 to 1), or nothing."""
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
        return self

    @property
    def step(self) -> int:
        """Samples from the start of a window to the start of the next."""
        return round(self.step_s * self.sampling_hz)


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
        dumped = self.dump()
        if self.windows.denoise is None:
            del dumped["windows"]["denoise"]
        return dumped


@dataclass(frozen=True)
class CutWindows:
    """Every window of one record, before any is dropped."""

    starts: NDArray[np.int64]
    """(N,) grid index of each window's first sample."""
    start_s: NDArray[np.float64]
    """(N,) when each begins, in seconds on the record's clock."""
    filtered: NDArray[np.float32]
    """(N, C, T) in the unit of each channel."""
    beats: dict[str, NDArray[np.int64]]
    """By cardiac channel, the grid indices of its beats."""
    verdicts: Verdicts
    target: NDArray[np.float32] | None = None
    """(N, C, T) denoised twins, where asked for; a channel that is not denoised is its own."""
    noise: dict[str, Floats] = field(default_factory=dict)
    """By channel that was denoised here, (N, 2) power of noise before, and of error after."""


@dataclass(frozen=True)
class RecordWindows:
    """The windows of one record that were kept, and what is known of those that were not."""

    record: str
    subject: str
    data: Float16s
    """(n, C, T) normalized windows."""
    columns: dict[str, NDArray[Any]]
    """(n,) per window: `start_s`, `center_X`, `scale_X`, what was measured of its quality, and
    `broken_RULE` for each rule."""
    dropped_columns: dict[str, NDArray[Any]]
    """(m,) per window that was dropped: `start_s`, `reason`, figures and rules as above."""
    n_cut: int
    """Windows before judging."""
    dropped: dict[str, int]
    """Windows that were dropped, by reason."""
    target: Float16s | None = None
    """(n, C, T) their denoised twins, by the same center and scale."""


def cut_record(record: Record, recipe: WindowRecipe, *, subject: str) -> RecordWindows:
    """Cut a record into the windows that `recipe` wants.

    Windows begin every step from the first moment that all channels have; one in which a channel
    lacks a sample is dropped like one of poor quality, and counted.

    Args:
        record: The recording, with every channel of the recipe.
        recipe: Channels, filters, length and thresholds.
        subject: Whose recording it is.

    Raises:
        DataError: If a channel has no stretch as long as a window, or the channels never overlap.
        SignalError: If a rate or a filter makes no sense.
    """
    cut, names = cut_and_judge(record, recipe), recipe.spec.names
    kept = cut.verdicts.kept
    filtered = cut.filtered[kept]
    center, scale = center_and_scale(filtered, recipe.windows.normalization)
    columns: dict[str, NDArray[Any]] = {
        "start_s": cut.start_s[kept],
        **{f"center_{name}": center[:, place] for place, name in enumerate(names)},
        **{f"scale_{name}": scale[:, place] for place, name in enumerate(names)},
        **_evidence(cut.verdicts, recipe.rules, kept),
        **_noise_columns(cut, recipe, kept),
    }
    dropped: dict[str, NDArray[Any]] = {
        "start_s": cut.start_s[~kept],
        "reason": cut.verdicts.reason[~kept],
        **_evidence(cut.verdicts, recipe.rules, ~kept),
    }
    reasons, counts = np.unique(dropped["reason"], return_counts=True)
    return RecordWindows(
        record=record.id,
        subject=subject,
        data=_stored(filtered, center, scale, recipe),
        columns=columns,
        dropped_columns=dropped,
        n_cut=len(kept),
        dropped={str(reason): int(n) for reason, n in zip(reasons, counts, strict=True)},
        target=None if cut.target is None else _stored(cut.target[kept], center, scale, recipe),
    )


def cut_and_judge(record: Record, recipe: WindowRecipe) -> CutWindows:
    """Return every window of a record with its verdict; arguments and errors as `cut_record`."""
    windows = recipe.windows
    grid = Grid(origin_s(record), windows.sampling_hz, windows.duration_s, windows.pad_s)
    channels = to_grid(record, recipe.channels, grid, recipe.denoise)
    starts = _starts(channels, windows)
    filtered = _cut([each.filtered for each in channels.values()], starts, windows.n_samples)
    unfiltered = _cut([each.unfiltered for each in channels.values()], starts, windows.n_samples)
    beats = {name: each.beats for name, each in channels.items()}
    verdicts = judge(
        filtered,
        unfiltered,
        recipe.spec,
        starts=starts,
        beats=beats,
        min_quality=recipe.min_quality,
        config=windows,
    )
    twins = [each.filtered if each.target is None else each.target for each in channels.values()]
    return CutWindows(
        starts,
        starts / windows.sampling_hz + grid.origin_s,
        filtered,
        beats,
        verdicts,
        target=_cut(twins, starts, windows.n_samples) if recipe.denoise else None,
        noise={name: _noise_of(each, starts) for name, each in channels.items() if each.noise},
    )


def _noise_of(channel: Gridded, starts: NDArray[np.int64]) -> Floats:
    """Return (N, 2) noise and error of the stretch that each window begins in."""
    firsts = [stretch.first for stretch in channel.noise]
    powers = np.array([(each.noise, each.error) for each in channel.noise], np.float32)
    inside = np.searchsorted(firsts, starts, side="right") - 1
    return powers[np.maximum(inside, 0)]


def _noise_columns(
    cut: CutWindows, recipe: WindowRecipe, kept: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Return the ratio of signal to noise of each window, in dB, before and after denoising.

    Where the source brings the twin, what it took away counts as the noise, and what it left is
    not known.
    """
    if cut.target is None:
        return {}
    columns: dict[str, NDArray[Any]] = {}
    for place, name in enumerate(recipe.channels):
        if name not in recipe.denoise:
            continue
        target = cut.target[kept, place]
        power = target.var(axis=-1, dtype=np.float64)
        if name in cut.noise:
            before, after = cut.noise[name][kept].T.astype(np.float64)
            # A threshold that takes signal too must not make the signal look smaller than it was.
            whole = cut.filtered[kept, place].var(axis=-1, dtype=np.float64)
            power = np.maximum(whole - before, power)
            columns[f"target_snr_db_{name}"] = decibels(power, after)
        else:
            before = (cut.filtered[kept, place] - target).var(axis=-1, dtype=np.float64)
        columns[f"snr_db_{name}"] = decibels(power, before)
    return columns


def _stored(
    windows: NDArray[np.float32], center: Floats, scale: Floats, recipe: WindowRecipe
) -> Float16s:
    """Return windows as a store holds them.

    Raises:
        DataError: If they are not normalized and float16 can't hold them.
    """
    if recipe.windows.normalization == "none" and windows.size:
        largest = float(np.abs(windows).max())
        if not SMALLEST <= largest <= LARGEST:
            raise DataError(
                f"the largest sample is {largest:g}; without normalization a store holds "
                f"{SMALLEST:g} to {LARGEST:g}",
                hint="take windows.normalization=record, or another unit of the channel",
            )
    return normalize(windows, center, scale).astype(np.float16)


def _evidence(
    verdicts: Verdicts, asked: Sequence[Rule], chosen: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Return figures and broken rules of the chosen windows, as columns."""
    return {
        **{name: each[chosen].astype(np.float32) for name, each in verdicts.values.items()},
        **{rule.column: verdicts.broken[rule.name][chosen] for rule in asked},
    }


def _starts(channels: Mapping[str, Gridded], windows: WindowsConfig) -> NDArray[np.int64]:
    spans = {name: channel.span for name, channel in channels.items()}
    first = max(start for start, _ in spans.values())
    last = min(stop for _, stop in spans.values())
    if last - first < windows.n_samples:
        said = ", ".join(
            f"{name} {start / windows.sampling_hz:.1f}-{stop / windows.sampling_hz:.1f} s"
            for name, (start, stop) in spans.items()
        )
        raise DataError(
            f"the channels share no {windows.duration_s:g} s: usable are {said}"
            if len(spans) > 1
            else f"usable is only {said}"
        )
    return np.arange(first, last - windows.n_samples + 1, windows.step, dtype=np.int64)


def _cut(
    signals: list[NDArray[np.float32]], starts: NDArray[np.int64], n_samples: int
) -> NDArray[np.float32]:
    """Return (N, C, T) windows from (grid,) signals, which may end at different times."""
    windows = [sliding_window_view(signal, n_samples)[starts] for signal in signals]
    return np.stack(windows, axis=1)
