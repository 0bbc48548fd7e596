"""Where the windows of a record begin: every step, or where its segments want them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.grid import Gridded
from biosig_cli.data.recipe import WindowsConfig
from biosig_cli.data.record import Record
from biosig_cli.data.segments import columns_of, windows_at

NO_SAMPLES = "outside the recording"
"""Why a window that an event asks for can't be had."""


@dataclass(frozen=True)
class Placement:
    """Where N windows begin."""

    starts: NDArray[np.int64]
    """(N,) grid index of the first sample of each."""
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    """(N,) what is known of each by where it stands."""
    no_room: dict[str, int] = field(default_factory=dict)
    """How many windows were wanted where there is no room for them, by reason."""


def placement(
    record: Record, channels: Mapping[str, Gridded], windows: WindowsConfig, origin_s: float
) -> Placement:
    """Return where the windows of a record begin.

    Without segments, they stand every step from the first moment that all channels have. With
    them, a window begins on the sample that is next to its moment, so half a sample away at most:
    it is rounded once, and never moved to where there is room.

    Args:
        record: The recording, with its events.
        channels: Its channels on their grid.
        windows: What windows are wanted, and where.
        origin_s: Where the grid begins, in seconds on the record's clock.

    Raises:
        DataError: If the channels never overlap, the record is too short, or it has none of the
            events.
    """
    first, last = _span(channels, windows)
    if (last - first) / windows.sampling_hz < windows.min_record_s:
        raise DataError(
            f"{(last - first) / windows.sampling_hz:.0f} s is short, wanted are recordings of "
            f"{windows.min_record_s:g} s or longer (windows.min_record_s)"
        )
    edge = round(windows.edge_s * windows.sampling_hz)
    first, last = first + edge, last - edge
    if not windows.segments:
        starts = np.arange(first, last - windows.n_samples + 1, windows.step, dtype=np.int64)
        return Placement(starts)
    wanted = windows_at(
        record, windows.segments, duration_s=windows.duration_s, step_s=windows.step_s
    )
    begins_s = np.array([window.start_s for window in wanted]) - origin_s
    starts = np.round(begins_s * windows.sampling_hz).astype(np.int64)
    is_inside = (starts >= first) & (starts + windows.n_samples <= last)
    reasons = [
        window.reason or ("" if inside else NO_SAMPLES)
        for window, inside in zip(wanted, is_inside.tolist(), strict=True)
    ]
    fits = [place for place, reason in enumerate(reasons) if not reason]
    columns = columns_of([wanted[place] for place in fits], windows.segments)
    return Placement(starts[fits], columns, dict(Counter(filter(None, reasons))))


def _span(channels: Mapping[str, Gridded], windows: WindowsConfig) -> tuple[int, int]:
    """Return the grid index of the first sample that all channels have, and one past the last."""
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
    return first, last
