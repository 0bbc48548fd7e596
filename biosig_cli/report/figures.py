"""Windows, drawn as a physiologist looks at them: time below, units at the side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from biosig_cli.core.artifacts import atomic_path

COLORS = {
    "ppg": "#b5342c",
    "ecg": "#1d5c8a",
    "acc": "#4f7f3a",
    "eeg": "#5b4a8a",
    "resp": "#2f8077",
}
INK = "#333333"
MANY = 8
"""More channels than these are drawn as traces under each other, on one scale, as EEG is read."""
TRACE_INCHES = 0.16
SPREADS_APART = 4.0
"""Distance of two traces, in units of what a channel usually spreads."""


def draw_windows(
    path: Path,
    windows: NDArray[np.float32],
    *,
    sampling_hz: float,
    channels: Sequence[tuple[str, str, str]],
    titles: Sequence[str],
    heading: str,
    over: NDArray[np.float32] | None = None,
) -> None:
    """Draw windows side by side, a row per channel, into a PNG at `path`.

    Many channels are drawn as traces on one scale, without their denoised twins.

    Args:
        path: The PNG.
        windows: (n, C, T) windows in the unit of each channel.
        sampling_hz: Their sampling rate, in Hz.
        channels: Name, kind and unit of each channel.
        titles: What stands above each window.
        heading: What stands above all.
        over: (n, C, T) denoised twins, drawn over the windows in a thin dark line.
    """
    n_windows, n_channels, n_samples = windows.shape
    if n_channels > MANY:
        _save(_side_by_side(windows, sampling_hz, channels, titles), path, heading)
        return
    figure = Figure(figsize=(3.9 * n_windows, 1.0 + 1.75 * n_channels), layout="constrained")
    axes = figure.subplots(n_channels, n_windows, sharex=True, squeeze=False)
    time_s = np.arange(n_samples) / sampling_hz
    for column in range(n_windows):
        axes[0, column].set_title(titles[column], fontsize=9, color=INK, loc="left")
        for row, (name, kind, unit) in enumerate(channels):
            axis: Axes = axes[row, column]
            color = COLORS.get(kind, INK)
            if over is None:
                axis.plot(time_s, windows[column, row], color=color, linewidth=1.0)
            else:
                _plot_both(axis, time_s, windows[column, row], over[column, row], color)
            _tidy(axis, n_samples / sampling_hz)
            if column == 0:
                label = f"{name} ({unit})" if unit else name
                axis.set_ylabel(label, fontsize=10, color=INK)
            if row == n_channels - 1:
                axis.set_xlabel("time (s)", fontsize=9, color=INK)
    if over is not None:
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper right",
            ncols=2,
            fontsize=9,
            frameon=False,
        )
    figure.align_ylabels()
    _save(figure, path, heading)


def traces_inches(n_channels: int) -> float:
    """Return how high a picture of the traces of many channels is."""
    return 1.0 + TRACE_INCHES * n_channels


def trace_distance(windows: NDArray[np.floating]) -> float:
    """Return how far apart the traces of (..., C, T) windows are drawn, in their unit."""
    traces = windows.reshape(-1, windows.shape[-1])
    known = traces[np.isfinite(traces).all(axis=-1)]
    usual = float(np.median(known.std(axis=-1))) if len(known) else 0.0
    return SPREADS_APART * usual or 1.0


def draw_traces(
    axis: Axes,
    window: NDArray[np.floating],
    *,
    sampling_hz: float,
    channels: Sequence[tuple[str, str, str]],
    apart: float,
) -> None:
    """Draw the channels of a (C, T) window under each other, all on one scale.

    Args:
        axis: Where to draw.
        window: Samples in the unit of each channel; NaN where one is missing.
        sampling_hz: Sampling rate, in Hz.
        channels: Name, kind and unit of each channel.
        apart: Distance of two traces, in the unit of the samples.
    """
    n_channels, n_samples = window.shape
    time_s = np.arange(n_samples) / sampling_hz
    for row, (samples, (_, kind, _)) in enumerate(zip(window, channels, strict=True)):
        known = samples[np.isfinite(samples)]
        middle = np.median(known) if len(known) else 0.0
        axis.plot(
            time_s, samples - middle - row * apart, color=COLORS.get(kind, INK), linewidth=0.6
        )
    axis.set_xlim(0, n_samples / sampling_hz)
    axis.set_ylim(-(n_channels + 0.5) * apart, 1.5 * apart)
    axis.set_yticks(-apart * np.arange(n_channels), [name for name, _, _ in channels], fontsize=6)
    axis.tick_params(labelsize=6, colors=INK, length=2)
    axis.spines[["top", "right"]].set_visible(False)
    unit = channels[0][2]
    axis.set_xlabel(f"time (s); traces are {apart:.3g} {unit} apart", fontsize=8, color=INK)


def _side_by_side(
    windows: NDArray[np.float32],
    sampling_hz: float,
    channels: Sequence[tuple[str, str, str]],
    titles: Sequence[str],
) -> Figure:
    n_windows, n_channels, _ = windows.shape
    figure = Figure(figsize=(3.9 * n_windows, traces_inches(n_channels)), layout="constrained")
    axes = figure.subplots(1, n_windows, squeeze=False)[0]
    apart = trace_distance(windows)
    for axis, window, title in zip(axes, windows, titles, strict=True):
        axis.set_title(title, fontsize=9, color=INK, loc="left")
        draw_traces(axis, window, sampling_hz=sampling_hz, channels=channels, apart=apart)
    return figure


def _save(figure: Figure, path: Path, heading: str) -> None:
    figure.suptitle(heading, fontsize=11, color=INK, x=0.01, ha="left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _plot_both(
    axis: Axes,
    time_s: NDArray[np.floating],
    signal: NDArray[np.float32],
    denoised: NDArray[np.float32],
    color: str,
) -> None:
    """Draw a signal wide and pale, so that its denoised twin over it hides no difference."""
    axis.plot(time_s, signal, color=color, linewidth=2.6, alpha=0.45, label="signal")
    axis.plot(time_s, denoised, color=INK, linewidth=0.7, label="denoised")


def _tidy(axis: Axes, duration_s: float) -> None:
    axis.set_xlim(0, duration_s)
    axis.margins(y=0.08)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(labelsize=8, colors=INK, length=3)
    axis.locator_params(axis="y", nbins=4)
