"""Every question that a config may put to an encoder, each with what it counts."""

from typing import Self

from pydantic import model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.data.groups import GroupsConfig
from biosig_cli.engine.stages import Stage
from biosig_cli.models.base import Encoder
from biosig_cli.models.pretrained import Weights
from biosig_cli.objectives.auxiliary import AuxiliaryConfig
from biosig_cli.objectives.base import ObjectiveConfig, Pretraining
from biosig_cli.objectives.contrastive import ContrastiveConfig, MovieIscConfig
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.objectives.masked_codes import MaskedCodesConfig
from biosig_cli.objectives.masked_eeg import MaskedEegConfig
from biosig_cli.objectives.reconstruction import ReconstructionConfig
from biosig_cli.objectives.rhythm import RhythmConfig
from biosig_cli.objectives.tokenizer import TokenizerConfig


class ObjectivesConfig(Config):
    """What is asked of an encoder; their losses are summed, each times its `weight`."""

    masked: MaskedConfig | None = None
    """Hidden patches, asked back."""
    masked_eeg: MaskedEegConfig | None = None
    """Hidden patches of a montage, asked back."""
    tokenizer: TokenizerConfig | None = None
    """A code for each patch of a montage, from which its spectrum is drawn again."""
    masked_codes: MaskedCodesConfig | None = None
    """Which code a tokenizer gives to hidden patches."""
    auxiliary: AuxiliaryConfig | None = None
    """Age, sex and other things that are known of people."""
    contrastive: ContrastiveConfig | None = None
    """What different people met at the same time, alike."""
    movie_isc: MovieIscConfig | None = None
    """The courses of features over a movie, alike in different people."""
    rhythm: RhythmConfig | None = None
    """The rhythm of the heart under artefacts."""
    reconstruction: ReconstructionConfig | None = None
    """The window, drawn again from the few numbers that an autoencoder keeps."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.asked:
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"nothing is asked: give one of {known} a weight above 0")
        return self

    @property
    def asked(self) -> dict[str, ObjectiveConfig]:
        """The objectives that count, by name."""
        each = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: config for name, config in each.items() if config and config.weight > 0}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels and attributes that are needed of windows, where they are known."""
        return tuple(dict.fromkeys(name for each in self.asked.values() for name in each.labels))

    @property
    def codes(self) -> tuple[str, ...]:
        """Columns that tell windows apart which are needed."""
        return tuple(dict.fromkeys(name for each in self.asked.values() for name in each.codes))

    @property
    def groups(self) -> GroupsConfig | None:
        """How batches are made of people and moments, where an objective compares these.

        Raises:
            ConfigError: If two objectives want them differently.
        """
        asked = [each.groups for each in (self.contrastive, self.movie_isc) if each and each.weight]
        if len(set(asked)) > 1:
            raise ConfigError(
                "contrastive.groups and movie_isc.groups differ",
                hint="they share their batches: give both the same groups",
            )
        return asked[0] if asked else None

    @property
    def hides(self) -> bool:
        """Whether something is hidden from the encoder."""
        return any(config.hides for config in self.asked.values())

    @property
    def draws_target(self) -> bool:
        """Whether the denoised twins of windows are needed."""
        return self.reconstruction is not None and self.reconstruction.target != "input"

    def begins_anew(self, weights: Weights) -> bool:
        """Say whether the encoder begins with random weights although these are given."""
        return any(config.begins_anew(weights) for config in self.asked.values())

    def build(self, encoder: Encoder) -> Pretraining:
        """Return the encoder with what is asked of it.

        Raises:
            ConfigError: If the encoder can't be asked that.
        """
        hiding = [name for name, config in self.asked.items() if config.hides]
        if hiding and not encoder.can_hide:
            raise ConfigError(
                f"objectives.{hiding[0]} hides patches, and nothing can be hidden from "
                f"{getattr(encoder, 'name', type(encoder).__name__)}",
                hint="pretrain it by objectives.contrastive, movie_isc or auxiliary; or train it "
                "on labels: biosig finetune --from-scratch",
            )
        objectives = {name: config.build(encoder) for name, config in self.asked.items()}
        weights = {name: config.weight for name, config in self.asked.items()}
        return Pretraining(encoder, objectives, weights)

    def stages(self, epochs: int, lr: float) -> list[Stage]:
        """Return the stages of a training of `epochs`; one where all of it is alike.

        Raises:
            ConfigError: If two objectives want stages of their own.
        """
        each = {name: config.stages(epochs, lr) for name, config in self.asked.items()}
        staged = {name: stages for name, stages in each.items() if stages}
        if len(staged) > 1:
            raise ConfigError(
                f"{' and '.join(staged)} both divide the training into stages of their own",
                hint="ask them in two phases",
            )
        return next(iter(staged.values()), [Stage("training", epochs, lr)])
