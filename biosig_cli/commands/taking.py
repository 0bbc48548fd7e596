"""Commands that give a trained model recordings which nobody has labelled, or take it elsewhere.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from typer import Argument, Option

from biosig_cli.flags import Checkpoint, ConfigFile, Device, Settings

if TYPE_CHECKING:
    from biosig_cli.core.config import Config

Inputs = Annotated[
    list[Path] | None,
    Argument(metavar="INPUT...", help="Recordings, folders of them, window stores, .npz files."),
]
Batch = Annotated[int | None, Option(help="Windows that the model is given at a time.")]
Table = Annotated[Path | None, Option(help="A .parquet file. [default: embeddings or predictions]")]
C = TypeVar("C", bound="Config")


def embed(
    inputs: Inputs = None,
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Checkpoint = None,
    output: Table = None,
    per: Annotated[
        str | None, Option(metavar="window|token", help="What a row is about. [default: window]")
    ] = None,
    batch_size: Batch = None,
    device: Device = None,
) -> None:
    """Write what an encoder makes of raw recordings: a vector for each window, or each token.

    Example: `biosig embed --checkpoint artifacts/foundation_model recordings --output emb.parquet`

    Example: `biosig embed --checkpoint best_model.pt night.edf --per token`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.embed import EmbedConfig, embed

    given = {"inputs": inputs or None, "checkpoint": checkpoint, "output": output}
    flags = given | {"per": per, "batch_size": batch_size, "device": device}
    embed(_load(EmbedConfig, config, settings, flags), Reporter())


def predict(
    inputs: Inputs = None,
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Checkpoint = None,
    output: Table = None,
    batch_size: Batch = None,
    device: Device = None,
) -> None:
    """Write what a fine-tuned model says of recordings: of each window, record and person.

    Example: `biosig predict --checkpoint artifacts/but_ppg_finetuned recordings`

    Example: `biosig predict --checkpoint best_model.pt case.vital --output predictions.parquet`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.predict import PredictConfig, predict

    given = {"inputs": inputs or None, "checkpoint": checkpoint, "output": output}
    flags = given | {"batch_size": batch_size, "device": device}
    predict(_load(PredictConfig, config, settings, flags), Reporter())


def export(
    inputs: Inputs = None,
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Checkpoint = None,
    output: Annotated[
        Path | None, Option(help="Folder that is written. [default: artifacts/exported]")
    ] = None,
    format: Annotated[
        str | None, Option(metavar="onnx|safetensors|hf", help="[default: onnx]")
    ] = None,
    int8: Annotated[
        bool, Option("--int8", help="ONNX with int8 weights too, and what that costs.")
    ] = False,
) -> None:
    """Write a model for other programs, tried on real windows: INPUT, or those of its training.

    Example: `biosig export --checkpoint artifacts/pretrain --format onnx --output encoder`

    Example: `biosig export --checkpoint artifacts/finetune recordings --format hf --output mine`
    """
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.export import ExportConfig, export

    given = {"inputs": inputs or None, "checkpoint": checkpoint, "output": output}
    flags = given | {"format": format, "int8": int8 or None}
    export(_load(ExportConfig, config, settings, flags), Reporter())


def _load(
    cls: type[C], config: str | None, settings: list[str] | None, flags: Mapping[str, Any]
) -> C:
    """Return the settings of a command: what was typed, over a file, over the machine's."""
    from biosig_cli.core.config import load_config
    from biosig_cli.core.runtime import Environment

    return load_config(
        cls,
        file=config,
        settings=settings or (),
        environment=Environment().values("device"),
        flags=dict(flags),
    )
