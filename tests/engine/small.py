"""A small training on the real loader that other processes can be told to run, and to die in."""

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimizer of a process would import it, for a second
from torch import Tensor, nn

from biosig_cli.core.progress import Reporter
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import Loader
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import LAST, load_checkpoint, newest_checkpoint
from biosig_cli.engine.contract import Losses, Trainable
from biosig_cli.engine.draws import uniform
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from tests.metrics import without_timings

QUIET = Reporter(silent=True)
PLAN = PlanConfig(epochs=3, batch_size=8, accumulate=2, lr=0.01, warmup_epochs=1)


class Memory:
    """Windows of noise in memory."""

    def __init__(self, n_windows: int, seed: int = 0) -> None:
        self.windows = np.random.default_rng(seed).normal(size=(n_windows, 2, 8))
        self.windows = self.windows.astype(np.float32)

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, rows: Any) -> Any:
        return self.windows[rows]

    def column(self, name: str) -> Any:
        columns = {
            "record": np.array([f"r{row // 10}" for row in range(len(self))], object),
            "subject": np.array([f"s{row // 20}" for row in range(len(self))], object),
            "start_s": np.arange(len(self)) % 10 * 10.0,
        }
        return columns[name]


class Denoising(Trainable):
    """Finds windows in noise; the noise depends on the window, dropout on torch's generator."""

    def __init__(self, dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(dropout))
        self.head = nn.Linear(16, 8)
        self.to(dtype)
        self.dtype = dtype

    def forward(self, batch: Batch) -> Losses:
        signal = batch.signal.to(self.dtype)
        noise = uniform(batch.key, signal[0].numel()).view_as(signal).to(self.dtype)
        error = (self.head(self.encoder(signal + noise)) - signal).square().mean(dim=(1, 2))
        outputs = {} if self.training else {"window": batch.window, "error": error}
        return Losses(error.mean(), {"half": error.mean().detach() / 2}, outputs)

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        in_order = outputs["window"].tolist() == list(range(len(outputs["window"])))
        return {"largest": float(outputs["error"].max()), "in_order": float(in_order)}

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        return {"encoder": self.encoder, "decoder": self.head}


def make(
    folder: Path,
    *,
    plan: PlanConfig = PLAN,
    n_windows: int = 100,
    n_workers: int = 0,
    trainable: Trainable | None = None,
    **run: Any,
) -> Training:
    def loader(n: int, *, shuffle: bool) -> Loader:
        settings = {"batch_size": plan.batch_size, "seed": 1, "n_workers": n_workers}
        return Loader(Memory(n), shuffle=shuffle, **settings)

    settings = {"log_every": 1, "save_every": 2} | run
    return Training(
        trainable or Denoising(),
        loader(n_windows, shuffle=True),
        loader(21, shuffle=False),
        plan,
        Run(folder, "cpu", "fp32", settings.pop("reporter", QUIET), **settings),
    )


def train(folder: Path, rescue_s: float = 1e9, **settings: Any) -> None:
    """Begin a run or go on with it, with dropout, accumulation and a process that reads ahead."""
    training = make(
        folder, n_workers=1, trainable=Denoising(dropout=0.3), rescue_s=rescue_s, **settings
    )
    torch.manual_seed(os.getpid())  # what a new process would draw must not matter
    content = newest_checkpoint(folder, QUIET)
    if content is not None:
        training.restore(content)
    training.fit()


def left_by(folder: Path) -> tuple[Any, ...]:
    """Return all that a run leaves that is no timing."""
    tensors = {}
    for name in (LAST, "best_model.pt", "checkpoint_epoch_2.pt"):
        content = load_checkpoint(folder / name)
        tensors |= {f"{name} {key}": _plain(content[key]) for key in content}
    history = (folder / "training_history.json").read_text("utf-8")
    names = sorted(path.name for path in folder.iterdir())
    return tensors, without_timings(folder), json.loads(history), names


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def die() -> None:
    os.killpg(0, signal.SIGKILL)


def train_and_die_at_rename(folder: Path, number: int) -> None:
    calls, replace = [0], Path.replace

    def die_before(path: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == number:
            die()
        return replace(path, target)

    Path.replace = die_before  # type: ignore[method-assign]
    train(folder, rescue_s=0.0)


def train_and_die_while_writing(folder: Path, number: int) -> None:
    calls, save = [0], torch.save

    def half(content: Any, path: Path) -> None:
        calls[0] += 1
        save(content, path)
        if calls[0] == number:
            os.truncate(path, path.stat().st_size // 2)
            die()

    torch.save = half  # type: ignore[assignment]
    train(folder, rescue_s=0.0)


# The server imports torch once; each process of a test is a fork of it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.engine.small"])


def start(function: Callable[..., None], *arguments: Any, **named: Any) -> Any:
    process = FORKS.Process(target=_begin, args=(function, *arguments), kwargs=named)
    process.start()
    return process


def _begin(function: Callable[..., None], *arguments: Any, **named: Any) -> None:
    os.setpgid(0, 0)  # so that the process that reads ahead can be killed with this one
    multiprocessing.set_start_method("fork", force=True)  # as everywhere but here
    function(*arguments, **named)


def start_together(
    n_processes: int, function: Callable[..., None], *arguments: Any, **named: Any
) -> list[Any]:
    """Start processes as torchrun does, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        start(_together, rank, n_processes, port, function, arguments, named)
        for rank in range(n_processes)
    ]


def _together(
    rank: int, n: int, port: int, function: Callable[..., None], arguments: Any, named: Any
) -> None:
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
    places |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    assert distributed.join("cpu") == "cpu"
    function(*arguments, **named)
    if n > 1:
        torch.distributed.destroy_process_group()
