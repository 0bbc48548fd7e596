"""One recording of one subject as it was made: every channel at its own rate, gaps as NaN."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Track:
    """Samples of one channel, as a device recorded them."""

    samples: NDArray[np.float32]
    """(T,) values in `unit`; NaN where nothing was recorded."""
    sampling_hz: float
    """Native sampling rate, in Hz."""
    unit: str = ""
    start_s: float = 0.0
    """When the first sample was taken, in seconds on the clock of the record."""

    @property
    def end_s(self) -> float:
        """When the track ends: one sample after its last, in seconds on the record's clock."""
        return self.start_s + len(self.samples) / self.sampling_hz


@dataclass(frozen=True)
class Event:
    """Something that happened in a recording: a cue, a stimulus, the press of a button."""

    onset_s: float
    """When, in seconds on the clock of the record."""
    name: str


@dataclass(frozen=True)
class Record:
    """One recording; its channels share one clock, which starts with the recording."""

    id: str
    subject: str
    tracks: Mapping[str, Track]
    """Track of each channel, by the channel's name."""
    notes: tuple[str, ...] = field(default=())
    """What a reader found odd but could live with."""
    targets: Mapping[str, Track] = field(default_factory=dict)
    """Denoised twins of tracks where the source has them, by channel, sample for sample."""
    events: tuple[Event, ...] = ()
    """What happened in it, in the order of time."""
