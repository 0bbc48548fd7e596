"""Commands that train.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from biosig_cli.flags import (
    Accumulate,
    BatchSize,
    Channels,
    ConfigFile,
    DataDir,
    DataDirs,
    Device,
    DryRun,
    Epochs,
    Fast,
    Init,
    Keep,
    LearningRate,
    LoadInMemory,
    LogEvery,
    Map,
    MaxWindows,
    NumWorkers,
    OutputDir,
    Patience,
    Precision,
    Resume,
    ResumeAnyway,
    SaveEvery,
    Seed,
    Settings,
    Shuffle,
    TensorBoard,
    WarmupEpochs,
    WeightDecay,
)

PLAN = ("epochs", "batch_size", "accumulate", "lr", "weight_decay", "warmup_epochs", "patience")
RUN = (
    *("seed", "device", "precision", "num_workers", "shuffle", "max_windows", "fast"),
    *("log_every", "save_every", "keep", "tensorboard"),
)
"""Arguments of every command that trains: settings of its plan, and of the run itself."""


def pretrain(
    config: ConfigFile = None,
    settings: Settings = None,
    data_dir: DataDirs = None,
    output_dir: OutputDir = None,
    channels: Channels = None,
    mask_ratio: Annotated[float | None, Option(help="Share of patches hidden.")] = None,
    mask_type: Annotated[
        str | None, Option(metavar="random|block", help="Single patches, or runs of them.")
    ] = None,
    stft_weight: Annotated[float | None, Option(help="Weight of the spectral loss.")] = None,
    context_length: Annotated[int | None, Option(help="Samples in a window.")] = None,
    patch_size: Annotated[int | None, Option(help="Samples in a patch.")] = None,
    init_from: Annotated[
        str | None,
        Option(metavar="FOLDER|HUB_ID[@REVISION]|RUN", help="Weights to start from."),
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    accumulate: Accumulate = None,
    lr: LearningRate = None,
    weight_decay: WeightDecay = None,
    warmup_epochs: WarmupEpochs = None,
    patience: Patience = None,
    seed: Seed = None,
    device: Device = None,
    precision: Precision = None,
    num_workers: NumWorkers = None,
    load_in_memory: LoadInMemory = False,
    shuffle: Shuffle = None,
    max_windows: MaxWindows = None,
    log_every: LogEvery = None,
    save_every: SaveEvery = None,
    keep: Keep = None,
    tensorboard: TensorBoard = False,
    fast: Fast = False,
    dry_run: DryRun = False,
    resume: Resume = False,
    resume_anyway: ResumeAnyway = False,
) -> None:
    """Train an encoder on unlabelled windows: hide patches, ask for them back.

    Example: `biosig pretrain --config ssl_pretrain --output-dir artifacts/pretrain --resume`

    Example: `biosig pretrain --data-dir data/vitaldb_windows --epochs 20 --lr 2e-3`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.dry_run import dry_run as try_out
    from biosig_cli.services.pretrain import pretrain
    from biosig_cli.services.pretrain_config import (
        PretrainConfig,
        check_phases_are_addressed,
        names_stores,
    )

    flags = _of_training(locals()) | {
        "windows": [{"store": str(store)} for store in data_dir or ()] or None,
        "output_dir": output_dir,
        "channels": _names(channels),
        "objectives.masked.mask_ratio": mask_ratio,
        "objectives.masked.mask_type": mask_type,
        "objectives.masked.stft_weight": stft_weight,
        "model.context_length": context_length,
        "model.patch_size": patch_size,
        "model.init_from": init_from,
        "load_in_memory": load_in_memory or None,
    }
    # What a flag says of windows and plan is so in every phase, also in one with its own.
    of_phases = {f"phases.*.{n}": v for n, v in flags.items() if n.startswith(("windows", "plan"))}
    loaded = load_config(
        PretrainConfig,
        file=_config_of_run(config, output_dir, resume=resume or resume_anyway),
        settings=settings or (),
        environment=Environment().values("device", "precision", "num_workers"),
        flags=flags | of_phases,
    )
    check_phases_are_addressed(loaded, flags)
    if data_dir and config and names_stores(config):
        stores = ", ".join(map(str, data_dir))
        Reporter().say(f"--data-dir: {stores} instead of the stores that {config} names")
    if dry_run:
        try_out(loaded, Reporter(), resume=resume or resume_anyway)
    else:
        pretrain(loaded, Reporter(), resume=resume, anyway=resume_anyway)


def inflate(
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Annotated[
        Path | None, Option(metavar="RUN|CHECKPOINT", help="[default: artifacts/pretrain]")
    ] = None,
    channels: Annotated[
        str | None,
        Option(metavar="ACC_X,...", help="Its channels. [default: ACC_X,ACC_Y,ACC_Z,PPG,ECG]"),
    ] = None,
    map: Map = None,
    init: Init = None,
    seed: Seed = None,
    output: Annotated[
        Path | None, Option(help="Folder of the result. [default: artifacts/inflated]")
    ] = None,
) -> None:
    """Give an encoder other channels: known ones are copied by name, new ones start from them.

    Example: `biosig inflate --channels wrist,ECG --map wrist=PPG --output artifacts/wrist`

    Example: `biosig inflate --checkpoint artifacts/foundation_model --channels ACC_X,PPG,ECG`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.inflate import InflateConfig, inflate

    loaded = load_config(
        InflateConfig,
        file=config,
        settings=settings or (),
        flags={
            "checkpoint": checkpoint,
            "channels": _names(channels),
            "map": _pairs(map),
            "init": init,
            "seed": seed,
            "output": output,
        },
    )
    inflate(loaded, Reporter())


def finetune(
    config: ConfigFile = None,
    settings: Settings = None,
    pretrained: Annotated[
        str | None,
        Option(
            metavar="RUN|CHECKPOINT|FOLDER|HUB_ID",
            help="[default: artifacts/pretrain]",
        ),
    ] = None,
    from_scratch: Annotated[
        bool, Option("--from-scratch", help="Random weights instead: the baseline of pretraining.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        Option(help="Stores, a table of windows, or recordings. [default: data/but_ppg]"),
    ] = None,
    output_dir: OutputDir = None,
    channels: Channels = None,
    map: Map = None,
    init: Init = None,
    task: Annotated[
        str | None, Option(metavar="classification|regression", help="What kind of label it is.")
    ] = None,
    label: Annotated[
        str | None, Option(help="The label. [default: quality, or hr for regression]")
    ] = None,
    level: Annotated[
        str | None, Option(metavar="window|record|subject", help="What one answer is about.")
    ] = None,
    head: Annotated[
        str | None,
        Option(metavar="linear|mlp|attention|rhythm|temporal", help="What is on the encoder."),
    ] = None,
    loss: Annotated[
        str | None, Option(metavar="cross_entropy|focal|mse|l1|huber", help="What an error costs.")
    ] = None,
    class_weights: Annotated[
        str | None, Option(metavar="none|balanced", help="What a rare class counts.")
    ] = None,
    monitor: Annotated[
        str | None, Option(help="What chooses the best epoch. [default: auroc, or mae]")
    ] = None,
    head_only_epochs: Annotated[
        int | None, Option(help="Epochs in which only what is new moves. [default: 5]")
    ] = None,
    unfreeze_last_n: Annotated[
        int | None, Option(help="Blocks that move after that. [default: 2]")
    ] = None,
    full_finetune: Annotated[
        bool, Option("--full-finetune", help="In the last epochs everything moves, at lr / 10.")
    ] = False,
    new_lr: Annotated[
        float | None, Option(help="Learning rate of head and new channels. [default: 1e-3]")
    ] = None,
    folds: Annotated[
        int | None, Option(help="Train again with each of so many groups of people left out.")
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    accumulate: Accumulate = None,
    lr: LearningRate = None,
    weight_decay: WeightDecay = None,
    warmup_epochs: WarmupEpochs = None,
    patience: Patience = None,
    seed: Seed = None,
    device: Device = None,
    precision: Precision = None,
    num_workers: NumWorkers = None,
    shuffle: Shuffle = None,
    max_windows: MaxWindows = None,
    log_every: LogEvery = None,
    save_every: SaveEvery = None,
    keep: Keep = None,
    tensorboard: TensorBoard = False,
    fast: Fast = False,
    dry_run: DryRun = False,
    resume: Resume = False,
    resume_anyway: ResumeAnyway = False,
) -> None:
    """Teach a pretrained encoder a task, on your own channels and labels, in stages.

    Example: `biosig finetune --config finetune_but_ppg --label hr --task regression --folds 8`

    Example: `biosig finetune --pretrained artifacts/foundation_model --data-dir data/but_ppg`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.dry_run import dry_run as try_out
    from biosig_cli.services.finetune import FinetuneConfig, finetune
    from biosig_cli.services.task_windows import describes_recordings

    flags = _of_training(locals()) | {
        "pretrained": pretrained,
        "from_scratch": from_scratch or None,
        "data_dir": data_dir,
        "output_dir": output_dir,
        "channels": _names(channels),
        "map": _pairs(map),
        "init": init,
        "task.kind": task,
        "task.label": label,
        "task.level": level,
        "task.head.kind": head,
        "task.loss": loss,
        "task.class_weights": class_weights,
        "task.monitor": monitor,
        "head_only_epochs": head_only_epochs,
        "unfreeze_last_n": unfreeze_last_n,
        "full_finetune": full_finetune or None,
        "new_lr": new_lr,
        "folds": folds,
    }
    recipe = {"recipe": config} if describes_recordings(config) else {}
    loaded = load_config(
        FinetuneConfig,
        file=_config_of_run(config, output_dir, resume=resume or resume_anyway),
        settings=settings or (),
        environment=Environment().values("device", "precision", "num_workers") | recipe,
        flags=flags,
    )
    if dry_run:
        try_out(loaded, Reporter(), resume=resume or resume_anyway)
    else:
        finetune(loaded, Reporter(), resume=resume, anyway=resume_anyway)


def smoke(
    config: ConfigFile = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    output_dir: Annotated[
        Path | None, Option(help="Folder of the result. [default: artifacts/smoke]")
    ] = None,
    max_windows: Annotated[int | None, Option(help="Windows to use. [default: 64]")] = None,
    device: Device = None,
) -> None:
    """Check the whole training chain on a few real windows, in about a minute.

    Example: `biosig smoke --device cuda`

    Example: `biosig smoke --data-dir data/vitaldb_windows --max-windows 64`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.smoke import SmokeConfig, smoke

    loaded = load_config(
        SmokeConfig,
        file=config,
        settings=settings or (),
        environment=Environment().values("device"),
        flags={
            "data_dir": data_dir,
            "output_dir": output_dir,
            "max_windows": max_windows,
            "device": device,
        },
    )
    smoke(loaded, Reporter())


def _of_training(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that every command which trains has, of its arguments by name."""
    flags = {f"plan.{name}": given[name] for name in PLAN} | {name: given[name] for name in RUN}
    # A switch that is off was not given.
    return {path: None if value is False else value for path, value in flags.items()}


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _pairs(texts: list[str] | None) -> dict[str, str] | None:
    if not texts:
        return None
    pairs = [text.partition("=") for text in texts]
    wrong = [text for text, (new, _, old) in zip(texts, pairs, strict=True) if not (new and old)]
    if wrong:
        raise typer.BadParameter(f"--map {wrong[0]!r}: write --map NEW=OLD")
    return {new.strip(): old.strip() for new, _, old in pairs}


def _config_of_run(config: str | None, folder: Path | None, *, resume: bool) -> str | None:
    """Return the config file to read: a run that is resumed brings its own."""
    if config is None and resume and folder is not None:
        own = folder / "training_config.json"
        return str(own) if own.is_file() else None
    return config
