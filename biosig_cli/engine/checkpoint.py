"""Checkpoints: tensors and plain values only, written whole, readable without running anything."""

import pickle
from pathlib import Path
from typing import Any

import torch

from biosig_cli.core.artifacts import FORMAT, atomic_path, check_format
from biosig_cli.core.errors import CheckpointError, DataError

BEST, LAST = "best_model.pt", "last_model.pt"
DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)
"""What torch raises on a file that is not a whole checkpoint."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never a part.

    Raises:
        CheckpointError: If it can't be written; the one before is still there.
    """
    try:
        with atomic_path(path) as temporary:
            torch.save({"format": FORMAT} | content, temporary)
    except (DataError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} can't be written: {error}",
            hint="the checkpoint before it is untouched; free some disk space, then --resume",
        ) from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, or of the best one in a run folder.

    Raises:
        CheckpointError: If it is missing, damaged, newer than this version or not ours.
    """
    file = find_checkpoint(path)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"{file} is damaged or not a checkpoint: {why}",
            hint="give another one of the run's checkpoints",
        ) from None
    if not isinstance(content, dict) or "encoder_state_dict" not in content:
        raise CheckpointError(
            f"{file} holds no encoder", hint="give best_model.pt of a run, or the run's folder"
        )
    try:
        check_format(content, file)
    except DataError as error:
        raise CheckpointError(str(error), hint=error.hint) from None
    return content


def find_checkpoint(path: Path) -> Path:
    """Return `path`, or the best checkpoint in it where it is a run folder.

    Raises:
        CheckpointError: If there is none.
    """
    if path.is_dir():
        for name in (BEST, LAST):
            if (path / name).is_file():
                return path / name
        raise CheckpointError(
            f"no checkpoint in {path}: expected {BEST}",
            hint="make one with `biosig pretrain`, or give another folder",
        )
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}", hint="give a .pt file or the folder of a run"
        )
    return path


def rng_state() -> dict[str, Any]:
    """Return the state of torch's generators, from which dropout draws."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def restore_rng(state: dict[str, Any]) -> None:
    """Put torch's generators where `rng_state` found them."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
