"""A checkpoint as plain files: `model.safetensors`, and `biosig.json` with all else it takes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from biosig_cli.core.artifacts import FORMAT, atomic_path, read_json, sha256, write_json
from biosig_cli.core.errors import CheckpointError, DataError

WEIGHTS, FACTS = "model.safetensors", "biosig.json"
PREFIXES = {"encoder_state_dict": "", "head_state_dict": "head.", "decoder_state_dict": "decoder."}
"""What the tensors of each part are called in the file; those of the encoder keep their names, so
that other programs find a released backbone where they expect it."""
KEPT = (
    *("epoch", "best_val_loss", "monitor", "metrics", "biosig_version", "spec", "model_config"),
    *("config", "task", "parent", "lineage", "data", "splits", "recipe"),
)
"""What is kept of a checkpoint besides its tensors; the rest is for going on with a training."""


def write_plain(folder: Path, content: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
    """Write a checkpoint as `model.safetensors` and `biosig.json`; return the first.

    Args:
        folder: Where they go.
        content: The checkpoint.
        about: What else `biosig.json` says, for people and other programs.
    """
    from safetensors.torch import save_file

    # A tensor that shares its memory with another would be refused: each is copied.
    tensors = {
        prefix + name: tensor.detach().cpu().clone().contiguous()
        for part, prefix in PREFIXES.items()
        for name, tensor in content.get(part, {}).items()
    }
    file = folder / WEIGHTS
    with atomic_path(file) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    parts = [part for part in PREFIXES if part in content]
    kept = {key: _plain(content[key]) for key in KEPT if key in content}
    stated = {"sha256": sha256(file), "parts": parts, "checkpoint": kept}
    write_json(folder / FACTS, {"format": FORMAT, **about, **stated})
    return file


def read_plain(file: Path) -> dict[str, Any]:
    """Return the content of a checkpoint from its `model.safetensors`.

    Raises:
        CheckpointError: If a file is missing or damaged, or the weights are not biosig's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        facts = read_json(file.with_name(FACTS))
        if sha256(file) != facts["sha256"]:
            raise ValueError(f"it is not the file that {FACTS} was written for")
        tensors = load_file(file)
        content = {"format": facts["format"], **facts["checkpoint"]}
        parts = {part: PREFIXES[part] for part in facts["parts"]}
    except (OSError, LookupError, ValueError, DataError, SafetensorError) as error:
        raise CheckpointError(
            f"{file} can't be read: {error}",
            hint=f"give a folder that `biosig export` wrote, with {WEIGHTS} and {FACTS}, complete",
        ) from None
    return content | {part: _of(tensors, prefix) for part, prefix in parts.items()}


def is_plain(folder: Path) -> bool:
    """Return whether a folder holds a checkpoint in this form."""
    return (folder / FACTS).is_file() and (folder / WEIGHTS).is_file()


def _of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    if prefix:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    others = tuple(each for each in PREFIXES.values() if each)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(others)}


def _plain(value: Any) -> Any:
    """Return a value as JSON takes it; what is no number is null."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
