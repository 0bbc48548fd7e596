"""A question put to an encoder while pretraining."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn

from biosig_cli.core.config import Config
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses, Trainable
from biosig_cli.models.base import Encoder


class ObjectiveConfig(Config):
    """Base of the settings that build an objective."""


class Objective(nn.Module, ABC):
    """May own a head, never the encoder."""

    @abstractmethod
    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return what the encoder's answer costs."""


class Pretraining(Trainable):
    """An encoder and the objective put to it."""

    def __init__(self, encoder: Encoder, objective: Objective) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = objective

    def forward(self, batch: Batch) -> Losses:
        """Return the losses of `batch`."""
        losses: Losses = self.objective(self.encoder, batch)
        return losses

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The encoder, and what the objective owns."""
        return {"encoder": self.encoder, "decoder": self.objective}
