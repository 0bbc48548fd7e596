"""`biosig smoke`: does the training chain work here, on real windows, and does it learn?"""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import Field

from biosig_cli import __version__
from biosig_cli.catalog import load_encoder
from biosig_cli.core.artifacts import alone_in, write_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError, InterruptedRunError, TrainingError
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.core.runtime import Machine, choose_device, peak_memory_gb
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import Loader
from biosig_cli.data.remote import StorePath
from biosig_cli.data.store import WindowStore, open_split
from biosig_cli.engine.checkpoint import BEST, LAST, load_checkpoint
from biosig_cli.engine.optimize import PlanConfig, make_optimizer
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.base import Pretraining
from biosig_cli.objectives.masked import Masked, MaskedConfig

N_FIXED = 8
N_STEPS = 150
TARGET = 0.8
"""Share of predict-zero's error that a model must get below on the fixed windows."""
MEMORY_GB = 4.0


class SmokeConfig(Config):
    """Settings of `biosig smoke`."""

    data_dir: StorePath = Path("data/vitaldb_windows")
    """Folder with the window store `train`."""
    output_dir: Path = Path("artifacts/smoke")
    """Folder of the result."""
    max_windows: int = Field(64, ge=2)
    """Use at most this many windows."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    seed: int = Field(42, ge=0)
    """What weights, order and masks start from."""


@dataclass
class Checks:
    """What was checked, and how it came out."""

    reporter: Reporter
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, *, passed: bool, found: str) -> None:
        """Note one check and print it."""
        self.verdicts[name] = {"passed": passed, "found": found}
        self.reporter.fact("ok" if passed else "FAILED", f"{name}: {found}")

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [name for name, verdict in self.verdicts.items() if not verdict["passed"]]


@dataclass(frozen=True)
class SmokeResult:
    """Where the result is, and what was checked."""

    folder: Path
    checks: dict[str, dict[str, Any]]


def smoke(config: SmokeConfig, reporter: Reporter) -> SmokeResult:
    """Check shapes, learning, checkpoint and resume on a few real windows.

    Raises:
        DataError: If there are no windows.
        TrainingError: Naming the checks that failed.
    """
    with alone_in(config.output_dir):
        return _smoke(config, reporter)


def _smoke(config: SmokeConfig, reporter: Reporter) -> SmokeResult:
    start_s = time.monotonic()
    device = choose_device(config.device, Machine.detect())
    reporter.fact("device", device.value, device.why)
    store = open_split(config.data_dir, "train")
    loader = Loader(store, batch_size=8, seed=config.seed, shuffle=True, limit=config.max_windows)
    reporter.fact("windows", loader.n_windows, f"real, from {config.data_dir}/train")
    checks = Checks(reporter)
    check_shapes(config, store, device.value, checks)
    losses = check_learning(config, store, device.value, checks)
    losses |= check_runs(config, store, loader, device.value, checks)
    memory_gb = peak_memory_gb()
    checks.add("memory", passed=memory_gb < MEMORY_GB, found=f"{memory_gb:.1f} GB at the peak")
    runtime_s = time.monotonic() - start_s
    metrics = {
        "biosig_version": __version__,
        "runtime_s": runtime_s,
        "peak_memory_gb": memory_gb,
        "device": device.value,
        "n_windows": loader.n_windows,
        "losses": losses,
        "checks": checks.verdicts,
        "passed": not checks.failed,
    }
    write_json(config.output_dir / "smoke_metrics.json", metrics)
    if checks.failed:
        raise TrainingError(
            f"{len(checks.failed)} of {len(checks.verdicts)} checks failed: "
            + "; ".join(f"{name} ({checks.verdicts[name]['found']})" for name in checks.failed),
            hint="look at windows.png of the store; if the windows are fine, this is a bug",
        )
    passed = f"{len(checks.verdicts)} checks passed in {duration(runtime_s)}"
    reporter.fact("smoke", passed, f"{config.output_dir}/{BEST}, smoke_metrics.json")
    return SmokeResult(config.output_dir, checks.verdicts)


def make_pretraining(config: SmokeConfig, store: WindowStore) -> Pretraining:
    """Return the default encoder for the windows of `store`, with the default objective."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = model_config(store).build(store.spec)
        return Pretraining(encoder, {"masked": MaskedConfig().build(encoder)})


def model_config(store: WindowStore) -> TtmConfig:
    """Return the default model at the length of the windows: about ten patches, as they divide."""
    n_samples = store.spec.n_samples
    fitting = [n for n in range(2, n_samples) if n_samples % n == 0]
    if not fitting:
        raise DataError(f"windows of {n_samples} samples can't be divided into patches")
    n_positions = min(fitting, key=lambda n: abs(n - 10))
    return TtmConfig(context_length=n_samples, patch_size=n_samples // n_positions)


def check_shapes(config: SmokeConfig, store: WindowStore, device: str, checks: Checks) -> None:
    """Windows become tokens become windows of the same shape, all of them finite."""
    pretraining = make_pretraining(config, store).to(device)
    encoder, objective = pretraining.encoder, pretraining.objectives["masked"]
    assert isinstance(objective, Masked)
    batch = fixed_batch(config, store).to(device)
    n_windows, n_channels, n_samples = batch.signal.shape
    encoding = encoder(batch.signal)
    answer = objective.reconstruct(encoding.tokens).flatten(2)
    expected = (n_windows, n_channels, encoder.n_positions, encoder.width)
    shapes = " -> ".join(str(list(x.shape)) for x in (batch.signal, encoding.tokens, answer))
    right = encoding.tokens.shape == expected and answer.shape == (n_windows, n_channels, n_samples)
    checks.add("shapes", passed=right, found=shapes)
    pretraining(batch).total.backward()
    gradients = [p.grad for p in pretraining.parameters() if p.grad is not None]
    tensors = [batch.signal, encoding.tokens, answer, *gradients]
    broken = sum(int((~torch.isfinite(tensor)).sum()) for tensor in tensors)
    checks.add("finite", passed=broken == 0, found=f"{broken} NaN or Inf in {len(tensors)} tensors")


def fixed_batch(config: SmokeConfig, store: WindowStore) -> Batch:
    """Return the eight windows, spread over the store, on which learning is checked."""
    loader = Loader(store, batch_size=N_FIXED, seed=config.seed, shuffle=False, limit=N_FIXED)
    return next(loader.batches(0))


def check_learning(
    config: SmokeConfig, store: WindowStore, device: str, checks: Checks
) -> dict[str, float]:
    """The masked error on eight fixed windows falls well below what predicting zero scores."""
    pretraining = make_pretraining(config, store).to(device)
    batch = fixed_batch(config, store).to(device)
    plan = PlanConfig(lr=2e-3, weight_decay=0.0)
    optimizer = make_optimizer(pretraining, plan, device)
    before = score(pretraining, batch)
    for _ in range(N_STEPS):
        pretraining.train()
        pretraining(batch).total.backward()
        torch.nn.utils.clip_grad_norm_(pretraining.parameters(), plan.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    after = score(pretraining, batch)
    share = after["msm"] / after["zero"]
    checks.add(
        "learning",
        passed=share < TARGET,
        found=f"masked error {share:.3f} of predict-zero after {N_STEPS} steps "
        f"({before['msm'] / before['zero']:.3f} before; must fall below {TARGET})",
    )
    return {f"fixed_before_{k}": v for k, v in before.items()} | {
        f"fixed_after_{k}": v for k, v in after.items()
    }


@torch.no_grad()
def score(pretraining: Pretraining, batch: Batch) -> dict[str, float]:
    """Return the losses of `batch` in eval mode."""
    pretraining.eval()
    losses = pretraining(batch)
    parts = {"loss": losses.total, **losses.parts}
    return {name: float(value) for name, value in parts.items()}


def check_runs(
    config: SmokeConfig, store: WindowStore, loader: Loader, device: str, checks: Checks
) -> dict[str, float]:
    """A run of two epochs is saved, reloads bit for bit, and resumes to the same weights."""
    folder = config.output_dir
    straight = make_training(config, store, loader, device, folder)
    straight.fit()
    live = straight.trainable.parts["encoder"].state_dict()
    reloaded = load_encoder(folder / LAST).state_dict()
    n_tensors = len(load_encoder(folder / BEST).state_dict())
    checks.add(
        "checkpoint", passed=same(reloaded, live), found=f"{n_tensors} tensors reload bit for bit"
    )
    stop_after, history = len(loader.plan(0)) + 1, straight.state.history
    resumed, resumed_at = train_with_stop(config, store, loader, device, stop_after)
    equal = same(resumed.trainable.state_dict(), straight.trainable.state_dict())
    checks.add(
        "resume",
        passed=equal and resumed_at == stop_after and resumed.state.history == history,
        found=f"stopped after step {stop_after}, resumed at {resumed_at}: "
        f"{'same' if equal else 'other'} weights as the straight run",
    )
    return {name: values[-1] for name, values in history.items() if name not in ("epoch", "lr")}


def make_training(
    config: SmokeConfig, store: WindowStore, loader: Loader, device: str, folder: Path
) -> Training:
    """Return a training of two epochs, in float32, that validates on what it trains on."""
    describe = {
        "spec": store.spec.dump(),
        "model_config": model_config(store).dump(),
        "config": config.dump(),
        "parent": None,
        "data": {},
    }
    run = Run(folder, device, "fp32", Reporter(silent=True), describe)
    plan = PlanConfig(epochs=2, batch_size=loader.batch_size, warmup_epochs=0.5)
    return Training(make_pretraining(config, store), loader, loader, plan, run)


def train_with_stop(
    config: SmokeConfig, store: WindowStore, loader: Loader, device: str, stop_after: int
) -> tuple[Training, int]:
    """Train, stop, and go on as a new process would; return the training and where it went on."""
    with TemporaryDirectory() as folder:
        with suppress(InterruptedRunError):
            make_training(config, store, loader, device, Path(folder)).fit(stop_after=stop_after)
        resumed = make_training(config, store, loader, device, Path(folder))
        resumed.restore(load_checkpoint(Path(folder) / LAST))
        resumed_at = resumed.state.step
        resumed.fit()
    return resumed, resumed_at


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Say whether two sets of weights are equal, bit for bit."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name].cpu(), second[name].cpu()) for name in first
    )
