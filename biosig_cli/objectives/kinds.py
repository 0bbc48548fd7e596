"""Every kind of question that a config may name as the main one."""

from typing import Annotated

from pydantic import Field

from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.objectives.reconstruction import ReconstructionConfig

AnyObjective = Annotated[MaskedConfig | ReconstructionConfig, Field(discriminator="kind")]
