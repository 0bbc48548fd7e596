"""What a run folder says of its run: read from its JSON files, so that nothing needs torch."""

import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from biosig_cli.core.artifacts import is_held, read_json
from biosig_cli.core.errors import ConfigError, DataError

CONFIG, MANIFEST = "training_config.json", "manifest.json"
HISTORY, METRICS = "training_history.json", "metrics.jsonl"
END_BYTES = 1 << 16
"""The last lines of a log are within these bytes of its end."""


@dataclass(frozen=True)
class PastRun:
    """A run, as its folder tells of it; what is not known is empty.

    Attributes:
        folder: The run folder.
        config: Its settings.
        manifest: Where it came from and how it ended.
        history: A value per epoch by name; None is not a number.
        newest: The last line of its log.
        problems: What is damaged.
        is_running: Whether a process on this machine is at it.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[float | None]] = field(default_factory=dict)
    newest: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    is_running: bool = False

    @property
    def command(self) -> str:
        """The command that made it."""
        guess = "finetune" if "pretrained" in self.config else "pretrain"
        return str(self.manifest.get("command", guess if self.config else ""))

    @property
    def state(self) -> str:
        """Running, damaged, finished or unfinished."""
        if self.is_running:
            return "running"
        if self.problems:
            return "damaged"
        return "finished" if self.is_finished else "unfinished"

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end."""
        return "best_epoch" in self.manifest

    @property
    def n_epochs(self) -> int:
        """Epochs that are complete."""
        return len(self.history.get("epoch", ()))

    @property
    def n_planned(self) -> int:
        """Epochs that it may take."""
        parts = (self.config.get("phases") or {}).values() or [self.config]
        return sum(int((part.get("plan") or {}).get("epochs", 0)) for part in parts)

    @property
    def monitor(self) -> str:
        """The figure by which its best epoch is chosen."""
        name = str(self.manifest.get("monitor", "loss"))
        is_known = self.is_finished or "higher_is_better" in self.manifest
        return f"val_{name}" if is_known and f"val_{name}" in self.history else "val_loss"

    @property
    def best_epoch(self) -> int:
        """The best epoch, counted from one; 0 before there is one."""
        values = self.history.get(self.monitor, [])
        if self.is_finished:
            return min(int(self.manifest["best_epoch"]), len(values))
        sign = -1 if self.manifest.get("higher_is_better") and self.monitor != "val_loss" else 1
        costs = [math.inf if v is None else sign * v for v in values]
        return costs.index(min(costs)) + 1 if costs and min(costs) < math.inf else 0

    @property
    def best(self) -> float | None:
        """The monitored figure of the best epoch."""
        return self.at_best(self.monitor)

    def at_best(self, name: str) -> float | None:
        """Return a figure of the best epoch."""
        values = self.history.get(name, [])
        return values[self.best_epoch - 1] if 0 < self.best_epoch <= len(values) else None

    @property
    def duration_s(self) -> float | None:
        """Seconds of training, without the time between a stop and going on."""
        found = self.newest.get("elapsed_s", self.manifest.get("duration_s"))
        return None if found is None else float(found)

    @property
    def began(self) -> datetime | None:
        """When it was begun; when it ended where only that was written."""
        stated = self.manifest.get("started_at", self.manifest.get("made_at"))
        with suppress(ValueError):
            return datetime.fromisoformat(str(stated)).astimezone()
        with suppress(OSError):
            return datetime.fromtimestamp((self.folder / CONFIG).stat().st_mtime).astimezone()
        return None

    def plain(self) -> dict[str, Any]:
        """Return what is known of the run as plain values."""
        return {
            "folder": str(self.folder),
            "command": self.command,
            "state": self.state,
            "monitor": self.monitor,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "epochs": self.n_epochs,
            "epochs_planned": self.n_planned,
            "duration_s": self.duration_s,
            "began": self.began.isoformat() if self.began else None,
            "problems": list(self.problems),
            "how_to_resume": self.how_to_resume,
        }

    @property
    def how_to_resume(self) -> str:
        """The command that goes on with it; empty where there is nothing to go on with."""
        if self.state not in ("unfinished", "damaged") or self.is_finished or not self.config:
            return ""
        # A phase is resumed with the run that it is a part of.
        whole = self.folder.parent if (self.folder.parent / CONFIG).exists() else self.folder
        return f"biosig {self.command} --output-dir {whole} --resume"


def find_runs(folder: Path) -> list[PastRun]:
    """Return the runs in `folder` and the folders in it, those begun first before the others.

    Raises:
        DataError: If there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder}",
            hint="`biosig pretrain` and `biosig finetune` make runs; name their folder here",
        )
    runs = [_read(path.parent) for path in folder.rglob(CONFIG)]
    return sorted(runs, key=lambda run: (run.began.timestamp() if run.began else 0, run.folder))


def read_run(path: Path) -> PastRun:
    """Return the run in a folder, or of one of its files.

    Raises:
        ConfigError: If it is none.
    """
    folder = path.parent if path.is_file() else path
    if not (folder / CONFIG).is_file():
        what = "has no " + CONFIG if folder.is_dir() else "is not there"
        raise ConfigError(
            f"{path} is no run: it {what}", hint="`biosig runs FOLDER` lists the runs in a folder"
        )
    return _read(folder)


def _read(folder: Path) -> PastRun:
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for name in (CONFIG, MANIFEST, HISTORY):
        if not (folder / name).exists():
            continue
        try:
            found[name] = read_json(folder / name)
        except DataError:
            problems.append(f"{name} can't be read")
    # A run with phases has weights of its own only when the last one is done.
    has_weights = HISTORY in found and not found.get(CONFIG, {}).get("phases")
    return PastRun(
        folder=folder,
        config=found.get(CONFIG, {}),
        manifest=found.get(MANIFEST, {}),
        history=found.get(HISTORY, {}),
        newest=next(_last_lines(folder / METRICS), {}),
        problems=(*problems, *_broken_weights(folder, has_weights=has_weights)),
        is_running=is_held(folder / METRICS),
    )


def _broken_weights(folder: Path, *, has_weights: bool) -> Iterator[str]:
    """Yield what is wrong with the checkpoints, as far as can be seen without reading them."""
    files = sorted(folder.glob("[!.]*.pt"))
    yield from (f"{file.name} is not whole" for file in files if not zipfile.is_zipfile(file))
    if has_weights and not files:
        yield "its checkpoints are gone"


def _last_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log that are whole, from its end backwards."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_BYTES))
        for line in reversed(file.read().splitlines()):
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row
