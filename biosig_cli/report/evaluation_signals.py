"""Windows of an evaluation, drawn as they are: mistakes, and what was hidden and guessed."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosig_cli.report.evaluation_material import DrawnMistake, DrawnReconstruction, Values
from biosig_cli.report.evaluation_style import FONT, plain, written
from biosig_cli.report.evaluation_words import number
from biosig_cli.report.figures import COLORS, INK
from biosig_cli.report.html import Picture, percent, picture

GUESSED, HIDDEN = "#D55E00", "#e3e8ec"
MANY_SAMPLES = 2000
"""Samples in a window above which it is written as pixels."""


def draw_mistake(mistake: DrawnMistake) -> Picture:
    """Draw a window that was answered wrongly, a row per channel."""
    figure, axes = _rows(mistake)
    time_s = np.arange(mistake.signal.shape[1]) / mistake.sampling_hz
    ranges = []
    for axis, (name, kind, unit), samples in zip(
        axes, mistake.channels, mistake.signal, strict=True
    ):
        axis.plot(time_s, samples, color=COLORS.get(kind, INK), linewidth=0.9)
        ranges.append(f"{name} {_range(samples, unit)}")
    title = _capital(mistake.title)
    alt = f"{title}. Over {time_s[-1]:.0f} s: {', '.join(ranges)}."
    return picture(figure, alt=alt, caption=title, form=_form(mistake))


def draw_reconstruction(window: DrawnReconstruction) -> Picture:
    """Draw a window and its reconstruction, a row per channel; what was hidden is shaded."""
    figure, axes = _rows(window)
    time_s = np.arange(window.signal.shape[1]) / window.sampling_hz
    followed = []
    parts = zip(
        axes, window.channels, window.signal, window.reconstructed, window.hidden, strict=True
    )
    for axis, (name, _, _), true, guessed, hidden in parts:
        _shade(axis, hidden, window.sampling_hz)
        axis.plot(time_s, true, color=INK, linewidth=0.9)
        axis.plot(time_s, np.where(hidden, guessed, np.nan), color=GUESSED, linewidth=1.2)
        followed.append(f"{name} {_followed(true, guessed, hidden)}")
    caption = f"{_capital(window.title)}. Hidden: {'; '.join(followed)}."
    alt = f"True and reconstructed signal, what was hidden shaded. {caption}"
    return picture(figure, alt=alt, caption=caption, form=_form(window))


def draw_redrawn(window: DrawnReconstruction) -> Picture:
    """Draw a window wide and pale and what was drawn of it over it, a row per channel."""
    figure, axes = _rows(window)
    time_s = np.arange(window.signal.shape[1]) / window.sampling_hz
    for axis, true, drawn in zip(axes, window.signal, window.reconstructed, strict=True):
        axis.plot(time_s, true, color=INK, linewidth=2.2, alpha=0.35)
        axis.plot(time_s, drawn, color=GUESSED, linewidth=0.9)
    caption = _capital(window.title)
    alt = f"Signal, and over it what was drawn again. {caption}."
    return picture(figure, alt=alt, caption=f"{caption}.", form=_form(window))


def _rows(window: DrawnMistake) -> tuple[Figure, list[Axes]]:
    n_channels, n_samples = window.signal.shape
    height = 0.42 + 0.92 * n_channels
    figure = Figure(figsize=(4.6, height))
    figure.subplots_adjust(left=0.17, right=0.98, top=1 - 0.06 / height, bottom=0.38 / height)
    axes = list(figure.subplots(n_channels, 1, sharex=True, squeeze=False)[:, 0])
    for axis, (name, _, unit) in zip(axes, window.channels, strict=True):
        plain(axis, "", written(name, 14) + (f"\n({written(unit)})" if unit else ""))
        axis.set_xlim(0, n_samples / window.sampling_hz)
        axis.margins(y=0.12)
        axis.locator_params(axis="y", nbins=3)
    axes[-1].set_xlabel("time (s)", fontsize=FONT, color=INK)
    figure.align_ylabels()
    return figure, axes


def _shade(axis: Axes, hidden: Values, sampling_hz: float) -> None:
    """Shade every stretch that was hidden."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    for start, stop in edges.reshape(-1, 2) / sampling_hz:
        axis.axvspan(start, stop, color=HIDDEN, linewidth=0, zorder=0)


def _followed(true: Values, guessed: Values, hidden: Values) -> str:
    """Return how much of a channel was hidden, and how the guess follows it there."""
    part = f"{percent(float(hidden.mean()))} of it"
    own = hidden & np.isfinite(true) & np.isfinite(guessed)
    if own.sum() < 2 or np.ptp(true[own]) == 0 or np.ptp(guessed[own]) == 0:
        return part
    return f"{part}, r = {number(float(np.corrcoef(true[own], guessed[own])[0, 1]))}"


def _capital(title: str) -> str:
    return f"{title[:1].upper()}{title[1:]}"


def _range(samples: Values, unit: str) -> str:
    if not np.isfinite(samples).any():
        return "has no samples"
    low, high = float(np.nanmin(samples)), float(np.nanmax(samples))
    return f"from {low:.3g} to {high:.3g}{' ' + unit if unit else ''}"


def _form(window: DrawnMistake) -> Literal["svg", "png"]:
    return "png" if window.signal.size > MANY_SAMPLES else "svg"
