"""What the PPG autoencoder costs on windows of ten minutes, beside what bounds it.

python benchmarks/autoencoder.py [--device cpu] [--precision fp32|bf16|fp16] [--steps 2]

A training step in our loop and in a bare one on the same model and the same windows, taking turns
in one process; the most memory that a batch of eight needs; and windows drawn again per second,
beside what the machine's peak in matrix products and in convolutions allows for their arithmetic.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_cli.core.progress import Reporter
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import Loader
from biosig_cli.engine.draws import window_keys
from biosig_cli.engine.optimize import PlanConfig, autocast, make_optimizer, make_schedule
from biosig_cli.engine.pace import memory_gb
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from biosig_cli.models.costs import cost_table
from biosig_cli.models.ppg_autoencoder import PpgAutoencoderConfig
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.reconstruction import Reconstruction, ReconstructionConfig
from biosig_cli.signal.spec import Channel, SignalSpec

N_SAMPLES, BATCH_SIZE, N_TURNS = 75_000, 8, 2
SPEC = SignalSpec(channels=(Channel(name="PPG", kind="ppg"),), sampling_hz=125, n_samples=N_SAMPLES)


class Memory:
    """Windows of noise in memory, as float16 rows, like a store's."""

    def __init__(self, n_windows: int) -> None:
        rng = np.random.default_rng(0)
        self.windows = rng.normal(size=(n_windows, 1, N_SAMPLES)).astype(np.float16)

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return windows (n, C, T)."""
        return self.windows[rows].astype(np.float32)


def make() -> Pretraining:
    """Return the shipped model and its objective, on whole windows."""
    torch.manual_seed(0)
    encoder = PpgAutoencoderConfig().build(SPEC)
    objective = ReconstructionConfig(crop_samples=None).build(encoder)
    return Pretraining(encoder, {"reconstruction": objective})


def parts(pretraining: Pretraining) -> tuple[nn.Module, Reconstruction]:
    """Return the encoder and the objective, which owns the decoder."""
    objective = pretraining.objectives["reconstruction"]
    assert isinstance(objective, Reconstruction)
    return pretraining.encoder, objective


def time_ours(arguments: argparse.Namespace) -> float:
    """Return windows per second of one epoch of the training loop, with one window to validate."""
    n_windows = BATCH_SIZE * arguments.steps
    train = Loader(Memory(n_windows), batch_size=BATCH_SIZE, seed=0, shuffle=True)
    val = Loader(Memory(1), batch_size=1, seed=0, shuffle=False)
    plan = PlanConfig(epochs=1, batch_size=BATCH_SIZE, warmup_epochs=0)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), arguments.device, arguments.precision, Reporter(silent=True))
        training = Training(make(), train, val, plan, run)
        start_s = time.perf_counter()
        training.fit()
        return n_windows / (time.perf_counter() - start_s)


def time_bare(arguments: argparse.Namespace) -> float:
    """Return windows per second of a loop with nothing in it but the steps."""
    pretraining = make().to(arguments.device)
    plan = PlanConfig(epochs=1, batch_size=BATCH_SIZE, warmup_epochs=0)
    optimizer = make_optimizer(pretraining, plan, arguments.device)
    schedule = make_schedule(optimizer, plan, arguments.steps)
    scaler = torch.amp.GradScaler("cuda", enabled=arguments.precision == "fp16")
    rows = torch.arange(BATCH_SIZE)
    signal = torch.from_numpy(Memory(BATCH_SIZE).read(rows.numpy()))
    start_s = time.perf_counter()
    for step in range(arguments.steps):
        batch = Batch(signal, rows, window_keys(0, step, rows)).to(arguments.device)
        with autocast(arguments.device, arguments.precision):
            loss = pretraining(batch).total
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(pretraining.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        schedule.step()
    loss.item()
    return BATCH_SIZE * arguments.steps / (time.perf_counter() - start_s)


def time_drawing(arguments: argparse.Namespace) -> float:
    """Return windows per second that are encoded and drawn again, at the best of some batches."""
    encoder, objective = parts(make().eval().to(arguments.device))
    speeds = []
    for batch_size in (1, 2, 4):
        windows = torch.randn(batch_size, 1, N_SAMPLES, device=arguments.device)

        def draw(windows: Tensor = windows) -> None:
            with torch.inference_mode(), autocast(arguments.device, arguments.precision):
                objective.draw(encoder, windows)

        speeds.append(batch_size / fastest_s(draw, arguments.device))
    return max(speeds)


def peaks(arguments: argparse.Namespace) -> dict[str, float]:
    """Return operations per second of a large matrix product and of the widest convolution."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    kind = {"device": arguments.device, "dtype": dtype[arguments.precision]}
    square = torch.randn(2048, 2048, **kind)
    features, weight = torch.randn(1, 256, 4688, **kind), torch.randn(256, 256, 3, **kind)

    def multiply() -> None:
        square @ square

    def convolve() -> None:
        nn.functional.conv1d(features, weight, padding=1)

    with torch.inference_mode():
        return {
            "matrix products": 2 * 2048**3 / fastest_s(multiply, arguments.device),
            "convolutions": 2 * 256 * 256 * 3 * 4688 / fastest_s(convolve, arguments.device),
        }


def fastest_s(run: Callable[[], None], device: str) -> float:
    """Return the shortest of several times, in seconds."""
    times_s = []
    for _ in range(8):
        start_s = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--steps", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{arguments.device}, {arguments.precision}, {torch.get_num_threads()} threads")

    encoder, objective = parts(make())
    flop = 1e6 * cost_table(encoder, objective.decoder, N_SAMPLES)[-1].mflops
    drawn = [(time_drawing(arguments), peaks(arguments)) for _ in range(N_TURNS)]
    speed = max(each for each, _ in drawn)
    print(f"drawing again: {speed:.1f} windows/s, {flop / 1e9:.1f} GFLOP each")
    for name in drawn[0][1]:
        peak = max(each[name] for _, each in drawn)
        bound = peak / flop
        print(
            f"{'':15}{name}: {peak / 1e9:,.0f} GFLOP/s, so at most {bound:.1f} windows/s; "
            f"reached {100 * speed / bound:.0f} %"
        )

    before_gb = memory_gb(arguments.device)
    turns = [(time_bare(arguments), time_ours(arguments)) for _ in range(N_TURNS)]
    bare, ours = (max(each) for each in zip(*turns, strict=True))
    print(
        f"training, batch {BATCH_SIZE} x {N_SAMPLES:,}: bare {bare:.2f}, ours {ours:.2f} windows/s"
    )
    print(f"{'':15}a step takes {bare / ours:.2f} times as long as bare")
    print(f"{'':15}peak memory {memory_gb(arguments.device):.1f} GB ({before_gb:.1f} GB before)")


if __name__ == "__main__":
    main()
