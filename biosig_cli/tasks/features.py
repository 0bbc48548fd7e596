"""Features made by hand: what a person would measure in a window, as numbers.

A model that learned its own has to do better than these with a straight line through them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.store import WindowStore
from biosig_cli.signal.measures import missing
from biosig_cli.signal.quality import CARDIAC
from biosig_cli.signal.spec import Channel
from biosig_cli.tasks.channel_features import (
    Measures,
    apart_log,
    of_brain,
    of_heart,
    of_other,
)
from biosig_cli.tasks.examples import Choice

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

AT_ONCE = 8_000_000
"""Samples that are measured together."""


@dataclass(frozen=True)
class Features:
    """F features of N windows."""

    values: Values
    """(N, F); NaN where a window does not show a feature."""
    names: tuple[str, ...]
    """Names of the F features, such as `PPG_rate_bpm`."""
    uses: tuple[frozenset[str], ...]
    """Names of the channels that each feature is made from."""
    channels: tuple[Channel, ...]
    """The channels that were measured."""

    def take(self, chosen: Choice) -> "Features":
        """Return the features of the windows at `chosen`, or of those that a mask keeps."""
        return replace(self, values=self.values[chosen])

    def select(self, channels: Sequence[str]) -> "Features":
        """Return the features that need no other channels than these."""
        chosen = tuple(each for each in self.channels if each.name in channels)
        kept = [place for place, used in enumerate(self.uses) if used <= set(channels)]
        return replace(self.pick(kept), channels=chosen)

    def pick(self, places: Sequence[int]) -> "Features":
        """Return the features at `places` among the names."""
        return replace(
            self,
            values=self.values[:, list(places)],
            names=tuple(self.names[place] for place in places),
            uses=tuple(self.uses[place] for place in places),
        )

    def column(self, name: str) -> Values:
        """Return (N,) the feature called `name`."""
        return self.values[:, self.names.index(name)]


def hand_made(store: WindowStore, rows: Indices, channels: Sequence[str]) -> Features:
    """Return the features of the windows at `rows`, in their order, in physical units.

    PPG and ECG: beat rate and its variability, shape of the beats and how alike they are, flat and
    clipped parts; PPG: spectrum and score of quality too. PPG and ECG together: how far their rates
    are apart. EEG: power in the usual bands. Other channels: size and spectrum; acceleration
    together: how strong the motion is.

    Args:
        store: Windows with these channels.
        rows: (N,) places in the store.
        channels: Names of the channels to measure.

    Raises:
        DataError: If the store lacks a channel, or there are no windows.
    """
    if not len(rows):
        raise DataError("there are no windows to measure")
    positions = store.spec.positions(channels)
    chosen = tuple(store.spec.channels[position] for position in positions)
    parts = [
        _measured(store.physical(part)[:, positions], chosen, store.spec.sampling_hz)
        for part in _parts(np.asarray(rows, np.int64), store)
    ]
    names = tuple(parts[0])
    columns = [np.concatenate([part[name].values for part in parts]) for name in names]
    uses = tuple(parts[0][name].uses for name in names)
    return Features(np.stack(columns, axis=1), names, uses, chosen)


def join_features(parts: Sequence[Features]) -> Features:
    """Return the features of the windows of all parts, one part after the other.

    Raises:
        DataError: If they are not the same features.
    """
    if any(part.names != parts[0].names for part in parts):
        raise DataError("the windows were measured by different features")
    return replace(parts[0], values=np.concatenate([part.values for part in parts]))


def peak_rate_bpm(store: WindowStore, rows: Indices, channel: str) -> Values:
    """Return the heart rate of each window by counting its beats; NaN for fewer than three.

    Args:
        store: Windows with this channel.
        rows: (N,) places in the store.
        channel: Name of a PPG or an ECG.

    Raises:
        DataError: If the store lacks the channel, or it shows no heart beats.
    """
    position = store.spec.positions([channel])[0]
    kind = store.spec.channels[position].kind
    if kind not in CARDIAC:
        raise DataError(f"channel {channel} is {kind}: there are no heart beats to count")
    return hand_made(store, rows, [channel]).column(f"{channel}_rate_bpm")


@dataclass(frozen=True)
class _Column:
    values: Values
    uses: frozenset[str]


def _measured(
    windows: NDArray[np.floating], channels: Sequence[Channel], sampling_hz: float
) -> dict[str, _Column]:
    """Return the features of windows (N, C, T), by name."""
    lacking = missing(windows)
    finite = np.nan_to_num(windows, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
    columns: dict[str, _Column] = {}
    for place, channel in enumerate(channels):
        measures = _of_channel(finite[:, place], channel, sampling_hz)
        for name, values in measures.items():
            known = np.where(lacking[:, place] | ~np.isfinite(values), np.nan, values)
            columns[f"{channel.name}_{name}"] = _Column(known, frozenset([channel.name]))
    moving = [channel.name for channel in channels if channel.kind == "acc"]
    if len(moving) > 1:
        sizes = [np.exp(2 * columns[f"{name}_size_log"].values) for name in moving]
        columns["motion_log"] = _Column(np.log(np.sum(sizes, axis=0)) / 2, frozenset(moving))
    return columns | _agreement(columns, channels)


def _agreement(columns: Mapping[str, _Column], channels: Sequence[Channel]) -> dict[str, _Column]:
    """Return how far the rates of two channels are apart, from the beats and from the spectrum."""
    kinds = {channel.name: channel.kind for channel in channels if channel.kind in CARDIAC}
    apart = {}
    for one, other in permutations(kinds, 2):
        uses = frozenset((one, other))
        rate = columns[f"{other}_rate_bpm"].values
        if one < other:
            counted = apart_log(columns[f"{one}_rate_bpm"].values, rate)
            apart[f"{one}_{other}_rates_differ_log"] = _Column(counted, uses)
        if kinds[one] == "ppg":
            seen = apart_log(60 * columns[f"{one}_dominant_hz"].values, rate)
            apart[f"{one}_{other}_spectrum_differs_log"] = _Column(seen, uses)
    return apart


def _of_channel(windows: Values, channel: Channel, sampling_hz: float) -> Measures:
    if channel.kind in CARDIAC:
        return of_heart(windows, channel.kind, sampling_hz)
    if channel.kind == "eeg":
        return of_brain(windows, sampling_hz)
    return of_other(windows, sampling_hz)


def _parts(rows: Indices, store: WindowStore) -> Iterator[Indices]:
    step = max(1, AT_ONCE // (store.spec.n_channels * store.spec.n_samples))
    yield from (rows[first : first + step] for first in range(0, len(rows), step))
