"""Figures with their intervals, drawn: every answer in one row, groups, and growing labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from biosig_cli.report.evaluation_breakdown import groups_shown
from biosig_cli.report.evaluation_results import (
    Answer,
    Estimate,
    Evaluation,
    LabelEfficiency,
    Learner,
    models_of,
)
from biosig_cli.report.evaluation_style import (
    DASHES,
    FONT,
    GREY,
    MARKERS,
    legend,
    model_color,
    plain,
    written,
)
from biosig_cli.report.evaluation_tables import by_kind, places_of
from biosig_cli.report.evaluation_words import NOT_DEFINED, metric, number, said, titled
from biosig_cli.report.figures import INK
from biosig_cli.report.html import Picture, count, picture

WIDTH = 4.7
"""Of a figure that stands beside another, in inches."""


@dataclass(frozen=True)
class Mark:
    """One figure to draw."""

    estimate: Estimate
    place: int = -1
    """Which model it is of, from 0; -1 for none."""
    dots: Sequence[float] = ()
    """Figures that it sums up, drawn pale behind it."""


def draw_forest(evaluation: Evaluation, answers: Sequence[Answer]) -> Picture:
    """Draw the figure that decides, with its interval, for every answer; folds as pale dots."""
    key, unit = evaluation.task.primary, evaluation.task.unit
    places = places_of(evaluation)
    rows = {
        answer.name: [Mark(evaluation.primary(answer), places[answer.name], _folds(answer))]
        for answer in by_kind(answers)
    }
    label = f"{titled(key, unit)} by {evaluation.task.level}"
    reference = 0.5 if key == "auroc" else None
    figure = _forest(rows, label, reference=reference, ends=_ends(evaluation))
    alt = "; ".join(f"{name} {said(key, marks[0].estimate, unit)}" for name, marks in rows.items())
    has_folds = any(answer.folds for answer in answers)
    caption = "Dot: figure; line: 95 % interval over subjects" + (
        "; pale dots: the folds." if has_folds else "."
    )
    return picture(figure, alt=f"{label} of every answer: {alt}.", caption=caption)


def draw_differences(evaluation: Evaluation, answers: Sequence[Answer]) -> Picture | None:
    """Draw how much better the first answer is than every other; None where it is alone."""
    key, unit = evaluation.task.primary, evaluation.task.unit
    places = places_of(evaluation)
    # The first model keeps its row, empty, so that rows are level with those of the figure beside.
    rows = {
        answer.name: [Mark(answer.difference, places[answer.name])] if answer.difference else []
        for answer in by_kind(answers)
    }
    if not any(rows.values()):
        return None
    label = f"First is better by ({unit})" if unit else "First is better by"
    figure = _forest(rows, "\u2190 this better   |   first better \u2192", reference=0.0)
    alt = "; ".join(
        f"{name} {said(key, marks[0].estimate, unit)}" for name, marks in rows.items() if marks
    )
    name = metric(key).name
    caption = (
        f"How much better the first answer is than each other, in {name}, over the same windows. "
        "A line that crosses 0 shows no difference."
    )
    return picture(figure, alt=f"{label}, in {name}, than: {alt}.", caption=caption)


def draw_groups(evaluation: Evaluation, by: str) -> Picture | None:
    """Draw the figure that decides for every group of one kind; None where none is defined."""
    key, unit = evaluation.task.primary, evaluation.task.unit
    models = models_of(evaluation.answers)
    found = {
        model.name: {group.group: group.figure for group in model.groups.get(by, ())}
        for model in models
    }
    rows: dict[str, list[Mark]] = {}
    for group in groups_shown(evaluation, by):
        marks = [
            Mark(found[model.name][group.group], place)
            for place, model in enumerate(models)
            if group.group in found[model.name]
        ]
        if any(mark.estimate.value is not None for mark in marks):
            rows[group.group] = marks
    if not rows:
        return None
    overall = evaluation.primary(models[0]).value
    figure = _forest(rows, titled(key, unit), reference=overall, ends=_ends(evaluation))
    alt = "; ".join(
        f"{name} " + ", ".join(said(key, mark.estimate, unit) for mark in marks)
        for name, marks in rows.items()
    )
    caption = f"Dashed: {models[0].name} over all."
    return picture(figure, alt=f"{titled(key, unit)} by {by}: {alt}.", caption=caption)


def draw_efficiency(evaluation: Evaluation, efficiency: LabelEfficiency) -> Picture:
    """Draw how each answer grows with the labels: median, spread, and every repetition."""
    figure = Figure(figsize=(6.4, 3.1), layout="constrained")
    axis = figure.subplots()
    models = [model.name for model in models_of(evaluation.answers)]
    # Models keep their colours; here the others need some of their own too.
    others = [each.name for each in efficiency.answers if each.name not in models]
    lines, alts = [], []
    for step, learner in enumerate(efficiency.answers):
        place = [*models, *others].index(learner.name)
        shift = 1.03 ** (step - (len(efficiency.answers) - 1) / 2)
        lines.append(_draw_learner(axis, learner, place, shift))
        shown = [
            f"{number(point.median)} with {count(point.n_windows)} windows"
            for point in learner.points
            if point.median is not None
        ]
        alts.append(f"{learner.name} {', '.join(shown) or NOT_DEFINED}")
    axis.set_xscale("log")
    parts = {p.n_windows: p.fraction for each in efficiency.answers for p in each.points}
    axis.set_xticks([*parts], [f"{count(n)}\n{100 * part:g} %" for n, part in parts.items()])
    axis.xaxis.set_minor_locator(NullLocator())
    name = titled(efficiency.metric, evaluation.task.unit)
    plain(axis, "windows with a label, and part of all", name)
    legend(axis, [each.name for each in efficiency.answers], lines, "best")
    caption = "Line: median; band: 5th to 95th percentile; dots: every seed and split."
    return picture(figure, alt=f"{name} over labels: {'; '.join(alts)}.", caption=caption)


def _draw_learner(axis: Axes, learner: Learner, place: int, shift: float) -> Line2D:
    """Draw one answer, moved a little to the side so that none hides another."""
    color, style = model_color(place), DASHES[place % len(DASHES)]
    points = [point for point in learner.points if point.median is not None]
    n_windows, median, low, high = (
        np.array([getattr(point, name) for point in points], float)
        for name in ("n_windows", "median", "low", "high")
    )
    n_windows *= shift
    axis.fill_between(n_windows, low, high, color=color, alpha=0.12, linewidth=0)
    for point in points:
        values = np.array(point.values, float)
        at = np.full(len(values), point.n_windows * shift)
        axis.plot(at, values, ".", color=color, ms=2.5, alpha=0.6)
    (line,) = axis.plot(
        n_windows,
        median,
        style,
        color=color,
        marker=MARKERS[place % len(MARKERS)],
        ms=4.5,
        linewidth=1.6,
    )
    return line


def _ends(evaluation: Evaluation) -> tuple[float, ...]:
    """Return what an axis should reach, so that small differences do not look large."""
    if evaluation.task.primary == "auroc":
        return (0.5, 1.0)
    return () if evaluation.task.higher_is_better else (0.0,)


def _forest(
    rows: Mapping[str, Sequence[Mark]],
    label: str,
    *,
    reference: float | None,
    ends: tuple[float, ...] = (),
) -> Figure:
    """Draw a row per name, first above, with the figure at its right end."""
    n_marks = max(len(marks) for marks in rows.values())
    height = 0.62 + len(rows) * (0.24 + 0.08 * n_marks)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axis = figure.subplots()
    if reference is not None:
        axis.axvline(reference, color=INK, linestyle="--", linewidth=0.8, zorder=1)
    for row, marks in enumerate(rows.values()):
        for step, mark in enumerate(marks):
            y = row + (step - (len(marks) - 1) / 2) * 0.6 / n_marks
            _draw_mark(axis, mark, y, with_value=len(marks) == 1)
    axis.set_yticks(range(len(rows)), [written(name) for name in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.margins(x=0.06)
    axis.update_datalim([(end, 0.0) for end in ends])
    axis.autoscale_view(scaley=False)
    plain(axis, label)
    axis.tick_params(axis="y", length=0)
    return figure


def _draw_mark(axis: Axes, mark: Mark, y: float, *, with_value: bool) -> None:
    estimate, color = mark.estimate, model_color(mark.place)
    at_end: dict[str, Any] = {
        "transform": axis.get_yaxis_transform(),
        "va": "center",
        "fontsize": FONT - 1,
    }
    if estimate.value is None:
        axis.text(0.02, y, NOT_DEFINED, color=GREY, fontstyle="italic", **at_end)
        return
    axis.plot(
        mark.dots, np.full(len(mark.dots), y), "o", color=color, alpha=0.3, ms=3, mew=0, zorder=2
    )
    if estimate.interval:
        axis.hlines(y, *estimate.interval, color=color, linewidth=2.0, zorder=3)
    marker = MARKERS[mark.place % len(MARKERS)] if mark.place >= 0 else "s"
    axis.plot(estimate.value, y, marker, color=color, ms=5.5, mec="white", mew=0.7, zorder=4)
    if with_value:
        axis.text(1.02, y, number(estimate.value), color=INK, ha="left", **at_end)


def _folds(answer: Answer) -> list[float]:
    return [fold.value for fold in answer.folds if fold.value is not None]
