"""The page of an autoencoder alone: what it draws again, person by person, and what it knows."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from biosig_cli.report.evaluation_material import Material
from biosig_cli.report.evaluation_results import FEW_SUBJECTS, Drawings, Estimate, Person, Probe
from biosig_cli.report.evaluation_signals import draw_redrawn
from biosig_cli.report.evaluation_style import MODEL_COLORS
from biosig_cli.report.evaluation_tables import READINGS, Cell, Head, Row, Table
from biosig_cli.report.evaluation_words import few_subjects, metric, number, people, reading
from biosig_cli.report.html import count, write_page
from biosig_cli.report.reconstruction_page import (
    facts_of,
    glossary_of,
    reconstruction_verdict,
    show_channels,
)

MODEL = "model"
HIGHER_IS_BETTER = ("ssim", "correlation", "stretch_correlation")


def write_autoencoder_page(path: Path, metrics: Mapping[str, Any], *, drawn: Material) -> None:
    """Write the page about an autoencoder.

    Args:
        path: The HTML file.
        metrics: What `test_metrics.json` holds.
        drawn: Stretches that were drawn again.

    Raises:
        DataError: If `metrics` lacks something, or a newer version wrote it.
    """
    result = Drawings.read(metrics)
    n_subjects = result.data.n_subjects
    write_page(
        path,
        "autoencoder.html",
        result=result,
        heading="Evaluation: windows drawn again",
        verdict=reconstruction_verdict(result),
        facts=facts_of(result, "the whole window"),
        notices=result.notices,
        about=few_subjects(n_subjects) if n_subjects < FEW_SUBJECTS else "",
        colors=MODEL_COLORS,
        channels=show_channels(result),
        people=[(name, person_table(result.subjects, name)) for name in result.channels],
        stretches=[draw_redrawn(each) for each in drawn.reconstructions],
        probes=[(probe_title(each), each.how, probe_table(each)) for each in result.probes],
        glossary=glossary_of(result),
    )


def person_table(persons: tuple[Person, ...], channel: str) -> Table:
    """Return the model's figures of each person, the best answer without a network below each."""
    keys = list(dict.fromkeys(key for each in persons for key in each.channels[channel][MODEL]))
    table = Table([Head("windows"), *(Head(metric(key).name, metric(key).about) for key in keys)])
    table.rows = [
        Row(
            person.subject or "not known",
            [
                Cell(count(person.n_windows)),
                *(_beside_trivial(table, person.channels[channel], key) for key in keys),
            ],
        )
        for person in persons
    ]
    return table


def _beside_trivial(
    table: Table, answers: Mapping[str, Mapping[str, float | None]], key: str
) -> Cell:
    value = answers[MODEL].get(key)
    own = table.cell(key, Estimate(value=value, why="" if value is not None else "no rate known"))
    others = [
        other
        for answer, figures in answers.items()
        if answer != MODEL and (other := figures.get(key)) is not None
    ]
    if not others:
        return own
    best = max(others) if key in HIGHER_IS_BETTER else min(others)
    return replace(own, words=f"({number(best, metric(key).digits)})")


def probe_title(probe: Probe) -> str:
    """Return what was read, of how many people."""
    new = people(probe.n_new_subjects, "subject")
    return (
        f"{probe.label[:1].upper()}{probe.label[1:]}: {count(probe.n_windows)} half minutes of "
        f"{people(probe.n_subjects, 'subject')}, left out in turn; the encoder never saw {new}"
    )


def probe_table(probe: Probe) -> Table:
    """Return how well the rate is read from each embedding, and without any."""
    unit = probe.unit
    table = Table(
        [
            Head(f"MAE ({unit})", metric("mae").about),
            Head("first is better by", "over the same half minutes"),
            Head("r", metric("r").about),
            Head("R²", metric("r2").about),
            Head(f"MAE ({unit}), never seen", "of people that the encoder never saw"),
        ]
    )
    for each in probe.answers:
        cells = [table.cell(key, each.figures.get(key)) for key in ("mae", "r", "r2", "new_mae")]
        gap = table.cell("mae", each.difference)
        words = READINGS[reading(each.difference)]
        cells.insert(1, Cell(gap.text, gap.interval, gap.mark, words))
        table.rows.append(
            Row(each.name, cells, each.kind, each.about, is_first=each is probe.answers[0])
        )
    return table
