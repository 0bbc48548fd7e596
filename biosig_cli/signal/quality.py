"""Judge every window by itself: kept, or dropped for one named reason.

Each rule belongs to kinds of channel; those about the heart never touch acceleration or EEG. Flat
and clipped stretches are looked for before filtering, which would hide them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from biosig_cli.core.config import Config
from biosig_cli.core.errors import SignalError
from biosig_cli.signal.beats import (
    PULSE_SPAN_S,
    beat_similarity,
    beats_per_window,
    rate_per_window_bpm,
)
from biosig_cli.signal.measures import (
    Values,
    Verdict,
    Windows,
    band_ratio,
    clipped_fraction,
    flat_fraction,
    missing,
    n_parts,
    periodicity,
    pulse_concentration,
    skewness,
)
from biosig_cli.signal.spec import ChannelKind, SignalSpec

MISSING = "missing"
"""The rule about samples; every gate asks it."""

CARDIAC: frozenset[ChannelKind] = frozenset({"ppg", "ecg"})
"""Judged channel by channel, and never still; an accelerometer at rest is, and breath between two
breaths."""
BAD = ("flat", "clipped")
"""What makes a channel of an EEG bad in a window."""

BEAT_SPAN_S: dict[ChannelKind, tuple[float, float]] = {"ppg": PULSE_SPAN_S, "ecg": (0.10, 0.15)}
"""What belongs to a beat, before and after its peak: the systolic wave, the QRS complex."""


class QualityConfig(Config):
    """Where a window stops being usable.

    Measured on 1,872 windows of 10 s from 39 intensive-care recordings, with the shipped limit of
    the PPG: kept are 99 % of those in which PPG and ECG find the same heart rate.
    """

    gate: Literal["all", "missing"] = "all"
    """Which rules drop a window: all, or only the one about missing samples, for recipes whose
    label is the quality itself. Every verdict is recorded either way."""
    max_flat: float = Field(0.25, ge=0, le=1)
    """Largest part of a window that may stand still."""
    max_clipped: float = Field(0.05, ge=0, le=1)
    """Largest part of a window that may lie on its own highest or lowest value."""
    min_cycles: int = Field(3, ge=0)
    """Fewest heart beats in a window of a cardiac channel."""
    min_quality: float = Field(0.35, ge=0, le=1)
    """Lowest score of a cardiac channel for which the caller names none: the similarity of its
    beats, for a PPG averaged with how much of its power lies at its own rate. White noise stays
    below 0.25 in an ECG and 0.3 in a PPG, drifting noise below 0.6 in a PPG."""
    max_rate_difference_bpm: float = Field(10.0, gt=0)
    """Largest difference between pulse rate and ECG rate, where both are known."""
    max_bad_channels: float = Field(0.25, ge=0, le=1)
    """Largest part of the EEG channels of a window that may be flat or clipped beyond the limits
    above: of many electrodes some are always loose. Channels that stand still in the whole
    recording, such as its reference, are not asked."""


BLOCK = 1024
"""Windows that are measured at a time."""


@dataclass(frozen=True)
class Rule:
    """One question put to every window: is its figure beyond the limit?"""

    name: str
    """As it is shown and counted, such as `aperiodic PPG`."""
    figure: str
    """The column that it looks at, such as `PPG_quality`; empty for missing samples."""
    limit: float = 0.0
    breaks: Literal["above", "below"] = "above"
    """On which side of the limit the rule is broken."""

    @property
    def column(self) -> str:
        """The column of a table of windows that says whether each one breaks the rule."""
        return f"broken_{self.name.replace(' ', '_')}"

    def broken(self, values: Values) -> Verdict:
        """Return (N,) which figures break the rule; one that is NaN does not."""
        beyond = values > self.limit if self.breaks == "above" else values < self.limit
        return np.asarray(beyond)


@dataclass(frozen=True)
class Verdicts:
    """What was measured in N windows, which rules each one breaks, and the verdict."""

    values: dict[str, Values]
    """(N,) figures by column, such as `PPG_periodicity`; NaN where they can't be known."""
    broken: dict[str, Verdict]
    """(N,) whether each window breaks a rule, by rule, in the order in which they are asked."""
    reason: NDArray[np.str_]
    """(N,) the first broken rule that the gate asks, or "" for a window that is kept."""

    @property
    def kept(self) -> Verdict:
        """(N,) whether each window is kept."""
        return np.asarray(self.reason == "")


def judge(
    filtered: Windows,
    unfiltered: Windows,
    spec: SignalSpec,
    *,
    starts: NDArray[np.int64],
    beats: Mapping[str, NDArray[np.int64]],
    min_quality: Mapping[str, float] | None = None,
    config: QualityConfig | None = None,
    constant: Collection[str] = (),
) -> Verdicts:
    """Judge all windows of one record.

    Rules are asked in this order, each for its channels in the order of `spec`: `missing`,
    `flat X`, `clipped X`, `flat eeg` and `clipped eeg` (all EEG channels together), `few beats X`,
    `aperiodic X`, `rates disagree`. Aperiodic means that a channel's beats don't repeat each other.
    When they come is left open: a limit on the autocorrelation of 0.3 drops one in ten good windows
    of ECG, mostly of irregular hearts.

    Args:
        filtered: (N, C, T) windows in physical units, after filtering.
        unfiltered: (N, C, T) the same windows, resampled only.
        spec: Channels, rate and length of the windows.
        starts: (N,) first sample of each window on the record's grid.
        beats: By name of each cardiac channel, the (n,) grid indices of its beats.
        min_quality: By channel name, the lowest score; others take the config's.
        config: Thresholds.
        constant: EEG channels that stand still in the whole recording.

    Raises:
        SignalError: If shapes don't match, or a cardiac channel comes without beats.
    """
    config = config or QualityConfig()
    _check(filtered, unfiltered, spec, starts, beats)
    lacking = missing(filtered) | missing(unfiltered)
    if lacking.any():
        filtered = np.nan_to_num(filtered, nan=0.0, posinf=0.0, neginf=0.0)
        unfiltered = np.nan_to_num(unfiltered, nan=0.0, posinf=0.0, neginf=0.0)
    values: dict[str, Values] = {}
    for position, channel in enumerate(spec.channels):
        found = beats.get(channel.name, np.empty(0, np.int64))
        # The spectra of a day's windows at once would be half a gigabyte.
        blocks = [
            _figures(
                filtered[at : at + BLOCK, position],
                unfiltered[at : at + BLOCK, position],
                channel.kind,
                spec.sampling_hz,
                starts[at : at + BLOCK],
                found,
            )
            for at in range(0, max(1, len(filtered)), BLOCK)
        ]
        for name in blocks[0]:
            figure = np.concatenate([block[name] for block in blocks])
            values[f"{channel.name}_{name}"] = np.where(lacking[:, position], np.nan, figure)
    values |= _bad_channels(unfiltered, lacking, spec, config, constant)
    values |= _rate_difference(values, spec)
    lacks_any = np.asarray(lacking.any(axis=1))
    broken = {
        rule.name: rule.broken(values[rule.figure]) if rule.figure else lacks_any
        for rule in rules(spec, min_quality, config)
    }
    reason = np.full(len(filtered), "", dtype=object)
    for name, verdict in broken.items():
        if config.gate == "all" or name == MISSING:
            reason[verdict & (reason == "")] = name
    return Verdicts(values, broken, reason.astype(np.str_))


def rules(
    spec: SignalSpec,
    min_quality: Mapping[str, float] | None = None,
    config: QualityConfig | None = None,
) -> tuple[Rule, ...]:
    """Return the rules for windows of `spec`, in the order in which they are asked.

    Args:
        spec: Channels of the windows.
        min_quality: By channel name, the lowest score; others take the config's.
        config: Thresholds.
    """
    config, lowest = config or QualityConfig(), min_quality or {}
    cardiac = [channel.name for channel in spec.channels if channel.kind in CARDIAC]
    asked = [Rule(MISSING, "")]
    asked += [Rule(f"flat {name}", f"{name}_flat", config.max_flat) for name in cardiac]
    asked += [Rule(f"clipped {name}", f"{name}_clipped", config.max_clipped) for name in cardiac]
    if "eeg" in spec.kinds:
        asked += [Rule(f"{what} eeg", f"eeg_{what}", config.max_bad_channels) for what in BAD]
    asked += [
        Rule(f"few beats {name}", f"{name}_beats", config.min_cycles, "below") for name in cardiac
    ]
    for name in cardiac:
        limit = lowest.get(name, config.min_quality)
        asked.append(Rule(f"aperiodic {name}", f"{name}_quality", limit, "below"))
    if {"ppg", "ecg"} <= set(spec.kinds):
        asked.append(Rule("rates disagree", "rate_difference_bpm", config.max_rate_difference_bpm))
    return tuple(asked)


def _check(
    filtered: Windows,
    unfiltered: Windows,
    spec: SignalSpec,
    starts: NDArray[np.int64],
    beats: Mapping[str, NDArray[np.int64]],
) -> None:
    expected = (len(starts), len(spec.channels), spec.n_samples)
    for name, windows in (("filtered", filtered), ("unfiltered", unfiltered)):
        if windows.shape != expected:
            raise SignalError(
                f"{name} windows have shape {windows.shape}, expected {expected}",
                hint="windows, their starts and their spec must describe the same cut",
            )
    for channel in spec.channels:
        if channel.kind in CARDIAC and channel.name not in beats:
            raise SignalError(
                f"channel {channel.name} is {channel.kind}, but no beats are given for it",
                hint="find them with ecg_beats or ppg_beats",
            )


def _figures(
    filtered: Windows,
    unfiltered: Windows,
    kind: ChannelKind,
    sampling_hz: float,
    starts: NDArray[np.int64],
    beats: NDArray[np.int64],
) -> dict[str, Values]:
    """Return the figures of one channel, by the end of their column's name."""
    figures: dict[str, Values] = {}
    if kind in CARDIAC:
        figures["flat"] = flat_fraction(unfiltered, sampling_hz)
        figures["clipped"] = clipped_fraction(unfiltered, sampling_hz)
        n_samples = filtered.shape[-1]
        figures["beats"] = beats_per_window(beats, starts, n_samples).astype(np.float64)
        figures["rate_bpm"] = rate_per_window_bpm(beats, starts, n_samples, sampling_hz)
        figures["similarity"] = beat_similarity(
            filtered,
            beats,
            starts,
            sampling_hz=sampling_hz,
            span_s=BEAT_SPAN_S[kind],
            weighted=kind == "ppg",
        )
        figures["quality"] = figures["similarity"]
        figures["periodicity"] = periodicity(filtered, sampling_hz)
        figures["skewness"] = skewness(filtered)
    if kind == "ppg":
        figures["band_ratio"] = band_ratio(unfiltered, sampling_hz)
        figures["concentration"] = _concentration(filtered, starts, beats, sampling_hz)
        # A mean, so that clear beats without a rhythm (fibrillation) still score above noise.
        figures["quality"] = (figures["similarity"] + figures["concentration"]) / 2
    return figures


def _bad_channels(
    unfiltered: Windows,
    lacking: Verdict,
    spec: SignalSpec,
    config: QualityConfig,
    constant: Collection[str],
) -> dict[str, Values]:
    """Return which part of the EEG channels of each window is flat, and which is clipped."""
    asked = [
        position
        for position, channel in enumerate(spec.channels)
        if channel.kind == "eeg" and channel.name not in constant
    ]
    if "eeg" not in spec.kinds:
        return {}
    share = {what: np.zeros(len(unfiltered)) for what in BAD}
    for position in asked:
        windows = unfiltered[:, position]
        flat = flat_fraction(windows, spec.sampling_hz) > config.max_flat
        clipped = clipped_fraction(windows, spec.sampling_hz) > config.max_clipped
        share["flat"] += flat / len(asked)
        share["clipped"] += clipped / len(asked)
    is_known = ~lacking.any(axis=1)
    return {f"eeg_{what}": np.where(is_known, each, np.nan) for what, each in share.items()}


def _concentration(
    windows: Windows, starts: NDArray[np.int64], beats: NDArray[np.int64], sampling_hz: float
) -> Values:
    n_samples = windows.shape[-1]
    count = n_parts(n_samples, sampling_hz)
    length = n_samples // count
    begins = (starts[:, None] + np.arange(count) * length).ravel()
    rates_bpm = rate_per_window_bpm(beats, begins, length, sampling_hz)
    return pulse_concentration(windows, rates_bpm.reshape(len(starts), count), sampling_hz)


def _rate_difference(values: Mapping[str, Values], spec: SignalSpec) -> dict[str, Values]:
    """Return how far the first PPG and the first ECG are apart, where the spec has both."""
    first = {channel.kind: channel.name for channel in reversed(spec.channels)}
    if not {"ppg", "ecg"} <= first.keys():
        return {}
    pulse_bpm, heart_bpm = (values[f"{first[kind]}_rate_bpm"] for kind in ("ppg", "ecg"))
    return {"rate_difference_bpm": np.abs(pulse_bpm - heart_bpm)}
