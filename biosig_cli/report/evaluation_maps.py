"""Where windows lie on a map of their embeddings: by label, and by whose they are."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from biosig_cli.report.evaluation_material import Material, Names, Values
from biosig_cli.report.evaluation_results import Task
from biosig_cli.report.evaluation_style import (
    CLASS_COLORS,
    FONT,
    MANY,
    MARKERS,
    SUBJECT_COLORS,
    plain,
    written,
)
from biosig_cli.report.evaluation_words import number
from biosig_cli.report.figures import INK
from biosig_cli.report.html import Picture, count, percent, picture

N_NEIGHBOURS = 10
MOST_NAMED = 12
FEW = 300
"""Windows up to which each is drawn large."""
UNKNOWN = "unknown"


def draw_map(name: str, places: Values, material: Material, task: Task | None) -> Picture | None:
    """Draw one map twice: coloured by label, and by subject.

    The share of near neighbours that have the same label, or are of the same person, says in a
    figure what the eye sees; beside it stands that share for any two windows.

    Args:
        name: How the map was made, such as `PCA`.
        places: (N, 2) where each window lies.
        material: Labels and subjects of the windows.
        task: What the labels are; None where there are none.
    """
    shown: dict[str, Names] = {}
    if task is not None and len(material.target):
        shown[task.label] = _labels(material.target, task)
    subject = material.subject.astype(str)
    if len(np.unique(subject)) > 1:
        shown["subject"] = np.where(subject == "", UNKNOWN, subject)
    if not shown or len(places) <= 1:
        return None
    figure = Figure(figsize=(4.2 * len(shown), 3.9), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    said = []
    for axis, (label, values) in zip(axes, shown.items(), strict=True):
        if values.dtype.kind == "f":
            _by_value(figure, axis, places, values, label)
            said.append(_correlation(places, values, label))
        else:
            names = [*task.classes, UNKNOWN] if task and label != "subject" else []
            _by_name(axis, places, values, names)
            said.append(_together(places, values, label))
        axis.set_title(written(f"by {label}", 40), fontsize=FONT + 0.5, color=INK, loc="left")
        plain(axis)
        axis.set(xticks=[], yticks=[])
    form: Literal["svg", "png"] = "png" if len(places) > MANY else "svg"
    caption = f"{name} of {count(len(places))} windows. {' '.join(said)}"
    return picture(figure, alt=f"Map of the embeddings: {caption}", caption=caption, form=form)


def _labels(target: Values, task: Task) -> Names:
    """Return the name of each window's class, or the values of a regression."""
    if task.kind == "regression":
        return np.asarray(target, float)
    names = dict(enumerate(task.classes))
    return np.array([names.get(int(t), str(t)) if np.isfinite(t) else UNKNOWN for t in target])


def _by_name(axis: Axes, places: Values, names: Names, classes: Sequence[str]) -> None:
    """Draw windows in the colour and the sign of their name; few names get a legend.

    Classes keep their order and colours from figure to figure; people have colours of their own.
    """
    distinct = [name for name in classes if name in names] or [*np.unique(names)]
    colors = CLASS_COLORS if classes else SUBJECT_COLORS
    size = 5.0 if len(places) <= FEW else 3.2
    lines = []
    for place, each in enumerate(distinct):
        own = names == each
        lines += axis.plot(
            *places[own].T,
            MARKERS[(place + place // len(colors)) % len(MARKERS)],
            color=colors[place % len(colors)],
            ms=size,
            mew=0,
            alpha=0.75,
        )
    if len(distinct) <= MOST_NAMED:
        axis.legend(
            lines,
            [written(str(each), 16) for each in distinct],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=min(len(distinct), 4),
            fontsize=FONT - 1,
            labelcolor=INK,
            frameon=False,
            handletextpad=0.1,
            columnspacing=1.0,
        )


def _by_value(figure: Figure, axis: Axes, places: Values, values: Values, label: str) -> None:
    dots = axis.scatter(
        places[:, 0], places[:, 1], c=values, s=9, linewidths=0, cmap="cividis", alpha=0.8
    )
    bar = figure.colorbar(dots, ax=axis, location="bottom", fraction=0.05, pad=0.02)
    bar.set_label(written(label, 40), fontsize=FONT, color=INK)
    bar.ax.tick_params(labelsize=FONT - 1, colors=INK)
    bar.outline.set_visible(False)


def _near(places: Values) -> NDArray[np.int64]:
    """Return (N, k) which windows lie nearest to each window, itself left out."""
    k = min(N_NEIGHBOURS, len(places) - 1)
    _, near = cKDTree(places).query(places, k=k + 1)
    # Where windows lie on one spot, a window need not be the first of its own neighbours.
    itself = near == np.arange(len(places))[:, None]
    itself[~itself.any(1), -1] = True
    return np.asarray(near[~itself].reshape(len(places), k))


def _together(places: Values, names: Names, label: str) -> str:
    """Return how often near neighbours share their name, beside how often any two windows do."""
    same = (names[_near(places)] == names[:, None]).mean()
    counts = np.unique(names, return_counts=True)[1].astype(float)
    n_windows = len(names)
    any_two = (counts * (counts - 1)).sum() / (n_windows * (n_windows - 1))
    return (
        f"Near neighbours have the same {label} in {percent(float(same))} "
        f"(any two windows: {percent(float(any_two))})."
    )


def _correlation(places: Values, values: Values, label: str) -> str:
    """Return how a window's value follows the mean value of its near neighbours."""
    known = np.isfinite(values)
    if known.sum() <= N_NEIGHBOURS or np.ptp(values[known]) == 0:
        return ""
    around = values[known][_near(places[known])].mean(1)
    if np.ptp(around) == 0:
        return ""
    r = float(np.corrcoef(values[known], around)[0, 1])
    return f"The {label} of a window follows that of its near neighbours with r = {number(r)}."
