"""An encoder that fills in what was hidden: how far it is off, beside answers that need none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_cli.data.loader import Loader
from biosig_cli.data.store import WindowStore
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.distances import interpolate
from biosig_cli.objectives.masked import Masked
from biosig_cli.report.evaluation_material import DrawnReconstruction
from biosig_cli.services.evaluate_pictures import where

if TYPE_CHECKING:
    from biosig_cli.services.evaluate import EvaluateConfig

N_DRAWN = 4
FLAT = ("zero", "mean")
"""Answers that are the same everywhere, and so go along with nothing."""
AT_ONCE = 4_000_000
"""Samples that are put to the encoder at once."""


@dataclass(frozen=True)
class Rebuilt:
    """A batch of windows, of which patches were hidden: (B, C, P, L), and what is said of them."""

    target: Tensor
    hidden: Tensor
    answers: dict[str, Tensor]


@torch.no_grad()
def uncover(encoder: Encoder, objective: Masked, signal: Tensor, keys: Tensor) -> Rebuilt:
    """Hide patches, and return what the model and answers that need none put there."""
    hidden = objective.draw(keys, encoder.spec.n_channels, encoder.n_positions)
    encoding = encoder(signal, hidden)
    target = encoding.patches
    samples = hidden[..., None].expand(target.shape)
    # The scaled zero is the mean of what is visible; the window's own zero lies beside it.
    flat, shown = signal.view(target.shape), (~samples).float()
    mean = (flat * shown).sum((2, 3), keepdim=True) / shown.sum((2, 3), keepdim=True)
    spread = ((flat - mean).square() * shown).sum((2, 3), keepdim=True)
    spread = (spread / shown.sum((2, 3), keepdim=True)).sqrt().clamp_min(1e-5)
    line = interpolate(target.flatten(2), samples.flatten(2)).view(target.shape)
    answers = {
        "model": objective.reconstruct(encoding.tokens),
        "zero": (-mean / spread).expand(target.shape),
        "mean": torch.zeros_like(target),
        "interpolation": line,
    }
    return Rebuilt(target, samples, answers)


def measure(
    encoder: Encoder, objective: Masked, store: WindowStore, config: "EvaluateConfig", device: str
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return (N, C) errors of every window on its hidden samples, by answer and metric."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    n_fitting = AT_ONCE // (store.spec.n_channels * store.spec.n_samples)
    loader = Loader(
        store,
        batch_size=max(1, min(config.batch_size, n_fitting)),
        seed=config.seed,
        shuffle=False,
    )
    for batch in loader.batches(0):
        rebuilt = uncover(encoder, objective, batch.signal.to(device), batch.key.to(device))
        for answer, given in rebuilt.answers.items():
            for metric, measured in MEASURES.items():
                if answer not in FLAT or metric != "correlation":
                    values = measured(given, rebuilt.target, rebuilt.hidden).double().cpu()
                    found.setdefault(answer, {}).setdefault(metric, []).append(values)
    return {
        answer: {metric: torch.cat(values).numpy() for metric, values in each.items()}
        for answer, each in found.items()
    }


def _mean(values: Tensor, hidden: Tensor) -> Tensor:
    return (values * hidden).sum((2, 3)) / hidden.sum((2, 3))


def _mse(given: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    return _mean((given - target).square(), hidden)


def _mae(given: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    return _mean((given - target).abs(), hidden)


def _correlation(given: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    one = (given - _mean(given, hidden)[..., None, None]) * hidden
    other = (target - _mean(target, hidden)[..., None, None]) * hidden
    norms = one.square().sum((2, 3)).sqrt() * other.square().sum((2, 3)).sqrt()
    return (one * other).sum((2, 3)) / norms


MEASURES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "mse": _mse,
    "mae": _mae,
    "correlation": _correlation,
}


def draw_some(
    encoder: Encoder, objective: Masked, store: WindowStore, people: NDArray[Any], seed: int
) -> list[DrawnReconstruction]:
    """Return a few windows of different places in the store, taken apart and put together."""
    loader = Loader(store, batch_size=N_DRAWN, seed=seed, shuffle=False, limit=N_DRAWN)
    batch = next(iter(loader.batches(0)))
    encoder.cpu()
    objective.cpu()
    rebuilt = uncover(encoder, objective, batch.signal, batch.key)
    channels = [(each.name, each.kind, "SD") for each in store.spec.channels]
    hidden = rebuilt.hidden.flatten(2).numpy()
    target = rebuilt.target.flatten(2).numpy()
    given = rebuilt.answers["model"].flatten(2).numpy()
    return [
        DrawnReconstruction(
            title=where(str(people[row]), "", np.nan),
            signal=target[place],
            channels=channels,
            sampling_hz=store.spec.sampling_hz,
            reconstructed=np.where(hidden[place], given[place], target[place]),
            hidden=hidden[place],
        )
        for place, row in enumerate(batch.window.tolist())
    ]
