"""One channel of a record on the record's grid of time: resampled, filtered, denoised beside it.

Each stretch between gaps is handled whole. The denoised twin goes the same way as the signal, so
that the two differ in noise alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.bounds import assert_room
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.record import Record, Track
from biosig_cli.signal.beats import ecg_beats, ppg_beats
from biosig_cli.signal.denoise import (
    DenoiseConfig,
    Gain,
    finest_gain,
    noise_power,
    wavelet_denoise,
)
from biosig_cli.signal.filters import AnyFilter, Sos, response_db, zero_phase
from biosig_cli.signal.resample import (
    anti_alias_gain,
    rate_ratio,
    resample_segment,
    valid_segments,
)

LARGEST = 2.0**32
"""No converter of 32 bits gives more; a larger sample counts as missing, as powers of it would not
be a float32."""
GRID_BYTES = 16
"""What a grid point takes at least: the signal in float64, filtered and not in float32."""
BEAT_FINDERS = {"ecg": ecg_beats, "ppg": ppg_beats}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The clock that all channels of a record share, and what its windows ask for."""

    origin_s: float
    """Where it begins, in seconds on the record's clock."""
    sampling_hz: float
    duration_s: float
    """Length of a window; shorter stretches hold none."""
    pad_s: float


@dataclass(frozen=True)
class Stretch:
    """The noise of one stretch between gaps."""

    first: int
    """Grid index of its first sample."""
    noise: float
    """Power of the noise in what was filtered, in the squared unit of the channel."""
    error: float
    """Power of what is wrong with the denoised twin: noise that stayed, signal that went."""


@dataclass(frozen=True)
class Gridded:
    """One channel on the grid of its record, NaN where there is nothing to use."""

    filtered: NDArray[np.float32]
    unfiltered: NDArray[np.float32]
    beats: NDArray[np.int64]
    target: NDArray[np.float32] | None = None
    """Denoised and filtered, where it was asked for."""
    noise: tuple[Stretch, ...] = ()
    """By stretch; none where the twin was not made by denoising here."""

    @property
    def span(self) -> tuple[int, int]:
        """Grid index of the first usable sample, and of the one after the last."""
        usable = np.isfinite(self.filtered)
        return int(usable.argmax()), len(usable) - int(usable[::-1].argmax())


def to_grid(
    record: Record,
    channels: Mapping[str, ChannelConfig],
    grid: Grid,
    denoise: Mapping[str, DenoiseConfig],
    *,
    give_up: bool = False,
) -> dict[str, Gridded]:
    """Return every channel of a record on its grid.

    Args:
        record: The recording, with every one of `channels`.
        channels: How each is filtered.
        grid: The clock.
        denoise: How the twin of a channel is made, of those that have one to be made; a track of
            the record's `targets` is taken instead where there is one.
        give_up: Take each track out of the record, so that its memory is free when it is done.

    Raises:
        DataError: If a channel has no stretch as long as a window.
        SignalError: If a rate or a filter makes no sense, or a stretch is too short to denoise.
    """
    tracks = record.tracks
    take = tracks.pop if give_up and isinstance(tracks, dict) else tracks.__getitem__
    return {
        name: _Channel(name, channel, grid, denoise.get(name), record.targets.get(name)).of(
            take(name)
        )
        for name, channel in channels.items()
    }


def origin_s(record: Record) -> float:
    """Return where the grid begins on the record's clock: on a sample of the slowest track.

    A track whose first sample falls between two points of its own grid is moved to the nearest,
    by half a sample at most. The slowest has the longest samples, so it is not moved at all.

    Raises:
        DataError: If a rate is none.
    """
    for name, track in record.tracks.items():
        if not (math.isfinite(track.sampling_hz) and track.sampling_hz > 0):
            raise DataError(
                f"{name} has a sampling rate of {track.sampling_hz} Hz",
                hint="the recording's header is damaged, or its recipe names a wrong rate",
            )
    slowest = min(record.tracks.values(), key=lambda track: track.sampling_hz)
    n_samples = slowest.start_s * slowest.sampling_hz
    return (n_samples - int(n_samples + 1e-6)) / slowest.sampling_hz


@lru_cache(maxsize=32)
def _design(config: AnyFilter, sampling_hz: float) -> Sos:
    """Return the sections of a filter, designed once for the many channels of an EEG."""
    return config.design(sampling_hz)


@dataclass(frozen=True)
class _Channel:
    """Brings the track of one channel onto the grid."""

    name: str
    config: ChannelConfig
    grid: Grid
    denoise: DenoiseConfig | None
    given: Track | None

    def of(self, track: Track) -> Gridded:
        """Resample and filter each stretch between gaps, denoise it, and find its beats."""
        segments, start_index, size = self._layout(track)
        filtered, unfiltered = (np.full(size, np.nan, np.float32) for _ in range(2))
        target = None if self.denoise is None else np.full(size, np.nan, np.float32)
        beats, noise = [np.empty(0, np.int64)], []
        for segment in segments:
            samples = track.samples[segment]
            first, values = self._resample(samples, track, segment, start_index)
            clean = self._filter(values, samples, self.grid.sampling_hz)
            place = slice(first, first + len(values))
            filtered[place], unfiltered[place] = clean, values
            if target is not None:
                target[place] = self._twin(track, segment, start_index, values)
                noise += self._noise(track, samples, values, first)
            del values  # of a day it is 90 MB
            if self.config.kind in BEAT_FINDERS:
                found = BEAT_FINDERS[self.config.kind](clean, self.grid.sampling_hz)
                beats.append(found + first)
        return Gridded(filtered, unfiltered, np.concatenate(beats), target, tuple(noise))

    def _layout(self, track: Track) -> tuple[list[slice], int, int]:
        """Return the stretches to use, the native index of the track's start, the grid's size."""
        grid = self.grid
        shortest = int(grid.duration_s * track.sampling_hz)
        samples = track.samples
        usable = (samples >= -LARGEST) & (samples <= LARGEST)  # false where one is missing
        segments = valid_segments(usable, shortest)
        if not segments:
            found = int(usable.sum()) / track.sampling_hz
            raise DataError(
                f"{self.name} has no {grid.duration_s:g} s without a gap ({found:.1f} s of samples)"
            )
        start_index = round((track.start_s - grid.origin_s) * track.sampling_hz)
        ratio = float(rate_ratio(track.sampling_hz, grid.sampling_hz))
        size = int((start_index + segments[-1].stop) * ratio) + 2
        assert_room(size * GRID_BYTES, f"{size / grid.sampling_hz:.0f} s of {self.name}")
        return segments, start_index, size

    def _resample(
        self, samples: NDArray[np.floating], track: Track, segment: slice, start_index: int
    ) -> tuple[int, Floats]:
        return resample_segment(
            samples,
            sampling_hz=track.sampling_hz,
            target_hz=self.grid.sampling_hz,
            start_index=start_index + segment.start,
            pad_s=self.grid.pad_s if segment.stop == len(track.samples) else 0.0,
        )

    def _filter(
        self, values: Floats, samples: NDArray[np.floating], sampling_hz: float
    ) -> NDArray[np.floating]:
        if self.config.filter is None:
            mean: float = samples.mean(dtype=np.float64)
            return values + mean  # resampling took it away
        sos = _design(self.config.filter, sampling_hz)
        settle_s = self.config.filter.settle_s
        return zero_phase(values, sos, sampling_hz=sampling_hz, settle_s=settle_s)

    def _twin(
        self, track: Track, segment: slice, start_index: int, values: Floats
    ) -> NDArray[np.floating]:
        """Return a stretch, denoised or as the source has it so, and filtered."""
        samples = self._given(track, segment)
        if samples is None:
            samples = track.samples[segment]
            if not self._is_slower(track):
                seen = self._seen(track)
                denoised = wavelet_denoise(values, self.denoise, seen=seen).astype(np.float64)
                return self._filter(denoised, samples, self.grid.sampling_hz)
            samples = wavelet_denoise(samples.astype(np.float64), self.denoise)
        _, resampled = self._resample(samples, track, segment, start_index)
        return self._filter(resampled, samples, self.grid.sampling_hz)

    def _given(self, track: Track, segment: slice) -> NDArray[np.float32] | None:
        if self.given is None:
            return None
        if self.given.sampling_hz != track.sampling_hz or len(self.given.samples) != len(
            track.samples
        ):
            raise DataError(
                f"the denoised {self.name} has {len(self.given.samples)} samples at "
                f"{self.given.sampling_hz:g} Hz, the signal {len(track.samples)} at "
                f"{track.sampling_hz:g} Hz",
                hint="both must be the same moments",
            )
        samples = self.given.samples[segment]
        if not np.isfinite(samples).all():
            raise DataError(f"the denoised {self.name} lacks samples that the signal has")
        return samples

    def _is_slower(self, track: Track) -> bool:
        """Whether the track is slower than the grid, so that resampling would hide its noise.

        The finest level of a signal that was made faster is empty: noise is measured, and taken
        away, at the lower of the two rates.
        """
        return track.sampling_hz < self.grid.sampling_hz

    def _noise(
        self, track: Track, samples: NDArray[np.floating], values: Floats, first: int
    ) -> list[Stretch]:
        if self.given is not None:
            return []
        is_slower = self._is_slower(track)
        noise, error = noise_power(
            samples if is_slower else values,
            self.denoise,
            sampling_hz=track.sampling_hz if is_slower else self.grid.sampling_hz,
            gain=self._gain(),
            seen=1.0 if is_slower else self._seen(track),
        )
        return [Stretch(first, float(noise), float(error))]

    def _seen(self, track: Track) -> float:
        """Return the part of white noise that resampling left in the finest level."""
        target_hz = self.grid.sampling_hz
        gain = anti_alias_gain(track.sampling_hz, target_hz)
        config = self.denoise or DenoiseConfig()
        return finest_gain(config, sampling_hz=target_hz, gain=gain)

    def _gain(self) -> Gain | None:
        """Return what the channel's filter leaves of the power at each frequency."""
        if self.config.filter is None:
            return None
        sos, sampling_hz = self.config.filter.design(self.grid.sampling_hz), self.grid.sampling_hz
        return lambda frequencies_hz: 10 ** (response_db(sos, frequencies_hz, sampling_hz) / 10)
