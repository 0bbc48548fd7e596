"""The figures of the quality page: scores and their thresholds, subjects, and windows drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    MaxNLocator,
    NullLocator,
    PercentFormatter,
    StrMethodFormatter,
    SymmetricalLogLocator,
)
from numpy.typing import NDArray

from biosig_cli.report.figures import (
    COLORS,
    INK,
    MANY,
    draw_traces,
    trace_distance,
    traces_inches,
)
from biosig_cli.report.html import Picture, percent, picture
from biosig_cli.report.quality_tables import Asked, GroupYield, Judged, sweep

PASSES, BREAKS, LIMIT = "#6f9bb8", "#a33a2c", "#333333"
N_BINS = 40
N_LIMITS = 161
FEW = 30
"""Windows in a bin up to which counts are drawn on an even scale."""
FONT = 8.5


@dataclass(frozen=True)
class DrawnWindow:
    """One window, ready to be drawn."""

    samples: NDArray[np.floating]
    """(C, T) in the unit of each channel; NaN where a sample is missing."""
    beats_s: Mapping[str, Sequence[float]]
    """By cardiac channel, when its beats come, in seconds from the window's start."""


def draw_score(judged: Judged, rule: Asked) -> Picture:
    """Draw how the figure of a rule is spread, and below it the yield at other limits."""
    values = np.asarray(judged.columns[rule.figure], np.float64)
    known = values[np.isfinite(values)]
    edges = _edges(known, rule.limit)
    figure = Figure(figsize=(4.5, 2.9))
    figure.subplots_adjust(left=0.14, right=0.98, top=0.97, bottom=0.15, hspace=0.12)
    spread, left = figure.subplots(2, 1, sharex=True)
    _histogram(spread, values, judged, edges)
    swept = sweep(judged, rule, np.linspace(edges[0], edges[-1], N_LIMITS))
    left.plot(swept.limits, swept.alone, color=PASSES, linewidth=1.8)
    left.plot(swept.limits, swept.together, color=INK, linewidth=1.1)
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set_ylim(-0.03, 1.06)
    left.set_yticks([0, 0.5, 1.0])
    left.set_ylabel("windows left", fontsize=FONT, color=INK)
    left.set_xlim(edges[0], edges[-1])
    for axis in (spread, left):
        axis.axvline(rule.limit, color=LIMIT, linestyle="--", linewidth=1.0)
        _plain(axis, "")
    left.set_xlabel(rule.figure, fontsize=FONT, color=INK)
    figure.align_ylabels()
    sign = "at most" if rule.breaks == "above" else "at least"
    passes = percent(1 - judged.broken[rule.name].mean()) if len(judged) else "-"
    middle = f"{np.median(known):.3g}" if len(known) else "not known"
    alt = (
        f"{rule.figure}: histogram of windows that pass and that break a rule, median {middle}, "
        f"and the part of windows left at other limits; at the limit in use, {sign} "
        f"{rule.limit:g}, {passes} pass."
    )
    caption = f"{rule.name}: {sign} {rule.limit:g}, which {passes} of the windows meet."
    return picture(figure, alt=alt, caption=caption)


def draw_spread(judged: Judged, name: str) -> Picture:
    """Draw how a figure that no rule asks about is spread."""
    values = np.asarray(judged.columns[name], np.float64)
    known = values[np.isfinite(values)]
    figure = Figure(figsize=(3.0, 1.7))
    figure.subplots_adjust(left=0.18, right=0.98, top=0.96, bottom=0.26)
    axis = figure.subplots()
    _histogram(axis, values, judged, _edges(known, float(np.median(known))))
    _plain(axis, name)
    low, middle, high = np.quantile(known, [0.05, 0.5, 0.95])
    alt = (
        f"{name}: histogram of windows that pass and that break a rule; median {middle:.3g}, "
        f"nine in ten from {low:.3g} to {high:.3g}."
    )
    return picture(figure, alt=alt)


def draw_subjects(groups: Sequence[GroupYield], *, passing: bool) -> Picture:
    """Draw the yield of every subject, lowest first.

    Args:
        groups: The subjects.
        passing: Whether to draw what passes every rule instead of what was kept.
    """
    parts = np.sort([group.passing if passing else group.kept for group in groups])
    figure = Figure(figsize=(7.6, 2.3))
    figure.subplots_adjust(left=0.085, right=0.99, top=0.96, bottom=0.2)
    axis = figure.subplots()
    place = np.arange(1, len(parts) + 1)
    if len(parts) <= 60:
        axis.bar(place, parts, color=PASSES, width=0.8)
    else:
        axis.fill_between(place, parts, color=PASSES, step="mid", linewidth=0)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set_ylim(0, 1.03)
    axis.set_ylabel("windows left", fontsize=FONT, color=INK)
    axis.set_xlim(0.4, len(parts) + 0.6)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    _plain(axis, f"subjects, lowest yield first (n = {len(parts)})")
    alt = (
        f"Yield of {len(parts)} subjects, lowest first: from {percent(parts[0])} to "
        f"{percent(parts[-1])}, median {percent(float(np.median(parts)))}."
    )
    return picture(figure, alt=alt)


def draw_window(
    window: DrawnWindow,
    *,
    sampling_hz: float,
    channels: Sequence[tuple[str, str, str]],
    alt: str,
    caption: str,
) -> Picture:
    """Draw one window, a row per channel, with a tick over each beat.

    Args:
        window: Samples and beats.
        sampling_hz: Sampling rate, in Hz.
        channels: Name, kind and unit of each channel.
        alt: What the picture shows, for those who can't see it.
        caption: What stands below it.
    """
    n_channels, n_samples = window.samples.shape
    if n_channels > MANY:
        figure = Figure(figsize=(4.5, traces_inches(n_channels)), layout="constrained")
        draw_traces(
            figure.subplots(),
            window.samples,
            sampling_hz=sampling_hz,
            channels=channels,
            apart=trace_distance(window.samples),
        )
        return picture(figure, alt=alt, caption=caption)
    height = 0.42 + 0.92 * n_channels
    figure = Figure(figsize=(4.5, height))
    figure.subplots_adjust(left=0.17, right=0.98, top=1 - 0.06 / height, bottom=0.38 / height)
    axes = figure.subplots(n_channels, 1, sharex=True, squeeze=False)[:, 0]
    time_s = np.arange(n_samples) / sampling_hz
    for axis, (name, kind, unit), samples in zip(axes, channels, window.samples, strict=True):
        color = COLORS.get(kind, INK)
        axis.plot(time_s, samples, color=color, linewidth=0.9)
        top = np.nanmax(samples) if np.isfinite(samples).any() else 1.0
        beats_s = np.asarray(window.beats_s.get(name, ()), float)
        axis.plot(
            beats_s, np.full(len(beats_s), top), "v", color=INK, markersize=2.6, clip_on=False
        )
        axis.set_xlim(0, n_samples / sampling_hz)
        axis.margins(y=0.12)
        axis.locator_params(axis="y", nbins=3)
        axis.set_ylabel(f"{name}\n({unit})" if unit else name, fontsize=FONT, color=INK)
        _plain(axis, "")
    axes[-1].set_xlabel("time (s)", fontsize=FONT, color=INK)
    figure.align_ylabels()
    return picture(figure, alt=alt, caption=caption)


def _edges(known: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return the edges of the bins: where nearly all figures lie, and the limit."""
    if not len(known):
        return np.linspace(limit - 0.5, limit + 0.5, N_BINS + 1)
    low, high = np.quantile(known, [0.001, 0.999])
    low, high = min(low, limit), max(high, limit)
    room = 0.04 * (high - low) or 0.5
    return np.linspace(low - room, high + room, N_BINS + 1)


def _histogram(
    axis: Axes, values: NDArray[np.float64], judged: Judged, edges: NDArray[np.float64]
) -> None:
    """Draw how many windows have which figure; what lies outside goes into the end bins."""
    inside = np.clip(values, edges[0], edges[-1])
    passing, everything = (
        np.histogram(each[np.isfinite(each)], edges)[0] for each in (inside[judged.passing], inside)
    )
    # Those that break a rule are drawn behind, so that they stand out above the others.
    for counts, color in ((everything, BREAKS), (passing, PASSES)):
        axis.stairs(counts, edges, fill=True, color=color)
    if everything.max(initial=0) > FEW:
        axis.set_yscale("symlog", linthresh=10)
        axis.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=10))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(bottom=0)
    axis.set_ylabel("windows", fontsize=FONT, color=INK)


def _plain(axis: Axes, label: str) -> None:
    axis.set_xlabel(label, fontsize=FONT, color=INK)
    axis.grid(color="#e4e7ea", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(labelsize=FONT - 1, colors=INK, length=2.5)
