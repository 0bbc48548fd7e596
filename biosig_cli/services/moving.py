"""What of an encoder may move while it is trained, when, and how fast."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from pydantic import Field

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.stages import EVERYTHING, Stage
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.base import Pretraining

ENCODER, HEADS = "encoder.", "objectives.*"
"""How parameters of a pretraining begin that are the encoder's; those that are not."""


class MoveConfig(Config):
    """What may move; everything, from the first epoch on, if nothing is said."""

    only: tuple[str, ...] = EVERYTHING
    """Patterns of those of the encoder's parameters that may move at all, such as `blocks.*`."""
    frozen_epochs: int = Field(0, ge=0)
    """Epochs at the beginning in which the encoder rests and only what is asked of it learns."""
    encoder_lr: float = Field(1.0, gt=0)
    """Learning rate of the encoder, as a multiple of the plan's."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Learning rate of each block as a multiple of that of the next one: early blocks move less."""

    def apply(self, stages: Sequence[Stage], trainable: Pretraining, *, hides: bool) -> list[Stage]:
        """Return the stages of a training in which only this moves.

        The encoder rests in stages of their own, cut from the first ones, each with its own rise
        and fall of the learning rate.

        Args:
            stages: The stages of a training in which everything moves.
            trainable: The encoder, and what is asked of it.
            hides: Whether anything is hidden; else what an encoder has for that rests.

        Raises:
            ConfigError: If a pattern fits nothing, or nothing would move.
        """
        heads = [HEADS] if any(True for _ in trainable.objectives.parameters()) else []
        moves = (*heads, *self._moving(trainable.encoder, hides=hides))
        scales = layer_scales(trainable.encoder, self.encoder_lr, self.layer_decay)
        if self.frozen_epochs and not heads:
            raise ConfigError(
                "nothing moves while the encoder is frozen: what is asked of it has no parameters",
                hint="move.frozen_epochs=0",
            )
        made, n_left = [], self.frozen_epochs
        for stage in stages:
            n_frozen = min(n_left, stage.epochs)
            n_left -= n_frozen
            if n_frozen:
                made.append(replace(stage, epochs=n_frozen, moves=(HEADS,)))
            if stage.epochs > n_frozen:
                epochs = stage.epochs - n_frozen
                made.append(replace(stage, epochs=epochs, moves=moves, scales=scales))
        return made

    def _moving(self, encoder: Encoder, *, hides: bool) -> list[str]:
        """Return the patterns of those of the encoder's parameters that may move."""
        names = [name for name, _ in encoder.named_parameters()]
        idle = [p for p in self.only if not any(fnmatchcase(name, p) for name in names)]
        if idle:
            raise ConfigError(
                f"move.only: no parameter of the encoder is called like {', '.join(idle)}",
                hint=f"it has {', '.join(encoder.blocks)}, ...",
            )
        reached = names if hides else encoder.reached
        chosen = [name for name in reached if any(fnmatchcase(name, p) for p in self.only)]
        return [ENCODER + name for name in chosen]


def layer_scales(encoder: Encoder, top: float, decay: float) -> Mapping[str, float]:
    """Return, by pattern, the learning rate of each of the encoder's parameters as a multiple.

    Args:
        encoder: Whose parameters.
        top: That of the last block.
        decay: That of a block as a multiple of the next one's. What is in no block, such as the
            embedding of patches, counts as a block before the first.

    Source:
        Layer-wise decay as in Clark et al., ICLR 2020, arXiv 2003.10555, section 3.1.
    """
    if top == 1.0 and decay == 1.0:
        return {}
    n = len(encoder.blocks)
    each = {
        f"{ENCODER}{name}.*": top * decay ** (n - 1 - place)
        for place, name in enumerate(encoder.blocks)
    }
    return each | {f"{ENCODER}*": top * decay**n}
