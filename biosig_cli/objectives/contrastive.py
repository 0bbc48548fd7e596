"""Objectives over what several people met at the same time: contrast, and correlated courses."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.data.batch import Batch
from biosig_cli.data.groups import GroupsConfig
from biosig_cli.engine.contract import Losses
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.base import Objective, ObjectiveConfig
from biosig_cli.objectives.contrast import InfoNce, mean_isc, pair_up, retrieval, spread_penalty

CODES = ("subject", "segment", "movie")


class ContrastiveConfig(ObjectiveConfig):
    """What is alike, and how much."""

    judged: ClassVar[str] = "contrastive"
    measure: ClassVar[str] = "contrastive loss"
    trivial: ClassVar[Mapping[str, str]] = {"contrastive_even": "all windows alike"}
    also: ClassVar[Mapping[str, str]] = {
        "retrieval": "moment found in another person",
        "retrieval_chance": "by chance",
        "retrieval_new": "the same, movie time not trained on",
        "retrieval_new_chance": "by chance",
        "retrieval_state": "state found in another person",
        "retrieval_state_chance": "by chance",
        "alignment": "squared distance of what should be alike",
        "uniformity": "log mean exp(-2 squared distance) of all",
    }
    codes: ClassVar[tuple[str, ...]] = CODES

    temperature: float = Field(0.1, gt=0)
    """What similarities are divided by; 0.07 to 0.1 is usual."""
    learn_temperature: bool = False
    """Let it move, between 0.02 and 1."""
    guard_s: float = Field(4.0, ge=0)
    """Moments of a movie nearer than this are neither alike nor apart, in seconds: at least the
    length of a window."""
    width: int = Field(128, gt=0)
    """Features of the embedding that is compared; it is dropped afterwards."""
    groups: GroupsConfig = GroupsConfig()

    @property
    def labels(self) -> tuple[str, ...]:
        """When in its movie a window is."""
        return ("movie_s",)

    def build(self, encoder: Encoder) -> "Contrastive":
        """Return the objective for `encoder`."""
        return Contrastive(encoder, self)


class Contrastive(Objective):
    """Asks that the same moment of a movie is alike in different people, and others are apart.

    The mean of all tokens goes through two layers to a vector of unit length. In eval mode
    `contrastive_even` stands beside the loss, what an embedding costs that tells nothing apart, and
    over all validation windows `retrieval` beside chance, `alignment` and `uniformity`; where some
    movie time is not trained on, `retrieval_new` among the moments of that time alone, and where
    states are compared, too, `retrieval_state` among these.
    """

    def __init__(self, encoder: Encoder, config: ContrastiveConfig) -> None:
        super().__init__()
        self.config = config
        self.project = projection(encoder.width, config.width)
        self.loss = InfoNce(config.temperature, learned=config.learn_temperature)

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `contrastive`, and in eval mode `contrastive_even`."""
        tokens = encoder(batch.signal, None, batch.spec).tokens
        embedding = F.normalize(self.project(tokens.mean(dim=(1, 2))).float(), dim=1)
        subject, segment, movie = (batch.codes[name] for name in CODES)
        pairs = pair_up(subject, segment, movie, batch.labels["movie_s"], self.config.guard_s)
        total = self.loss(embedding, pairs)
        parts = {"contrastive": total.detach()}
        if self.training:
            return Losses(total, parts)
        parts["contrastive_even"] = self.loss(torch.zeros_like(embedding), pairs).detach()
        outputs = {f"con_{name}": batch.codes[name] for name in CODES}
        outputs["con_time_s"] = batch.labels["movie_s"]
        return Losses(total, parts, outputs | {"con_embedding": embedding.detach()})

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return `alignment` and `uniformity` of all windows, and `retrieval` beside chance.

        The latter of moments; as `retrieval_new` of those whose time the config holds out, and as
        `retrieval_state` of states, where it names some.
        """
        asked = [outputs["con_embedding"], *(outputs[f"con_{name}"] for name in CODES)]
        time_s, groups = outputs["con_time_s"], self.config.groups
        is_state = time_s.isnan()
        parts = {"retrieval": ~is_state}
        if groups.held_out_s:
            parts["retrieval_new"] = torch.from_numpy(groups.is_held_out(time_s.numpy()))
        if groups.states:
            parts["retrieval_state"] = is_state
        everything = retrieval(*asked)
        figures = {name: everything[name] for name in ("alignment", "uniformity")}
        for name, part in parts.items():
            if part.any():
                among = retrieval(*(each[part] for each in asked))
                figures |= {f"{name}{end}": among[f"retrieval{end}"] for end in ("", "_chance")}
        return figures


class MovieIscConfig(ObjectiveConfig):
    """How time courses are compared."""

    judged: ClassVar[str] = "movie_isc"
    measure: ClassVar[str] = "1 - inter-subject correlation"
    trivial: ClassVar[Mapping[str, str]] = {"movie_isc_none": "no correlation"}
    codes: ClassVar[tuple[str, ...]] = CODES

    spread_weight: float = Field(1.0, ge=0)
    """Weight of what keeps features from being constant or all the same."""
    width: int = Field(16, gt=0)
    """Features whose time courses are compared; they are dropped afterwards."""
    groups: GroupsConfig = GroupsConfig()

    def build(self, encoder: Encoder) -> "MovieIsc":
        """Return the objective for `encoder`."""
        return MovieIsc(encoder, self)


class MovieIsc(Objective):
    """Asks that features take the same course over a movie in different people.

    1 minus the mean inter-subject correlation of each feature over the moments of a batch, plus a
    penalty on features that don't vary or say the same: a constant correlates with nothing, but
    features that are all the same, or noise that is shared, would do.
    """

    def __init__(self, encoder: Encoder, config: MovieIscConfig) -> None:
        super().__init__()
        self.config = config
        self.project = projection(encoder.width, config.width)

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `movie_isc` and `spread`, and in eval mode `movie_isc_none`."""
        tokens = encoder(batch.signal, None, batch.spec).tokens
        embedding = self.project(tokens.mean(dim=(1, 2))).float()
        apart = 1 - mean_isc(embedding, batch.codes["subject"], batch.codes["segment"])
        spread = spread_penalty(embedding)
        parts = {"movie_isc": apart.detach(), "spread": spread.detach()}
        if not self.training:
            parts["movie_isc_none"] = torch.ones_like(apart)
        return Losses(apart + self.config.spread_weight * spread, parts)


def projection(width: int, n_features: int) -> nn.Module:
    """Return two layers from the mean of tokens to what is compared.

    Normalized by layer, not by batch: batches are small, and who is in them must not show.
    """
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_features)
    )
