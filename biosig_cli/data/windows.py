"""From a record to windows: resample, filter, cut, judge, normalize, in this order.

Filtering and beat finding see whole stretches between gaps, never single windows; channels meet on
one grid of time, so that a pulse stands at the same place in each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig, spec_channels
from biosig_cli.data.record import Record, Track
from biosig_cli.signal.beats import ecg_beats, ppg_beats
from biosig_cli.signal.filters import zero_phase
from biosig_cli.signal.normalize import ScaleMethod, center_and_scale, normalize
from biosig_cli.signal.quality import QualityConfig, Rule, Verdicts, judge, rules
from biosig_cli.signal.resample import resample_segment, valid_segments
from biosig_cli.signal.spec import SignalSpec

BEAT_FINDERS = {"ecg": ecg_beats, "ppg": ppg_beats}


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
    """Whose mean and spread a window is normalized by: its own or its record's."""

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


@dataclass(frozen=True)
class RecordWindows:
    """The windows of one record that were kept, and what is known of those that were not."""

    record: str
    subject: str
    data: NDArray[np.float16]
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


@dataclass(frozen=True)
class _Gridded:
    """One channel on the grid of its record, NaN where there is nothing to use."""

    filtered: NDArray[np.float32]
    unfiltered: NDArray[np.float32]
    beats: NDArray[np.int64]

    @property
    def span(self) -> tuple[int, int]:
        """Grid index of the first usable sample, and of the one after the last."""
        usable = np.flatnonzero(np.isfinite(self.filtered))
        return int(usable[0]), int(usable[-1]) + 1


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
        data=normalize(filtered, center, scale).astype(np.float16),
        columns=columns,
        dropped_columns=dropped,
        n_cut=len(kept),
        dropped={str(reason): int(n) for reason, n in zip(reasons, counts, strict=True)},
    )


def cut_and_judge(record: Record, recipe: WindowRecipe) -> CutWindows:
    """Return every window of a record with its verdict; arguments and errors as `cut_record`."""
    windows = recipe.windows
    origin_s = _origin_s(record)
    channels = {
        name: _to_grid(name, record.tracks[name], channel, windows, origin_s)
        for name, channel in recipe.channels.items()
    }
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
    return CutWindows(starts, starts / windows.sampling_hz + origin_s, filtered, beats, verdicts)


def _evidence(
    verdicts: Verdicts, asked: Sequence[Rule], chosen: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Return figures and broken rules of the chosen windows, as columns."""
    return {
        **{name: each[chosen].astype(np.float32) for name, each in verdicts.values.items()},
        **{rule.column: verdicts.broken[rule.name][chosen] for rule in asked},
    }


def _origin_s(record: Record) -> float:
    """Return where the grid begins on the record's clock: on a sample of the slowest track.

    A track whose first sample falls between two points of its own grid is moved to the nearest,
    by half a sample at most. The slowest has the longest samples, so it is not moved at all.
    """
    slowest = min(record.tracks.values(), key=lambda track: track.sampling_hz)
    n_samples = slowest.start_s * slowest.sampling_hz
    return (n_samples - int(n_samples + 1e-6)) / slowest.sampling_hz


def _to_grid(
    name: str, track: Track, channel: ChannelConfig, windows: WindowsConfig, origin_s: float
) -> _Gridded:
    """Resample and filter each stretch between gaps, and find its beats."""
    shortest = int(windows.duration_s * track.sampling_hz)
    segments = valid_segments(np.isfinite(track.samples), shortest)
    if not segments:
        found = int(np.isfinite(track.samples).sum()) / track.sampling_hz
        raise DataError(
            f"{name} has no {windows.duration_s:g} s without a gap ({found:.1f} s of samples)"
        )
    start_index = round((track.start_s - origin_s) * track.sampling_hz)
    size = int((start_index + segments[-1].stop) / track.sampling_hz * windows.sampling_hz) + 2
    filtered, unfiltered = (np.full(size, np.nan, np.float32) for _ in range(2))
    beats = [np.empty(0, np.int64)]
    for segment in segments:
        samples = track.samples[segment]
        first, values = resample_segment(
            samples,
            sampling_hz=track.sampling_hz,
            target_hz=windows.sampling_hz,
            start_index=start_index + segment.start,
            pad_s=windows.pad_s if segment.stop == len(track.samples) else 0.0,
        )
        clean = _filter(values, samples, channel, windows.sampling_hz)
        filtered[first : first + len(values)] = clean
        unfiltered[first : first + len(values)] = values
        if channel.kind in BEAT_FINDERS:
            beats.append(BEAT_FINDERS[channel.kind](clean, windows.sampling_hz) + first)
    return _Gridded(filtered, unfiltered, np.concatenate(beats))


def _filter(
    values: NDArray[np.float64],
    samples: NDArray[np.float32],
    channel: ChannelConfig,
    sampling_hz: float,
) -> NDArray[np.floating]:
    if channel.filter is None:
        mean: float = samples.mean(dtype=np.float64)
        return values + mean  # resampling took it away
    sos = channel.filter.design(sampling_hz)
    return zero_phase(values, sos, sampling_hz=sampling_hz, settle_s=channel.filter.settle_s)


def _starts(channels: Mapping[str, _Gridded], windows: WindowsConfig) -> NDArray[np.int64]:
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
