"""`biosig doctor --models`: does each family build and train here? One step each."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from biosig_cli.core.config import load_config
from biosig_cli.core.errors import BiosigError, ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.batch import Batch
from biosig_cli.engine.draws import window_keys
from biosig_cli.engine.optimize import check_gradients, make_optimizer, make_schedule
from biosig_cli.models.base import Encoder
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.signal.electrodes import electrode_positions
from biosig_cli.signal.spec import Channel, SignalSpec

ELECTRODES = ("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz")
N_WINDOWS = 4
HEART = (Channel(name="PPG", kind="ppg"), Channel(name="ECG", kind="ecg"))


@dataclass(frozen=True)
class Tried:
    """What a family of models is, and how its step went."""

    name: str
    n_encoder: int
    n_decoder: int
    window: tuple[int, ...]
    """(B, C, T) of the windows."""
    tokens: tuple[int, ...]
    """(B, C, P, D) of what the encoder made of them."""
    hidden: str
    """How many patches were hidden in the first window."""
    loss: float
    lr: float
    """Learning rate of the step after it."""
    took_s: float


def families() -> dict[str, SignalSpec]:
    """Return the windows of each family, by the shipped config that trains it."""
    places = electrode_positions(ELECTRODES)
    eeg = tuple(Channel(name=n, kind="eeg", position=place) for n, place in places.items())
    return {
        "ssl_pretrain": SignalSpec(channels=HEART, sampling_hz=125.0, n_samples=1250),
        "ppg_autoencoder": SignalSpec(channels=HEART[:1], sampling_hz=125.0, n_samples=75_000),
        "eeg_phase1b": SignalSpec(channels=eeg, sampling_hz=100.0, n_samples=200),
    }


def try_models(reporter: Reporter) -> list[Tried]:
    """Build each family by its shipped config and take one step; say what it is.

    Raises:
        ConfigError: If a family does not build or train, after all are tried.
    """
    tried, faults = [], []
    for name, spec in families().items():
        try:
            tried.append(try_family(name, spec))
        except (BiosigError, RuntimeError, ImportError) as error:
            faults.append(f"{name}: {error}")
    rows = [
        (
            *(t.name, f"{t.n_encoder:,}", f"{t.n_decoder:,}", _shape(t.window), _shape(t.tokens)),
            *(t.hidden, f"{t.loss:.3f}", f"{t.lr:.1e}", f"{t.took_s:.1f} s"),
        )
        for t in tried
    ]
    columns = ("family", "encoder", "decoder", "windows", "tokens", "hidden", "loss", "lr", "took")
    reporter.table("one step of each family", columns, rows)
    if faults:
        raise ConfigError(
            f"{len(faults)} families do not train here: {'; '.join(faults)}",
            hint="`biosig doctor` says which packages are not as they should be",
        )
    return tried


def try_family(name: str, spec: SignalSpec) -> Tried:
    """Build encoder, objectives, optimizer and schedule of a config, and take one step.

    Raises:
        TrainingError: If the loss is not finite, or a parameter gets no gradient.
        ConfigError: If the config does not fit the windows.
    """
    start_s = time.monotonic()
    config = load_config(PretrainConfig, file=name)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = config.model.build(spec)
        trainable = config.objectives.build(encoder)
        seen = _watch(encoder)
        optimizer = make_optimizer(trainable, config.plan, "cpu")
        schedule = make_schedule(optimizer, config.plan, steps_per_epoch=1)
        batch = _batch(spec, config)
        losses = trainable.train()(batch)
        losses.total.backward()
        check_gradients(trainable, trainable.resting())
        nn.utils.clip_grad_norm_(trainable.parameters(), config.plan.clip_norm)
        optimizer.step()
        schedule.step()
    loss = float(losses.total.detach())
    if loss != loss or abs(loss) == float("inf"):
        raise ConfigError(f"the loss is {loss}", hint="check the installation of torch")
    return Tried(
        name=name,
        n_encoder=_count(trainable.parts["encoder"]),
        n_decoder=_count(trainable.parts["decoder"]),
        window=seen["window"],
        tokens=seen["tokens"],
        hidden=seen.get("hidden", "none"),
        loss=loss,
        lr=float(schedule.get_last_lr()[0]),
        took_s=time.monotonic() - start_s,
    )


def _batch(spec: SignalSpec, config: PretrainConfig) -> Batch:
    """Return noise of the right shape: whether it trains is asked, not what it learns."""
    signal = torch.randn(N_WINDOWS, spec.n_channels, spec.n_samples)
    windows = torch.arange(N_WINDOWS)
    labels = {name: torch.zeros(N_WINDOWS) for name in config.objectives.labels}
    codes = dict.fromkeys(config.objectives.codes, windows)
    keys = window_keys(config.seed, 0, windows)
    return Batch(signal, windows, keys, labels, signal.clone(), codes, spec)


def _watch(encoder: Encoder) -> dict[str, Any]:
    """Return a place in which the first look of the encoder will be noted."""
    seen: dict[str, Any] = {}

    def note(_: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], made: Any) -> None:
        if seen:
            return
        hidden = named.get("hidden", given[1] if len(given) > 1 else None)
        seen.update(window=tuple(given[0].shape), tokens=tuple(made.tokens.shape))
        if isinstance(hidden, Tensor):
            seen["hidden"] = f"{int(hidden[0].sum())} of {hidden[0].numel()}"

    encoder.register_forward_hook(note, with_kwargs=True)
    return seen


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
