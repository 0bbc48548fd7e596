"""Leakage that can be seen without reading a sample: who and when stands in which split.

Each check looks for one kind of finding. `quick_audit` makes them all in seconds for millions of
windows, so every command that scores a model can afford it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from biosig_cli.data.findings import Coded, Finding, Part, Report, Trained

FITS_NOTHING = ("window", "record", "none", "minmax", "robust")
"""Normalizations that take their figures from the window or the record itself, or from nothing."""
SLACK_S = 1e-6


def quick_audit(
    parts: Sequence[Part],
    trained: Sequence[Trained] = (),
    *,
    labels: Sequence[str] | None = None,
) -> Report:
    """Make every check that reads no sample.

    Args:
        parts: Opened splits, of one data set or several; a store opened with a choice of channels
            is judged by those.
        trained: What the checkpoints were made from that are to be scored on `test`.
        labels: The labels that are asked for; all that there are if None.
    """
    report = Report()
    pairs = [(one, other) for one, other in combinations(parts, 2) if _are_one_set(one, other)]
    known = [pair for pair in pairs if pair[0].subjects and pair[1].subjects]
    dated = [pair for pair in pairs if pair[0].is_dated and pair[1].is_dated]
    report.add("subjects across splits", len(known), "pairs of splits", check_subjects(known))
    report.add("overlap in time", len(dated), "pairs of splits", check_overlap(dated))
    if not pairs:
        said = "no data set came with two splits: nothing across splits was checked"
        report.not_given.append(said)
    if len(known) < len(pairs):
        report.notes.append("a split does not state its subjects: they were not compared")
    if len(dated) < len(pairs):
        report.notes.append("a split does not state record and start_s: overlap was not checked")
    _audit_trained(parts, trained, report)
    found, stated, notes = check_statistics(parts)
    report.add("statistics", stated, "stores that state theirs", found)
    report.notes += notes
    found, n_labels, notes = check_labels(parts, labels)
    report.add("labels' own channels", n_labels, "labels", found)
    report.notes += notes
    return report


def _audit_trained(parts: Sequence[Part], trained: Sequence[Trained], report: Report) -> None:
    tests = [part for part in parts if part.split == "test"]
    if not trained:
        return
    found = [each for part in tests for model in trained for each in check_trained(part, model)]
    report.add("pretraining subjects", len(tests) * len(trained), "tests x checkpoints", found)
    if not tests:
        report.notes.append("no test split was given: checkpoints were compared with nothing")
    given = {part.store.digest for part in parts}
    for model in trained:
        if not model.subjects:
            report.notes.append(f"{model.name} does not say whose windows it was trained on")
        if not model.digests <= given:
            report.not_given.append(
                f"not all windows that {model.name} was trained on were given: they were compared "
                "by subject, not by waveform"
            )


def check_subjects(pairs: Sequence[tuple[Part, Part]]) -> list[Finding]:
    """Return the windows of every subject who stands in both splits of a pair, by record."""
    found = []
    for one, other in pairs:
        (names, _), (others, codes) = _both(one.subjects, other.subjects)
        for subject in sorted(set(names) & set(others)):
            rows = np.flatnonzero(codes == others.index(subject))
            for of_record in _by_record(other, rows):
                against = f"subject {subject} is in {one.split} too ({one.name})"
                found.append(other.finding("subject", against, of_record))
    return found


def check_overlap(pairs: Sequence[tuple[Part, Part]]) -> list[Finding]:
    """Return the windows that share a moment with a window of the same record in another split."""
    found: list[Finding] = []
    for one, other in pairs:
        (names, codes), (others, other_codes) = _both(one.records, other.records)
        for record in sorted(set(names) & set(others)):
            rows = np.flatnonzero(codes == names.index(record))
            other_rows = np.flatnonzero(other_codes == others.index(record))
            found += _overlaps(one, rows, other, other_rows)
    return found


def _overlaps(
    one: Part, rows: NDArray[np.int64], other: Part, other_rows: NDArray[np.int64]
) -> Iterator[Finding]:
    """Yield a finding for each window at `other_rows` that overlaps one at `rows`."""
    starts, other_starts = one.start_s, other.start_s
    assert starts is not None
    assert other_starts is not None
    rows = rows[np.argsort(starts[rows], kind="stable")]
    ordered = starts[rows]
    for row in other_rows:
        start_s, length_s = other_starts[row], one.store.spec.duration_s
        first = int(np.searchsorted(ordered, start_s - length_s + SLACK_S, side="right"))
        stop_s = start_s + other.store.spec.duration_s - SLACK_S
        if first < len(ordered) and ordered[first] < stop_s:
            against = f"{one.split} window of the same record from {ordered[first]:.1f} s"
            yield other.finding("overlap", f"{against} ({one.name})", [int(row)])


def check_trained(test: Part, model: Trained) -> list[Finding]:
    """Return the test windows of everyone whom a checkpoint was trained on."""
    if test.store.digest in model.digests:
        return [test.finding("pretrained", f"{model.name} was trained on this very store")]
    if test.subjects is None:
        return []
    names, codes = test.subjects
    return [
        test.finding("pretrained", f"{model.name} was trained on subject {subject}", rows)
        for subject in sorted(model.subjects & set(names))
        for rows in _by_record(test, np.flatnonzero(codes == names.index(subject)))
    ]


def check_statistics(parts: Sequence[Part]) -> tuple[list[Finding], int, list[str]]:
    """Return the stores scaled by what validation or test windows told.

    A manifest says `statistics: {fitted_on: [train]}` where anything was fitted on a set of
    windows. The normalizations of `build-windows` are fitted on the window or its record alone.
    """
    found: list[Finding] = []
    notes: list[str] = []
    n_stated = 0
    for part in parts:
        manifest = part.store.manifest
        normalization, statistics = manifest.get("normalization"), manifest.get("statistics")
        if statistics is None and normalization in FITS_NOTHING:
            n_stated += 1
        elif statistics is None and normalization is None:
            notes.append(f"{part.name} does not say what its statistics were fitted on")
        else:
            stated = statistics.get("fitted_on") if isinstance(statistics, Mapping) else None
            fitted_on = [stated] if isinstance(stated, str) else list(stated or ())
            n_stated += bool(fitted_on)
            if fitted_on != ["train"]:
                said = ", ".join(map(str, fitted_on)) or "nothing that is stated"
                against = f"statistics fitted on {said}, expected train alone"
                found.append(part.finding("statistics", against))
    return found, n_stated, notes


def check_labels(
    parts: Sequence[Part], asked: Sequence[str] | None = None
) -> tuple[list[Finding], int, list[str]]:
    """Return the labels that were derived from a channel that the windows hold."""
    found: list[Finding] = []
    notes: dict[str, None] = {}
    n_labels = 0
    for part in parts:
        labels = part.store.manifest.get("labels") or {}
        for name, facts in labels.items() if isinstance(labels, Mapping) else ():
            if asked is not None and name not in asked:
                continue
            n_labels += 1
            sources = facts.get("derived_from") if isinstance(facts, Mapping) else None
            own = [channel for channel in sources or () if channel in part.store.spec.names]
            against = f"label {name} was derived from {', '.join(own)}, which is an input"
            if own and part.store.manifest.get("label_channels_allowed") is True:
                notes[
                    f"{part.data_dir}: {against}; the recipe allows it, so every score needs its "
                    "twin without that channel"
                ] = None
            elif own:
                found.append(part.finding("label", against))
    return found, n_labels, list(notes)


def _are_one_set(one: Part, other: Part) -> bool:
    return one.data_dir == other.data_dir and one.split != other.split


def _both(one: Coded | None, other: Coded | None) -> tuple[Coded, Coded]:
    assert one is not None
    assert other is not None
    return one, other


def _by_record(part: Part, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return `rows` record by record."""
    if part.records is None:
        return [rows]
    groups: dict[int, list[int]] = defaultdict(list)
    for row, code in zip(rows.tolist(), part.records[1][rows].tolist(), strict=True):
        groups[code].append(row)
    return [np.array(group, np.int64) for group in groups.values()]
