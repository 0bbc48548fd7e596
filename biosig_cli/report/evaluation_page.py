"""The page of an evaluation: every answer beside every other, for a reader who trusts nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biosig_cli.report.evaluation_curves import (
    draw_precision,
    draw_reliability,
    draw_roc,
    draw_scores,
)
from biosig_cli.report.evaluation_figures import (
    draw_differences,
    draw_efficiency,
    draw_forest,
    draw_groups,
)
from biosig_cli.report.evaluation_maps import draw_map
from biosig_cli.report.evaluation_material import Material
from biosig_cli.report.evaluation_regression import (
    draw_agreement,
    draw_errors,
    draw_predicted,
)
from biosig_cli.report.evaluation_results import (
    FEW_SUBJECTS,
    Answer,
    CrossValidation,
    Evaluation,
    models_of,
)
from biosig_cli.report.evaluation_signals import draw_mistake, draw_reconstruction
from biosig_cli.report.evaluation_style import MODEL_COLORS
from biosig_cli.report.evaluation_tables import (
    MOST_GROUPS,
    efficiency_table,
    fold_table,
    group_table,
    level_table,
    levels_shown,
    primary_table,
)
from biosig_cli.report.evaluation_words import (
    METRICS,
    few_subjects,
    metric,
    people,
    question,
    strongest,
    verdict,
)
from biosig_cli.report.html import Picture, count, write_page


def write_evaluation_page(path: Path, metrics: Mapping[str, Any], *, drawn: Material) -> None:
    """Write the page about a model with a head, or several.

    Args:
        path: The HTML file.
        metrics: What `test_metrics.json` holds.
        drawn: Scores, maps and windows of the first model.

    Raises:
        DataError: If `metrics` lacks something, or a newer version wrote it.
    """
    evaluation = Evaluation.read(metrics)
    task = evaluation.task
    models = models_of(evaluation.answers)
    parts = _parts(evaluation)
    maps = [draw_map(name, places, drawn, task) for name, places in drawn.embedding.items()]
    write_page(
        path,
        "evaluation.html",
        evaluation=evaluation,
        heading=f"Evaluation: {task.label}",
        verdict=[verdict(evaluation)],
        facts=_facts(evaluation),
        notices=[*evaluation.notices, *_own_notices(evaluation)],
        colors=MODEL_COLORS,
        parts=parts,
        part_levels=[
            (f"{part['heading']}, by {level}", table)
            for part in parts
            for level, table in part["levels"].items()
        ],
        curves=_curves(evaluation, drawn),
        confusions=[_confusion(model) for model in models if model.confusion],
        groups=_groups(evaluation),
        efficiency=_efficiency(evaluation),
        maps=[each for each in maps if each],
        mistakes=[draw_mistake(each) for each in drawn.mistakes],
        reconstructions=[draw_reconstruction(each) for each in drawn.reconstructions],
        glossary=_glossary(evaluation),
    )


def _facts(evaluation: Evaluation) -> dict[str, str]:
    """Return what stands on top: the question, the data and who was tested."""
    task, data, cross = evaluation.task, evaluation.data, evaluation.cross_validation
    counts = ", ".join(f"{name}: {count(number)}" for name, number in data.counts.items())
    facts = {
        "asked": question(task),
        "answered per": task.level,
        "data": data.dataset,
        "licence": data.licence,
        "split": data.split,
        "windows": count(data.n_windows),
        "records": count(data.n_records) if data.n_records else "",
        "subjects": count(data.n_subjects),
        "windows by class": counts,
        "left out in turn": people(cross.n_subjects, "subject") if cross else "",
        "biosig": evaluation.biosig_version,
        "made": evaluation.made_at[:10],
    }
    return {name: value for name, value in facts.items() if value}


def _own_notices(evaluation: Evaluation) -> list[str]:
    """Return what the figures themselves show and a reader should not miss."""
    notices = []
    for model in models_of(evaluation.answers):
        said = [sum(column) for column in zip(*(model.confusion or ()), strict=True)]
        if sum(1 for n_windows in said if n_windows) == 1:
            name = evaluation.task.classes[max(range(len(said)), key=said.__getitem__)]
            notices.append(
                f"{model.name} gives every window the same answer, {name}: its accuracy is the "
                f"share of that class."
            )
    return notices


def _parts(evaluation: Evaluation) -> list[dict[str, Any]]:
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
    same = [level for level in ("window", "record", "subject") if level in measured - set(levels)]
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
    about = [
        f"{people(data.n_windows, 'window')}{records} of {people(data.n_subjects, 'subject')}. "
        "Intervals (95 %) are bootstrapped over subjects."
    ]
    if data.n_subjects >= FEW_SUBJECTS:
        return about
    if evaluation.cross_validation_leads:
        return [*about, "Over so few subjects intervals are too narrow, as said above."]
    return [*about, few_subjects(data.n_subjects)]


def _about_cross(evaluation: Evaluation, cross: CrossValidation) -> list[str]:
    about = [
        f"{cross.how[:1].upper()}{cross.how[1:]}: {people(cross.n_windows, 'window')}, each "
        "answered by what was trained without its subject. Intervals (95 %) are bootstrapped over "
        "subjects."
    ]
    if evaluation.cross_validation_leads:
        n_subjects = evaluation.data.n_subjects
        about.append(
            f"This comes first because the {evaluation.data.split} split holds "
            f"{people(n_subjects, 'subject')}, and one split lies. {few_subjects(n_subjects)}"
        )
    elif cross.n_subjects < FEW_SUBJECTS:
        about.append(few_subjects(cross.n_subjects))
    return about


def _curves(evaluation: Evaluation, drawn: Material) -> list[Picture]:
    """Return the pictures of scores or values, models and the strongest baseline together."""
    task, models = evaluation.task, models_of(evaluation.answers)
    if not models:
        return []
    if task.kind == "regression":
        pictures = [
            draw_predicted(drawn, task, models[0]),
            draw_agreement(drawn, task, models[0]),
            draw_errors(drawn, task),
        ]
    elif task.is_binary:
        rival = strongest(evaluation, evaluation.answers, "baseline")
        shown = [*models, rival] if rival else models
        pictures = [
            draw_roc(evaluation, shown),
            draw_precision(evaluation, shown),
            draw_reliability(evaluation, models),
            draw_scores(drawn, task, models[0].threshold),
        ]
    else:
        pictures = []
    return [each for each in pictures if each]


def _confusion(model: Answer) -> dict[str, Any]:
    """Return how often each class was taken for which, with its share of the true class."""
    rows = [
        [(n_windows, n_windows / max(sum(row), 1)) for n_windows in row]
        for row in model.confusion or ()
    ]
    return {"name": model.name, "threshold": model.threshold, "rows": rows}


def _groups(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return tables and pictures by kind of group, of the models that were looked at so."""
    kinds = dict.fromkeys(by for model in models_of(evaluation.answers) for by in model.groups)
    found = []
    for by in kinds:
        n_groups = max(len(model.groups.get(by, ())) for model in models_of(evaluation.answers))
        if n_groups:
            found.append(
                {
                    "by": by,
                    "table": group_table(evaluation, by),
                    "picture": draw_groups(evaluation, by),
                    "n_left_out": max(n_groups - MOST_GROUPS, 0),
                }
            )
    return found


def _efficiency(evaluation: Evaluation) -> dict[str, Any] | None:
    efficiency = evaluation.label_efficiency
    if efficiency is None or not any(each.points for each in efficiency.answers):
        return None
    return {
        "table": efficiency_table(efficiency),
        "picture": draw_efficiency(evaluation, efficiency),
    }


def _glossary(evaluation: Evaluation) -> dict[str, str]:
    """Return what each metric on the page says, by its name."""
    cross = evaluation.cross_validation
    answers = [*evaluation.answers, *(cross.answers if cross else ())]
    keys = {key for answer in answers for figures in answer.levels.values() for key in figures}
    return {each.name: each.about for key, each in METRICS.items() if key in keys}
