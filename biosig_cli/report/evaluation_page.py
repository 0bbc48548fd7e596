"""The page of an evaluation: every answer beside every other, for a reader who trusts nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biosig_cli.report.evaluation_breakdown import MOST_GROUPS, efficiency_table, group_table
from biosig_cli.report.evaluation_curves import (
    draw_precision,
    draw_reliability,
    draw_roc,
    draw_scores,
)
from biosig_cli.report.evaluation_figures import draw_efficiency, draw_groups
from biosig_cli.report.evaluation_maps import draw_map
from biosig_cli.report.evaluation_material import Material
from biosig_cli.report.evaluation_parts import parts_of
from biosig_cli.report.evaluation_regression import (
    draw_agreement,
    draw_errors,
    draw_predicted,
)
from biosig_cli.report.evaluation_results import Answer, Evaluation, models_of
from biosig_cli.report.evaluation_signals import draw_mistake, draw_reconstruction
from biosig_cli.report.evaluation_style import MODEL_COLORS
from biosig_cli.report.evaluation_verdict import strongest, verdict
from biosig_cli.report.evaluation_words import METRICS, people, question
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
    parts = parts_of(evaluation)
    maps = [draw_map(name, places, drawn, task) for name, places in drawn.embedding.items()]
    write_page(
        path,
        "evaluation.html",
        evaluation=evaluation,
        heading=f"Evaluation: {task.label}",
        verdict=verdict(evaluation),
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
