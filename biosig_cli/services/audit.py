"""`biosig audit`: look for everything that makes a score better than it will be on new people."""

import csv
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from biosig_cli.core.artifacts import atomic_path, check_format, clear_half_written, read_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import BiosigError, ConfigError, DataError, LeakageError
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.data.audit import quick_audit
from biosig_cli.data.duplicates import (
    MIN_VOTES,
    Scan,
    describe_twins,
    exact_twins,
    find_agreements,
    near_twins,
    scan,
)
from biosig_cli.data.findings import (
    MEANING,
    Finding,
    Kind,
    Part,
    Place,
    Report,
    Trained,
    find_places,
)
from biosig_cli.data.integrity import check_content, check_samples, check_shards
from biosig_cli.data.recordings import Recordings
from biosig_cli.data.remote import StorePath
from biosig_cli.data.store import MANIFEST, WindowStore
from biosig_cli.engine.checkpoint import lineage, load_checkpoint

N_SHOWN = 5
"""Findings of each kind that are shown; `--output` writes all."""
NOTHING_FOUND = "nothing was found"
FORMATS = (".csv", ".json")


class AuditConfig(Config):
    """What is looked at, and where the findings go."""

    stores: tuple[StorePath, ...] = Field(min_length=1)
    """Folders with train, val and test, single stores, or .npz files."""
    pretrained: tuple[Path, ...] = ()
    """Checkpoints or run folders whose training windows must not be in test."""
    quick: bool = False
    """Make only the checks that read no sample."""
    output: Path | None = None
    """A .csv or .json file for all findings."""


@dataclass(frozen=True)
class AuditResult:
    """What an audit found and what it looked at."""

    report: Report
    n_windows: int
    duration_s: float

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        checked = [
            {"check": what.strip(), "n": n, "of": unit} for what, n, unit in self.report.checked
        ]
        findings = [asdict(finding) for finding in self.report.findings]
        return {"findings": findings, "checked": checked, "notes": self.report.notes}


def audit(config: AuditConfig, reporter: Reporter) -> AuditResult:
    """Check stores for leakage, within each and between them.

    Raises:
        ConfigError: If the findings can't be written in the format asked for.
        DataError: If there are no windows where they were said to be.
        CheckpointError: If a checkpoint can't be read.
        LeakageError: If anything was found; the findings are printed and written before.
    """
    result = look(config, reporter)
    raise_if_found(result.report)
    limits = "as far as the notes above let it be seen" if result.report.notes else NOTHING_FOUND
    reporter.fact("clean", f"{result.n_windows:,} windows", limits)
    return result


def look(config: AuditConfig, reporter: Reporter) -> AuditResult:
    """Check stores as `audit` does, and raise nothing over what is found."""
    if config.output is not None and config.output.suffix not in FORMATS:
        raise ConfigError(f"{config.output} is neither a .csv nor a .json file")
    began_s = time.monotonic()
    trained = [each for path in config.pretrained for each in past_of(path)]
    parts, report = _open(config.stores)
    _announce(parts, reporter)
    quick = quick_audit(parts, trained)
    report.findings += quick.findings
    report.notes += quick.not_given + quick.notes
    report.checked += quick.checked
    found = [each for part in parts for each in check_content(part)]
    report.add("manifest against content", len(parts), "stores", found)
    if config.quick:
        report.notes.append("quick: no sample was read, so waveforms were not compared")
    else:
        _read_samples(parts, trained, report, reporter)
    n_windows = sum(len(part.store) for part in parts)
    result = AuditResult(report, n_windows, time.monotonic() - began_s)
    _say(result, reporter)
    if config.output is not None:
        write_findings(config.output, result)
        reporter.fact("written", config.output)
    return result


def check_before_scoring(
    data_dir: Path,
    stores: Mapping[str, WindowStore],
    reporter: Reporter,
    *,
    past: Sequence[Mapping[str, Any]] = (),
    labels: Sequence[str] | None = None,
) -> Report:
    """Make the cheap part of the audit before windows are trained on or scored.

    Args:
        data_dir: Where the stores lie.
        stores: Opened stores by split, with the channels that the model gets.
        reporter: Who says what could not be checked.
        past: The runs that the model comes from; see `engine.checkpoint.lineage`.
        labels: The labels that are asked for; all that there are if None.

    Raises:
        LeakageError: Naming the first findings.
    """
    parts = [Part(data_dir.resolve(), split, store) for split, store in stores.items()]
    report = quick_audit(parts, trained_by(past), labels=labels)
    found = [each for part in parts for each in check_content(part)]
    report.add("manifest against content", len(parts), "stores", found)
    for note in report.notes:
        reporter.warn(note)
    if report.findings:
        _say_findings(report, reporter)
    raise_if_found(report)
    n_seen = len({who for each in trained_by(past) for who in each.subjects})
    reporter.fact("leakage", "none found", f"{n_seen} subjects seen before; by name, see `audit`")
    return report


def write_findings(path: Path, result: AuditResult) -> None:
    """Write all findings as CSV, or as JSON with what was checked."""
    findings = result.plain()["findings"]
    clear_half_written(path.parent.glob(".*"))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, [field.name for field in fields(Finding)])
            table.writeheader()
            table.writerows(findings)
        else:
            json.dump(result.plain(), file, indent=2, ensure_ascii=False)


def past_of(path: Path) -> list[Trained]:
    """Return what shaped a checkpoint: the data of its own run and of every run before it.

    Raises:
        CheckpointError: If it can't be read.
    """
    return trained_by(lineage(load_checkpoint(path), str(path), ""))


def trained_by(runs: Sequence[Mapping[str, Any]]) -> list[Trained]:
    """Return what the runs in a checkpoint's past say of the windows they were shown."""
    found = []
    for run in runs:
        data = run.get("data")
        splits = data.items() if isinstance(data, Mapping) else ()
        parts = {name: part for name, part in splits if isinstance(part, Mapping)}
        found.append(Trained(str(run.get("checkpoint", "")), parts))
    return found


def _open(paths: Sequence[Path]) -> tuple[list[Part], Report]:
    """Open every store once; one that can't be opened is a finding."""
    places: dict[Path, Place] = {}
    for path in paths:
        for place in find_places(path):
            places.setdefault(place.path.resolve(), place)
    parts, report = [], Report()
    for place in places.values():
        if (place.path / MANIFEST).is_file():
            _check_version(place.path / MANIFEST)
        try:
            parts.append(place.open())
        except DataError as error:
            report.findings.append(Finding("content", str(place.path), place.split, str(error)))
    return parts, report


def _check_version(manifest: Path) -> None:
    """Refuse a store of a newer format, which is no finding; damage is found on opening."""
    try:
        data = read_json(manifest)
    except DataError:
        return
    check_format(data, manifest)


def _announce(parts: Sequence[Part], reporter: Reporter) -> None:
    rows = []
    for part in parts:
        n_subjects, n_records = (
            "not stated" if coded is None else f"{len(coded[0]):,}"
            for coded in (part.subjects, part.records)
        )
        names = ",".join(part.store.spec.names)
        rows.append((part.name, part.split, f"{len(part.store):,}", n_subjects, n_records, names))
    columns = ("store", "split", "windows", "subjects", "records", "channels")
    reporter.table("stores", columns, rows)


def _read_samples(
    parts: Sequence[Part], trained: Sequence[Trained], report: Report, reporter: Reporter
) -> None:
    """Read every sample once: is it what was written, is it a number, does it appear twice."""
    scans: list[tuple[Part, Scan]] = []
    found: list[Finding] = []
    with reporter.progress("windows", sum(len(part.store) for part in parts)) as advance:
        for part in parts:
            try:
                found += check_shards(part)
                scans.append((part, scan(part, advance)))
                found += check_samples(part, scans[-1][1].broken)
            except (BiosigError, LookupError, TypeError, ValueError, OSError) as error:
                against = f"windows can't be read: {type(error).__name__}: {error}"
                found.append(part.finding("content", against))
    report.add("samples as written", len(parts), "stores", found)
    _compare_waveforms(scans, trained, report, reporter)


def _compare_waveforms(
    scans: Sequence[tuple[Part, Scan]],
    trained: Sequence[Trained],
    report: Report,
    reporter: Reporter,
) -> None:
    if not scans:
        report.notes.append("no store could be read: waveforms were not compared")
        return
    recordings = Recordings([part for part, _ in scans])
    read = [each for _, each in scans]
    twins = exact_twins(recordings, read)
    agreements, fewest = find_agreements(recordings, read)
    known = {(each.one, each.other) for each in twins}
    with reporter.progress("agreements", len(agreements)) as advance:
        twins += near_twins(recordings, agreements, known, advance)
    found = describe_twins(recordings, twins, trained)
    report.add("waveforms", len(recordings.node), "windows with all others", found)
    n_keys = sum(len(keys) for each in read for keys, _, _ in each.keys.values())
    report.checked.append(("  by runs of peaks", n_keys, "runs"))
    report.checked.append(("  sample by sample", len(agreements), "agreements of two records"))
    if fewest > MIN_VOTES:
        report.notes.append(
            f"so many stretches look alike that only those with {fewest} runs of peaks in common "
            "were compared sample by sample; a copy of a few seconds may be missed"
        )
    for part, each in scans:
        if not each.keys:
            report.notes.append(
                f"{part.name}: no peaks between 2 and 8 Hz, so only exact copies could be found"
            )


def _say(result: AuditResult, reporter: Reporter) -> None:
    rows = [(what, f"{n:,}", unit) for what, n, unit in result.report.checked]
    took = duration(result.duration_s)
    reporter.table(f"checked {result.n_windows:,} windows in {took}", ("check", "n", "of"), rows)
    for note in result.report.notes:
        reporter.say(f"note: {note}")
    _say_findings(result.report, reporter)


def _say_findings(report: Report, reporter: Reporter) -> None:
    columns = ("record", "start_s", "windows", "split", "store", "collides with")
    for kind in get_args(Kind):
        found = [finding for finding in report.findings if finding.kind == kind]
        if found:
            groups = _by_record(found)
            of = f" in {len(groups):,} records" if len(groups) > 1 else ""
            cut = f", the first {N_SHOWN}" if len(groups) > N_SHOWN else ""
            rows = [_row(group) for group in groups[:N_SHOWN]]
            n_found = "1 finding" if len(found) == 1 else f"{len(found):,} findings"
            reporter.table(f"{MEANING[kind]}: {n_found}{of}{cut}", columns, rows)


def _by_record(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Return the findings of each record of each store together."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for each in findings:
        groups.setdefault((each.store, each.split, each.record), []).append(each)
    return list(groups.values())


def _row(group: Sequence[Finding]) -> tuple[object, ...]:
    first = group[0]
    starts = {each.start_s: each.n_windows for each in group}
    start = "" if first.start_s is None else f"{first.start_s:.1f}"
    n_windows = first.n_windows if first.start_s is None else sum(starts.values())
    more = f" (and {len(group) - 1:,} more)" if len(group) > 1 else ""
    record, against = first.record or "(all)", first.against + more
    return record, start, f"{n_windows:,}", first.split, first.store, against


def raise_if_found(report: Report) -> None:
    """Refuse windows that are not clean.

    Raises:
        LeakageError: Naming what was found, by kind.
    """
    if report.findings:
        kinds: list[Kind] = [kind for kind in get_args(Kind) if report.count(kind)]
        said = "; ".join(f"{MEANING[kind]} ({report.count(kind):,})" for kind in kinds)
        hint = (
            "a score on these windows is not to be trusted; the tables above name rows, "
            "`biosig audit ... --output findings.csv` writes all"
        )
        if kinds == ["label"]:
            hint += (
                "; leave the channel out (--channels), or build the windows with "
                "--set label_channels_allowed=true and give each score without it too"
            )
        raise LeakageError(f"not clean: {said}", hint=hint)
