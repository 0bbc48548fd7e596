"""The command line: parse, load settings, call one service.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from biosig_cli.flags import (
    Accumulate,
    BatchSize,
    Channels,
    ConfigFile,
    DataDir,
    Device,
    Epochs,
    Fast,
    HashSubjects,
    Keep,
    LearningRate,
    LogEvery,
    MaxWindows,
    NumWorkers,
    OutputDir,
    Patience,
    Precision,
    Resume,
    SaveEvery,
    Seed,
    Settings,
    Source,
    WarmupEpochs,
    WeightDecay,
)

if TYPE_CHECKING:
    from biosig_cli.core.errors import BiosigError

app = typer.Typer(
    name="biosig",
    help="From raw physiological recordings to a pretrained, honestly judged model.",
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from biosig_cli import __version__

        typer.echo(f"biosig {__version__}")
        raise typer.Exit


@app.callback()
def biosig(
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From raw physiological recordings to a pretrained, honestly judged model.

    prepare-splits → build-windows → pretrain; `smoke` checks the chain in a minute.
    """


@app.command()
def prepare_splits(
    config: ConfigFile = None,
    settings: Settings = None,
    mode: Annotated[
        str | None, Option(metavar="fasttrack|full", help="First 70 cases, or all of them.")
    ] = None,
    case_set: Annotated[
        str | None, Option(help="Part of VitalDB: bis, desflurane, ..., all. [default: bis]")
    ] = None,
    output: Annotated[Path | None, Option(help="Folder of the split file. [default: data]")] = None,
    seed: Seed = None,
    source: Source = None,
    hash_subjects: HashSubjects = False,
) -> None:
    """Split subjects, never cases, into train, val and test (70 / 15 / 15).

    Example: `biosig prepare-splits --source recordings --mode full --output data`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits

    loaded = load_config(
        PrepareSplitsConfig,
        file=config,
        settings=settings or (),
        environment=Environment().values("source"),
        flags={
            "mode": mode,
            "case_set": case_set,
            "output": output,
            "seed": seed,
            "source": source,
            "hash_subjects": hash_subjects or None,
        },
    )
    prepare_splits(loaded, Reporter())


@app.command()
def build_windows(
    config: ConfigFile = None,
    settings: Settings = None,
    channels_yaml: Annotated[
        str | None, Option(metavar="FILE|NAME", help="Channels and sets. [default: channels]")
    ] = None,
    windows_yaml: Annotated[
        str | None, Option(metavar="FILE|NAME", help="How windows are cut. [default: windows]")
    ] = None,
    channel_set: Annotated[
        str | None, Option(help="The channels of a window. [default: pretrain]")
    ] = None,
    split_file: Annotated[
        Path | None, Option(help="From prepare-splits. [default: data/splits_fasttrack.json]")
    ] = None,
    split: Annotated[
        str | None, Option(metavar="train|val|test|all", help="Which to build. [default: all]")
    ] = None,
    outdir: Annotated[
        Path | None, Option(help="Folder of the stores. [default: data/vitaldb_windows]")
    ] = None,
    source: Annotated[
        str | None, Option(help="Folder of recordings. [default: the split file's]")
    ] = None,
    workers: Annotated[int | None, Option(help="Records at a time. [default: cores]")] = None,
    format: Annotated[
        str | None, Option(metavar="store|npz", help="npz also writes one file per split.")
    ] = None,
    hash_subjects: HashSubjects = False,
) -> None:
    """Cut recordings into windows: resampled, filtered, judged one by one, stored.

    Example: `biosig build-windows --split all --outdir data/vitaldb_windows`
    """
    from biosig_cli.core.config import load_config, part_of
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows

    loaded = load_config(
        BuildWindowsConfig,
        file=config,
        parts=part_of(channels_yaml, "channels", "sets") | part_of(windows_yaml, "windows"),
        settings=settings or (),
        flags={
            "channel_set": channel_set,
            "split_file": split_file,
            "split": split,
            "outdir": outdir,
            "source": source,
            "workers": workers,
            "format": format,
            "hash_subjects": hash_subjects or None,
        },
    )
    build_windows(loaded, Reporter())


@app.command()
def pretrain(
    config: ConfigFile = None,
    settings: Settings = None,
    data_dir: DataDir = None,
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
    max_windows: MaxWindows = None,
    log_every: LogEvery = None,
    save_every: SaveEvery = None,
    keep: Keep = None,
    fast: Fast = False,
    resume: Resume = False,
) -> None:
    """Train an encoder on unlabelled windows: hide patches, ask for them back.

    Example: `biosig pretrain --data-dir data/vitaldb_windows --epochs 20 --lr 2e-3`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.pretrain import PretrainConfig, pretrain

    flags = {
        "data_dir": data_dir,
        "output_dir": output_dir,
        "channels": _names(channels),
        "objective.mask_ratio": mask_ratio,
        "objective.mask_type": mask_type,
        "objective.stft_weight": stft_weight,
        "model.context_length": context_length,
        "model.patch_size": patch_size,
        "model.init_from": init_from,
        "plan.epochs": epochs,
        "plan.batch_size": batch_size,
        "plan.accumulate": accumulate,
        "plan.lr": lr,
        "plan.weight_decay": weight_decay,
        "plan.warmup_epochs": warmup_epochs,
        "plan.patience": patience,
        "seed": seed,
        "device": device,
        "precision": precision,
        "num_workers": num_workers,
        "max_windows": max_windows,
        "log_every": log_every,
        "save_every": save_every,
        "keep": keep,
        "fast": fast or None,
    }
    loaded = load_config(
        PretrainConfig,
        file=_config_of_run(config, output_dir, resume=resume),
        settings=settings or (),
        environment=Environment().values("device", "precision", "num_workers"),
        flags=flags,
    )
    pretrain(loaded, Reporter(), resume=resume)


@app.command()
def audit(
    stores: Annotated[
        list[Path] | None,
        Argument(metavar="STORE...", help="Folders with train, val, test; stores; .npz files."),
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    pretrained: Annotated[
        list[Path] | None,
        Option(metavar="RUN|CHECKPOINT", help="Its training data must not be in test; repeatable."),
    ] = None,
    output: Annotated[Path | None, Option(help="A .csv or .json file for all findings.")] = None,
    quick: Annotated[bool, Option("--quick", help="Read no sample: compare no waveforms.")] = False,
) -> None:
    """Look for leakage: subjects, moments and waveforms in two splits, and damage. Exits 6.

    Example: `biosig audit data/vitaldb_windows --pretrained artifacts/foundation_model`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.audit import AuditConfig, audit

    loaded = load_config(
        AuditConfig,
        file=config,
        settings=settings or (),
        flags={
            "stores": stores or None,
            "pretrained": pretrained or None,
            "output": output,
            "quick": quick or None,
        },
    )
    audit(loaded, Reporter())


@app.command()
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


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _config_of_run(config: str | None, folder: Path | None, *, resume: bool) -> str | None:
    """Return the config file to read: a run that is resumed brings its own."""
    if config is None and resume and folder is not None:
        own = folder / "training_config.json"
        return str(own) if own.is_file() else None
    return config


def run(arguments: Sequence[str]) -> int:
    """Run the command in `arguments` and return its exit code."""
    from biosig_cli.core.older_forms import older_form

    try:
        code = typer.main.get_command(app).main(
            list(arguments) or ["--help"], prog_name="biosig", standalone_mode=False
        )
    except typer.TyperException as error:
        hint = older_form(arguments) or "`biosig COMMAND --help` lists what a command takes"
        return _fail(error.format_message(), hint, 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("stopped", "run the same command again: what is finished is kept", 130)
    except Exception as error:
        if not _is_ours(error):
            raise
        return _fail(str(error), error.hint, error.exit_code)
    return code if isinstance(code, int) else 0


if TYPE_CHECKING:
    from typing import TypeGuard


def _is_ours(error: Exception) -> "TypeGuard[BiosigError]":
    from biosig_cli.core.errors import BiosigError

    return isinstance(error, BiosigError)


def _fail(message: str, hint: str, code: int) -> int:
    typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(message, err=True)
    if hint:
        typer.echo(f"  {hint}", err=True)
    return code


def main() -> None:
    """Entry point of `biosig`."""
    sys.exit(run(sys.argv[1:]))
