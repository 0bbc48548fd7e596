"""The parts of an evaluation's page that hold every answer: the split, and people left out."""

from collections.abc import Sequence
from typing import Any

from biosig_cli.report.evaluation_breakdown import fold_table
from biosig_cli.report.evaluation_figures import draw_differences, draw_forest
from biosig_cli.report.evaluation_results import (
    FEW_SUBJECTS,
    Answer,
    CrossValidation,
    Evaluation,
)
from biosig_cli.report.evaluation_tables import LEVELS, level_table, levels_shown, primary_table
from biosig_cli.report.evaluation_words import few_subjects, metric, people

INTERVALS = "Intervals (95 %) are bootstrapped over subjects."


def parts_of(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the parts with tables of all answers, the one that leads first."""
    split = _part(
        evaluation,
        evaluation.answers,
        f"The {evaluation.data.split} split",
        _about_split(evaluation),
    )
    cross = evaluation.cross_validation
    if cross is None:
        return [split]
    about = _about_cross(evaluation, cross)
    left_out = _part(evaluation, cross.answers, "Subjects left out in turn", about)
    left_out["folds"] = fold_table(evaluation, cross)
    return [left_out, split] if evaluation.cross_validation_leads else [split, left_out]


def _part(
    evaluation: Evaluation, answers: Sequence[Answer], heading: str, about: list[str]
) -> dict[str, Any]:
    levels = levels_shown(evaluation, answers)
    measured = {level for answer in answers for level in answer.levels}
    same = [level for level in LEVELS if level in measured - set(levels)]
    if same:
        about = [*about, f"By {' and by '.join(same)} the figures are the same as by {levels[0]}."]
    pictures = [draw_forest(evaluation, answers), draw_differences(evaluation, answers)]
    return {
        "heading": heading,
        "about": about,
        "primary": primary_table(evaluation, answers),
        "pictures": [each for each in pictures if each],
        "name": metric(evaluation.task.primary).name,
        "level": evaluation.task.level,
        "others": level_table(evaluation, answers, evaluation.task.level),
        "levels": {level: level_table(evaluation, answers, level) for level in levels[1:]},
        "folds": None,
    }


def _about_split(evaluation: Evaluation) -> list[str]:
    data = evaluation.data
    records = f" of {people(data.n_records, 'record')}" if data.n_records else ""
    whose = f"{people(data.n_windows, 'window')}{records} of {people(data.n_subjects, 'subject')}."
    if data.n_subjects < 2:
        return [whose, few_subjects(data.n_subjects)]
    about = [f"{whose} {INTERVALS}"]
    if data.n_subjects >= FEW_SUBJECTS:
        return about
    if evaluation.cross_validation_leads:
        return [*about, "Over so few subjects intervals are too narrow, as said above."]
    return [*about, few_subjects(data.n_subjects)]


def _about_cross(evaluation: Evaluation, cross: CrossValidation) -> list[str]:
    data, is_small = evaluation.data, cross.n_subjects < FEW_SUBJECTS
    about = [
        f"{cross.how[:1].upper()}{cross.how[1:]}: {people(cross.n_windows, 'window')}, each "
        f"answered by what was trained without its subject. {INTERVALS}"
    ]
    if evaluation.cross_validation_leads:
        held = people(data.n_subjects, "subject")
        about.append(
            f"This comes first because the {data.split} split holds {held}, and one split lies. "
            f"{few_subjects(cross.n_subjects if is_small else data.n_subjects)}"
        )
    elif is_small:
        about.append(few_subjects(cross.n_subjects))
    return about
