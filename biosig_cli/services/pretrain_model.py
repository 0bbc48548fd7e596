"""The encoder of a pretraining and what is asked of it, from random weights or from a parent's."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from biosig_cli import __version__
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.models.base import Encoder
from biosig_cli.models.kinds import AnyModel, build_encoder
from biosig_cli.models.pretrained import Trained, Weights, find_weights
from biosig_cli.objectives.base import Objective, Pretraining
from biosig_cli.services.mixed_windows import Stores, check_alike, check_subjects
from biosig_cli.services.pretrain_config import PretrainConfig

MOST_LISTED = 8


def find_start(model: AnyModel) -> Weights | None:
    """Return the weights to start from; None for random ones."""
    return find_weights(model.init_from) if model.init_from else None


def adopt_architecture(config: PretrainConfig, weights: Weights | None) -> PretrainConfig:
    """Return the config with the architecture of `weights`.

    Raises:
        ConfigError: If another architecture was asked for.
    """
    if weights is None:
        return config
    asked, given = config.model.dump(), weights.config.dump()
    free = type(config.model).free
    stated = config.model.model_fields_set - free - {"kind"}
    differing = [
        f"{name} {asked[name]} (weights: {given.get(name)})"
        for name in (*["kind"][: bool(stated)], *sorted(stated))
        if asked[name] != given.get(name)
    ]
    if differing:
        raise ConfigError(
            f"{config.model.init_from} has another architecture than asked for: "
            f"{', '.join(differing)}",
            hint="leave these settings out: the weights bring theirs",
        )
    kept = {name: asked[name] for name in free & set(asked) & set(given)}
    return config.model_copy(update={"model": weights.config.model_copy(update=kept)})


def build(
    config: PretrainConfig, stores: Stores, weights: Weights | None, reporter: Reporter
) -> Pretraining:
    """Return the encoder and its objectives; random weights depend on the seed alone.

    An objective that a parent run was asked, too, goes on with what it learned there.
    """
    check_subjects(stores)
    spec = stores["train"][0].spec
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = build_encoder(config.model, spec)
        check_alike(stores, encoder)
        source = "random weights"
        if weights is not None and not config.objectives.begins_anew(weights):
            source = f"{weights.source}: {weights.load_into(encoder).describe()}"
        trainable = config.objectives.build(encoder)
    reporter.fact("encoder", f"{config.model.called}, {n_parameters(encoder):,} parameters", source)
    for name, objective in trainable.objectives.items():
        assert isinstance(objective, Objective)
        known = objective.take_over(name, weights)
        counts = "; ".join(filter(None, (f"weight {trainable.weights[name]:g}", known)))
        reporter.fact(f"asks ({name})", f"{n_parameters(objective):,} parameters", counts)
    notes = trainable.survey(stores["train"])
    if isinstance(weights, Trained) and not config.objectives.begins_anew(weights):
        left = dict.fromkeys(name.partition(".")[0] for name in weights.decoder)
        dropped = [name for name in left if name not in trainable.objectives]
        if dropped:
            reporter.fact("not asked again", ", ".join(dropped), f"of {weights.source}, dropped")
    for note in notes:
        reporter.warn(note)
    shape = f"{encoder.n_positions} patches x {encoder.patch_length} samples"
    for names in dict.fromkeys(store.spec.names for store in stores["train"]):
        reporter.fact("windows", f"{listed(names)}, {spec.duration_s:g} s, {shape}")
    return trainable


def listed(names: Sequence[str]) -> str:
    """Return names in a line; of many the first and the last, and how many there are."""
    if len(names) <= MOST_LISTED:
        return ", ".join(names)
    return f"{', '.join(names[:2])}, ... {names[-1]} ({len(names)} channels)"


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
        "told": list(weights.told) if weights else [],
    }
