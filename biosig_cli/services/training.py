"""What the commands that train have in common: settings, the run folder, loaders, resuming."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

from pydantic import Field

from biosig_cli.core.artifacts import read_json
from biosig_cli.core.config import Config, differences
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import (
    Choice,
    Machine,
    Precision,
    choose_device,
    choose_folder,
    choose_precision,
)
from biosig_cli.data.groups import GroupLoader, GroupsConfig
from biosig_cli.data.loader import Loader, Rows
from biosig_cli.data.store import WindowStore
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import newest_checkpoint
from biosig_cli.engine.optimize import PlanConfig, fit_warmup
from biosig_cli.services.people import people_of
from biosig_cli.services.run_facts import CONFIG

FREE_ON_RESUME = frozenset(
    (
        "data_dir",
        "folds",
        "output_dir",
        "probe",
        "device",
        "num_workers",
        "log_every",
        "save_every",
        "keep",
        "tensorboard",
    )
)
"""What cannot change a number, and so may differ when a run is resumed."""


N_SHARDS = 16
"""Shards whose windows are mixed at a time: about 1 GB, which the system keeps in memory."""
MEMORY_FOR_WINDOWS = 0.75
"""What a training leaves of the memory to the windows that it reads again each epoch."""


class TrainingConfig(Config):
    """Settings that every command that trains has."""

    seed: int = Field(42, ge=0)
    """What weights, order and draws start from."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16; losses are always float32."""
    num_workers: int = Field(0, ge=0)
    """Processes that read windows ahead; 0 reads in the training process."""
    shuffle: Literal["auto", "windows", "shards"] = "auto"
    """What is mixed in training: all `windows`, or those of some `shards` at a time, for a store
    that is larger than memory; auto chooses."""
    max_windows: int | None = Field(None, gt=0)
    """Use at most this many windows of each split, evenly spread."""
    fast: bool = False
    """A quick try: at most 1,000 training and 200 validation windows, 5 epochs."""
    log_every: int = Field(50, gt=0)
    """Steps between lines of metrics.jsonl."""
    save_every: int = Field(10, gt=0)
    """Epochs between checkpoints that stay."""
    keep: int | None = Field(None, gt=0)
    """How many of those checkpoints stay; all if not given."""
    tensorboard: bool = False
    """Write the figures for TensorBoard too, in the run folder."""
    output_dir: Path
    """Run folder."""
    plan: PlanConfig = PlanConfig()

    def resolved(self, precision: Precision, shuffle: str) -> Self:
        """Return the config as it is run and written: all chosen, a quick try shortened."""
        plan = self.plan
        if self.fast:
            plan = plan.model_copy(update={"epochs": min(5, plan.epochs)})
        # A run is repeated and resumed in the precision and order it had, wherever it goes on.
        return self.model_copy(update={"precision": precision, "shuffle": shuffle, "plan": plan})

    def limit(self, split: str) -> int | None:
        """Return how many windows of `split` may be used; all if None."""
        quick = {"train": 1000, "val": 200}.get(split) if self.fast else None
        return min(filter(None, (quick, self.max_windows)), default=None)


AnyTraining = TypeVar("AnyTraining", bound=TrainingConfig)


@dataclass(frozen=True)
class Place:
    """Where a training computes, and in what precision."""

    device: str
    precision: Precision


def settle_folder(config: AnyTraining, machine: Machine, reporter: Reporter) -> AnyTraining:
    """Return the config with its run folder settled: one that was asked for stays as it is."""
    if "output_dir" in config.model_fields_set:
        return config
    folder = choose_folder(config.output_dir, machine)
    reporter.fact("folder", folder.value, folder.why)
    return config.model_copy(update={"output_dir": Path(folder.value)})


def choose_place(config: TrainingConfig, machine: Machine, reporter: Reporter) -> Place:
    """Choose device and precision, and say why.

    Several processes, which torchrun started, meet here.

    Raises:
        ConfigError: If what was asked for is not there.
        TrainingError: If the other processes can't be reached.
    """
    device = choose_device(config.device, machine)
    precision = choose_precision(config.precision, device.value, machine)
    own_device = distributed.join(device.value)
    reporter.fact("machine", machine.describe())
    reporter.fact("device", device.value, device.why)
    if distributed.n_processes() > 1:
        why = "each takes its share of every batch"
        reporter.fact("processes", distributed.n_processes(), why)
    reporter.fact("precision", precision.value, precision.why)
    return Place(own_device, cast(Precision, precision.value))


def choose_shuffle(
    asked: str, stores: Sequence[WindowStore], machine: Machine, reporter: Reporter
) -> str:
    """Choose what is mixed in training, and say why where it is not all windows.

    The stores are told how they will be read.
    """
    stored_gb = sum(store.n_bytes for store in stores) / 2**30
    is_larger = stored_gb > machine.memory_gb * MEMORY_FOR_WINDOWS
    why = f"{stored_gb:.1f} GB of windows, {machine.memory_gb:.1f} GB of memory"
    chosen = Choice("shards" if is_larger else "windows", why)
    if asked != "auto":
        chosen = Choice(asked, "asked for")
    if chosen.value == "shards":
        reporter.fact("shuffle", f"{N_SHARDS} shards at a time", chosen.why)
    for store in stores:
        if chosen.value == "shards":
            store.expect("shards", n_together=2 * N_SHARDS)
        elif is_larger:
            store.expect("windows")
    return chosen.value


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse to mix two runs in one folder.

    Raises:
        ConfigError: If the folder holds a run and it is not to be resumed.
    """
    if (folder / CONFIG).exists() and not resume:
        raise ConfigError(
            f"{folder} holds a run",
            hint="go on with it by --resume, or choose another --output-dir",
        )


def announce_windows(
    config: TrainingConfig, stores: Mapping[str, WindowStore], reporter: Reporter
) -> None:
    """Say how many windows of how many subjects each split has."""
    for split, store in stores.items():
        announce_store(config, split, store, reporter)


def announce_store(
    config: TrainingConfig, split: str, store: WindowStore, reporter: Reporter, where: str = ""
) -> None:
    """Say how many windows of how many subjects are used of a store."""
    n_used = min(len(store), config.limit(split) or len(store))
    of = f" of {len(store):,}" if n_used < len(store) else ""
    whose = f"{len(store.subjects)} subjects" if store.subjects else "subjects not stated"
    reporter.fact(split, f"{n_used:,} windows{of}{where}", whose)
    if split == "train" and n_used < config.plan.batch_size:
        reporter.warn(
            f"{n_used} windows are fewer than a batch of {config.plan.batch_size}: "
            "they are one batch"
        )


def fitted_plan(config: TrainingConfig, reporter: Reporter) -> PlanConfig:
    """Return the plan, with a warm-up that fits; say so where it was shortened."""
    plan = fit_warmup(config.plan)
    if plan != config.plan:
        reporter.warn(
            f"a warm-up of {config.plan.warmup_epochs:g} epochs does not fit into "
            f"{plan.epochs} epochs: shortened to {plan.warmup_epochs:g}"
        )
    return plan


def make_loader(
    config: TrainingConfig,
    split: str,
    store: WindowStore,
    device: str,
    *,
    rows: Rows | None = None,
    groups: GroupsConfig | None = None,
    **what: Any,
) -> Loader:
    """Return the batches of a split; only those of `train` are shuffled.

    With `groups`, a batch is of people who met the same moments. `what` says what comes with the
    windows, as `Loader` has it: labels, known, codes, target.
    """
    make = Loader if groups is None else partial(GroupLoader, groups=groups)
    return make(
        store,
        batch_size=config.plan.batch_size,
        seed=config.seed,
        shuffle=split == "train",
        n_shards=N_SHARDS if config.shuffle == "shards" else None,
        rows=rows,
        limit=config.limit(split),
        n_workers=config.num_workers,
        pin=device.startswith("cuda"),
        **what,
    )


def describe_data(stores: Mapping[str, WindowStore]) -> dict[str, Any]:
    """Return what a checkpoint keeps of its windows: what they were, whose, and from where."""
    return {
        name: {
            "digest": store.digest,
            "n_windows": len(store),
            "subjects": list(store.subjects),
            "people": [people_of(store)],
            "sources": [source_of(store)],
        }
        for name, store in stores.items()
    }


def source_of(store: WindowStore) -> dict[str, str]:
    """Return what recordings a store was cut from and their licence, as its manifest says."""
    stated = store.manifest.get("source") or {}
    return {key: str(stated[key]) for key in ("kind", "licence") if stated.get(key)}


def unfinished(
    config: TrainingConfig,
    data: Mapping[str, Any],
    reporter: Reporter | None = None,
    *,
    anyway: bool = False,
) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of the run to resume; None if it has none yet.

    Args:
        config: The settings to go on with.
        data: What `describe_data` says of the windows to go on with.
        reporter: Who says which checkpoint is damaged, and what differs.
        anyway: Go on with other settings or other windows than the run had.

    Raises:
        ConfigError: If the run had other settings or other windows.
        CheckpointError: If all its checkpoints are damaged.
    """
    reporter = reporter or Reporter()
    # The first process reads for all: a folder may be on one machine only.
    return distributed.from_first(lambda: _unfinished(config, data, reporter, anyway=anyway))


def _unfinished(
    config: TrainingConfig, data: Mapping[str, Any], reporter: Reporter, *, anyway: bool
) -> dict[str, Any] | None:
    if not (config.output_dir / CONFIG).exists():
        return None
    content = newest_checkpoint(config.output_dir, reporter)
    before, now = read_json(config.output_dir / CONFIG), config.dump()
    if content is not None:
        before |= {f"{name} windows": part["digest"] for name, part in content["data"].items()}
        now |= {f"{name} windows": part["digest"] for name, part in data.items()}
    refuse_changes(before, now, config.output_dir, reporter, anyway=anyway)
    return content


def refuse_changes(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    folder: Path,
    reporter: Reporter,
    *,
    anyway: bool,
) -> None:
    """Refuse settings that would make another run of the one in `folder`, or only warn of them.

    Raises:
        ConfigError: With a line for each setting that differs.
    """
    changed = differences(_that_count(before), _that_count(now))
    if changed and not anyway:
        raise ConfigError(
            f"{folder} holds a run with other settings:\n" + "\n".join(changed),
            hint="resume with the settings and windows it had, or choose another --output-dir; "
            "--resume-anyway goes on all the same",
        )
    if changed:
        reporter.warn("the run had other settings:\n" + "\n".join(changed))


def _that_count(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that can change a number; of stores, not where they lie."""
    kept = {name: value for name, value in settings.items() if name not in FREE_ON_RESUME}
    kept.setdefault("shuffle", "windows")  # what there was before it could be chosen
    if isinstance(kept.get("windows"), list):
        kept["windows"] = [store.get("share") for store in kept["windows"]]
    phases = kept.get("phases") or {}
    return kept | {"phases": {name: _that_count(phase) for name, phase in phases.items()}}
