"""The tables of an evaluation's page: every answer beside every other, undefined figures named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from biosig_cli.report.evaluation_results import (
    Answer,
    CrossValidation,
    Estimate,
    Evaluation,
    Figures,
    Group,
    LabelEfficiency,
    LevelName,
    models_of,
)
from biosig_cli.report.evaluation_words import (
    NOT_DEFINED,
    metric,
    number,
    reading,
    span,
    titled,
)
from biosig_cli.report.html import count, percent

LEVELS: tuple[LevelName, ...] = ("window", "record", "subject")
KINDS = ("model", "probe", "baseline")
NONE = "\N{EN DASH}"
"""Stands where a figure is not asked for."""
MOST_FOLDS = 20
MOST_GROUPS = 20
READINGS = {
    "better": "first is better",
    "worse": "first is worse",
    "open": "no difference shown",
    "": "",
}


@dataclass(frozen=True)
class Cell:
    """One figure of a table."""

    text: str
    interval: str = ""
    mark: str = ""
    """Letter of its note below the table."""
    words: str = ""
    """What it means."""


@dataclass(frozen=True)
class Head:
    """What stands above a column."""

    text: str
    about: str = ""
    place: int = -1
    """Which model it is about, from 0; -1 for none."""


@dataclass(frozen=True)
class Row:
    """One answer or group."""

    name: str
    cells: Sequence[Cell]
    kind: str = ""
    about: str = ""
    place: int = -1
    """Which model it is, from 0; -1 for what is no model."""
    is_first: bool = False
    """Whether the others are compared with it."""


@dataclass
class Table:
    """Rows of figures, and the notes that their marks lead to."""

    heads: list[Head]
    rows: list[Row] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """Letter of each note, by what it says."""

    def cell(self, key: str, estimate: Estimate | None, *, interval: bool = True) -> Cell:
        """Return how an estimate is written; what is to be said of it becomes a note."""
        if estimate is None:
            return Cell(NONE)
        if estimate.value is None:
            return Cell(NOT_DEFINED, mark=self._mark(estimate.why))
        mark = self._mark(estimate.why) if key != "bhs" else ""
        digits = metric(key).digits
        text = _graded(key, estimate) or number(estimate.value, digits)
        return Cell(text, span(estimate, digits) if interval else "", mark)

    def _mark(self, why: str) -> str:
        if not why:
            return ""
        place = len(self.notes)
        letter = ascii_lowercase[place % 26] * (place // 26 + 1)
        return self.notes.setdefault(why, letter)


def _graded(key: str, estimate: Estimate) -> str:
    """Return how a grade is written; empty where the figure is none."""
    if key == "aami":
        return "met" if estimate.value else "not met"
    if key == "bhs" and estimate.value is not None:
        grade = estimate.why.partition(";")[0]
        return f"{grade}, {percent(estimate.value)} within 5"
    return ""


def by_kind(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers, models first and baselines last, else in their order."""
    return sorted(answers, key=lambda answer: KINDS.index(answer.kind))


def places_of(evaluation: Evaluation) -> dict[str, int]:
    """Return which model each answer on the page is, from 0, by its name; -1 for others.

    A model has the same place, and so the same colour, wherever it stands.
    """
    models = [model.name for model in models_of(evaluation.answers)]
    cross = evaluation.cross_validation
    names = [answer.name for answer in (*evaluation.answers, *(cross.answers if cross else ()))]
    return {name: models.index(name) if name in models else -1 for name in names}


def levels_shown(evaluation: Evaluation, answers: Sequence[Answer]) -> list[LevelName]:
    """Return the levels that say something of their own, the one that decides first.

    Where a record is a window, or a subject a record, both have the same figures.
    """
    order = sorted(LEVELS, key=lambda level: level != evaluation.task.level)
    shown: list[LevelName] = []
    for level in order:
        figures = [answer.levels.get(level) for answer in answers]
        if any(figures) and not any(
            figures == [answer.levels.get(other) for answer in answers] for other in shown
        ):
            shown.append(level)
    return shown


def primary_table(evaluation: Evaluation, answers: Sequence[Answer]) -> Table:
    """Return the figure that decides for every answer, its difference, and at other levels."""
    task = evaluation.task
    first, *others = levels_shown(evaluation, answers) or [task.level]
    name, about = titled(task.primary, task.unit), metric(task.primary).about
    table = Table(
        [
            Head(f"{name} by {first}", about),
            Head("first is better by", "over the same windows; the interval is the difference's"),
            *(Head(f"by {level}", about) for level in others),
        ]
    )

    def cells(answer: Answer) -> list[Cell]:
        difference = table.cell(task.primary, answer.difference)
        words = READINGS[reading(answer.difference)]
        return [
            table.cell(task.primary, evaluation.primary(answer)),
            Cell(difference.text, difference.interval, difference.mark, words),
            *(table.cell(task.primary, _get(answer, level, task.primary)) for level in others),
        ]

    places = places_of(evaluation)
    table.rows = [
        Row(
            answer.name,
            cells(answer),
            answer.kind,
            f"{answer.kind}: {answer.about}" if answer.about else answer.kind,
            places[answer.name],
            is_first=answer is answers[0],
        )
        for answer in by_kind(answers)
    ]
    return table


def level_table(evaluation: Evaluation, answers: Sequence[Answer], level: LevelName) -> Table:
    """Return every other figure of every answer at one level."""
    task = evaluation.task
    measured = [figures for answer in answers if (figures := answer.levels.get(level))]
    keys = [key for key in _keys(measured) if key != task.primary]
    table = Table([Head(titled(key, task.unit), metric(key).about) for key in keys])
    places = places_of(evaluation)
    table.rows = [
        Row(
            answer.name,
            [table.cell(key, _get(answer, level, key)) for key in keys],
            answer.kind,
            "" if answer.threshold is None else f"threshold {number(answer.threshold)}",
            places[answer.name],
            is_first=answer is answers[0],
        )
        for answer in by_kind(answers)
        if answer.levels.get(level)
    ]
    return table


def channel_table(answers: Mapping[str, Figures], models: Sequence[str]) -> Table:
    """Return how well one channel is reconstructed, every answer beside every other."""
    keys = _keys(answers.values())
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


def _get(answer: Answer, level: LevelName, key: str) -> Estimate | None:
    return answer.levels.get(level, {}).get(key)


def _keys(measured: Iterable[Figures]) -> list[str]:
    return list(dict.fromkeys(key for figures in measured for key in figures))
