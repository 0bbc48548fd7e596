"""Curves and columns in a terminal: made of characters, readable in a log without colours too."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

WIDTH, HEIGHT = 64, 10
MARKS = {"train": ("•", "blue"), "val": ("○", "dark_orange")}


def draw_curves(title: str, curves: Mapping[str, Sequence[float | None]]) -> Text:
    """Return curves over epochs in one picture.

    Args:
        title: What is drawn.
        curves: `train`, `val` or both: a value per epoch, None where it is no number; all equally
            many. A later one is drawn over an earlier one.
    """
    values = [np.array([np.nan if v is None else v for v in c], float) for c in curves.values()]
    legend = Text(f"{title}  ")
    for name in curves:
        mark, color = MARKS[name]
        legend.append(f"{mark} {name}  ", color)
    numbers = np.concatenate([np.empty(0), *values])
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return legend.append("nothing to draw: no epoch has a number")
    low, high = numbers.min(), numbers.max()
    cells = np.full((HEIGHT, WIDTH), -1)
    for place, each in enumerate(values):
        heights = _heights(each, low, high)
        columns = np.flatnonzero(heights >= 0)
        cells[HEIGHT - 1 - heights[columns], columns] = place
    legend.rstrip()
    marks = [MARKS[name] for name in curves]
    return legend.append("\n").append(_framed(cells, marks, low, high, len(values[0])))


def align(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    """Return rows under a head in columns as wide as their longest cell: no name is cut."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return Text().append(lines[0], "bold").append("".join(f"\n{line}" for line in lines[1:]))


def _heights(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.int64]:
    """Return in which row, counted from below, a curve is in each column; -1 where it is not."""
    epochs = np.flatnonzero(np.isfinite(values))
    if not epochs.size:
        return np.full(WIDTH, -1)
    columns = np.linspace(0, max(len(values) - 1, 1), WIDTH)
    course = np.interp(columns, epochs, values[epochs])
    rows = np.round((course - low) / ((high - low) or 1.0) * (HEIGHT - 1)).astype(np.int64)
    # Half an epoch around the first and the last, so that a single one is seen.
    reach = max(len(values) - 1, 1) / (WIDTH - 1) / 2
    is_drawn = (columns >= epochs[0] - reach) & (columns <= epochs[-1] + reach)
    return np.where(is_drawn, rows, -1)


def _framed(
    cells: NDArray[np.int64],
    marks: Sequence[tuple[str, str]],
    low: float,
    high: float,
    n_epochs: int,
) -> Text:
    labels = {0: f"{high:.4g}", HEIGHT - 1: f"{low:.4g}"}
    margin = max(len(label) for label in labels.values())
    drawing = Text()
    for number, row in enumerate(cells):
        label = labels.get(number, "")
        drawing.append(f"{label:>{margin}} {'┤' if label else '│'}", "dim")
        for cell in row:
            mark, color = marks[cell] if cell >= 0 else (" ", "")
            drawing.append(mark, color)
        drawing.append("\n")
    drawing.append(f"{'':>{margin}} └{'─' * WIDTH}\n", "dim")
    return drawing.append(f"{'':>{margin}}  {'epoch 1':<{WIDTH - 6}}{n_epochs:>6}", "dim")
