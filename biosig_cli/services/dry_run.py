"""`--dry-run`: everything is built and tried for a few steps, to say what the whole run takes."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.engine.contract import Trainable
from biosig_cli.engine.files import n_files
from biosig_cli.engine.train import Training
from biosig_cli.engine.trial import Trial, TriedStage, try_out
from biosig_cli.models.costs import cost_table
from biosig_cli.models.ppg_autoencoder import PpgAutoencoder
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.reconstruction import Reconstruction
from biosig_cli.report.terminal import align
from biosig_cli.services import finetune, pretrain
from biosig_cli.services.finetune import FinetuneConfig
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.training import TrainingConfig

SCALE_WINDOWS, SCALE_EPOCHS = 1_000_000, 100
"""What the speed is said for besides, so that one can scale it to other data."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take, if it goes on as it was tried.

    Attributes:
        n_steps: Steps in all.
        train_s: Seconds of training.
        val_s: Seconds of validation.
        memory_gb: The most memory that was held.
        n_checkpoints: Checkpoints that lie in the run folder at once.
        checkpoint_bytes: Size of the largest of them.
    """

    n_steps: int
    train_s: float
    val_s: float
    memory_gb: float
    n_checkpoints: int
    checkpoint_bytes: int


def dry_run(
    config: PretrainConfig | FinetuneConfig, reporter: Reporter, *, resume: bool = False
) -> Estimate:
    """Build what a command would train, try it, and say what it takes; nothing is written.

    Windows of a tree of recordings are made in a temporary folder, which is removed.

    Raises:
        ConfigError: If a run is to be resumed, or a setting does not fit.
        DataError: If there are no windows.
        CheckpointError: If weights can't be had or don't match.
        TrainingError: If a step is not finite, or does not fit into the memory.
    """
    if resume:
        raise ConfigError(
            "a dry run resumes nothing", hint="leave --resume out and name another --output-dir"
        )
    if isinstance(config, PretrainConfig) and config.phases:
        return try_phases(config, reporter)
    with TemporaryDirectory(prefix="biosig_dry_run_") as scratch:
        training = _prepare(config, Path(scratch), reporter)
        # Where a step that is not finite is told of.
        training.run = replace(training.run, folder=Path(scratch))
        trial = try_out(training)
    estimate = estimate_run(training, trial)
    announce(config, training, trial, estimate)
    return estimate


def try_phases(config: PretrainConfig, reporter: Reporter) -> Estimate:
    """Try each phase, and say what all take; none has the weights of the one before it yet."""
    each = []
    for number, (name, step) in enumerate(config.steps, start=1):
        reporter.say(f"phase {number} of {len(config.phases)}: {name}")
        each.append(dry_run(step.model_copy(update={"model": config.model}), reporter))
    whole = Estimate(
        n_steps=sum(one.n_steps for one in each),
        train_s=sum(one.train_s for one in each),
        val_s=sum(one.val_s for one in each),
        memory_gb=max(one.memory_gb for one in each),
        n_checkpoints=sum(one.n_checkpoints for one in each),
        checkpoint_bytes=max(one.checkpoint_bytes for one in each),
    )
    took = duration(whole.train_s + whole.val_s)
    reporter.fact("all phases", f"about {took}", f"{whole.n_steps:,} steps")
    return whole


def _prepare(
    config: PretrainConfig | FinetuneConfig, scratch: Path, reporter: Reporter
) -> Training:
    if isinstance(config, PretrainConfig):
        return pretrain.prepare(config, reporter).training
    training = finetune.prepare(config, reporter, work_dir=scratch).training
    if any(scratch.iterdir()):
        reporter.say("these windows lie in a temporary folder, which is removed with them")
    return training


def estimate_run(training: Training, trial: Trial) -> Estimate:
    """Return what a run takes, from what a few of its steps took."""
    n_train, n_val = training.train_data.n_windows, training.val_data.n_windows
    n_epochs = sum(each.stage.epochs for each in trial.stages)
    return Estimate(
        n_steps=n_epochs * training.steps_per_epoch,
        train_s=sum(_stage_s(each, n_train) for each in trial.stages),
        val_s=n_epochs * n_val / trial.val_windows_per_s,
        memory_gb=trial.memory_gb,
        n_checkpoints=n_files(training.run, n_epochs),
        checkpoint_bytes=max(each.checkpoint_bytes for each in trial.stages),
    )


def _stage_s(tried: TriedStage, n_windows: int) -> float:
    return tried.stage.epochs * n_windows / tried.windows_per_s


def announce(config: TrainingConfig, training: Training, trial: Trial, found: Estimate) -> None:
    """Say what a run takes."""
    reporter = training.run.reporter
    n_train, plan = training.train_data.n_windows, training.plan
    rows = [
        (
            each.stage.name,
            f"{each.stage.epochs}",
            f"{each.n_moving:,}",
            f"{each.windows_per_s:.0f}",
            duration(_stage_s(each, n_train)),
        )
        for each in trial.stages
    ]
    n_epochs = sum(each.stage.epochs for each in trial.stages)
    in_a_step = f"{n_train:,} windows, {plan.batch_size * plan.accumulate} in a step"
    steps = f"{training.steps_per_epoch:,} an epoch, {found.n_steps:,} in {n_epochs} epochs"
    reporter.fact("steps", steps, in_a_step)
    reporter.fact("parameters", f"{trial.n_parameters:,}")
    say_costs(training.trainable, reporter)
    reporter.show(align(("stage", "epochs", "that move", "windows/s", "time"), rows))
    parts = f"training {duration(found.train_s)}, validation {duration(found.val_s)}"
    at_most = "at most " if plan.patience else "about "
    reporter.fact("time", f"{at_most}{duration(found.train_s + found.val_s)}", parts)
    if isinstance(config, FinetuneConfig) and config.folds:
        reporter.fact("folds", f"{config.folds} more trainings, of about that time each")
    reporter.fact("to scale", _scaled(trial))
    where = "on the GPU" if training.run.device.startswith("cuda") else "of this process"
    reporter.fact("memory", f"{found.memory_gb:.1f} GB", f"{where}, at the peak")
    why = f"{found.n_checkpoints} checkpoints of up to {_size(found.checkpoint_bytes)}"
    reporter.fact("disk", _size(found.n_checkpoints * found.checkpoint_bytes), why)
    reporter.say("dry run: nothing was written")


def say_costs(trainable: Trainable, reporter: Reporter) -> None:
    """Show what each layer costs, where there is a table of it: of an autoencoder."""
    if not isinstance(trainable, Pretraining):
        return
    encoder = trainable.encoder
    objective = dict(trainable.objectives.items()).get("reconstruction")
    if not isinstance(encoder, PpgAutoencoder) or not isinstance(objective, Reconstruction):
        return
    rows = [
        (
            cost.name,
            " x ".join(map(str, cost.shape)),
            f"{cost.n_parameters:,}",
            f"{cost.mflops:,.1f}",
        )
        for cost in cost_table(encoder, objective.decoder, encoder.spec.n_samples)
    ]
    reporter.show(align(("layer", "gives", "parameters", "MFLOP for a window"), rows))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _scaled(trial: Trial) -> str:
    """Return how long a known amount of work takes at the speed of the slowest stage."""
    speed = min(each.windows_per_s for each in trial.stages)
    hours = math.ceil(SCALE_WINDOWS * SCALE_EPOCHS / speed / 360) / 10
    return (
        f"at {speed:.0f} windows/s, {SCALE_WINDOWS:,} windows x {SCALE_EPOCHS} epochs "
        f"take {hours:,.1f} hours"
    )
