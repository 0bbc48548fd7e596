"""Tables that take an evaluation apart: by group of people, fold, part of the labels, channel."""

from collections.abc import Mapping, Sequence

from biosig_cli.report.evaluation_results import (
    CrossValidation,
    Estimate,
    Evaluation,
    Figures,
    Group,
    LabelEfficiency,
    models_of,
)
from biosig_cli.report.evaluation_tables import Cell, Head, Row, Table, by_kind, keys_of, places_of
from biosig_cli.report.evaluation_words import metric
from biosig_cli.report.html import count

MOST_FOLDS = 20
MOST_GROUPS = 20


def group_table(evaluation: Evaluation, by: str) -> Table:
    """Return the primary figure of every model in each group, worst first where there are many."""
    models = [model for model in models_of(evaluation.answers) if by in model.groups]
    n_counts = 1 if by == "subject" else 2
    counted = [Head("windows"), Head("subjects")][:n_counts]
    places = places_of(evaluation)
    heads = [Head(model.name, place=places[model.name]) for model in models]
    table = Table([*counted, *heads])
    of = [{group.group: group.figure for group in model.groups[by]} for model in models]
    for group in groups_shown(evaluation, by):
        counts = [Cell(count(group.n_windows)), Cell(count(group.n_subjects))]
        figures = [table.cell(evaluation.task.primary, each.get(group.group)) for each in of]
        table.rows.append(Row(group.group, [*counts[:n_counts], *figures]))
    return table


def groups_shown(evaluation: Evaluation, by: str) -> list[Group]:
    """Return the groups of the first model: all, or the worst where there are many."""
    model = next(each for each in models_of(evaluation.answers) if by in each.groups)
    groups = list(model.groups[by])
    if len(groups) <= MOST_GROUPS:
        return groups
    sign = 1 if evaluation.task.higher_is_better else -1
    known = [group for group in groups if group.figure.value is not None]
    return sorted(known, key=lambda group: sign * (group.figure.value or 0.0))[:MOST_GROUPS]


def fold_table(evaluation: Evaluation, cross: CrossValidation) -> Table | None:
    """Return the primary figure of every answer in each fold; None where there are many folds."""
    answers = [answer for answer in by_kind(cross.answers) if answer.folds]
    if not answers or cross.n_folds > MOST_FOLDS:
        return None
    key = evaluation.task.primary
    table = Table([Head("windows"), *(Head(answer.name) for answer in answers)])
    of = [{fold.fold: fold.value for fold in answer.folds} for answer in answers]
    table.rows = [
        Row(
            ", ".join(fold.subjects) or str(fold.fold),
            [
                Cell(count(fold.n_windows)),
                *(table.cell(key, Estimate(value=each.get(fold.fold))) for each in of),
            ],
        )
        for fold in answers[0].folds
    ]
    return table


def efficiency_table(efficiency: LabelEfficiency) -> Table:
    """Return the median and spread of every answer for each part of the labels."""
    table = Table([Head("windows"), *(Head(each.name) for each in efficiency.answers)])
    of = [{point.fraction: point for point in each.points} for each in efficiency.answers]
    windows = {point.fraction: point.n_windows for each in of for point in each.values()}
    for fraction, n_windows in sorted(windows.items()):
        cells = []
        for points in of:
            point = points.get(fraction)
            spread = Estimate(value=point.median, low=point.low, high=point.high) if point else None
            cells.append(table.cell(efficiency.metric, spread))
        table.rows.append(Row(f"{100 * fraction:g} %", [Cell(count(n_windows)), *cells]))
    return table


def channel_table(answers: Mapping[str, Figures], models: Sequence[str]) -> Table:
    """Return how well one channel is reconstructed, every answer beside every other."""
    keys = keys_of(answers.values())
    table = Table([Head(metric(key).name, metric(key).about) for key in keys])
    table.rows = [
        Row(
            name,
            [table.cell(key, figures.get(key)) for key in keys],
            "model" if name in models else "baseline",
            place=models.index(name) if name in models else -1,
        )
        for name, figures in answers.items()
    ]
    return table
