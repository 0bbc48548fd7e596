"""Run folders made for tests, without a training."""

import json
import zipfile
from pathlib import Path
from typing import Any

MANIFEST = {
    "biosig_version": "0.1.0",
    "packages": {"torch": "2.9"},
    "command": "pretrain",
    "started_at": "2026-01-02T03:04:05+00:00",
    "parent": {"source": "artifacts/first", "sha256": "ab" * 32},
    "lineage": [
        {"checkpoint": "artifacts/zeroth", "sha256": "cd" * 32},
        {"checkpoint": "artifacts/first", "sha256": "ab" * 32},
    ],
    "data": {"train": "0123456789abcdef", "val": "fedcba9876543210"},
    "n_windows": {"train": 1364, "val": 238},
    "n_subjects": {"train": 22, "val": 5},
    "device": "cpu",
    "precision": "bf16",
    "n_processes": 2,
    "monitor": "auroc",
    "higher_is_better": True,
}
ENDED = {"best_epoch": 2, "duration_s": 75.0}


def write_run(
    folder: Path, *, n_epochs: int = 3, ended: bool = True, lr: float = 1e-3, **manifest: Any
) -> Path:
    """Write a run of three epochs, whose AUROC is best in the second and whose loss in the last."""
    folder.mkdir(parents=True)
    config = {"seed": 42, "output_dir": str(folder), "plan": {"epochs": 3, "lr": lr}}
    history = {
        "epoch": [1, 2, 3],
        "lr": [1e-3, 5e-4, 1e-4],
        "train_loss": [1.0, 0.8, 0.6],
        "val_loss": [1.1, 0.9, 0.7],
        "val_auroc": [None, 0.9, 0.8],
    }
    history = {name: values[:n_epochs] for name, values in history.items()}
    last = {"step": 30, "epoch": 3, "windows_per_s": 512.3, "wait_share": 0.021}
    last |= {"memory_gb": 0.71, "elapsed_s": 75.0}
    facts = MANIFEST | (ENDED if ended else {}) | manifest
    files = {"training_config.json": config, "manifest.json": facts}
    if n_epochs:
        files["training_history.json"] = history
        with zipfile.ZipFile(folder / "last_model.pt", "w") as archive:
            archive.writestr("data", "weights")
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    line = json.dumps(last)
    (folder / "metrics.jsonl").write_text(f"{line}\n{line[:20]}", "utf-8")
    return folder
