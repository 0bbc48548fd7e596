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

from biosig_cli.core.errors import DataError
from biosig_cli.data.grid import Grid, Gridded, origin_s, to_grid
from biosig_cli.data.placement import placement
from biosig_cli.data.recipe import WindowRecipe, WindowsConfig
from biosig_cli.data.record import Record
from biosig_cli.signal.denoise import decibels
from biosig_cli.signal.normalize import Floats, center_and_scale, constant, normalize, pooled_scale
from biosig_cli.signal.quality import Rule, Verdicts, judge

__all__ = [
    "CutWindows",
    "RecordWindows",
    "WindowRecipe",
    "WindowsConfig",
    "cut_and_judge",
    "cut_record",
]

Float16s = NDArray[np.float16]
LARGEST = 65504.0
"""The largest number of float16."""
SMALLEST = 0.06
"""A signal that is smaller everywhere has fewer than 1,000 steps of float16, 6e-5, to move on."""


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
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    """(N,) what is known of each by where it stands: its segment, and labels of its trial."""
    no_room: dict[str, int] = field(default_factory=dict)
    """Windows that were wanted where there is no room for them, by reason; not among the N."""
    pooled: tuple[Floats, Floats] | None = None
    """(C,) center and scale of the whole recording, where windows are normalized by them."""


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
    """(m,) per window that was judged and dropped: `start_s`, `reason`, figures and rules."""
    n_cut: int
    """Windows that were wanted, those without room for them included."""
    dropped: dict[str, int]
    """Windows that were dropped or had no room, by reason."""
    target: Float16s | None = None
    """(n, C, T) their denoised twins, by the same center and scale."""


def cut_record(record: Record, recipe: WindowRecipe, *, subject: str) -> RecordWindows:
    """Cut a record into the windows that `recipe` wants.

    Windows begin every step from the first moment that all channels have, or stand within the
    recipe's segments; one in which a channel lacks a sample is dropped like one of poor quality,
    one that has no room is left out, and both are counted.

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
    if cut.pooled is None:
        center, scale = center_and_scale(filtered, recipe.windows.normalization)
    else:
        center, scale = (np.tile(each, (len(filtered), 1)) for each in cut.pooled)
    columns: dict[str, NDArray[Any]] = {
        "start_s": cut.start_s[kept],
        **{f"center_{name}": center[:, place] for place, name in enumerate(names)},
        **{f"scale_{name}": scale[:, place] for place, name in enumerate(names)},
        **_evidence(cut.verdicts, recipe.rules, kept),
        **_noise_columns(cut, recipe, kept),
        **{name: values[kept] for name, values in cut.columns.items()},
    }
    dropped: dict[str, NDArray[Any]] = {
        "start_s": cut.start_s[~kept],
        "reason": cut.verdicts.reason[~kept],
        **_evidence(cut.verdicts, recipe.rules, ~kept),
        **{name: values[~kept] for name, values in cut.columns.items()},
    }
    reasons, counts = np.unique(dropped["reason"], return_counts=True)
    return RecordWindows(
        record=record.id,
        subject=subject,
        data=as_stored(filtered, center, scale, recipe),
        columns=columns,
        dropped_columns=dropped,
        n_cut=len(kept) + sum(cut.no_room.values()),
        dropped={str(reason): int(n) for reason, n in zip(reasons, counts, strict=True)}
        | cut.no_room,
        target=None if cut.target is None else as_stored(cut.target[kept], center, scale, recipe),
    )


def cut_and_judge(record: Record, recipe: WindowRecipe, *, give_up: bool = False) -> CutWindows:
    """Return every window of a record with its verdict; arguments and errors as `cut_record`.

    With `give_up`, the record is of no use afterwards: each of its tracks is let go when it is cut.
    """
    windows = recipe.windows
    grid = Grid(origin_s(record), windows.sampling_hz, windows.duration_s, windows.pad_s)
    channels = to_grid(record, recipe.channels, grid, recipe.denoise, give_up=give_up)
    where = placement(record, channels, windows, grid.origin_s)
    starts = where.starts
    filtered = _cut([each.filtered for each in channels.values()], starts, windows.n_samples)
    unfiltered = _cut([each.unfiltered for each in channels.values()], starts, windows.n_samples)
    beats = {name: each.beats for name, each in channels.items()}
    eeg = [name for name, channel in recipe.channels.items() if channel.kind == "eeg"]
    still = constant({name: channels[name].filtered for name in eeg})
    verdicts = judge(
        filtered,
        unfiltered,
        recipe.spec,
        starts=starts,
        beats=beats,
        min_quality=recipe.min_quality,
        config=windows,
        constant=still,
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
        columns=where.columns | _still(still, len(starts), is_eeg=bool(eeg)),
        no_room=where.no_room,
        pooled=_pooled(channels, recipe, still) if windows.normalization == "robust" else None,
    )


def _still(names: Sequence[str], n_windows: int, *, is_eeg: bool) -> dict[str, NDArray[Any]]:
    """Return the column that marks the EEG channels of a recording that hold no signal."""
    return {"constant": np.full(n_windows, ",".join(names))} if is_eeg else {}


def _pooled(
    channels: Mapping[str, Gridded], recipe: WindowRecipe, still: Sequence[str]
) -> tuple[Floats, Floats]:
    """Return center and scale of all channels: one scale for those of a kind."""
    center, scale = np.zeros(len(channels), np.float32), np.ones(len(channels), np.float32)
    kinds = [channel.kind for channel in recipe.channels.values()]
    for kind in dict.fromkeys(kinds):
        places = [place for place, each in enumerate(kinds) if each == kind]
        names = [list(channels)[place] for place in places]
        signals = [channels[name].filtered for name in names]
        moving = [name not in still for name in names]
        center[places], scale[places] = pooled_scale(signals, moving)
    return center, scale


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


def as_stored(
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


def _cut(
    signals: list[NDArray[np.float32]], starts: NDArray[np.int64], n_samples: int
) -> NDArray[np.float32]:
    """Return (N, C, T) windows from (grid,) signals, which may end at different times."""
    windows = [sliding_window_view(signal, n_samples)[starts] for signal in signals]
    return np.stack(windows, axis=1)
