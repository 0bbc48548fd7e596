"""`biosig inflate`: the same encoder for other channels, mapped by their names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from biosig_cli import __version__
from biosig_cli.catalog import load_encoder
from biosig_cli.core.artifacts import FORMAT, alone_in, sha256, write_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.channels import kind_of
from biosig_cli.engine.checkpoint import (
    BEST,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from biosig_cli.models.inflate import Inflation, TensorFate, inflate_weights
from biosig_cli.models.pretrained import told_of_people
from biosig_cli.services.model_card import MODEL_CARD, write_model_card
from biosig_cli.services.run_facts import CONFIG
from biosig_cli.signal.electrodes import electrode_positions
from biosig_cli.signal.spec import Channel, SignalSpec

REPORT = "inflation_report.json"


class InflateConfig(Config):
    """Which encoder, and which channels it is to have."""

    checkpoint: Path = Path("artifacts/pretrain")
    """Checkpoint or run folder."""
    channels: tuple[str, ...] = ("ACC_X", "ACC_Y", "ACC_Z", "PPG", "ECG")
    """The channels that it is to have, in their order."""
    map: dict[str, str] = {}
    """By new name, the known channel that it is."""
    init: str = "mean"
    """What new channels start from: mean (of the known ones, with noise), zero, copy:NAME, or
    position (a spherical spline of known electrodes), which is the default for electrodes."""
    seed: int = 42
    """Of the noise."""
    output: Path = Path("artifacts/inflated")
    """Folder for best_model.pt and inflation_report.json."""


@dataclass(frozen=True)
class InflateResult:
    """The inflated checkpoint, and what became of each tensor."""

    checkpoint: Path
    report: dict[str, Any]


def inflate(config: InflateConfig, reporter: Reporter) -> InflateResult:
    """Write a checkpoint whose encoder takes other channels.

    Raises:
        ConfigError: If the channels or the start make no sense, or the folder holds a run.
        CheckpointError: If it can't be read, or no channel is known.
    """
    if (config.output / CONFIG).exists():
        raise ConfigError(f"{config.output} holds a run", hint="choose another --output folder")
    source = find_checkpoint(config.checkpoint)
    content = load_checkpoint(source)
    parent = load_encoder(source)
    inflation = make_inflation(config, parent.spec)
    weights, fates = inflate_weights(parent.state_dict(), parent.channel_dims, inflation)
    fates += dropped_head(content)
    report = describe(config, source, inflation, fates, is_alike=parent.channel_dims == {})
    made = {
        "epoch": content.get("epoch", 0),
        "encoder_state_dict": weights,
        "decoder_state_dict": content.get("decoder_state_dict", {}),
        "optimizer_state_dict": {},
        "scheduler_state_dict": {},
        "scaler_state_dict": {},
        "best_val_loss": content.get("best_val_loss"),
        "metrics": content.get("metrics", {}),
        "rng": {},
        "position": {},
        "biosig_version": __version__,
        "spec": inflated_spec(parent.spec, inflation).dump(),
        "model_config": content["model_config"],
        "config": config.dump(),
        "parent": {"source": str(config.checkpoint), "sha256": report["sha256"]},
        # Nothing was trained here: it was shown what its parent was shown.
        "data": content.get("data", {}),
        "recipe": inflated_recipe(content.get("recipe"), inflation),
        "lineage": list(content.get("lineage", ())),
        "told": list(told_of_people(content)),
    }
    with alone_in(config.output):
        save_checkpoint(config.output / BEST, made)
        write_json(config.output / REPORT, report)
        write_model_card(config.output, config.output / MODEL_CARD)
    say(report, reporter)
    reporter.fact("written", config.output / BEST, f"{REPORT}, {MODEL_CARD}")
    return InflateResult(config.output / BEST, report)


def make_inflation(config: InflateConfig, spec: SignalSpec) -> Inflation:
    """Return how the channels of `spec` map to those asked for; electrodes go by their places.

    Raises:
        ConfigError: If the channels or the start make no sense, or a place is not known.
        CheckpointError: If no channel is known, and none can be drawn.
    """
    if any(channel.position is None for channel in spec.channels):
        return Inflation(spec.names, config.channels, config.map, config.init, config.seed)
    places = {channel.name: channel.position for channel in spec.channels if channel.position}
    renamed = {new: places[old] for new, old in config.map.items() if old in places}
    unknown = [name for name in config.channels if name not in places | renamed]
    init = config.init if "init" in config.model_fields_set else "position"
    return Inflation(
        spec.names,
        config.channels,
        config.map,
        init,
        config.seed,
        places | renamed | electrode_positions(unknown),
    )


def inflated_spec(spec: SignalSpec, inflation: Inflation) -> SignalSpec:
    """Return the windows that the inflated encoder takes; a known channel keeps kind and unit."""
    channels = []
    for origin in inflation.origins:
        if origin.known is None:
            name, place = origin.channel, inflation.places.get(origin.channel)
            kind = "eeg" if place else kind_of(name)
            channels.append(Channel(name=name, kind=kind, position=place))
        else:
            known = spec.channels[spec.names.index(origin.known)]
            channels.append(known.model_copy(update={"name": origin.channel}))
    return spec.model_copy(update={"channels": tuple(channels)})


def inflated_recipe(
    recipe: Mapping[str, Any] | None, inflation: Inflation
) -> dict[str, Any] | None:
    """Return how the windows are made; None where a channel is new, as nothing says how it is."""
    known = {origin.channel: origin.known for origin in inflation.origins}
    if recipe is None or None in known.values():
        return None
    channels = {new: recipe["channels"][old] for new, old in known.items()}
    return dict(recipe) | {"channels": channels}


def dropped_head(content: Mapping[str, Any]) -> list[TensorFate]:
    """Return the tensors of a task's head: it answers for the channels it was trained on."""
    head = content.get("head_state_dict", {})
    return [TensorFate(f"head.{name}", "dropped", tuple(t.shape), None) for name, t in head.items()]


def describe(
    config: InflateConfig,
    source: Path,
    inflation: Inflation,
    fates: Sequence[TensorFate],
    *,
    is_alike: bool,
) -> dict[str, Any]:
    """Return the report: where each channel comes from, and what became of each tensor.

    Args:
        config: What was asked for.
        source: The checkpoint that was inflated.
        inflation: How channels map to channels.
        fates: What became of its tensors.
        is_alike: Whether the encoder has no parameters by channel.
    """
    alike = {"how": "the same for every channel"} if is_alike else {}
    return {
        "format": FORMAT,
        "biosig_version": __version__,
        "checkpoint": str(config.checkpoint),
        "sha256": sha256(source),
        "known": list(inflation.known),
        "wanted": list(inflation.wanted),
        "init": inflation.init,
        "seed": inflation.seed,
        "channels": [asdict(origin) | alike for origin in inflation.origins],
        "counts": dict(Counter(fate.fate for fate in fates)),
        "tensors": [asdict(fate) for fate in fates],
    }


def say(report: Mapping[str, Any], reporter: Reporter) -> None:
    """Show where each channel comes from, and every tensor that changed its shape."""
    rows = [(each["channel"], each["how"]) for each in report["channels"]]
    reporter.table("channels", ("channel", "parameters"), rows)
    changed = [each for each in report["tensors"] if each["fate"] != "copied"]
    shown = [
        (each["name"], each["fate"], _shape(each["before"]), _shape(each["after"]))
        for each in changed[:12]
    ]
    if shown:
        reporter.table("changed tensors", ("tensor", "fate", "before", "after"), shown)
    counts = ", ".join(f"{n} {fate}" for fate, n in report["counts"].items())
    reporter.fact("tensors", counts)


def _shape(shape: Sequence[int] | None) -> str:
    return "-" if shape is None else " x ".join(map(str, shape))
