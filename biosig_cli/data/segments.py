"""Where in a recording windows stand: anywhere, or within segments that its events mark.

A segment is a stretch of time beside an event: a trial, a block with the eyes closed, a movie. In
each, windows stand on a grid of its own, from its start at every step; a trial is a segment that
holds one window. A recording without segments is one long segment.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError
from biosig_cli.data.record import Event, Record

CLOSE_S = 1e-6
"""Less is the rounding of times that are written with six digits."""


class SegmentConfig(Config):
    """A stretch of time beside an event. Names of events may hold `*`, which stands for anything.

    A trial: `anchor` the stimulus, `from_s` and `to_s` the window, `trial` what each trial begins
    with, `delays` what is to be predicted. A block: `anchor` the cue, `from_s` and `to_s` its
    steady part, `until` what ends it. A movie: `anchor` its start, `until` its end, `to_s` its
    length and `tolerance_s`, so that one played at another length is left out; `is_timed`.
    """

    name: str
    """What its windows are called in the column `segment`."""
    anchor: tuple[str, ...]
    """Events that it stands beside; none for the start of the recording, where what a file holds
    is one thing from end to end."""
    from_s: float = 0.0
    """Start, in seconds after the anchor."""
    to_s: float
    """End, in seconds after the anchor."""
    until: tuple[str, ...] = ()
    """Events of which the next after the anchor ends it, however early it comes."""
    tolerance_s: float | None = Field(None, ge=0)
    """With it, the next of `until` must come at `to_s`, give or take so much."""
    is_timed: bool = False
    """Whether everybody met the same at the same time of it, as in a movie: the windows of one
    time belong together, and `segment` is NAME:SECONDS."""
    trial: tuple[str, ...] = ()
    """Events that a trial begins with. Only the first anchor of each trial counts."""
    delays: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Labels of its windows: seconds from the anchor to the first of these events in the same
    trial (or before the next anchor); missing where none comes."""
    records: str = ""
    """Regular expression that is found in the ids of the records that have it; empty: in all."""

    @field_validator("records")
    @classmethod
    def _is_an_expression(cls, records: str) -> str:
        try:
            re.compile(records)
        except re.error as error:
            raise ValueError(f"{records!r} is no regular expression: {error}") from None
        return records

    @model_validator(mode="after")
    def _is_consistent(self) -> "SegmentConfig":
        if self.to_s <= self.from_s:
            raise ValueError(f"from_s {self.from_s:g} to to_s {self.to_s:g} is no stretch of time")
        if not self.anchor and (self.trial or self.delays):
            raise ValueError("a trial needs `anchor`: the events that it stands beside")
        if self.tolerance_s is not None and not self.until:
            raise ValueError("tolerance_s needs `until`: the events that end the segment")
        if ":" in self.name:
            raise ValueError(f"a name has no colon: {self.name!r}")
        return self

    def is_in(self, record_id: str) -> bool:
        """Return whether a record may have such a segment."""
        return re.search(self.records, record_id) is not None


@dataclass(frozen=True)
class Window:
    """Where one window is to stand."""

    segment: str
    after_s: float
    """Its start, in seconds after the anchor."""
    start_s: float
    """Its start, on the record's clock."""
    delays_s: dict[str, float]
    reason: str
    """Why it can't stand there; empty where it can."""


def windows_at(
    record: Record, segments: Sequence[SegmentConfig], *, duration_s: float, step_s: float
) -> list[Window]:
    """Return every window that the segments of a record ask for, those without room included.

    Args:
        record: The recording, with its events.
        segments: Where windows are wanted.
        duration_s: Length of a window, in seconds.
        step_s: From the start of a window to the start of the next, in seconds.

    Raises:
        DataError: If the record has not one of the events.
    """
    wanted = [segment for segment in segments if segment.is_in(record.id)]
    placed: list[Window] = []
    for segment in wanted:
        grid = _Grid(segment, record.events, duration_s, step_s)
        placed += [window for trial in _trials(segment, record.events) for window in grid.of(trial)]
    if not placed:
        looked_for = dict.fromkeys(name for segment in wanted for name in segment.anchor)
        there = ", ".join(dict.fromkeys(event.name for event in record.events)) or "none"
        raise DataError(
            f"no event {' or '.join(looked_for) or 'of a segment'} that a window stands beside; "
            f"its events are {there[:200]}"
        )
    return sorted(placed, key=lambda window: window.start_s)


def is_wanted(record_id: str, segments: Sequence[SegmentConfig]) -> bool:
    """Return whether a record may have windows: without segments all have."""
    return not segments or any(segment.is_in(record_id) for segment in segments)


@dataclass(frozen=True)
class _Trial:
    """An anchor, and until when what follows belongs to it."""

    anchor: Event
    end_s: float
    counts: bool
    """Whether it is the first anchor of a trial, where trials are marked."""


def _trials(segment: SegmentConfig, events: Sequence[Event]) -> Iterator[_Trial]:
    begins = segment.trial or segment.anchor
    starts_s = np.array([event.onset_s for event in events if _is_one_of(event, begins)])
    taken = -1
    if not segment.anchor:
        yield _Trial(Event(0.0, "start"), np.inf, counts=True)
    for anchor in events:
        if not _is_one_of(anchor, segment.anchor):
            continue
        number = int(np.searchsorted(starts_s, anchor.onset_s, side="right")) - 1
        later = starts_s[starts_s > anchor.onset_s]
        end_s = float(later[0]) if len(later) else np.inf
        yield _Trial(anchor, end_s, counts=not segment.trial or number > taken)
        taken = number


@dataclass(frozen=True)
class _Grid:
    """Lays windows into the segments of one kind in a record."""

    segment: SegmentConfig
    events: Sequence[Event]
    duration_s: float
    step_s: float

    def of(self, trial: _Trial) -> Iterator[Window]:
        """Yield the windows beside one anchor."""
        segment, onset_s = self.segment, trial.anchor.onset_s
        end_s = self._end_s(onset_s)
        delays_s = {
            label: self._delay_s(names, trial) if trial.counts else np.nan
            for label, names in segment.delays.items()
        }
        room_s = segment.to_s - segment.from_s - self.duration_s
        n_windows = int(room_s / self.step_s + CLOSE_S) + 1 if room_s > -CLOSE_S else 0
        for number in range(n_windows):
            after_s = segment.from_s + number * self.step_s
            reason = self._reason(trial, end_s, after_s)
            name = f"{segment.name}:{after_s:g}" if segment.is_timed else segment.name
            yield Window(name, after_s, onset_s + after_s, delays_s, reason)

    def _reason(self, trial: _Trial, end_s: float, after_s: float) -> str:
        segment, length_s = self.segment, end_s - trial.anchor.onset_s
        if not trial.counts:
            return f"{segment.name} outside a trial"
        if segment.tolerance_s is not None:
            is_odd = abs(length_s - segment.to_s) > segment.tolerance_s + CLOSE_S
            return f"{segment.name} of another length" if is_odd else ""
        is_past = after_s + self.duration_s > length_s + CLOSE_S
        return f"{segment.name} ended before" if is_past else ""

    def _end_s(self, onset_s: float) -> float:
        """Return when a segment ends: at the next event that ends it, or its next anchor."""
        ends = (*self.segment.until, *self.segment.anchor) if self.segment.until else ()
        later = (e.onset_s for e in self.events if e.onset_s > onset_s and _is_one_of(e, ends))
        return min(later, default=np.inf)

    def _delay_s(self, names: Sequence[str], trial: _Trial) -> float:
        """Return seconds to the first such event of the trial: a second press is no reaction."""
        onset_s = trial.anchor.onset_s
        for event in self.events:
            if onset_s <= event.onset_s < trial.end_s and _is_one_of(event, names):
                return event.onset_s - onset_s
        return np.nan


def _is_one_of(event: Event, names: Sequence[str]) -> bool:
    return any(fnmatchcase(event.name, name) for name in names)


def columns_of(
    windows: Sequence[Window], segments: Sequence[SegmentConfig]
) -> dict[str, NDArray[np.generic]]:
    """Return what is known of (n,) windows: `segment`, `segment_s`, and `label_X` of delays."""
    labels = dict.fromkeys(label for segment in segments for label in segment.delays)
    return {
        "segment": np.array([window.segment for window in windows], np.str_),
        "segment_s": np.array([window.after_s for window in windows], np.float64),
        **{
            f"label_{label}": np.array([w.delays_s.get(label, np.nan) for w in windows], np.float32)
            for label in labels
        },
    }
