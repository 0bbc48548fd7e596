"""How fast the training loop is, beside a bare loop over the same model on tensors in memory.

python benchmarks/train.py [--batch-size 64] [--steps 40] [--precision fp32]

Prints windows per second of both, taking turns in one process, and their ratio.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from biosig_cli.core.progress import Reporter
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import Loader
from biosig_cli.engine.draws import window_keys
from biosig_cli.engine.optimize import PlanConfig, autocast, make_optimizer, make_schedule
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.signal.spec import Channel, SignalSpec

CHANNELS = (Channel(name="PPG", kind="ppg"), Channel(name="ECG", kind="ecg"))
SIZES = {"1250 / 125": (1250, 125), "1024 / 64": (1024, 64)}
N_TURNS = 3


class Memory:
    """Windows of noise in memory, as float16 rows, like a store's."""

    def __init__(self, n_windows: int, n_samples: int) -> None:
        rng = np.random.default_rng(0)
        self.windows = rng.normal(size=(n_windows, 2, n_samples)).astype(np.float16)

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return windows (n, C, T)."""
        return self.windows[rows].astype(np.float32)


def make(n_samples: int, patch_size: int) -> Pretraining:
    """Return the default model at one size."""
    torch.manual_seed(0)
    spec = SignalSpec(channels=CHANNELS, sampling_hz=125, n_samples=n_samples)
    encoder = TtmConfig(context_length=n_samples, patch_size=patch_size).build(spec)
    return Pretraining(encoder, MaskedConfig().build(encoder))


def time_ours(size: tuple[int, int], arguments: argparse.Namespace) -> float:
    """Return windows per second of one epoch of the training loop, validation not counted."""
    n_windows = arguments.batch_size * arguments.steps
    train = Loader(
        Memory(n_windows, size[0]), batch_size=arguments.batch_size, seed=0, shuffle=True
    )
    val = Loader(Memory(1, size[0]), batch_size=1, seed=0, shuffle=False)
    plan = PlanConfig(epochs=1, batch_size=arguments.batch_size, warmup_epochs=0)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), "cpu", arguments.precision, Reporter(silent=True))
        training = Training(make(*size), train, val, plan, run)
        start_s = time.perf_counter()
        training.fit()
        return n_windows / (time.perf_counter() - start_s)


def time_bare(size: tuple[int, int], arguments: argparse.Namespace) -> float:
    """Return windows per second of a loop with nothing in it but the steps."""
    pretraining = make(*size)
    plan = PlanConfig(epochs=1, batch_size=arguments.batch_size, warmup_epochs=0)
    optimizer = make_optimizer(pretraining, plan, "cpu")
    schedule = make_schedule(optimizer, plan, arguments.steps)
    start_s = time.perf_counter()
    for batch in batches(size[0], arguments):
        with autocast("cpu", arguments.precision):
            loss = pretraining(batch).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(pretraining.parameters(), plan.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return arguments.batch_size * arguments.steps / (time.perf_counter() - start_s)


def batches(n_samples: int, arguments: argparse.Namespace) -> Iterator[Batch]:
    """Yield batches that were made before."""
    rows = torch.arange(arguments.batch_size)
    signal = torch.randn(arguments.batch_size, 2, n_samples)
    for step in range(arguments.steps):
        yield Batch(signal, rows, window_keys(0, step, rows))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    arguments = parser.parse_args()
    print(f"batch {arguments.batch_size}, {arguments.precision}, {torch.get_num_threads()} threads")
    for name, size in SIZES.items():
        turns = [(time_bare(size, arguments), time_ours(size, arguments)) for _ in range(N_TURNS)]
        bare, ours = (max(each) for each in zip(*turns, strict=True))
        print(f"{name:>12}: bare {bare:6.0f}, ours {ours:6.0f} windows/s, ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()
