"""A training carried out in its run folder: what is written there before it and after it."""

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from biosig_cli.core.artifacts import alone_in, provenance, read_json, write_json
from biosig_cli.core.errors import DataError
from biosig_cli.engine import distributed
from biosig_cli.engine.state import Run, TrainResult
from biosig_cli.engine.train import Training
from biosig_cli.report.history import draw_history
from biosig_cli.services.run_facts import CONFIG, MANIFEST
from biosig_cli.services.training import Place, TrainingConfig

PACKAGES = ("torch", "granite-tsfm", "numpy", "transformers", "scikit-learn")


def make_run(
    command: str, config: TrainingConfig, place: Place, *, of: Path | None = None, **rest: Any
) -> Run:
    """Return where and how the training of a command runs.

    Args:
        command: The command.
        config: Its settings.
        place: Where it computes.
        of: Folder of the run that this is a phase of, which is what is resumed.
        rest: Other fields of `Run`.
    """
    return Run(
        folder=config.output_dir,
        device=place.device,
        precision=place.precision,
        how_to_resume=f"biosig {command} --output-dir {of or config.output_dir} --resume",
        log_every=config.log_every,
        save_every=config.save_every,
        keep=config.keep,
        seed=config.seed,
        tensorboard=config.tensorboard,
        **rest,
    )


def alone(folder: Path) -> AbstractContextManager[None]:
    """Keep other commands out of a run folder meanwhile; of several processes, the first does."""
    return alone_in(folder) if distributed.is_first() else nullcontext()


def carry_out(
    command: str, config: TrainingConfig, training: Training, content: dict[str, Any] | None
) -> TrainResult:
    """Train to the end, with settings, origin, result and curves written beside the weights.

    Args:
        command: Whose training it is.
        config: The settings as they are run.
        training: What is trained.
        content: The checkpoint to go on from; None to begin.

    Raises:
        CheckpointError: If `content` does not fit, or the disk is full.
        TrainingError: If a loss is not finite.
        InterruptedRunError: If the user stopped the run.
    """
    folder = config.output_dir
    if distributed.is_first():
        write_json(folder / CONFIG, config.dump())
        begun = origin(command, config, training)
        write_json(folder / MANIFEST, begun)
    if content is not None:
        training.restore(content)
        state = training.state
        training.run.reporter.say(f"resumed after epoch {state.epoch}, step {state.step}")
    result = training.fit()
    if distributed.is_first():
        write_json(folder / MANIFEST, begun | outcome(training, result))
        draw_history(result.history, folder / "history.png")
    return result


def origin(command: str, config: TrainingConfig, training: Training) -> dict[str, Any]:
    """Return where a run comes from: its command, its windows, its parents and its machine."""
    run, said = training.run, training.run.describe
    return provenance(*PACKAGES) | {
        "command": command,
        "started_at": _started_at(config.output_dir / MANIFEST),
        "parent": said["parent"],
        "lineage": [{k: run[k] for k in ("checkpoint", "sha256")} for run in said["lineage"]],
        "data": {name: part["digest"] for name, part in said["data"].items()},
        "n_windows": {name: part["n_windows"] for name, part in said["data"].items()},
        "n_subjects": {name: len(part["subjects"]) for name, part in said["data"].items()},
        "n_parameters": sum(p.numel() for p in training.trainable.parameters()),
        "device": run.device,
        "precision": run.precision,
        "n_processes": distributed.n_processes(),
        "monitor": training.trainable.monitor,
        "higher_is_better": training.trainable.higher_is_better,
        "seed": config.seed,
    }


def outcome(training: Training, result: TrainResult) -> dict[str, Any]:
    """Return how a run ended."""
    return {
        "made_at": _now(),
        "best": result.best,
        "best_val_loss": result.best_val_loss,
        "best_epoch": result.best_epoch,
        "epochs": result.n_epochs,
        "duration_s": training.pace.timings()["elapsed_s"],
    }


def _started_at(manifest: Path) -> str:
    """Return when the run was begun, which is not when it was resumed."""
    try:
        return str(read_json(manifest).get("started_at", _now()))
    except DataError:
        return _now()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
