"""Every kind of task that a config may name."""

from typing import Annotated

from pydantic import Field

from biosig_cli.tasks.classification import ClassificationConfig
from biosig_cli.tasks.regression import RegressionConfig

AnyTask = Annotated[ClassificationConfig | RegressionConfig, Field(discriminator="kind")]
