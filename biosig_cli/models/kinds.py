"""Every kind of encoder that a config may name."""

from typing import Annotated

from pydantic import Field

from biosig_cli.models.ppg_autoencoder import PpgAutoencoderConfig
from biosig_cli.models.ttm import TtmConfig

AnyModel = Annotated[TtmConfig | PpgAutoencoderConfig, Field(discriminator="kind")]
