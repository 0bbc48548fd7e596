"""The tables of an evaluation's page: every answer beside every other, undefined figures named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from biosig_cli.report.evaluation_results import (
    Answer,
    Estimate,
    Evaluation,
    Figures,
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
from biosig_cli.report.html import percent

LEVELS: tuple[LevelName, ...] = ("window", "record", "subject")
KINDS = ("model", "probe", "baseline")
NONE = "\N{EN DASH}"
"""Stands where a figure is not asked for."""
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
    keys = [key for key in keys_of(measured) if key != task.primary]
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


def _get(answer: Answer, level: LevelName, key: str) -> Estimate | None:
    return answer.levels.get(level, {}).get(key)


def keys_of(measured: Iterable[Figures]) -> list[str]:
    """Return the metrics of all answers, in their order."""
    return list(dict.fromkeys(key for figures in measured for key in figures))
