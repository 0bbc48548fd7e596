"""How fast the training loop is, beside what bounds it and what one would take instead.

python benchmarks/train.py [--batch-size 64] [--steps 40] [--precision fp32|bf16|auto]

The same model and the same batches in a bare loop on tensors in memory (the bound), in our loop,
and in the Trainer of Hugging Face with its defaults (float32, its own optimizer), taking turns in
one process. Prints windows per second, ratios, the share of the processor's peak in matrix products
that a step reaches, and where the time of a step goes.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Machine, Precision, choose_precision
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
    return Pretraining(encoder, {"masked": MaskedConfig().build(encoder)})


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
        bare_step(pretraining, optimizer, batch, arguments.precision)
        schedule.step()
    return arguments.batch_size * arguments.steps / (time.perf_counter() - start_s)


def bare_step(
    pretraining: Pretraining, optimizer: AdamW, batch: Batch, precision: Precision
) -> None:
    """Take one training step, and do nothing else."""
    with autocast("cpu", precision):
        loss = pretraining(batch).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(pretraining.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


class ForTrainer(nn.Module):
    """The same model as the Trainer wants it: keyword arguments in, a dict with a loss out."""

    def __init__(self, pretraining: Pretraining) -> None:
        super().__init__()
        self.pretraining = pretraining

    def forward(self, signal: Tensor, window: Tensor, key: Tensor) -> dict[str, Tensor]:
        """Return the loss of a batch."""
        return {"loss": self.pretraining(Batch(signal, window, key)).total}


class Items(Dataset[dict[str, Tensor]]):
    """Windows in memory, one by one, as the Trainer reads them."""

    def __init__(self, n_windows: int, n_samples: int) -> None:
        self.windows = torch.from_numpy(Memory(n_windows, n_samples).windows).float()
        self.keys = window_keys(0, 0, torch.arange(n_windows))

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {
            "signal": self.windows[row],
            "window": torch.tensor(row),
            "key": self.keys[row],
        }


def time_trainer(size: tuple[int, int], arguments: argparse.Namespace) -> float:
    """Return windows per second of Hugging Face's Trainer with its defaults."""
    from transformers import Trainer, TrainingArguments

    n_windows = arguments.batch_size * arguments.steps
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=arguments.batch_size,
            num_train_epochs=1,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=50,
            remove_unused_columns=False,
        )
        items = Items(n_windows, size[0])
        trainer = Trainer(model=ForTrainer(make(*size)), args=settings, train_dataset=items)
        start_s = time.perf_counter()
        trainer.train()
        return n_windows / (time.perf_counter() - start_s)


def peak_flops(dtype: torch.dtype) -> float:
    """Return the floating-point operations per second of a large matrix product."""
    one = torch.randn(2048, 2048).to(dtype)
    times_s = []
    for _ in range(6):
        start_s = time.perf_counter()
        one @ one
        times_s.append(time.perf_counter() - start_s)
    return float(2 * 2048**3 / min(times_s))


def step_flops(size: tuple[int, int], batch_size: int) -> int:
    """Return the operations of the matrix products in one training step."""
    pretraining = make(*size)
    rows = torch.arange(batch_size)
    batch = Batch(torch.randn(batch_size, 2, size[0]), rows, window_keys(0, 0, rows))
    with FlopCounterMode(display=False) as counter:
        pretraining(batch).total.backward()
    return int(counter.get_total_flops())


def profile_step(size: tuple[int, int], arguments: argparse.Namespace) -> list[tuple[str, float]]:
    """Return the operations that take most of a step, and their shares of its time."""
    pretraining, plan = make(*size), PlanConfig(batch_size=arguments.batch_size)
    optimizer = make_optimizer(pretraining, plan, "cpu")
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for batch in batches(size[0], argparse.Namespace(**vars(arguments) | {"steps": 5})):
            bare_step(pretraining, optimizer, batch, arguments.precision)
    events = sorted(profiler.key_averages(), key=lambda each: -each.self_cpu_time_total)
    total = sum(each.self_cpu_time_total for each in events)
    return [(each.key, each.self_cpu_time_total / total) for each in events[:8]]


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
    parser.add_argument("--precision", choices=["fp32", "bf16", "auto"], default="fp32")
    parser.add_argument("--profile", action="store_true", help="show where a step's time goes")
    arguments = parser.parse_args()
    if arguments.precision == "auto":
        arguments.precision = choose_precision("auto", "cpu", Machine.detect()).value
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[arguments.precision]
    print(f"batch {arguments.batch_size}, {arguments.precision}, {torch.get_num_threads()} threads")
    peak = peak_flops(dtype)
    print(f"peak of matrix products: {peak / 1e9:.0f} GFLOP/s")
    for name, size in SIZES.items():
        turns = [
            (time_bare(size, arguments), time_ours(size, arguments), time_trainer(size, arguments))
            for _ in range(N_TURNS)
        ]
        bare, ours, trainer = (max(each) for each in zip(*turns, strict=True))
        share = step_flops(size, arguments.batch_size) / arguments.batch_size * ours / peak
        print(
            f"{name:>12}: bare {bare:6.0f}, ours {ours:6.0f}, Trainer (fp32) {trainer:6.0f} "
            f"windows/s; ours / bare {ours / bare:.2f}, ours / Trainer {ours / trainer:.2f}, "
            f"{100 * share:.0f} % of the peak"
        )
        for operation, part in profile_step(size, arguments) if arguments.profile else ():
            print(f"{'':14}{100 * part:5.1f} %  {operation}")


if __name__ == "__main__":
    main()
