"""A question put to an encoder while pretraining."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.data.batch import Batch
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.contract import Losses, Trainable
from biosig_cli.engine.stages import Stage
from biosig_cli.models.base import Encoder
from biosig_cli.models.pretrained import Trained, Weights
from biosig_cli.models.weights import owned_by


class ObjectiveConfig(Config, ABC):
    """Base of the settings that build an objective."""

    hides: ClassVar[bool] = False
    """Whether it hides something from the encoder."""
    codes: ClassVar[tuple[str, ...]] = ()
    """Columns that tell windows apart which it needs, such as `subject`."""
    judged: ClassVar[str]
    """The figure that says how good the answers are, such as `mse`; less is better."""
    measure: ClassVar[str]
    """What that figure is called in words."""
    trivial: ClassVar[Mapping[str, str]]
    """Of answers that need no model, the figures and what they are called in words."""
    also: ClassVar[Mapping[str, str]] = {}
    """Other figures that are told at the end, and what they are called in words."""

    weight: float = Field(1.0, ge=0)
    """What its loss counts beside that of the others; 0 leaves it out."""

    @abstractmethod
    def build(self, encoder: Encoder) -> "Objective":
        """Return the objective for `encoder`.

        Raises:
            ConfigError: If this encoder can't be asked that.
        """

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels and attributes that are needed of each window, where they are known."""
        return ()

    def begins_anew(self, weights: Weights) -> bool:
        """Say whether the encoder begins with random weights although these are given."""
        return False

    def doubts(self, best: Mapping[str, float]) -> Sequence[str]:
        """Return what speaks against trusting the figures of the best epoch, if anything does."""
        return ()

    def stages(self, epochs: int, lr: float) -> list[Stage]:
        """Return the stages of a training of `epochs`; none where all of it is alike."""
        return []


class Objective(nn.Module, ABC):
    """May own a head, never the encoder."""

    @abstractmethod
    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return what the encoder's answer costs."""

    def enter(self, stage: str) -> None:
        """Be told which stage of a training begins, by its name."""

    def survey(self, encoder: Encoder, stores: Sequence[WindowStore]) -> Sequence[str]:
        """Look at the training windows once, before training, for what answers are judged by.

        Returns:
            What the user should know of them.
        """
        return ()

    def take_over(self, name: str, weights: Weights | None) -> str:
        """Fill it with what it learned in a parent run, where it has the same shape there.

        Args:
            name: What it was called there.
            weights: What that run left.

        Returns:
            What became of its tensors, in words; nothing if it was not asked there.
        """
        known = owned_by(name, weights.decoder) if isinstance(weights, Trained) else {}
        if weights is None or not known:
            return ""
        own = self.state_dict()
        fitting = {
            name: tensor
            for name, tensor in known.items()
            if name in own and own[name].shape == tensor.shape
        }
        if len(fitting) < len(own):
            return f"{len(own)} tensors, not shaped like those of {weights.source}"
        self.load_state_dict(fitting, strict=False)
        return f"all {len(own)} tensors of {weights.source}"

    def stepped(self) -> None:
        """Be told that the weights have moved; all processes are."""

    def resting(self) -> Iterable[nn.Parameter]:
        """Return the parameters that a batch may leave without a gradient."""
        return ()

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return figures that only all windows together have; see `Trainable.score`."""
        return {}


class Pretraining(Trainable):
    """An encoder and the objectives put to it; their weighted totals are summed.

    Args:
        encoder: What is trained.
        objectives: By name, what is asked of it; the names of their parts differ.
        weights: By name, what an objective counts; one where none is given.
    """

    def __init__(
        self,
        encoder: Encoder,
        objectives: Mapping[str, Objective],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objectives = nn.ModuleDict(objectives)
        self.weights = dict.fromkeys(objectives, 1.0) | dict(weights or {})

    def forward(self, batch: Batch) -> Losses:
        """Return the losses of `batch`."""
        each: dict[str, Losses] = {
            name: ask(self.encoder, batch) for name, ask in self.objectives.items()
        }
        totals = [self.weights[name] * losses.total for name, losses in each.items()]
        parts = {name: part for losses in each.values() for name, part in losses.parts.items()}
        outputs = {name: out for losses in each.values() for name, out in losses.outputs.items()}
        return Losses(torch.stack(totals).sum(), parts, outputs)

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures of all objectives."""
        return {name: value for each in self._each() for name, value in each.score(outputs).items()}

    def resting(self) -> Iterable[nn.Parameter]:
        """Return what the objectives say may rest."""
        return [parameter for each in self._each() for parameter in each.resting()]

    def stepped(self) -> None:
        """Tell the objectives."""
        for objective in self._each():
            objective.stepped()

    def survey(self, stores: Sequence[WindowStore]) -> list[str]:
        """Let the objectives look at the training windows, and return what they have to say."""
        return [note for each in self._each() for note in each.survey(self.encoder, stores)]

    def enter(self, stage: str) -> None:
        """Tell the objectives."""
        for objective in self._each():
            objective.enter(stage)

    def _each(self) -> Iterator[Objective]:
        for objective in self.objectives.values():
            assert isinstance(objective, Objective)
            yield objective

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The encoder, and what the objectives own: each under its name."""
        return {"encoder": self.encoder, "decoder": self.objectives}
