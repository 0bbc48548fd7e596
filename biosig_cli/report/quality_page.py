"""The page that shows what the quality gate did: what it dropped, from whom, and how it looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biosig_cli.report.html import Picture, percent, write_page
from biosig_cli.report.quality_examples import GROUPS, Example
from biosig_cli.report.quality_figures import (
    DrawnWindow,
    draw_score,
    draw_spread,
    draw_subjects,
    draw_window,
)
from biosig_cli.report.quality_tables import (
    LABELS,
    MISSING,
    Asked,
    GroupYield,
    Judged,
    by_group,
    by_label,
    by_rule,
    shown,
)

N_SUBJECTS = 10
"""Subjects that are named, those with the lowest yield."""
MUCH = 0.10
"""A part of the windows, or a difference between classes, that a reader should know of."""
HALF = 0.5
ENOUGH = 20
"""Windows that a class needs before its yield is compared."""
NOT_MEASURED = (*LABELS, "center_", "scale_")
"""Columns that tell of something else than a window's quality begin so."""

HEADINGS = {
    False: {
        "best": "The best",
        "worst": "The worst that were kept",
        "borderline": "Dropped by a hair",
        "broken": "Dropped, by rule",
    },
    True: {
        "best": "The best",
        "worst": "The worst that break no rule",
        "borderline": "Kept, but outside the limits by a hair",
        "broken": "Kept, but outside the limits, by rule",
    },
}
"""What stands above each group of windows, by whether the gate only records its verdicts."""


def write_quality_page(
    path: Path,
    judged: Judged,
    drawn: Sequence[tuple[Example, DrawnWindow]],
    *,
    split: str,
    gate: str,
    channels: Sequence[tuple[str, str, str]],
    sampling_hz: float,
    facts: Mapping[str, str],
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        judged: Every window that was cut.
        drawn: Windows to draw, with where they stand in `judged`.
        split: The split whose windows they are.
        gate: `all`, or `missing` where verdicts are recorded and only missing samples drop.
        channels: Name, kind and unit of each channel.
        sampling_hz: Sampling rate of the windows, in Hz.
        facts: What else stands above: source, window, version.
    """
    subjects = by_group(judged, judged.columns["subject"])
    labels = by_label(judged)
    recorded_only = gate != "all"
    lowest = sorted(subjects, key=lambda each: (_part(each, recorded_only), each.name))
    write_page(
        path,
        "quality.html",
        split=split,
        facts=facts,
        recorded_only=recorded_only,
        n_cut=len(judged),
        n_kept=int(judged.kept.sum()),
        n_passing=int(judged.passing.sum()),
        n_subjects=len(subjects),
        n_records=len(np.unique(judged.columns["record"])),
        notices=_notices(judged, subjects, labels, recorded_only),
        rules=by_rule(judged),
        labels=labels,
        low={name: _low(rows, recorded_only) for name, rows in labels.items()},
        subjects=lowest[:N_SUBJECTS],
        subjects_picture=draw_subjects(subjects, passing=recorded_only) if subjects else None,
        scores=[draw_score(judged, rule) for rule in _most_broken_first(judged)],
        others=_others(judged),
        groups=_groups(judged, drawn, channels, sampling_hz, HEADINGS[recorded_only]),
    )


def _part(group: GroupYield, recorded_only: bool) -> float:
    return group.passing if recorded_only else group.kept


def _compared(rows: Sequence[GroupYield], recorded_only: bool) -> dict[str, float]:
    """Return the yield of the classes of a label that have enough windows to be compared."""
    enough = [row for row in rows if row.n_cut >= ENOUGH and row.name != MISSING]
    return {row.name: _part(row, recorded_only) for row in enough}


def _low(rows: Sequence[GroupYield], recorded_only: bool) -> list[str]:
    """Return the classes of a label that lose far more windows than another of its classes."""
    parts = _compared(rows, recorded_only)
    return [name for name, part in parts.items() if part < max(parts.values()) - MUCH]


def _most_broken_first(judged: Judged) -> list[Asked]:
    asked = [rule for rule in judged.rules if rule.figure]
    return sorted(asked, key=lambda rule: -int(judged.broken[rule.name].sum()))


def _notices(
    judged: Judged,
    subjects: Sequence[GroupYield],
    labels: Mapping[str, Sequence[GroupYield]],
    recorded_only: bool,
) -> list[str]:
    """Return what a reader should not miss."""
    verb = "would leave" if recorded_only else "leaves"
    notices = []
    for name, rows in labels.items():
        if _low(rows, recorded_only):
            parts = _compared(rows, recorded_only)
            least, most = min(parts, key=parts.__getitem__), max(parts, key=parts.__getitem__)
            notices.append(
                f"The gate is not even: it {verb} {percent(parts[least])} of the windows where "
                f"{name} is {least}, and {percent(parts[most])} where it is {most}."
            )
    for rule in by_rule(judged):
        if rule.n_broken > MUCH * len(judged):
            part = percent(rule.n_broken / len(judged))
            notices.append(f"{part} of all windows break the rule {rule.name} ({rule.limit}).")
    poor = [each.name for each in subjects if _part(each, recorded_only) < HALF]
    if poor:
        some = ", ".join(poor[:5]) + (", ..." if len(poor) > 5 else "")
        keep = "would keep" if recorded_only else "kept"
        notices.append(
            f"{len(poor)} of {len(subjects)} subjects {keep} less than half of their windows: "
            f"{some}."
        )
    return notices


def _others(judged: Judged) -> list[Picture]:
    """Draw the figures that no rule asks about."""
    asked = {rule.figure for rule in judged.rules}
    return [
        draw_spread(judged, name)
        for name, values in judged.columns.items()
        if name not in asked
        and name != "start_s"
        and not name.startswith(NOT_MEASURED)
        and values.dtype.kind == "f"
        and np.isfinite(values).any()
    ]


def _groups(
    judged: Judged,
    drawn: Sequence[tuple[Example, DrawnWindow]],
    channels: Sequence[tuple[str, str, str]],
    sampling_hz: float,
    headings: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return the windows drawn, by group, in the order of the page."""
    names = ", ".join(name for name, _, _ in channels)
    groups = []
    for group in GROUPS:
        pictures = [
            draw_window(
                window,
                sampling_hz=sampling_hz,
                channels=channels,
                alt=f"{headings[group]}: {names} over time. {_caption(judged, example.row)}",
                caption=_caption(judged, example.row),
            )
            for example, window in drawn
            if example.group == group
        ]
        if pictures:
            groups.append({"heading": headings[group], "pictures": pictures})
    return groups


def _caption(judged: Judged, row: int) -> str:
    """Return what is known of one window, the broken rules first."""
    columns = judged.columns
    broken = [name for name, verdict in judged.broken.items() if verdict[row]]
    measured = {
        name: float(values[row])
        for name, values in columns.items()
        if values.dtype.kind == "f" and np.isfinite(values[row])
    }
    labels = ", ".join(
        f"{name.partition('_')[2]} {shown(columns[name][row])}"
        for name in columns
        if name.startswith("label_") and shown(columns[name][row]) != MISSING
    )
    said = [
        _said(measured, "_quality", "quality", ".2f"),
        _said(measured, "_rate_bpm", "bpm", ".0f"),
        f"labels: {labels}" if labels else "",
    ]
    head = ", ".join(broken)
    head = f"{head[0].upper()}{head[1:]}. " if head else ""
    where = f"Record {columns['record'][row]}, from {measured['start_s']:g} s"
    return f"{head}{'; '.join([where, *(each for each in said if each)])}."


def _said(measured: Mapping[str, float], end: str, name: str, form: str) -> str:
    """Return one figure of each channel in words: `quality PPG 0.93, ECG 0.94`."""
    shown = [
        f"{column.removesuffix(end)} {value:{form}}"
        for column, value in measured.items()
        if column.endswith(end) and not column.startswith(LABELS)
    ]
    return f"{name} {', '.join(shown)}" if shown else ""
