"""The files of a run folder that change while a training goes on."""

from pathlib import Path
from typing import Any

from biosig_cli.engine.checkpoint import BEST, LAST, PREVIOUS, save_checkpoint
from biosig_cli.engine.distributed import is_first
from biosig_cli.engine.history import write_history
from biosig_cli.engine.state import Run, State


def clear_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing."""
    if is_first():
        for pattern in (".*.pt", ".metrics.jsonl.*", ".training_history.json.*"):
            for file in folder.glob(pattern):
                file.unlink()


def save_epoch(run: Run, state: State, content: dict[str, Any], *, is_best: bool) -> None:
    """Save a completed epoch; the last checkpoint comes last, when all else is there.

    Raises:
        CheckpointError: If the disk is full; what was saved before is untouched.
    """
    if not is_first():
        return
    write_history(run.folder, state.history)
    if is_best:
        save_checkpoint(run.folder / BEST, content)
    if state.epoch % run.save_every == 0:
        save_checkpoint(run.folder / f"checkpoint_epoch_{state.epoch}.pt", content)
        _drop_old(run, state.epoch)
    save_last(run, content)
    if state.is_finished:
        (run.folder / PREVIOUS).unlink(missing_ok=True)


def save_last(run: Run, content: dict[str, Any]) -> None:
    """Save where the run is; the checkpoint before it stays until the next.

    Raises:
        CheckpointError: If the disk is full; what was saved before is untouched.
    """
    if is_first():
        save_checkpoint(run.folder / LAST, content, before=run.folder / PREVIOUS)


def _drop_old(run: Run, epoch: int) -> None:
    if run.keep is None:
        return
    old = range(run.save_every, epoch + 1, run.save_every)
    for each in list(old)[: -run.keep or None]:
        (run.folder / f"checkpoint_epoch_{each}.pt").unlink(missing_ok=True)


def n_files(run: Run, n_epochs: int) -> int:
    """Return how many checkpoints lie in the folder of a run at once, at most."""
    n_kept = n_epochs // run.save_every
    return len((BEST, LAST, PREVIOUS)) + (n_kept if run.keep is None else min(run.keep, n_kept))
