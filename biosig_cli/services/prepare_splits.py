"""Which recordings are for training, validation and testing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from biosig_cli import __version__
from biosig_cli.catalog import open_source
from biosig_cli.core.artifacts import clear_half_written, write_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Environment
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.pseudonyms import hide_subjects
from biosig_cli.data.readers.base import Source
from biosig_cli.data.readers.vitaldb import CASE_SETS, VITALDB, VitalDb
from biosig_cli.data.splits import (
    FRACTIONS,
    Splits,
    fixed_splits,
    hold_out,
    split_subjects,
    write_splits,
)
from biosig_cli.data.store import SPLITS
from biosig_cli.data.tables import read_tables

N_FASTTRACK = 70
"""Cases that `fasttrack` takes."""

HOW_TO_KEY = "BIOSIG_SUBJECT_KEY keeps ids from being guessed; keep the key to add recordings"
DEFAULT_CASE_SET = "bis"


class HoldOutConfig(Config):
    """People whom a table sets apart for the test, such as one release of a data set."""

    table: str
    """File in the folder of the recordings; `*` stands for anything."""
    subject: str
    """Column of the subject's id."""
    column: str
    """Column that tells them apart."""
    values: tuple[str, ...] = Field(min_length=1)
    """What it says of those who are set apart."""


class PrepareSplitsConfig(Config):
    """Which recordings, and how they are split."""

    recipe_parts = ("dataset",)

    mode: Literal["fasttrack", "full"] = "fasttrack"
    """`fasttrack` takes the first 70 cases, `full` takes all."""
    case_set: str | None = None
    """Part of VitalDB, `bis` when left out; has no meaning for a folder."""
    output: Path = Path("data")
    """Folder that the split file is written to."""
    seed: int = 42
    """Seed of the shuffle of subjects."""
    source: str = VITALDB
    """Folder with the recordings, or `vitaldb`."""
    cache: Path | None = None
    """Folder that downloads are kept in; the machine's own when left out."""
    offline: bool | None = None
    """Download nothing: use what is in the cache."""
    dataset: DatasetConfig | None = None
    """What the folder holds and whose it is; taken from its own dataset.yaml when left out."""
    hash_subjects: bool = False
    """Write pseudonyms for the ids of subjects, here and in what is made from the split file."""
    splits: dict[str, tuple[str, ...]] | None = None
    """Record ids of train, val and test, where a recipe fixes them."""
    hold_out: HoldOutConfig | None = None
    """People of whom test is made, so that train and val have none of them; where the folder has
    none of them, all are split 70 / 15 / 15."""


@dataclass(frozen=True)
class PrepareSplitsResult:
    """The split file and what is in it."""

    path: Path
    splits: Splits


def prepare_splits(config: PrepareSplitsConfig, reporter: Reporter) -> PrepareSplitsResult:
    """Split the subjects of a source 70 / 15 / 15 and write `splits_<mode>.json`.

    Raises:
        ConfigError: If the case set is unknown, or given with a folder.
        DataError: If the source can't be used.
    """
    _check_case_set(config)
    source = open_source(config.source, config.dataset, cache=config.cache, offline=config.offline)
    subjects = source.subjects()
    chosen = _choose(source, subjects, config, reporter)
    reporter.fact("source", config.source, f"{source.kind}, {len(subjects)} records")
    reporter.fact("subjects", len({subjects[case] for case in chosen}), source.subject_origin)
    if config.splits is None:
        cases, how = _split(source, {case: subjects[case] for case in chosen}, config)
    else:
        _check_names(config.splits)
        cases = fixed_splits(config.splits, subjects)
        how = "as the recipe states"
    reporter.fact("split", how)
    splits = Splits(cases, subjects, _meta(config, source.kind, how))
    if config.hash_subjects:
        splits = hide_subjects(splits, Environment().subject_key)
        reporter.fact("subjects hidden", splits.meta["hash_subjects"], HOW_TO_KEY)
    path = config.output / f"splits_{config.mode}.json"
    clear_half_written(config.output.glob(".*"))
    write_splits(path, splits)
    write_json(path.with_name(f"{path.stem}_config.json"), config.dump())
    _report(splits, path, reporter)
    return PrepareSplitsResult(path, splits)


def _choose(
    source: Source, subjects: Mapping[str, str], config: PrepareSplitsConfig, reporter: Reporter
) -> list[str]:
    """Return the records to split, in order."""
    excluded = set(config.dataset.exclude) if config.dataset else set()
    ids = source.ids()
    if isinstance(source, VitalDb):
        name = config.case_set or DEFAULT_CASE_SET
        ids = source.cases_of(name)
        of = f"{len(ids)} of {len(source.ids())} cases"
        unlisted = "no list names the cases of this server, so all are taken"
        reporter.fact("case set", name, of if source.has_published_cases else unlisted)
        reporter.fact("licence", source.licence)
        reporter.fact("cache", source.folder)
    there = [case for case in ids if subjects[case] not in excluded]
    n_excluded = len(ids) - len(there)
    if n_excluded:
        reporter.fact("excluded", f"{n_excluded} records", "of subjects that the recipe excludes")
    if config.mode == "full" or len(there) <= N_FASTTRACK:
        return there
    reporter.fact("mode", config.mode, f"first {N_FASTTRACK} of {len(there)}; all: --mode full")
    return there[:N_FASTTRACK]


def _split(
    source: Source, subjects: Mapping[str, str], config: PrepareSplitsConfig
) -> tuple[dict[str, list[str]], str]:
    """Return the cases of each split, and in words how they came there."""
    how = "subjects, 70 / 15 / 15"
    if config.hold_out is None:
        return split_subjects(subjects, seed=config.seed), how
    stated = config.hold_out
    what = f"{stated.column} {', '.join(stated.values)}"
    table = read_tables(source.folder / stated.table, (stated.subject, stated.column))
    pairs = zip(table[stated.subject], table[stated.column], strict=True)
    test = {subject for subject, value in pairs if value in stated.values}
    if not test & set(subjects.values()):
        return split_subjects(subjects, seed=config.seed), f"{how}; nobody is of {what}"
    cases = hold_out(subjects, test, seed=config.seed)
    return cases, f"test is {what}; the other subjects 70 / 15"


def _check_case_set(config: PrepareSplitsConfig) -> None:
    if config.case_set is None:
        return
    if config.case_set not in CASE_SETS:
        raise ConfigError(
            f"unknown case set {config.case_set!r}", hint=f"choose one of {', '.join(CASE_SETS)}"
        )
    if config.source != VITALDB:
        raise ConfigError(
            f"case set {config.case_set!r} is a part of VitalDB; {config.source} is a folder",
            hint="leave --case-set out: every record of the folder is taken",
        )


def _check_names(splits: dict[str, tuple[str, ...]]) -> None:
    unknown = [name for name in splits if name not in SPLITS]
    if unknown:
        raise ConfigError(f"unknown split {', '.join(unknown)}", hint=f"use {', '.join(SPLITS)}")


def _meta(config: PrepareSplitsConfig, kind: str, how: str) -> dict[str, Any]:
    return {
        "format": 1,
        "biosig_version": __version__,
        "mode": config.mode,
        "seed": config.seed,
        "source": config.source,
        "kind": kind,
        "case_set": config.case_set or (DEFAULT_CASE_SET if config.source == VITALDB else None),
        "how": how,
        "fractions": FRACTIONS,
        "dataset": config.dataset.dump() if config.dataset else None,
    }


def _report(splits: Splits, path: Path, reporter: Reporter) -> None:
    n_cases = {split: len(splits.cases[split]) for split in SPLITS}
    if sum(n_cases.values()) == 0:
        raise DataError("there is no record to split")
    rows = [(split, splits.n_subjects(split), n_cases[split]) for split in SPLITS]
    total = sum(row[1] for row in rows), sum(row[2] for row in rows)
    reporter.table("", ("split", "subjects", "cases"), [*rows, ("all", *total)])
    empty = [split for split in SPLITS if not n_cases[split]]
    if empty:
        reporter.warn(
            f"{' and '.join(empty)} empty: {total[0]} subjects can't fill three splits, and a "
            "subject is never divided; fine to try things out, not to report a result"
        )
    reporter.fact("written", path)
