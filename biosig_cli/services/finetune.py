"""`biosig finetune`: a pretrained encoder learns a task, on someone's own channels and labels."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from pydantic import Field

from biosig_cli.core.artifacts import write_json
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.core.runtime import Machine, peak_memory_gb
from biosig_cli.data.remote import StorePath
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import BEST
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.state import TrainResult
from biosig_cli.engine.train import Training
from biosig_cli.models.kinds import AnyModel
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.services.audit import check_before_scoring
from biosig_cli.services.carried_recipe import recipe_of
from biosig_cli.services.finetune_folds import (
    FoldPlan,
    cross_validate,
    plan_folds,
    subjects_by_split,
)
from biosig_cli.services.finetune_model import Model, make_model, make_training
from biosig_cli.services.finetune_start import Parent, find_parent
from biosig_cli.services.model_card import MODEL_CARD, write_model_card
from biosig_cli.services.run_folder import alone, carry_out, make_run
from biosig_cli.services.task_windows import open_task_windows
from biosig_cli.services.training import (
    TrainingConfig,
    check_folder,
    choose_place,
    choose_shuffle,
    describe_data,
    settle_folder,
    unfinished,
)
from biosig_cli.tasks.classification import ClassificationConfig
from biosig_cli.tasks.kinds import AnyTask

SPLITS_FILE = "splits.json"


class FinetunePlan(PlanConfig):
    """How long and how fast to fine-tune."""

    epochs: int = Field(30, gt=0)
    """Passes over the windows; bounds all stages together."""
    batch_size: int = Field(32, gt=0)
    """Windows in a batch."""
    lr: float = Field(2e-5, gt=0)
    """Highest learning rate of what was pretrained."""
    warmup_epochs: float = Field(1, ge=0)
    """Epochs over which the learning rate rises, at most a tenth of a stage."""


class FinetuneConfig(TrainingConfig):
    """Settings of `biosig finetune`."""

    pretrained: str = "artifacts/pretrain"
    """The encoder to start from: a run, a checkpoint, a folder of released weights, or a hub id."""
    from_scratch: bool = False
    """Start from random weights instead, of the same architecture: what pretraining is worth."""
    model: AnyModel = TtmConfig()
    """The architecture, where `from_scratch` is given without `pretrained`."""
    data_dir: StorePath = Path("data/but_ppg")
    """Labelled windows: a folder of stores, one store, a table of windows, or recordings."""
    output_dir: Path = Path("artifacts/finetune")
    """Run folder."""
    recipe: str | None = None
    """How windows are cut, where `data_dir` holds recordings: a YAML file or a shipped config."""
    channels: tuple[str, ...] | None = None
    """Channels to use, by name; all of the windows if not given."""
    map: dict[str, str] = {}
    """By channel of the windows, the channel of the encoder that it is."""
    init: str = "mean"
    """What new channels start from: mean, zero, or copy:NAME."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate of the windows, where they do not state it."""
    task: AnyTask = ClassificationConfig()
    head_only_epochs: int = Field(5, ge=0)
    """Epochs in which only the head, new channels and the channel mixer move."""
    unfreeze_last_n: int = Field(2, ge=0)
    """Blocks of the encoder that move after that, counted from its end."""
    full_finetune: bool = False
    """Let everything move in the last epochs, at a tenth of the learning rate."""
    full_finetune_epochs: int = Field(10, gt=0)
    """How many epochs those are."""
    new_lr: float = Field(1e-3, gt=0)
    """Highest learning rate of what was not pretrained: the head, and what makes channels."""
    folds: int = Field(0, ge=0)
    """Groups of subjects that are left out in turn, each with a training of its own."""
    plan: FinetunePlan = FinetunePlan()


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning gave."""

    folder: Path
    checkpoint: Path
    train: TrainResult


def finetune(
    config: FinetuneConfig, reporter: Reporter, *, resume: bool = False, anyway: bool = False
) -> FinetuneResult:
    """Train an encoder and a head on the labelled windows of `config.data_dir`.

    Args:
        config: What to do.
        reporter: Who says what happens.
        resume: Go on with the run in `config.output_dir`, if there is one.
        anyway: Go on with it even if it had other settings or windows.

    Raises:
        ConfigError: If a setting does not fit, or the folder holds another run.
        DataError: If there are no windows, no labels, or only one class.
        CheckpointError: If weights can't be had or don't match.
        LeakageError: If the encoder saw a subject of the test split.
        TrainingError: If a loss is not finite.
        InterruptedRunError: If the user stopped the run.
    """
    ready = prepare(config, reporter, resume=resume, anyway=anyway)
    config, training = ready.config, ready.training
    with alone(config.output_dir):
        if ready.splits is not None:
            write_json(config.output_dir / SPLITS_FILE, ready.splits)
        result = carry_out("finetune", config, training, ready.content)
        write_model_card(config.output_dir, config.output_dir / MODEL_CARD)
        conclude(config, result, ready.model, reporter)
        if ready.folds is not None:
            cross_validate(config, ready.parent, ready.folds, training.run, reporter)
    return FinetuneResult(config.output_dir, config.output_dir / BEST, result)


@dataclass(frozen=True)
class Ready:
    """A fine-tuning that is ready to begin; nothing of it is written yet.

    Attributes:
        config: The settings, with the task as the labels settle it.
        training: What is trained.
        content: The checkpoint to go on from.
        model: Encoder, head and task.
        parent: What the encoder starts from, or whose architecture it has.
        folds: Who is left out in turn, where that is asked for.
        splits: Whose windows they are, where they were split here.
    """

    config: FinetuneConfig
    training: Training
    content: dict[str, Any] | None
    model: Model
    parent: Parent | None
    folds: FoldPlan | None
    splits: dict[str, Any] | None


def prepare(
    config: FinetuneConfig,
    reporter: Reporter,
    *,
    resume: bool = False,
    anyway: bool = False,
    work_dir: Path | None = None,
) -> Ready:
    """Open the windows and build what is trained on them; arguments and errors as `finetune`.

    Args:
        config: What to do.
        reporter: Who says what happens.
        resume: Go on with the run in `config.output_dir`, if there is one.
        anyway: Go on with it even if it had other settings or windows.
        work_dir: Where windows of recordings are made; the run folder if None.
    """
    if distributed.n_started() > 1:
        raise ConfigError(
            f"fine-tuning runs in one process, torchrun started {distributed.n_started()}",
            hint="run biosig finetune by itself; pretraining is what takes several processes",
        )
    machine = Machine.detect()
    config = settle_folder(config, machine, reporter)
    check_folder(config.output_dir, resume=resume or anyway)
    parent = find_parent(config)
    windows = open_task_windows(
        config.data_dir,
        channels=config.channels,
        sampling_hz=config.sampling_hz,
        seed=config.seed,
        recipe=config.recipe,
        work_dir=work_dir or config.output_dir,
        reporter=reporter,
    )
    stores = windows.stores
    reporter.fact("split", windows.origin)
    past = parent.lineage if parent and not config.from_scratch else ()
    check_before_scoring(config.data_dir, stores, reporter, past=past, labels=[config.task.label])
    place = choose_place(config, machine, reporter)
    shuffle = choose_shuffle(config.shuffle, [stores["train"]], machine, reporter)
    config = config.resolved(place.precision, shuffle)
    model = make_model(config, parent, stores, reporter)
    config = config.model_copy(update={"task": model.task})
    data = describe_data({name: stores[name] for name in ("train", "val")})
    content = unfinished(config, data, reporter, anyway=anyway) if resume or anyway else None
    folds = plan_folds(config, stores) if config.folds else None
    said = model.describe(config, past) | {"data": data, "splits": subjects_by_split(stores)}
    said |= {"recipe": recipe_of([stores["train"]])}
    run = make_run("finetune", config, place, reporter=reporter, describe=said)
    training = make_training(config, model, stores, run)
    return Ready(config, training, content, model, parent, folds, windows.splits)


def conclude(config: FinetuneConfig, result: TrainResult, model: Model, reporter: Reporter) -> None:
    """Say how good the best epoch is on validation, beside the answer that needs no signal."""
    best = {name: values[result.best_epoch - 1] for name, values in result.history.items()}
    trivial = model.trivial_score("val")
    rows = [(name, show(best[f"val_{name}"]), show(value)) for name, value in trivial.items()]
    title = f"validation, epoch {result.best_epoch} of {result.n_epochs}"
    reporter.table(title, ("figure", "this model", model.trivial_name), rows)
    n_subjects = model.examples["val"].n_subjects
    if n_subjects < 5:
        whose = "1 subject chose" if n_subjects == 1 else f"{n_subjects} subjects chose"
        reporter.warn(f"{whose} the best epoch: it may be another one on other people")
    reporter.fact("took", duration(result.duration_s), f"peak memory {peak_memory_gb():.1f} GB")
    reporter.fact("run", config.output_dir, f"{BEST}, {MODEL_CARD}, history.png")
    reporter.say(f"next: biosig evaluate --checkpoint {config.output_dir / BEST}")


def show(figure: float) -> str:
    """Return a figure as a table shows it."""
    return "not defined" if isnan(figure) else f"{figure:.4f}"
