"""What is known of windows: labels and attributes, joined while a store is packed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.progress import Reporter
from biosig_cli.data.labels import LabelSet
from biosig_cli.data.parts import Known
from biosig_cli.data.readers.base import Source
from biosig_cli.data.segments import SegmentConfig
from biosig_cli.data.store import WindowStore


@dataclass(frozen=True)
class Labelling:
    """The labels of a source, and whose its records are in the words of its tables."""

    labels: LabelSet
    subjects: Mapping[str, str]

    def known(self, records: Sequence[str], duration_s: float) -> Known:
        """Return what gives the windows of each of `records` their labels."""

        def of_part(number: int, starts_s: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
            record = records[number]
            subject = self.subjects.get(record, "")  # empty: its file is gone since it was cut
            return self.labels.columns(record, subject, starts_s, duration_s)

        return of_part

    def mark(self, records: Sequence[str]) -> list[Any]:
        """Return what changes when a label of one of `records` may have changed."""
        described = {name: label.dump() for name, label in self.labels.by_column.items()}
        return [described, [self.labels.fingerprint(record) for record in records]]


def open_labels(source: Source, reporter: Reporter) -> Labelling:
    """Read the tables of labels of a source, and say what is odd in them.

    Raises:
        DataError: If a table can't be read or lacks a column that the recipe names.
    """
    labels = LabelSet(source.folder, source.labels, source.attributes)
    subjects = source.subjects() if labels.by_column else {}
    odd = labels.check(subjects)
    for what, named in (("labels", labels.labels), ("attributes", labels.attributes)):
        if named:
            tables = dict.fromkeys(label.table or "the records' names" for label in named.values())
            reporter.fact(what, ", ".join(named), f"from {', '.join(tables)}")
    for sentence in odd:
        reporter.say(f"labels: {sentence}")
    return Labelling(labels, subjects)


def label_facts(
    labels: LabelSet, segments: Sequence[SegmentConfig], store: WindowStore
) -> dict[str, Any]:
    """Return what a manifest tells of labels and attributes, with how many windows have them."""
    delays = {label: each for each in segments for label in each.delays}

    def told(start: str, named: Mapping[str, Any]) -> dict[str, Any]:
        counts = {name: int(np.isfinite(store.column(f"{start}_{name}")).sum()) for name in named}
        return {name: label.facts() | {"known": counts[name]} for name, label in named.items()}

    def measured(name: str, segment: SegmentConfig) -> dict[str, Any]:
        n_known = int(np.isfinite(store.column(f"label_{name}")).sum())
        since = " or ".join(segment.anchor)
        first = " or ".join(segment.delays[name])
        what = f"seconds from {since} to the first {first}"
        return {"what": what, "unit": "s", "derived_from": [], "known": n_known}

    return {
        "labels": told("label", labels.labels)
        | {name: measured(name, segment) for name, segment in delays.items()},
        "attributes": told("subject", labels.attributes),
    }


def report_labels(manifests: Mapping[str, Mapping[str, Any]], reporter: Reporter) -> None:
    """Print how many of the windows of each split have each label."""
    rows = []
    for what in ("labels", "attributes"):
        names = dict.fromkeys(name for each in manifests.values() for name in each.get(what, {}))
        for name in names:
            cells = [_of(each.get(what, {}).get(name), each) for each in manifests.values()]
            rows.append((name, *cells))
    if rows:
        reporter.table("windows with a label", ("label", *manifests), rows)


def _of(facts: Mapping[str, Any] | None, manifest: Mapping[str, Any]) -> str:
    return f"{facts['known'] if facts else 0} of {manifest['n_windows']}"
