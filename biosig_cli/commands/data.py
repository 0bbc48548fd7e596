"""Commands that read recordings and windows.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from biosig_cli.commands.printing import print_json
from biosig_cli.flags import Cache, ConfigFile, HashSubjects, Json, Offline, Seed, Settings, Source


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
    cache: Cache = None,
    offline: Offline = False,
    hash_subjects: HashSubjects = False,
) -> None:
    """Split subjects, never cases, into train, val and test (70 / 15 / 15).

    Example: `biosig prepare-splits --mode fasttrack --case-set bis`

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
            "cache": cache,
            "offline": offline or None,
            "hash_subjects": hash_subjects or None,
        },
    )
    prepare_splits(loaded, Reporter())


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
    cache: Cache = None,
    offline: Offline = False,
    workers: Annotated[int | None, Option(help="Records at a time. [default: cores]")] = None,
    executor: Annotated[
        str | None, Option(metavar="local|dask", help="Who reads recordings. [default: local]")
    ] = None,
    scheduler: Annotated[
        str | None, Option(metavar="tcp://HOST:PORT", help="The Dask cluster's scheduler.")
    ] = None,
    format: Annotated[
        str | None, Option(metavar="store|npz", help="npz also writes one file per split.")
    ] = None,
    denoise: Annotated[
        bool, Option("--denoise", help="Also store each window's denoised twin, a target.")
    ] = False,
    hash_subjects: HashSubjects = False,
) -> None:
    """Cut recordings into windows: resampled, filtered, judged one by one, stored.

    Example: `biosig build-windows --config but_ppg --split-file data/splits_full.json`

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
            "cache": cache,
            "offline": offline or None,
            "workers": workers,
            "executor": executor,
            "scheduler": scheduler,
            "format": format,
            "denoise": denoise or None,
            "hash_subjects": hash_subjects or None,
        },
    )
    build_windows(loaded, Reporter())


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
    as_json: Json = False,
) -> None:
    """Look for leakage: subjects, moments and waveforms in two splits, and damage. Exits 6.

    Example: `biosig audit data/but_ppg --quick --json`

    Example: `biosig audit data/vitaldb_windows --pretrained artifacts/foundation_model`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.audit import AuditConfig, audit, look, raise_if_found

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
    if not as_json:
        audit(loaded, Reporter())
        return
    result = look(loaded, Reporter(silent=True))
    print_json(result.plain())
    raise_if_found(result.report)
