"""What the figures of an evaluation share: colours that stay apart for every eye, axes, words."""

import textwrap
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from biosig_cli.report.figures import INK

# Okabe and Ito (2008), "Color Universal Design"; yellow is left out, it is too pale on white.
MODEL_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CLASS_COLORS = ("#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#333333")
SUBJECT_COLORS = ("#009E73", "#CC79A7", "#E69F00", "#0072B2", "#56B4E9", "#D55E00", "#333333")
DASHES = ("-", "--", "-.", ":")
"""A second sign beside the colour, for prints without any."""
MARKERS = ("o", "^", "s", "D", "v", "P")
GREY, PALE = "#7a838b", "#c3c9ce"
FONT = 8.5
Place = Literal["best", "upper left", "lower left", "lower right"]
MANY = 400
"""Points above which a figure is written as pixels."""


def model_color(place: int) -> str:
    """Return the colour of a model; grey for an answer that is none."""
    return MODEL_COLORS[place % len(MODEL_COLORS)] if place >= 0 else GREY


def written(name: str, width: int = 24) -> str:
    """Return a name as matplotlib draws it: as it is, on lines of some `width` characters.

    A dollar would begin a formula, and a legend would leave out what begins with a low line.
    """
    name = f" {name}" if name.startswith("_") else name
    return textwrap.fill(name, width, max_lines=3, placeholder=" ...").replace("$", r"\$")


def plain(axis: Axes, x: str = "", y: str = "") -> None:
    """Give an axis its labels and as few lines as it needs."""
    axis.set_xlabel(x, fontsize=FONT, color=INK)
    axis.set_ylabel(y, fontsize=FONT, color=INK)
    axis.grid(color="#e4e7ea", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#999999")
    axis.tick_params(labelsize=FONT - 1, colors=INK, length=2.5)


def unit_square(axis: Axes) -> None:
    """Show both axes of an axis from 0 to 1, as a square."""
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def legend(axis: Axes, names: Sequence[str], lines: Sequence[Line2D], place: Place) -> None:
    """Write a legend inside an axis."""
    axis.legend(
        lines,
        [written(name, 30) for name in names],
        loc=place,
        fontsize=FONT - 1,
        labelcolor=INK,
        framealpha=0.85,
        edgecolor="none",
        handlelength=2.2,
    )
