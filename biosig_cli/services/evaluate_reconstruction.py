"""A pretrained encoder by itself: what it puts together of patches that were hidden."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_cli.core.artifacts import FORMAT, provenance, write_json
from biosig_cli.core.errors import CheckpointError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import Loader
from biosig_cli.data.store import WindowStore
from biosig_cli.models.base import Encoder
from biosig_cli.models.weights import load_weights, owned_by
from biosig_cli.objectives.distances import interpolate
from biosig_cli.objectives.masked import Masked, MaskedConfig
from biosig_cli.objectives.reconstruction import Reconstruction, ReconstructionConfig
from biosig_cli.objectives.similarity import low_pass
from biosig_cli.report.evaluation_material import DrawnReconstruction, Material
from biosig_cli.report.reconstruction_page import write_reconstruction_page
from biosig_cli.services.audit import check_before_scoring
from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.evaluate_pictures import where
from biosig_cli.services.task_windows import open_for_scoring
from biosig_cli.tasks.intervals import mean_with_interval

if TYPE_CHECKING:
    from biosig_cli.services.evaluate import EvaluateConfig

N_DRAWN = 4
FLAT = ("zero", "mean")
"""Answers that are the same everywhere, and so go along with nothing."""
AT_ONCE = 4_000_000
"""Samples that are put to the encoder at once."""


def evaluate_reconstruction(
    config: "EvaluateConfig", model: Candidate, device: str, folder: Path, reporter: Reporter
) -> dict[str, Any]:
    """Score what an encoder puts together of hidden patches, channel by channel.

    Errors are in units of the deviation of the window's visible part.

    Raises:
        CheckpointError: If the checkpoint holds no decoder.
        LeakageError: If the encoder saw someone in the test split.
    """
    objective = open_objective(model)
    data_dir = config.data_dir or Path(model.content["config"]["windows"][0]["store"])
    store = open_for_scoring(
        data_dir,
        config.split,
        channels=model.encoder.spec.names,
        sampling_hz=config.sampling_hz,
        known_splits=None,
        recipe=config.recipe,
        work_dir=folder,
        reporter=reporter,
    )
    if config.split in ("test", "all"):
        check_before_scoring(data_dir, {"test": store}, reporter, past=model.past, labels=())
    figures = measure(model.encoder, objective, store, config, device)
    people = subjects_of(store)
    channels = {
        name: {
            "answers": {
                answer: {
                    metric: mean_with_interval(
                        values[:, place], people, seed=config.seed, n_resamples=config.n_resamples
                    ).plain()
                    for metric, values in each.items()
                }
                for answer, each in figures.items()
            }
        }
        for place, name in enumerate(store.spec.names)
    }
    n_subjects = len(store.subjects)
    metrics = {
        "format": FORMAT,
        **provenance("torch", "numpy"),
        "command": "evaluate",
        "task": {"kind": "reconstruction"},
        "data": {
            "data_dir": str(data_dir),
            "dataset": str((store.manifest.get("source") or {}).get("kind", "")),
            "split": config.split,
            "n_windows": len(store),
            "n_records": 0,
            "n_subjects": n_subjects,
        },
        "models": [model.describe()],
        "notices": [],
        "channels": channels,
    }
    write_json(folder / "test_metrics.json", metrics)
    drawn = Material(reconstructions=draw_some(model.encoder, objective, store, config.seed))
    write_reconstruction_page(folder / "report.html", metrics, drawn=drawn)
    conclude(channels, len(store), n_subjects, folder, reporter)
    return metrics


Drawing = Masked | Reconstruction
DRAWING: dict[str, type[MaskedConfig | ReconstructionConfig]] = {
    "masked": MaskedConfig,
    "reconstruction": ReconstructionConfig,
}
"""Objectives that draw windows, by name."""


def open_objective(model: Candidate) -> Drawing:
    """Return the objective that the encoder was pretrained with.

    Raises:
        CheckpointError: If the checkpoint holds none.
    """
    settings = model.content["config"].get("objectives") or {}
    weights = model.content.get("decoder_state_dict")
    drawing = [name for name in DRAWING if settings.get(name)]
    if not drawing or not weights:
        raise CheckpointError(
            f"{model.path} holds no decoder, so nothing can be reconstructed",
            hint="give the run of `biosig pretrain` itself, or probe this encoder for a label: "
            "--label NAME --data-dir FOLDER",
        )
    asked = DRAWING[drawing[0]].parse(settings[drawing[0]])
    objective = asked.build(model.encoder)
    load_weights(objective, owned_by(drawing[0], weights), source=f"{model.path} (decoder)")
    return objective.eval()


@dataclass(frozen=True)
class Rebuilt:
    """A batch of windows, of which patches were hidden: (B, C, P, L), and what is said of them."""

    target: Tensor
    hidden: Tensor
    answers: dict[str, Tensor]


@torch.no_grad()
def rebuild(encoder: Encoder, objective: Drawing, batch: Batch) -> Rebuilt:
    """Return what the model and answers that need none put where the window was taken away."""
    if isinstance(objective, Reconstruction):
        return redraw(encoder, objective, batch)
    return uncover(encoder, objective, batch.signal, batch.key)


def redraw(encoder: Encoder, objective: Reconstruction, batch: Batch) -> Rebuilt:
    """Draw whole windows again from what the encoder keeps; they count as one patch, all hidden."""
    target = objective.wanted(batch).float()
    n_numbers = encoder.n_positions * objective.latent_width
    answers = {
        "model": objective.draw(encoder, batch.signal).float(),
        "zero": torch.zeros_like(target),
        "low_pass": low_pass(target.flatten(0, 1), n_numbers).view_as(target),
    }
    patches = {name: answer[:, :, None] for name, answer in answers.items()}
    return Rebuilt(target[:, :, None], torch.ones_like(target[:, :, None]).bool(), patches)


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
    encoder: Encoder, objective: Drawing, store: WindowStore, config: "EvaluateConfig", device: str
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return (N, C) errors of every window on its hidden samples, by answer and metric."""
    encoder.to(device)
    objective.to(device)
    found: dict[str, dict[str, list[Tensor]]] = {}
    n_fitting = AT_ONCE // (store.spec.n_channels * store.spec.n_samples)
    loader = Loader(
        store,
        batch_size=max(1, min(config.batch_size, n_fitting)),
        seed=config.seed,
        shuffle=False,
        target=getattr(objective, "target", "input") != "input",
    )
    for batch in loader.batches(0):
        rebuilt = rebuild(encoder, objective, batch.to(device))
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


def subjects_of(store: WindowStore) -> NDArray[Any]:
    """Return (N,) whose windows they are, "" where the store does not say."""
    if store.subjects:
        return store.column("subject").astype(str)
    return np.full(len(store), "")


def draw_some(
    encoder: Encoder, objective: Drawing, store: WindowStore, seed: int
) -> list[DrawnReconstruction]:
    """Return a few windows of different places in the store, taken apart and put together."""
    target = getattr(objective, "target", "input") != "input"
    loader = Loader(
        store, batch_size=N_DRAWN, seed=seed, shuffle=False, limit=N_DRAWN, target=target
    )
    batch = next(iter(loader.batches(0)))
    encoder.cpu()
    objective.cpu()
    rebuilt = rebuild(encoder, objective, batch)
    channels = [(each.name, each.kind, "SD") for each in store.spec.channels]
    people, hidden = subjects_of(store), rebuilt.hidden.flatten(2).numpy()
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


def conclude(
    channels: dict[str, Any], n_windows: int, n_subjects: int, folder: Path, reporter: Reporter
) -> None:
    """Show the errors, channel by channel, beside the trivial ones."""
    answers = list(next(iter(channels.values()))["answers"])
    rows = [
        (channel, *(f"{each['answers'][answer]['mse']['value']:.4f}" for answer in answers))
        for channel, each in channels.items()
    ]
    title = f"mean squared error: {n_windows:,} windows of {n_subjects} subjects"
    reporter.table(title, ("channel", *answers), rows)
    reporter.fact("report", folder / "report.html", "test_metrics.json")
