"""Flags that more than one command takes, each said once."""

from pathlib import Path
from typing import Annotated

from typer import Option


def recipes(incomplete: str) -> list[str]:
    """Return the shipped configs and the YAML files here that a shell may complete a word to."""
    from biosig_cli.core.config import shipped_configs

    here = [str(path) for path in Path().glob("*.y*ml")]
    return [name for name in (*shipped_configs(), *here) if name.startswith(incomplete)]


ConfigFile = Annotated[
    str | None,
    Option(
        "--config",
        metavar="FILE|NAME",
        help="A YAML file, or a shipped config.",
        autocompletion=recipes,
    ),
]
Json = Annotated[bool, Option("--json", help="Print JSON, for other programs.")]
Settings = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY.SUB=VALUE", help="Any setting, by its path; may be repeated."),
]
Seed = Annotated[int | None, Option(help="What every random draw starts from. [default: 42]")]
Source = Annotated[
    str | None,
    Option(metavar="FOLDER|vitaldb", help="Where recordings come from. [default: $BIOSIG_DATA]"),
]
Cache = Annotated[
    Path | None, Option(metavar="FOLDER", help="Keeps downloads. [default: $BIOSIG_CACHE]")
]
Offline = Annotated[bool, Option("--offline", help="Download nothing: use what the cache has.")]
Checkpoint = Annotated[
    Path | None,
    Option(metavar="RUN|CHECKPOINT", help="The model. [default: artifacts/pretrain or finetune]"),
]
Device = Annotated[
    str | None, Option(metavar="auto|cpu|cuda[:N]|mps", help="Where to compute. [default: auto]")
]
DataDir = Annotated[
    Path | None, Option(help="Folder with the window stores. [default: data/vitaldb_windows]")
]
DataDirs = Annotated[
    list[Path] | None,
    Option(
        help="Folder with window stores, instead of the config's; may be given several times. "
        "[default: data/vitaldb_windows]"
    ),
]
LoadInMemory = Annotated[
    bool, Option("--load-in-memory", help="Read all windows at the start, for a slow disk.")
]
HashSubjects = Annotated[
    bool, Option("--hash-subjects", help="Pseudonyms for ids. [key: $BIOSIG_SUBJECT_KEY]")
]

# What every command that trains takes.
OutputDir = Annotated[Path | None, Option(help="Run folder.")]
Channels = Annotated[
    str | None, Option(metavar="PPG,ECG", help="Channels by name. [default: all of the store]")
]
Epochs = Annotated[int | None, Option(help="Passes over the windows; bounds the whole run.")]
BatchSize = Annotated[int | None, Option(help="Windows in a batch.")]
Accumulate = Annotated[int | None, Option(help="Batches that make one step.")]
LearningRate = Annotated[float | None, Option("--lr", help="Highest learning rate.")]
WeightDecay = Annotated[float | None, Option(help="Decay of weight matrices.")]
WarmupEpochs = Annotated[float | None, Option(help="Epochs over which the learning rate rises.")]
Patience = Annotated[int | None, Option(help="Stop after so many epochs without a better one.")]
Precision = Annotated[
    str | None, Option(metavar="auto|fp32|bf16|fp16", help="What to compute in. [default: auto]")
]
NumWorkers = Annotated[int | None, Option(help="Processes that read windows ahead. [default: 0]")]
Shuffle = Annotated[
    str | None,
    Option(
        metavar="auto|windows|shards",
        help="Mix all windows, or those of some shards at a time. [default: by memory]",
    ),
]
MaxWindows = Annotated[int | None, Option(help="Use at most so many windows of each split.")]
LogEvery = Annotated[int | None, Option(help="Steps between lines of metrics.jsonl.")]
SaveEvery = Annotated[int | None, Option(help="Epochs between checkpoints that stay.")]
Keep = Annotated[int | None, Option(help="How many of those stay. [default: all]")]
Resume = Annotated[bool, Option("--resume", help="Go on with the run in --output-dir.")]
ResumeAnyway = Annotated[
    bool, Option("--resume-anyway", help="Go on even with other settings or windows than it had.")
]
TensorBoard = Annotated[
    bool, Option("--tensorboard", help="Write the figures for TensorBoard too.")
]
DryRun = Annotated[
    bool, Option("--dry-run", help="Build all, try a few steps, say what it takes; write nothing.")
]
Fast = Annotated[
    bool, Option("--fast", help="At most 1,000 training and 200 validation windows, 5 epochs.")
]

# What every command that gives an encoder other channels takes.
Map = Annotated[
    list[str] | None,
    Option(metavar="NEW=OLD", help="A channel that the encoder knows by another name; repeatable."),
]
Init = Annotated[
    str | None,
    Option(metavar="mean|zero|copy:NAME", help="What new channels start from. [default: mean]"),
]
