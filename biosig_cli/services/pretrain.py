"""`biosig pretrain`: an encoder from unlabelled windows, which asks for what was hidden in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from biosig_cli import __version__
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.core.runtime import Machine, peak_memory_gb
from biosig_cli.data.store import WindowStore, open_split
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import BEST
from biosig_cli.engine.state import TrainResult
from biosig_cli.engine.train import Training
from biosig_cli.models.base import Encoder
from biosig_cli.models.kinds import AnyModel
from biosig_cli.models.pretrained import Weights, find_weights
from biosig_cli.models.ttm import TtmConfig, TtmEncoder
from biosig_cli.objectives.base import Objective, Pretraining
from biosig_cli.objectives.kinds import AnyObjective
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.objectives.rhythm import RhythmConfig
from biosig_cli.services.run_folder import carry_out, make_run
from biosig_cli.services.training import (
    TrainingConfig,
    announce_windows,
    check_folder,
    choose_place,
    describe_data,
    fitted_plan,
    make_loader,
    settle_folder,
    unfinished,
)

TRIVIAL = {
    "zero": "predict zero",
    "interpolation": "linear interpolation",
    "low_pass": "slowest waves in as many numbers",
}
"""Answers that need no model, by their names in the history."""


class PretrainConfig(TrainingConfig):
    """Settings of `biosig pretrain`."""

    data_dir: Path = Path("data/vitaldb_windows")
    """Folder with the window stores `train` and `val`."""
    output_dir: Path = Path("artifacts/pretrain")
    """Run folder."""
    channels: tuple[str, ...] | None = None
    """Channels to use, by name; all of the store if not given."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate of the windows, where a bare array does not state it."""
    model: AnyModel = TtmConfig()
    objective: AnyObjective = MaskedConfig()
    rhythm: RhythmConfig = RhythmConfig()
    rhythm_weight: float = Field(0.0, ge=0)
    """What the question for the rhythm under artefacts counts beside that for hidden patches; 0
    leaves it out. It needs a PPG."""


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining gave."""

    folder: Path
    checkpoint: Path
    train: TrainResult


def pretrain(
    config: PretrainConfig, reporter: Reporter, *, resume: bool = False, anyway: bool = False
) -> PretrainResult:
    """Train an encoder on the windows of `config.data_dir`.

    Args:
        config: What to do.
        reporter: Who says what happens.
        resume: Go on with the run in `config.output_dir`, if there is one.
        anyway: Go on with it even if it had other settings or windows.

    Raises:
        ConfigError: If a setting does not fit, or the folder holds another run.
        DataError: If there are no windows.
        CheckpointError: If weights can't be had or don't match.
        TrainingError: If a loss is not finite.
        InterruptedRunError: If the user stopped the run.
    """
    ready = prepare(config, reporter, resume=resume, anyway=anyway)
    result = carry_out("pretrain", ready.config, ready.training, ready.content)
    conclude(result, ready.config, ready.training.run.reporter)
    return PretrainResult(ready.config.output_dir, ready.config.output_dir / BEST, result)


@dataclass(frozen=True)
class Ready:
    """A pretraining that is ready to begin; nothing of it is written yet."""

    config: PretrainConfig
    training: Training
    content: dict[str, Any] | None
    """The checkpoint to go on from."""


def prepare(
    config: PretrainConfig, reporter: Reporter, *, resume: bool = False, anyway: bool = False
) -> Ready:
    """Open the windows and build what is trained on them; arguments and errors as `pretrain`."""
    reporter = distributed.heard(reporter)
    machine = Machine.detect()
    config = settle_folder(config, machine, reporter)
    check_folder(config.output_dir, resume=resume or anyway)
    stores = {
        name: open_split(
            config.data_dir, name, channels=config.channels, sampling_hz=config.sampling_hz
        )
        for name in ("train", "val")
    }
    place = choose_place(config, machine, reporter)
    weights = find_start(config.model)
    config = adopt_architecture(config.resolved(place.precision), weights)
    announce_windows(config, stores, reporter)
    trainable = build(config, stores["train"], weights, reporter)
    data = describe_data(stores)
    content = unfinished(config, data, reporter, anyway=anyway) if resume or anyway else None
    said = describe(config, trainable.encoder, weights) | {"data": data}
    run = make_run("pretrain", config, place, reporter=reporter, describe=said)
    draws_target = getattr(config.objective, "target", "input") != "input"
    train, val = (
        make_loader(config, name, store, place.device, target=draws_target)
        for name, store in stores.items()
    )
    plan = fitted_plan(config, reporter)
    stages = config.objective.stages(plan.epochs, plan.lr)
    return Ready(config, Training(trainable, train, val, plan, run, stages), content)


def find_start(model: AnyModel) -> Weights | None:
    """Return the weights to start from; None for random ones."""
    name = model.init_from if isinstance(model, TtmConfig) else None
    return find_weights(name) if name else None


def adopt_architecture(config: PretrainConfig, weights: Weights | None) -> PretrainConfig:
    """Return the config with the architecture of `weights`.

    Raises:
        ConfigError: If another architecture was asked for.
    """
    if weights is None or not isinstance(config.model, TtmConfig):
        return config
    asked, given = config.model, weights.config
    differing = [
        f"{name} {getattr(asked, name)} (weights: {getattr(given, name)})"
        for name in sorted(asked.model_fields_set - {"kind", "init_from", "dropout"})
        if getattr(asked, name) != getattr(given, name)
    ]
    if differing:
        raise ConfigError(
            f"{asked.init_from} has another architecture than asked for: {', '.join(differing)}",
            hint=f"leave these settings out, and use windows of {given.context_length} samples",
        )
    model = given.model_copy(update={"dropout": asked.dropout, "init_from": asked.init_from})
    return config.model_copy(update={"model": model})


def build(
    config: PretrainConfig, store: WindowStore, weights: Weights | None, reporter: Reporter
) -> Pretraining:
    """Return the encoder and its objective; random weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = config.model.build(store.spec)
        source = "random weights"
        if weights is not None:
            assert isinstance(encoder, TtmEncoder)
            source = f"{weights.source}: {weights.load_into(encoder).describe()}"
        objectives: dict[str, Objective] = {config.objective.kind: config.objective.build(encoder)}
        if config.rhythm_weight:
            objectives["rhythm"] = config.rhythm.build(encoder)
        trainable = Pretraining(encoder, objectives, {"rhythm": config.rhythm_weight})
    reporter.fact("encoder", f"{config.model.kind}, {n_parameters(encoder):,} parameters", source)
    for name, objective in objectives.items():
        counts = trainable.weights[name]
        reporter.fact(
            f"asks ({name})", f"{n_parameters(objective):,} parameters", f"weight {counts:g}"
        )
    shape = f"{encoder.n_positions} patches x {encoder.patch_length} samples"
    reporter.fact("windows", f"{', '.join(store.spec.names)}, {store.spec.duration_s:g} s, {shape}")
    return trainable


def n_parameters(module: nn.Module) -> int:
    """Return the number of parameters of `module`."""
    return sum(parameter.numel() for parameter in module.parameters())


def describe(config: PretrainConfig, encoder: Encoder, weights: Weights | None) -> dict[str, Any]:
    """Return what a checkpoint says besides its weights: enough to load it with nothing else."""
    return {
        "biosig_version": __version__,
        "spec": encoder.spec.dump(),
        "model_config": config.model.dump(),
        "config": config.dump(),
        "parent": weights.provenance() if weights else None,
        "lineage": [dict(run) for run in weights.lineage] if weights else [],
    }


def conclude(result: TrainResult, config: PretrainConfig, reporter: Reporter) -> None:
    """Say how good the best epoch is beside the trivial answers, and where everything lies."""
    best = {name: values[result.best_epoch - 1] for name, values in result.history.items()}
    answers = {"this model": best["val_msm" if "val_msm" in best else "val_mse"]}
    answers |= {
        said: best[f"val_{name}"] for name, said in TRIVIAL.items() if f"val_{name}" in best
    }
    zero = answers["predict zero"]
    what = "hidden patches" if "val_msm" in best else "reconstruction"
    title = f"{what} of {config.data_dir}/val, epoch {result.best_epoch}"
    rows = [(name, f"{error:.4f}", f"{error / zero:.3f}") for name, error in answers.items()]
    reporter.table(title, ("answer", "mean squared error", "of zero"), rows)
    if "val_r" in best:
        reporter.fact("r", f"{best['val_r']:.3f}", "drawn against wanted, on people not seen")
    if answers.pop("this model") >= min(answers.values()):
        reporter.warn(
            "the encoder is no better than a trivial answer on subjects it has not seen; "
            "it needs more subjects, more windows or longer training"
        )
    which = f"epoch {result.best_epoch} of {result.n_epochs}"
    reporter.fact("best", f"val_loss {result.best_val_loss:.4f}", which)
    reporter.fact("val / train", f"{best['val_loss'] / best['train_loss']:.2f}")
    reporter.fact("took", duration(result.duration_s), f"peak memory {peak_memory_gb():.1f} GB")
    reporter.fact("run", config.output_dir, f"{BEST}, history.png, training_history.json")
