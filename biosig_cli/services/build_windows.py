"""From recordings to windows on disk: read, resample, filter, cut, judge, normalize, store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from biosig_cli.catalog import open_source
from biosig_cli.core.artifacts import clear_half_written, write_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Environment
from biosig_cli.data.channels import (
    ChannelConfig,
    choose,
    overlay,
    shipped_channels,
    shipped_sets,
    shipped_windows,
)
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.parts import write_npz
from biosig_cli.data.pseudonyms import hide_subjects
from biosig_cli.data.readers.base import Source
from biosig_cli.data.readers.vitaldb import VitalDb
from biosig_cli.data.splits import Splits, read_splits
from biosig_cli.data.store import SPLITS, open_store
from biosig_cli.data.windows import WindowRecipe, WindowsConfig
from biosig_cli.services.dataset_card import DATASET_CARD, write_dataset_card
from biosig_cli.services.denoised import report_targets, say_target, target_facts
from biosig_cli.services.labelling import open_labels, report_labels
from biosig_cli.services.split_store import Build, SplitWindows, build_split
from biosig_cli.services.windows_report import QUALITY_PAGE
from biosig_cli.signal.denoise import DenoiseConfig

N_LISTED = 8
"""More channels are not listed on screen."""


class BuildWindowsConfig(Config):
    """Which recordings become which windows, and where they go."""

    recipe_parts = ("channels", "sets", "windows", "dataset")

    channels: dict[str, ChannelConfig] = Field(default_factory=dict)
    """Channels by name; what is left out is as in the shipped channels.yaml."""
    sets: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Named sets of channels; added to those of the shipped channels.yaml."""
    windows: WindowsConfig = Field(default_factory=lambda: WindowsConfig.parse(shipped_windows()))
    """How windows are cut and judged; what is left out is as in the shipped windows.yaml."""
    denoise: bool = False
    """Make the denoised twin of each window too, as `windows.denoise` says or by its defaults."""
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
    cache: Path | None = None
    """Folder that downloads are kept in; the machine's own when left out."""
    offline: bool | None = None
    """Download nothing: use what is in the cache."""
    dataset: DatasetConfig | None = None
    """What the folder holds and what is known of it; as the split file says when left out."""
    label_channels_allowed: bool = False
    """Whether a window may hold a channel that one of its labels was derived from."""
    hash_subjects: bool = False
    """Write pseudonyms for the ids of subjects and records, where the split file has none."""
    workers: int | None = Field(None, ge=1)
    """Processes that read recordings; as many as are worth starting when left out."""
    executor: Literal["local", "dask"] = "local"
    """Who reads recordings: processes of this machine, or the workers of a Dask cluster."""
    scheduler: str | None = Field(None, pattern=r"^(tcp|tls|ucx|wss?)://[^/]+:\d+$")
    """Address of the cluster's scheduler, such as `tcp://host:8786`."""
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

    @model_validator(mode="after")
    def _says_which_cluster(self) -> Self:
        if self.executor == "dask" and not self.scheduler:
            raise ValueError("executor dask needs the address of its scheduler, tcp://HOST:PORT")
        if self.executor == "local" and self.scheduler:
            raise ValueError("a scheduler is of use with executor dask only")
        if self.executor == "dask" and self.workers:
            raise ValueError("with executor dask, the cluster says how many workers there are")
        return self

    @property
    def recipe(self) -> WindowRecipe:
        """What the windows are and how they are made.

        Raises:
            ConfigError: If there is no such set of channels.
        """
        return self.recipe_for(None)

    def recipe_for(self, source: Source | None) -> WindowRecipe:
        """Return the recipe for the recordings of `source`, which may tell its electrodes.

        Raises:
            ConfigError: If there is no such set of channels, or nothing tells the electrodes.
        """
        there = source.electrodes if source is not None else None
        channels = choose(self.channels, self.sets, self.channel_set, there)
        windows = self.windows
        if self.denoise and windows.denoise is None:
            windows = windows.model_copy(update={"denoise": DenoiseConfig()})
        return WindowRecipe(channels=channels, windows=windows)


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
    names = SPLITS if config.split == "all" else (config.split,)
    folders = {name: config.outdir / name for name in names}
    result = build_stores(config, read_splits(config.split_file), folders, reporter)
    clear_half_written(config.outdir.glob(".*"))
    write_json(config.outdir / "build_windows_config.json", config.dump())
    report_stores(result, config, reporter)
    return result


def build_stores(
    config: BuildWindowsConfig, splits: Splits, folders: Mapping[str, Path], reporter: Reporter
) -> BuildWindowsResult:
    """Make a store of the windows of each split in its folder; errors as `build_windows`."""
    key = Environment().subject_key
    if config.hash_subjects:
        splits = hide_subjects(splits, key)
    source, shown = _open_source(config, splits)
    recipe = config.recipe_for(source)
    spec = recipe.spec
    shape = f"{len(spec.channels)} x {spec.n_samples} at {spec.sampling_hz:g} Hz"
    reporter.fact("source", shown, source.kind)
    reporter.fact("window", f"{_listed(spec.names)}: {shape}", f"{spec.duration_s:g} s each")
    say_target(target_facts(recipe, source), reporter)
    labelling = open_labels(source, reporter)
    _say_where_labels_go(source, recipe, reporter)
    result = BuildWindowsResult(config.outdir)
    for split, folder in folders.items():
        if not splits.cases[split]:
            reporter.warn(f"{split} has no cases in {config.split_file}")
            continue
        build = Build(
            folder=folder,
            split=split,
            splits=splits,
            source=source,
            source_path=shown,
            recipe=recipe,
            labelling=labelling,
            label_channels_allowed=config.label_channels_allowed,
            key=key,
        )
        result.splits[split] = build_split(
            build, config.workers, reporter, scheduler=config.scheduler
        )
    return result


def report_stores(
    result: BuildWindowsResult, config: BuildWindowsConfig, reporter: Reporter
) -> None:
    """Say what became of the recordings, and where the windows are.

    Raises:
        DataError: If not one window is left.
    """
    _report(result, reporter)
    manifests = {split: each.manifest for split, each in result.splits.items()}
    report_targets(manifests, reporter)
    report_labels(manifests, reporter)
    _finish(result, config, reporter)


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
    where, cache = path, config.cache
    if config.executor == "dask":  # its workers run in folders of their own
        where = str(Path(path).absolute()) if Path(path).is_dir() else path
        cache = cache.expanduser().absolute() if cache else None
    return open_source(where, dataset, cache=cache, offline=config.offline), path


def _say_where_labels_go(source: Source, recipe: WindowRecipe, reporter: Reporter) -> None:
    if not source.labels and not any(each.delays for each in recipe.windows.segments):
        is_folder = not isinstance(source, VitalDb)
        where = "`labels:` in a dataset.yaml beside the recordings names a table of them"
        reporter.fact("labels", "none", where if is_folder else "")


def _listed(names: Sequence[str]) -> str:
    """Return the names of channels, of many the first and the last."""
    if len(names) > N_LISTED:
        return f"{names[0]}, {names[1]}, ... {names[-1]}"
    return ", ".join(names)


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
    complete = {split: each.folder for split, each in result.splits.items() if each.n_windows}
    write_dataset_card(config.outdir, complete)
    for split, each in result.splits.items():
        if config.format == "npz" and each.n_windows:
            path = config.outdir / f"{split}_windows.npz"
            write_npz(open_store(each.folder), path)
            reporter.fact("written", path)
    shows = f"{QUALITY_PAGE} and windows.png in each folder show them, {DATASET_CARD} tells of all"
    reporter.fact("written", config.outdir, shows)
