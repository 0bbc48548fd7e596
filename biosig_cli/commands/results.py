"""Commands that say how good a model is.

Services are imported inside the commands, so that `biosig --help` answers at once.
"""

from pathlib import Path
from typing import Annotated

from typer import Option

from biosig_cli.commands.printing import print_json
from biosig_cli.flags import ConfigFile, Device, Json, Seed, Settings


def evaluate(
    config: ConfigFile = None,
    settings: Settings = None,
    checkpoint: Annotated[
        list[Path] | None,
        Option(
            metavar="RUN|CHECKPOINT",
            help="Repeatable: the first is compared with the others. [default: artifacts/finetune]",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, Option(help="Labelled windows. [default: those of its training]")
    ] = None,
    split: Annotated[
        str | None,
        Option(metavar="test|val|train|all", help="`all` for data it has nothing to do with."),
    ] = None,
    output_dir: Annotated[
        Path | None, Option(help="Folder of the report. [default: the checkpoint's]")
    ] = None,
    task: Annotated[
        str | None,
        Option(
            metavar="classification|regression", help="What a pretrained encoder is probed for."
        ),
    ] = None,
    label: Annotated[
        str | None, Option(help="The label that a pretrained encoder is probed for.")
    ] = None,
    probe: Annotated[
        str | None, Option(metavar="linear|ridge|knn", help="What is fitted to frozen embeddings.")
    ] = None,
    folds: Annotated[
        int | None,
        Option(
            help="Groups of people left out in turn; 0 for none. [default: where few are tested]"
        ),
    ] = None,
    label_fractions: Annotated[
        str | None,
        Option(metavar="0.05,0.1,...", help="Parts of the labels to learn from: a curve."),
    ] = None,
    batch_size: Annotated[int | None, Option(help="Windows in a batch. [default: 256]")] = None,
    device: Device = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Score models on people they never saw, beside trivial answers, and write a report.

    Example: `biosig evaluate --checkpoint artifacts/pretrain --data-dir data/mine --label quality`

    Example: `biosig evaluate --checkpoint artifacts/but_ppg_finetuned --split test`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.core.runtime import Environment
    from biosig_cli.services.evaluate import EvaluateConfig, evaluate
    from biosig_cli.services.task_windows import describes_recordings

    recipe = {"recipe": config} if describes_recordings(config) else {}
    asked = None if label is None and task is None else task or "classification"
    loaded = load_config(
        EvaluateConfig,
        file=config,
        settings=settings or (),
        environment=Environment().values("device") | recipe,
        flags={
            "checkpoint": checkpoint or None,
            "data_dir": data_dir,
            "split": split,
            "output_dir": output_dir,
            "task.kind": asked,
            "task.label": label,
            "probe": probe,
            "folds": folds,
            "label_fractions": label_fractions.split(",") if label_fractions else None,
            "batch_size": batch_size,
            "device": device,
            "seed": seed,
        },
    )
    result = evaluate(loaded, Reporter(silent=as_json))
    if as_json:
        print_json(result.metrics)


def submission(
    config: ConfigFile = None,
    settings: Settings = None,
    challenge_1: Annotated[
        Path | None,
        Option(
            "--challenge-1",
            metavar="RUN|CHECKPOINT",
            help="Model of reaction times. [default: artifacts/eeg_challenge1]",
        ),
    ] = None,
    challenge_2: Annotated[
        Path | None,
        Option(
            "--challenge-2",
            metavar="RUN|CHECKPOINT",
            help="Model of the externalizing score. [default: artifacts/eeg_challenge2]",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None, Option(help="Folder to zip. [default: artifacts/eeg_submission]")
    ] = None,
) -> None:
    """Write both models of the EEG Foundation Challenge in its form, to run without biosig.

    Example: `biosig submission --challenge-2 best_model.pt --output-dir submission`

    Example: `biosig submission --challenge-1 artifacts/eeg_challenge1`
    """
    from biosig_cli.core.config import load_config
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services.submission import SubmissionConfig, write_submission

    loaded = load_config(
        SubmissionConfig,
        file=config,
        settings=settings or (),
        flags={
            "challenge_1": challenge_1,
            "challenge_2": challenge_2,
            "output_dir": output_dir,
        },
    )
    write_submission(loaded, Reporter())
