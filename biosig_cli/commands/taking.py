"""Commands that give a trained model recordings which nobody has labelled.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from biosig_cli.flags import ConfigFile, Device, Settings

Inputs = Annotated[
    list[Path] | None,
    Argument(metavar="INPUT...", help="Recordings, folders of them, window stores, .npz files."),
]
Batch = Annotated[int | None, Option(help="Windows that the model is given at a time.")]


def embed(
    inputs: Inputs = None,
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Annotated[
        Path | None, Option(metavar="RUN|CHECKPOINT", help="[default: artifacts/pretrain]")
    ] = None,
    output: Annotated[Path | None, Option(help="[default: embeddings.parquet]")] = None,
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
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.embed import EmbedConfig, embed

    loaded = load_config(
        EmbedConfig,
        file=config,
        settings=settings or (),
        environment=Environment().values("device"),
        flags={
            "inputs": inputs or None,
            "checkpoint": checkpoint,
            "output": output,
            "per": per,
            "batch_size": batch_size,
            "device": device,
        },
    )
    embed(loaded, Reporter())


def predict(
    inputs: Inputs = None,
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Annotated[
        Path | None, Option(metavar="RUN|CHECKPOINT", help="[default: artifacts/finetune]")
    ] = None,
    output: Annotated[Path | None, Option(help="[default: predictions.parquet]")] = None,
    batch_size: Batch = None,
    device: Device = None,
) -> None:
    """Write what a fine-tuned model says of recordings: of each window, record and person.

    Example: `biosig predict --checkpoint artifacts/but_ppg_finetuned recordings`

    Example: `biosig predict --checkpoint best_model.pt case.vital --output predictions.parquet`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.predict import PredictConfig, predict

    loaded = load_config(
        PredictConfig,
        file=config,
        settings=settings or (),
        environment=Environment().values("device"),
        flags={
            "inputs": inputs or None,
            "checkpoint": checkpoint,
            "output": output,
            "batch_size": batch_size,
            "device": device,
        },
    )
    predict(loaded, Reporter())
