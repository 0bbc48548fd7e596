"""What a score is worth at every threshold: ROC, precision and recall, reliability, its spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from biosig_cli.report.evaluation_material import Material
from biosig_cli.report.evaluation_results import Answer, Curve, Evaluation, Task
from biosig_cli.report.evaluation_style import (
    CLASS_COLORS,
    DASHES,
    FONT,
    GREY,
    MARKERS,
    legend,
    model_color,
    plain,
    unit_square,
    written,
)
from biosig_cli.report.evaluation_tables import places_of
from biosig_cli.report.evaluation_words import MINUS, number, said
from biosig_cli.report.figures import INK
from biosig_cli.report.html import Picture, count, percent, picture

SIZE = (3.6, 3.5)
N_BINS = 25


def draw_roc(evaluation: Evaluation, answers: Sequence[Answer]) -> Picture | None:
    """Draw the ROC curve of every answer, with the threshold in use; None without any curve.

    Args:
        evaluation: What the answers belong to.
        answers: Models first; an answer that is no model is drawn in grey.
    """
    figure, axis = _square()
    drawn, lines, alts = [], [], []
    for place, answer, curve in _curves(evaluation, answers, "roc"):
        (line,) = axis.plot(curve.x, curve.y, **_line(place))
        figures = answer.levels.get("window", {})
        lines.append(line)
        drawn.append(answer.name)
        found, left = figures.get("sensitivity"), figures.get("specificity")
        point = ""
        if found and left and found.value is not None and left.value is not None:
            marker = MARKERS[place % len(MARKERS)]
            axis.plot(
                1 - left.value, found.value, marker, color=line.get_color(), mec="white", ms=8
            )
            point = (
                f", at its threshold sensitivity {number(found.value)} "
                f"and specificity {number(left.value)}"
            )
        area = said("auroc", figures["auroc"]) if "auroc" in figures else "not measured"
        alts.append(f"{answer.name} AUROC {area}{point}")
    if not lines:
        return None
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    plain(axis, f"1 {MINUS} specificity", "sensitivity")
    legend(axis, drawn, lines, "lower right")
    caption = "ROC over windows. Marks: the thresholds in use; dotted: chance."
    return picture(figure, alt=f"ROC: {'; '.join(alts)}.", caption=caption)


def draw_precision(evaluation: Evaluation, answers: Sequence[Answer]) -> Picture | None:
    """Draw precision over recall of every answer; None without any curve."""
    figure, axis = _square()
    drawn, lines, alts = [], [], []
    for place, answer, curve in _curves(evaluation, answers, "pr"):
        (line,) = axis.plot(curve.x, curve.y, **_line(place))
        lines.append(line)
        drawn.append(answer.name)
        figures = answer.levels.get("window", {})
        area = said("auprc", figures["auprc"]) if "auprc" in figures else "not measured"
        alts.append(f"{answer.name} AUPRC {area}")
    if not lines:
        return None
    task, counts = evaluation.task, evaluation.data.counts
    positive = counts.get(task.classes[1], 0) / max(sum(counts.values()), 1)
    axis.axhline(positive, color=GREY, linewidth=0.8, linestyle=":")
    plain(axis, "recall (sensitivity)", "precision")
    legend(axis, drawn, lines, "best")
    caption = (
        f"Precision and recall of {task.label} {task.classes[1]}. Dotted: its share of the "
        f"windows, {percent(positive)}, which is the precision of no model."
    )
    return picture(figure, alt=f"Precision over recall: {'; '.join(alts)}.", caption=caption)


def draw_reliability(evaluation: Evaluation, answers: Sequence[Answer]) -> Picture | None:
    """Draw how often what was said came true, and how often it was said; None without any."""
    curves = _curves(evaluation, answers, "reliability")
    if not curves:
        return None
    figure = Figure(figsize=SIZE, layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    lines, alts = [], []
    for place, answer, curve in curves:
        style = _line(place)
        lines += top.plot(curve.x, curve.y, marker=MARKERS[place % len(MARKERS)], ms=4, **style)
        shift = (place - (len(curves) - 1) / 2) * 0.018
        n = curve.n or (0,) * len(curve.x)
        below.bar(np.array(curve.x) + shift, n, width=0.016, color=style["color"])
        pairs = zip(curve.x, curve.y, n, strict=True)
        shown = ", ".join(f"{number(x)} said, {number(y)} observed ({k})" for x, y, k in pairs)
        alts.append(f"{answer.name}: {shown}")
    top.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    top.set(xlim=(-0.02, 1.02), ylim=(-0.04, 1.04))
    plain(top, "", "share observed")
    plain(below, "probability said", "windows")
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    figure.align_ylabels()
    legend(top, [answer.name for _, answer, _ in curves], lines, "upper left")
    caption = "Reliability: on the dotted line, what is said comes true as often. Below: windows."
    return picture(figure, alt=f"Reliability. {'; '.join(alts)}.", caption=caption)


def draw_scores(material: Material, task: Task, threshold: float | None) -> Picture | None:
    """Draw how the first model's score is spread in each class; None where there is none."""
    known = np.isfinite(material.score) & np.isfinite(material.target)
    if not known.any():
        return None
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    alts = []
    for place, (axis, name) in enumerate(zip(axes[::-1], task.classes, strict=True)):
        values = material.score[known & (material.target == place)]
        axis.hist(values, np.linspace(0, 1, N_BINS + 1), color=CLASS_COLORS[place])
        if threshold is not None:
            axis.axvline(threshold, color=INK, linestyle="--", linewidth=1.0)
        title = f"{task.label} {name}, n = {count(len(values))}"
        axis.set_title(written(title, 60), fontsize=FONT, color=INK, loc="left")
        plain(axis, "", "windows")
        axis.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        middle = f"median {number(float(np.median(values)))}" if len(values) else "no windows"
        alts.append(f"{name} {middle} over {count(len(values))} windows")
    axes[0].set_xlim(-0.01, 1.01)
    axes[1].set_xlabel(written(f"score for {task.classes[1]}", 60), fontsize=FONT, color=INK)
    where = "" if threshold is None else f" Dashed: the threshold, {number(threshold)}."
    caption = f"Scores of the first model by true class.{where}"
    alt = f"Histograms of the score: {'; '.join(alts)}.{where}"
    return picture(figure, alt=alt, caption=caption)


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    unit_square(axis)
    return figure, axis


def _curves(
    evaluation: Evaluation, answers: Sequence[Answer], name: str
) -> list[tuple[int, Answer, Curve]]:
    """Return the curves of one kind, each with which model it is of: -1 for one that is none."""
    places = places_of(evaluation)
    return [
        (places[answer.name], answer, answer.curves[name])
        for answer in answers
        if name in answer.curves and answer.curves[name].x
    ]


def _line(place: int) -> dict[str, Any]:
    is_model = place >= 0
    return {
        "color": model_color(place),
        "linestyle": DASHES[place % len(DASHES)] if is_model else "-",
        "linewidth": 1.8 if is_model else 1.1,
    }
