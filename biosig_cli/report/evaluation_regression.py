"""Predicted values beside true ones: agreement, scatter, and whose errors are large."""

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosig_cli.report.evaluation_material import Material, Names, Values
from biosig_cli.report.evaluation_results import Answer, Task
from biosig_cli.report.evaluation_style import FONT, MANY, MODEL_COLORS, plain, written
from biosig_cli.report.evaluation_words import MINUS, number, said
from biosig_cli.report.figures import INK
from biosig_cli.report.html import Picture, count, picture

SIZE = (3.6, 3.3)
MOST_BOXES = 30


def draw_agreement(material: Material, task: Task, model: Answer) -> Picture | None:
    """Draw the error over the mean of true and predicted (Bland and Altman, 1986).

    Args:
        material: True and predicted values.
        task: What they are.
        model: The model that predicted them; bias and limits are its own, by window.
    """
    target, score, _ = _known(material)
    if not len(target):
        return None
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    _cloud(axis, (target + score) / 2, score - target)
    figures = model.levels.get("window", {})
    axis.axhline(0, color="#999999", linewidth=0.8)
    shown = []
    for key, style in (("bias", "-"), ("loa_high", "--"), ("loa_low", "--")):
        if (found := figures.get(key)) and found.value is not None:
            axis.axhline(found.value, color=INK, linestyle=style, linewidth=1.1)
            text = number(found.value)
            axis.text(1.01, found.value, text, transform=axis.get_yaxis_transform(), **_small())
            shown.append(f"{key.replace('loa_', 'limit ')} {said(key, found, task.unit)}")
    plain(
        axis,
        _with_unit("mean of true and predicted", task),
        _with_unit(f"predicted {MINUS} true", task),
    )
    caption = (
        "Bland-Altman: error over size. Line: bias; dashed: 95 % limits of agreement over windows, "
        "though windows of one subject are not independent."
    )
    alt = f"Bland-Altman of {count(len(target))} windows: {'; '.join(shown) or 'no limits'}."
    return picture(figure, alt=alt, caption=caption, form=_form(target))


def draw_predicted(material: Material, task: Task, model: Answer) -> Picture | None:
    """Draw predicted over true values, on equal axes; None where there are none."""
    target, score, _ = _known(material)
    if not len(target):
        return None
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    _cloud(axis, target, score)
    ends = min(target.min(), score.min()), max(target.max(), score.max())
    axis.axline((ends[0], ends[0]), slope=1, color=INK, linewidth=0.9, linestyle="--")
    room = 0.04 * (ends[1] - ends[0]) or 0.5
    axis.set(xlim=(ends[0] - room, ends[1] + room), ylim=(ends[0] - room, ends[1] + room))
    axis.set_aspect("equal")
    plain(axis, _with_unit(f"true {task.label}", task), _with_unit(f"predicted {task.label}", task))
    figures = model.levels.get("window", {})
    shown = [f"{key} {said(key, figures[key])}" for key in ("r", "r2") if key in figures]
    alt = (
        f"Predicted over true {task.label} of {count(len(target))} windows, true from "
        f"{number(float(target.min()))} to {number(float(target.max()))}, predicted from "
        f"{number(float(score.min()))} to {number(float(score.max()))}; {', '.join(shown)}."
    )
    caption = "Predicted over true. Dashed: as they should be. A flat cloud predicts the mean."
    return picture(figure, alt=alt, caption=caption, form=_form(target))


def draw_errors(material: Material, task: Task) -> Picture | None:
    """Draw how each subject's errors are spread, smallest median first; None without subjects."""
    target, score, subject = _known(material)
    if not len(target) or not len(subject):
        return None
    error = np.abs(score - target)
    names, where = np.unique(subject, return_inverse=True)
    by_subject = [error[where == place] for place in range(len(names))]
    order = np.argsort([np.median(each) for each in by_subject], kind="stable")
    sorted_errors = [by_subject[place] for place in order]
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    if len(names) <= MOST_BOXES:
        _boxes(axis, sorted_errors, [str(names[place]) for place in order])
    else:
        low, middle, high = np.array([np.quantile(e, [0.25, 0.5, 0.75]) for e in sorted_errors]).T
        at = np.arange(1, len(names) + 1)
        axis.fill_between(at, low, high, color=MODEL_COLORS[0], alpha=0.25, linewidth=0)
        axis.plot(at, middle, color=MODEL_COLORS[0], linewidth=1.6)
    axis.set_ylim(bottom=0)
    label = f"subjects, smallest error first (n = {len(names)})"
    plain(axis, label, _with_unit("absolute error", task))
    if len(names) <= MOST_BOXES:
        axis.tick_params(axis="x", labelrotation=90 if len(names) > 8 else 0)
    best, worst = (float(np.median(sorted_errors[end])) for end in (0, -1))
    alt = (
        f"Absolute error by subject, {len(names)} subjects: median from {number(best)} "
        f"({names[order[0]]}) to {number(worst)} ({names[order[-1]]}) {task.unit}."
    )
    caption = "Error by subject. Line: median; box: middle half; whiskers: middle nine in ten."
    return picture(figure, alt=alt, caption=caption)


def _boxes(axis: Axes, errors: list[Values], names: list[str]) -> None:
    axis.boxplot(
        errors,
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        tick_labels=[written(name, 12) for name in names],
        boxprops={"facecolor": "#bcd6e8", "edgecolor": MODEL_COLORS[0], "linewidth": 0.8},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": MODEL_COLORS[0], "linewidth": 0.8},
        capprops={"color": MODEL_COLORS[0], "linewidth": 0.8},
    )


def _known(material: Material) -> tuple[Values, Values, Names]:
    """Return true values, predicted values and subjects where both values are known."""
    known = np.isfinite(material.target) & np.isfinite(material.score)
    subject = material.subject[known] if len(material.subject) else material.subject
    return material.target[known], material.score[known], subject.astype(str)


def _cloud(axis: Axes, x: Values, y: Values) -> None:
    alpha = float(np.clip(60 / np.sqrt(len(x)) / 10, 0.12, 0.6))
    axis.plot(x, y, "o", color=MODEL_COLORS[0], ms=3.2, mew=0, alpha=alpha)


def _form(values: Values) -> Literal["svg", "png"]:
    return "png" if len(values) > MANY else "svg"


def _with_unit(name: str, task: Task) -> str:
    return written(f"{name} ({task.unit})" if task.unit else name, 60)


def _small() -> dict[str, Any]:
    return {"fontsize": FONT - 1, "color": INK, "va": "center"}
