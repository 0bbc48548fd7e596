"""How weights move: the optimizer, the learning rate over time, and half precision."""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from biosig_cli.core.config import Config
from biosig_cli.core.errors import TrainingError
from biosig_cli.core.runtime import Precision


class PlanConfig(Config):
    """How long and how fast to train."""

    epochs: int = Field(100, gt=0)
    """Passes over the windows; bounds the whole run."""
    batch_size: int = Field(128, gt=0)
    """Windows in a batch, of all processes together."""
    accumulate: int = Field(1, gt=0)
    """Batches whose gradients make one step."""
    lr: float = Field(5e-4, gt=0)
    """Highest learning rate."""
    min_lr: float = Field(1e-6, ge=0)
    """Learning rate at the end."""
    weight_decay: float = Field(0.01, ge=0)
    """Decay of weight matrices; biases, norms and embeddings of one dimension do not decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's memory of gradients and of their squares."""
    warmup_epochs: float = Field(10, ge=0)
    """Epochs over which the learning rate rises."""
    clip_norm: float = Field(1.0, gt=0)
    """Longest gradient; a longer one is shortened."""
    patience: int | None = Field(None, gt=0)
    """Stop after this many epochs without a better validation loss."""


def fit_warmup(plan: PlanConfig) -> PlanConfig:
    """Return the plan with a warm-up that leaves time to train: a tenth if it does not fit."""
    if plan.warmup_epochs < plan.epochs:
        return plan
    return plan.model_copy(update={"warmup_epochs": plan.epochs / 10})


def make_optimizer(
    module: nn.Module, plan: PlanConfig, device: str, scales: Mapping[str, float] | None = None
) -> AdamW:
    """Return AdamW over the trainable parameters of `module`.

    Args:
        module: What to train.
        plan: Learning rate, decay and memory.
        device: Where it computes.
        scales: By pattern of parameter names, what multiplies the learning rate.

    Source:
        Loshchilov, Hutter, ICLR 2019, arXiv 1711.05101.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            fitting = [s for pattern, s in (scales or {}).items() if fnmatchcase(name, pattern)]
            key = (fitting[0] if fitting else 1.0, parameter.ndim >= 2)
            groups.setdefault(key, []).append(parameter)
    each = [
        {
            "params": parameters,
            "lr": plan.lr * scale,
            "weight_decay": plan.weight_decay if decays else 0.0,
        }
        for (scale, decays), parameters in groups.items()
    ]
    fused = device.startswith(("cpu", "cuda"))
    return AdamW(each, lr=plan.lr, betas=plan.betas, fused=fused)


def restore_optimizer(optimizer: AdamW, saved: dict[str, Any]) -> None:
    """Take over what an optimizer remembered of gradients; its settings stay those of the plan."""
    plan = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, settings in zip(optimizer.param_groups, plan, strict=True):
        group.update(settings)


def make_schedule(
    optimizer: AdamW, plan: PlanConfig, steps_per_epoch: int, n_done: int = 0
) -> LambdaLR:
    """Return the learning rate as a function of the step: a linear rise, then half a cosine.

    Args:
        optimizer: What moves the weights; with `n_done`, it has had a schedule before.
        plan: How long and how fast.
        steps_per_epoch: Steps in an epoch.
        n_done: Steps that were made before.

    Source:
        Loshchilov, Hutter, ICLR 2017, arXiv 1608.03983, equation 5, one cycle.
    """
    n_steps = plan.epochs * steps_per_epoch
    n_warmup = round(plan.warmup_epochs * steps_per_epoch)
    lowest = plan.min_lr / plan.lr

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / (n_warmup + 1)
        done = min((step - n_warmup) / max(n_steps - n_warmup, 1), 1.0)
        return lowest + (1 - lowest) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor, last_epoch=n_done - 1)


def make_scaler(precision: Precision) -> torch.amp.GradScaler:
    """Return a loss scaler, which does nothing but in fp16."""
    return torch.amp.GradScaler("cuda", enabled=precision == "fp16")


def autocast(device: str, precision: Precision) -> AbstractContextManager[None]:
    """Return a context in which matrix products run in `precision`."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    kind = device.partition(":")[0]
    return torch.autocast(kind, dtype=dtype, enabled=precision != "fp32")


def check_gradients(module: nn.Module, resting: Iterable[nn.Parameter] = ()) -> None:
    """Refuse a trainable parameter that the losses do not reach.

    Args:
        module: What is trained.
        resting: Parameters that need not be reached by every batch.

    Raises:
        TrainingError: Naming each of them.
    """
    excused = {id(parameter) for parameter in resting}
    unreached = [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.grad is None and id(parameter) not in excused
    ]
    if unreached:
        raise TrainingError(
            f"{len(unreached)} trainable parameters get no gradient: {', '.join(unreached[:5])}",
            hint="they would stay random; freeze them or use them",
        )
