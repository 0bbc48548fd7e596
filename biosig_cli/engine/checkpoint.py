"""Checkpoints: tensors and plain values only, written whole, readable without running anything."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from biosig_cli.core.artifacts import FORMAT, atomic_path, check_format
from biosig_cli.core.errors import CheckpointError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.plain_files import FACTS, WEIGHTS, is_plain, read_plain

BEST, LAST = "best_model.pt", "last_model.pt"
PREVIOUS = "previous_model.pt"
"""What `LAST` was before, while a run goes on."""
DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""What torch raises on a file that is not a whole checkpoint."""


def save_checkpoint(path: Path, content: dict[str, Any], *, before: Path | None = None) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never a part.

    Args:
        path: The file.
        content: What goes into it.
        before: Where the old one stays, if it shall.

    Raises:
        CheckpointError: If it can't be written; the one before is still there.
    """
    with writing(path), atomic_path(path) as temporary:
        torch.save({"format": FORMAT} | content, temporary)
        if before is not None and path.exists():
            path.replace(before)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what is left of a run when one of its files can't be written.

    Raises:
        CheckpointError: If the disk is full, or the like.
    """
    try:
        yield
    except (DataError, OSError, RuntimeError) as error:
        why = str(error).partition("\n")[0]
        raise CheckpointError(
            why if isinstance(error, DataError) else f"{path} can't be written: {why}",
            hint="the checkpoint before it is untouched; free some disk space, then --resume",
        ) from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, or of the best one in a run folder.

    Raises:
        CheckpointError: If it is missing, damaged, newer than this version or not ours.
    """
    file = find_checkpoint(path)
    if file.suffix == ".safetensors":
        return _checked(read_plain(file), file)
    try:
        _check_sums(file)
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
    return _checked(content, file)


def _checked(content: dict[str, Any], file: Path) -> dict[str, Any]:
    try:
        check_format(content, file)
    except DataError as error:
        raise CheckpointError(str(error), hint=error.hint) from None
    return content


def _check_sums(file: Path) -> None:
    """Compare the parts of a file with their checksums, which torch does not."""
    with zipfile.ZipFile(file) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"{broken} has another checksum than when it was written")


def newest_checkpoint(folder: Path, reporter: Reporter) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of a run, None if it has none yet.

    One that is found in another file than `last_model.pt` is put there, and the best epoch where
    another file holds it, so that the run goes on as if nothing had happened.

    Raises:
        CheckpointError: If there are checkpoints, and all are damaged.
    """
    files = [folder / LAST, folder / PREVIOUS, folder / BEST]
    files = [file for file in files + sorted(folder.glob("checkpoint_epoch_*.pt")) if file.exists()]
    newest: dict[str, Any] | None = None
    for file in files:
        try:
            content = load_checkpoint(file)
        except CheckpointError as error:
            reporter.warn(f"{error}; skipped")
            continue
        # It is written after all others: where it is whole, it is the newest.
        if file.name == LAST:
            newest = content
            break
        if newest is None or content["position"]["step"] > newest["position"]["step"]:
            newest = content
    if files and newest is None:
        raise CheckpointError(
            f"all {len(files)} checkpoints in {folder} are damaged",
            hint="start again in another --output-dir",
        )
    if newest is not None and file.name != LAST:
        save_checkpoint(folder / LAST, newest)
    if newest is not None:
        _restore_best(folder, _position(newest).get("best_epoch"))
    return newest


def _position(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where a run was; nothing where a damaged file does not say."""
    position = content.get("position")
    return position if isinstance(position, Mapping) else {}


def _restore_best(folder: Path, epoch: int | None) -> None:
    """Write the checkpoint of the best epoch again, where it is damaged and another file has it."""
    if not epoch or _whole(folder / BEST):
        return
    for name in (LAST, PREVIOUS, f"checkpoint_epoch_{epoch}.pt"):
        content = _whole(folder / name)
        at = _position(content or {})
        if content and (at.get("epoch"), at.get("n_batches")) == (epoch, 0):
            save_checkpoint(folder / BEST, content)
            return


def _whole(file: Path) -> dict[str, Any] | None:
    try:
        return load_checkpoint(file)
    except CheckpointError:
        return None


def find_checkpoint(path: Path) -> Path:
    """Return `path`, or the best checkpoint in it where it is a folder of a run or of an export.

    Raises:
        CheckpointError: If there is none.
    """
    if path.is_dir():
        for name in (BEST, LAST):
            if (path / name).is_file():
                return path / name
        if is_plain(path):
            return path / WEIGHTS
        raise CheckpointError(
            f"no checkpoint in {path}: expected {BEST}, or {WEIGHTS} with {FACTS}",
            hint="make one with `biosig pretrain`, or give another folder",
        )
    if not path.is_file():
        raise CheckpointError(
            f"no checkpoint at {path}", hint="give a .pt file or the folder of a run"
        )
    return path


def lineage(content: Mapping[str, Any], source: str, digest: str) -> tuple[Mapping[str, Any], ...]:
    """Return every run in the past of a checkpoint, its own last, with the data it was shown."""
    own = {"checkpoint": source, "sha256": digest, "data": content.get("data") or {}}
    return (*content.get("lineage", ()), own)
