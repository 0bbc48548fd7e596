"""The page of an encoder alone: how well it puts together what was hidden, channel by channel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biosig_cli.report.evaluation_breakdown import channel_table
from biosig_cli.report.evaluation_maps import draw_map
from biosig_cli.report.evaluation_material import Material
from biosig_cli.report.evaluation_results import (
    FEW_SUBJECTS,
    Estimate,
    Figures,
    Reconstruction,
)
from biosig_cli.report.evaluation_signals import draw_reconstruction
from biosig_cli.report.evaluation_style import FONT, MODEL_COLORS, PALE, model_color, plain, written
from biosig_cli.report.evaluation_tables import Table
from biosig_cli.report.evaluation_words import (
    METRICS,
    NOT_DEFINED,
    few_subjects,
    metric,
    number,
    quoted,
    said,
)
from biosig_cli.report.figures import INK
from biosig_cli.report.html import Picture, count, picture, write_page

TRIVIAL = {
    "zero": "predicting zero",
    "mean": "mean of what is visible",
    "interpolation": "linear interpolation",
    "low_pass": "slowest waves in as many numbers",
    "pca": "PCA of patches in as many numbers",
}
"""Answers that need no model, as the page calls them."""


def write_reconstruction_page(path: Path, metrics: Mapping[str, Any], *, drawn: Material) -> None:
    """Write the page about an encoder without a head.

    Args:
        path: The HTML file.
        metrics: What `test_metrics.json` holds.
        drawn: Reconstructions, and maps by subject.

    Raises:
        DataError: If `metrics` lacks something, or a newer version wrote it.
    """
    result = Reconstruction.read(metrics)
    maps = [draw_map(name, places, drawn, None) for name, places in drawn.embedding.items()]
    n_subjects = result.data.n_subjects
    write_page(
        path,
        "reconstruction.html",
        result=result,
        heading="Evaluation: reconstruction of hidden samples",
        verdict=reconstruction_verdict(result),
        facts=facts_of(result, "hidden samples"),
        notices=result.notices,
        about=few_subjects(n_subjects) if n_subjects < FEW_SUBJECTS else "",
        colors=MODEL_COLORS,
        channels=show_channels(result),
        maps=[each for each in maps if each],
        reconstructions=[draw_reconstruction(each) for each in drawn.reconstructions],
        glossary=glossary_of(result),
    )


def show_channels(result: Reconstruction) -> list[tuple[str, Table, Picture]]:
    """Return a table and a picture of every answer, channel by channel."""
    channels = []
    for name, each in result.channels.items():
        answers = {TRIVIAL.get(answer, answer): found for answer, found in each.answers.items()}
        models = [answer for answer in each.answers if answer not in TRIVIAL]
        pictures = _draw_answers(name, answers, models)
        channels.append((name, channel_table(answers, models), pictures))
    return channels


def glossary_of(result: Reconstruction) -> dict[str, str]:
    """Return what each figure on the page means, by its name."""
    keys = {
        key
        for each in result.channels.values()
        for figures in each.answers.values()
        for key in figures
    }
    return {each.name: each.about for key, each in METRICS.items() if key in keys}


def reconstruction_verdict(result: Reconstruction) -> list[str]:
    """Return how the first model stands to the best trivial answer, a sentence per channel."""
    sentences = [_channel_verdict(name, each.answers) for name, each in result.channels.items()]
    return sentences or ["Nothing was reconstructed."]


def _channel_verdict(name: str, answers: Mapping[str, Figures]) -> str:
    errors = {answer: figures.get("mse", Estimate()) for answer, figures in answers.items()}
    model = next((answer for answer in answers if answer not in TRIVIAL), None)
    if model is None or errors[model].value is None:
        why = errors[model].why if model else "no model was asked"
        return f"{name}: the error is {NOT_DEFINED}{f' ({why})' if why else ''}."
    own = errors[model]
    who = "the model" if model == "model" else quoted(model)
    found = f"{name}: {who} has a mean squared error of {said('mse', own)}"
    known = [(each.value, key) for key, each in errors.items() if key in TRIVIAL and each.value]
    if not known:
        return f"{found}."
    least, best = min(known)
    ends, others = own.interval, errors[best].interval
    if ends is None or others is None:
        shown = "without intervals no difference can be shown"
    elif ends[1] < others[0]:
        shown = "it is better, the intervals are apart"
    elif ends[0] > others[1]:
        shown = "it is worse, the intervals are apart"
    else:
        shown = "the intervals overlap, no difference can be shown"
    ratio = number((own.value or 0.0) / least)
    rival = f"{TRIVIAL[best]}, the best answer without a model ({number(least, 3)})"
    return f"{found}, {ratio} times that of {rival}: {shown}."


def facts_of(result: Reconstruction, what: str) -> dict[str, str]:
    """Return what stands on top: `what` was asked, the data and who was tested."""
    data = result.data
    asked = {
        name.replace("_", " "): ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
        for name, value in result.task.items()
        if name != "kind" and value not in (None, "", [])
    }
    facts = {
        "asked": what,
        **asked,
        "data": data.dataset,
        "split": data.split,
        "windows": count(data.n_windows),
        "records": count(data.n_records) if data.n_records else "",
        "subjects": count(data.n_subjects),
        "biosig": result.biosig_version,
        "made": result.made_at[:10],
    }
    return {name: value for name, value in facts.items() if value}


def _draw_answers(channel: str, answers: Mapping[str, Figures], models: Sequence[str]) -> Picture:
    """Draw every metric of one channel as bars with intervals, an answer per row."""
    keys = list(dict.fromkeys(key for figures in answers.values() for key in figures))
    size = (max(7.6, 1.0 + 1.6 * len(keys)), 0.75 + 0.27 * len(answers))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    alts = []
    for axis, key in zip(axes, keys, strict=True):
        for row, (name, figures) in enumerate(answers.items()):
            place = models.index(name) if name in models else -1
            if key in figures:
                _draw_bar(axis, row, figures[key], place)
        axis.axvline(0, color="#999999", linewidth=0.8)
        axis.margins(x=0.12)
        plain(axis, metric(key).name)
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(answers)), [written(name) for name in answers])
    axes[0].set_ylim(len(answers) - 0.5, -0.5)
    for name, figures in answers.items():
        each = ", ".join(f"{metric(key).name} {said(key, figures[key])}" for key in figures)
        alts.append(f"{name}: {each}")
    return picture(figure, alt=f"{channel}. {'; '.join(alts)}.")


def _draw_bar(axis: Axes, row: int, estimate: Estimate, place: int) -> None:
    if estimate.value is None:
        text: dict[str, Any] = {
            "fontsize": FONT - 1.5,
            "va": "center",
            "color": INK,
            "fontstyle": "italic",
        }
        axis.text(0, row, f" {NOT_DEFINED}", **text)
        return
    axis.barh(row, estimate.value, color=model_color(place) if place >= 0 else PALE, height=0.62)
    if estimate.interval:
        low, high = np.array(estimate.interval)
        axis.hlines(row, low, high, color="white", linewidth=3.4)
        axis.hlines(row, low, high, color=INK, linewidth=1.4)
