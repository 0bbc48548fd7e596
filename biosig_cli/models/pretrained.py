"""Weights to start from, found by name: a folder, the model hub, or a run of ours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from biosig_cli.core.artifacts import sha256
from biosig_cli.core.errors import CheckpointError
from biosig_cli.engine.checkpoint import BEST, LAST, find_checkpoint, lineage, load_checkpoint
from biosig_cli.engine.plain_files import is_plain
from biosig_cli.models.base import Encoder
from biosig_cli.models.hub import fetch_from_hub, parse_hub_id
from biosig_cli.models.kinds import AnyModel, read_model
from biosig_cli.models.ttm import OWN_PARAMETERS, TtmConfig, TtmEncoder
from biosig_cli.models.weights import LoadReport, load_weights
from biosig_cli.signal.spec import SignalSpec

RUNS = "artifacts/"
"""Where the commands put their runs: what begins with it is no model of a hub."""


@dataclass(frozen=True)
class Released:
    """Released TTM weights: their architecture, their tensors, and where they come from."""

    config: TtmConfig
    backbone: Mapping[str, Tensor]
    source: str
    sha256: str
    lineage: tuple[Mapping[str, Any], ...] = ()
    told: tuple[str, ...] = ()

    def load_into(self, encoder: Encoder) -> LoadReport:
        """Fill the backbone of `encoder`, a TTM; what it adds to one stays as it is.

        Raises:
            CheckpointError: If a single backbone tensor is not matched.
        """
        assert isinstance(encoder, TtmEncoder)
        weights = {f"backbone.{name}": tensor for name, tensor in self.backbone.items()}
        own = [name for name in encoder.state_dict() if name.startswith(OWN_PARAMETERS)]
        report = load_weights(encoder, weights, source=self.source, created=own)
        encoder.reset_mask_token()
        return report

    def provenance(self) -> dict[str, Any]:
        """Return what a checkpoint says of its parent."""
        return {"source": self.source, "sha256": self.sha256}


@dataclass(frozen=True)
class Trained:
    """The encoder of one of our runs.

    Attributes:
        config: Its architecture.
        encoder: Its tensors.
        spec: The windows it takes.
        source: What it was called.
        sha256: Of the checkpoint.
        lineage: Whose windows shaped it, its own run's last: for each run in its past `checkpoint`,
            `sha256` and `data`.
    """

    config: AnyModel
    encoder: Mapping[str, Tensor]
    spec: SignalSpec
    source: str
    sha256: str
    lineage: tuple[Mapping[str, Any], ...] = ()
    decoder: Mapping[str, Tensor] = field(default_factory=dict)
    """What the objectives owned; empty for a run that had none."""
    told: tuple[str, ...] = ()
    """Labels that it was told of the people it was pretrained with, in this run or before."""

    def load_into(self, encoder: Encoder) -> LoadReport:
        """Fill `encoder`, which has the same channels, or takes any.

        Raises:
            CheckpointError: If the channels differ or a tensor is not matched.
        """
        known = self.spec.names
        if encoder.spec.names != known and not encoder.any_montage:
            raise CheckpointError(
                f"{self.source} was trained on {', '.join(known)}, "
                f"the windows have {', '.join(encoder.spec.names)}",
                hint=f"take its channels in its order: --channels {','.join(known)}; or give it "
                f"these: biosig inflate --channels {','.join(encoder.spec.names)}",
            )
        return load_weights(encoder, self.encoder, source=self.source)

    def provenance(self) -> dict[str, Any]:
        """Return what a checkpoint says of its parent."""
        return {"source": self.source, "sha256": self.sha256}


Weights = Released | Trained


def find_weights(name: str) -> Weights:
    """Return the encoder called `name`: a folder, `owner/model[@revision]`, or a run of ours.

    Raises:
        CheckpointError: If it can't be found, fetched or read.
    """
    path = Path(name).expanduser()
    if path.is_file() or is_plain(path) or any((path / f).is_file() for f in (BEST, LAST)):
        return read_trained(path, name)
    if path.is_dir():
        return read_released(path, name)
    if name.startswith(RUNS):
        raise CheckpointError(
            f"no run at {name}",
            hint=f"make one: biosig pretrain --output-dir {name}; or name another: a run, a folder "
            "with config.json and model.safetensors, or a hub id",
        )
    hub_id = parse_hub_id(name)
    if hub_id is None or name.startswith(("/", ".", "~")):
        raise CheckpointError(
            f"no weights at {name!r}",
            hint="give a folder with config.json and model.safetensors, a run, or a hub id "
            "such as ibm-granite/granite-timeseries-ttm-r1@1024_96_v1",
        )
    return read_released(fetch_from_hub(*hub_id), name)


def read_trained(path: Path, source: str) -> Trained:
    """Return the encoder of a run, from its folder or one of its checkpoints.

    Raises:
        CheckpointError: If there is none, it is damaged, or of an unknown family.
    """
    content = load_checkpoint(path)
    digest = sha256(find_checkpoint(path))
    return Trained(
        config=read_model(content["model_config"], source),
        encoder=content["encoder_state_dict"],
        spec=SignalSpec.parse(content["spec"]),
        source=source,
        sha256=digest,
        lineage=lineage(content, source, digest),
        decoder=content.get("decoder_state_dict", {}),
        told=told_of_people(content),
    )


def told_of_people(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels that an encoder was told of the people it was pretrained with.

    In its own run, and in those that it comes from.
    """
    objectives = content.get("config", {}).get("objectives") or {}
    auxiliary = objectives.get("auxiliary") or {"heads": {}, "weight": 0}
    heads = auxiliary["heads"] if auxiliary["weight"] else {}
    own = [head.get("column") or name for name, head in heads.items()]
    return tuple(dict.fromkeys([*content.get("told", ()), *own]))


def read_released(folder: Path, source: str) -> Released:
    """Return the TTM weights in `folder`.

    Raises:
        CheckpointError: If a file is missing or damaged, or they are of another architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights_path = folder / "model.safetensors"
    try:
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        tensors = load_file(weights_path)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"weights in {folder} can't be read: {error}",
            hint="expected config.json and model.safetensors, complete",
        ) from None
    prefix = "backbone."
    backbone = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    try:
        config = TtmConfig.from_released(settings, source)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} does not describe a TTM: {error}"
        ) from None
    return Released(config, backbone, source, sha256(weights_path))
