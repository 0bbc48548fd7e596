"""Every kind of encoder that a config may name."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.models.base import Encoder
from biosig_cli.models.braindecode import BraindecodeConfig
from biosig_cli.models.eeg import EegConfig
from biosig_cli.models.ppg_autoencoder import PpgAutoencoderConfig
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.signal.spec import SignalSpec

TOO_LARGE = re.compile("can't allocate memory|[Oo]verflow|invalid.* negative dimension")
"""What torch says of a tensor that no machine holds."""


def _external(said: Any) -> Any:
    """Return the settings of a model; `braindecode:NAME` as its kind, or alone, is one of those."""
    if isinstance(said, str):
        said = {"kind": said}
    kind = said.get("kind") if isinstance(said, Mapping) else None
    family, colon, name = str(kind).partition(":")
    return {**said, "kind": family, "name": name} if colon else said


AnyModel = Annotated[
    TtmConfig | PpgAutoencoderConfig | EegConfig | BraindecodeConfig,
    Field(discriminator="kind"),
    BeforeValidator(_external),
]


def read_model(settings: Mapping[str, Any], source: str) -> AnyModel:
    """Return the architecture that a checkpoint states.

    Args:
        settings: Its `model_config`.
        source: What the checkpoint is called.

    Raises:
        CheckpointError: If it is none that is known here.
    """
    if not isinstance(settings, Mapping):
        raise CheckpointError(f"{source} does not say what model it holds")
    try:
        model: AnyModel = TypeAdapter(AnyModel).validate_python(dict(settings))
    except ValidationError as error:
        raise CheckpointError(
            f"{source} holds a model of kind {settings.get('kind')!r} that can't be built here: "
            f"{error.errors()[0]['msg']}",
            hint="it may have been made by a newer version of biosig: read it with that one",
        ) from None
    return model


def build_encoder(model: AnyModel, spec: SignalSpec) -> Encoder:
    """Return an encoder for windows of `spec`, with random weights.

    Raises:
        ConfigError: If it does not fit the windows, or the memory.
    """
    try:
        return model.build(spec)
    except (MemoryError, RuntimeError, TypeError) as error:
        if not isinstance(error, MemoryError) and not TOO_LARGE.search(str(error)):
            raise
        raise ConfigError(
            f"a {model.called} of these settings is larger than the memory",
            hint="make it smaller, or take a larger machine; if the settings are those of a "
            "checkpoint, it is damaged",
        ) from None
