"""What is known of people, asked beside everything else: age, sex, scores of a questionnaire."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import known_column
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.contract import Losses
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.base import Objective, ObjectiveConfig


class HeadConfig(Config):
    """One thing that is asked of people."""

    kind: Literal["regression", "classification"] = "regression"
    """A number, or one of `n_classes` classes that are numbered from 0."""
    column: str | None = None
    """Label or attribute in the store; called as the head if not given."""
    weight: float = Field(1.0, gt=0)
    """What it counts beside the others."""
    n_classes: int = Field(2, gt=1)
    """Classes, for classification."""


class AuxiliaryConfig(ObjectiveConfig):
    """What is asked of people."""

    judged: ClassVar[str] = "auxiliary"
    measure: ClassVar[str] = "loss"
    trivial: ClassVar[Mapping[str, str]] = {"auxiliary_mean": "average person"}

    codes: ClassVar[tuple[str, ...]] = ("subject",)

    heads: dict[str, HeadConfig] = Field(
        default_factory=lambda: {
            "age": HeadConfig(weight=1.0),
            "sex": HeadConfig(kind="classification", weight=0.5),
            "p_factor": HeadConfig(weight=1.0),
            "attention": HeadConfig(weight=0.5),
            "internalizing": HeadConfig(weight=0.5),
            "externalizing": HeadConfig(weight=0.5),
        },
        min_length=1,
    )
    """What is asked, by name."""
    hidden: int = Field(64, gt=0)
    """Features of a head's hidden layer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of them dropped."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels and attributes that are needed of each window, where they are known."""
        return tuple(head.column or name for name, head in self.heads.items())

    def build(self, encoder: Encoder) -> "Auxiliary":
        """Return the objective for `encoder`."""
        return Auxiliary(encoder, self)


class Auxiliary(Objective):
    """Asks the mean of all tokens what is known of the person, a small head for each thing.

    The loss of a head is the mean over the windows of a batch whose answer is known, the total the
    mean over heads that have any, by weight: what is missing counts nothing, and a batch without a
    single label leaves the heads alone. Numbers are standardised by the mean and deviation of
    training people, each counted once.

    Figures in eval mode are of people: the answers to all windows of a person are averaged.
    """

    def __init__(self, encoder: Encoder, config: AuxiliaryConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = nn.ModuleDict(
            {name: _head(encoder.width, config, head) for name, head in config.heads.items()}
        )
        for name, head in config.heads.items():
            n = head.n_classes if head.kind == "classification" else 2
            # Of a number, mean and deviation; of a class, its share.
            self.register_buffer(f"known_{name}", torch.full((n,), torch.nan))

    def survey(self, encoder: Encoder, stores: Sequence[WindowStore]) -> Sequence[str]:
        """Take mean and deviation, or shares of classes, of the training people."""
        unknown = []
        for name, head in self.config.heads.items():
            each = [of_people(store, head.column or name) for store in stores]
            values = np.concatenate([*each, np.empty(0)])
            if torch.isfinite(self.get_buffer(f"known_{name}")).all():
                continue  # it goes on with what a parent run has
            if len(values):
                self.get_buffer(f"known_{name}").copy_(torch.from_numpy(_summary(head, values)))
            else:
                unknown.append(name)
        if not unknown:
            return ()
        return [f"nobody's {', '.join(unknown)} is known in training: nothing of that is learned"]

    def resting(self) -> Iterable[nn.Parameter]:
        """Any head may meet a batch in which its answer is not known of anybody."""
        return self.parameters()

    def forward(self, encoder: Encoder, batch: Batch) -> Losses:
        """Return `auxiliary`, and in eval mode `auxiliary_mean` and what people are scored by."""
        pooled = encoder(batch.signal, None, batch.spec).tokens.mean(dim=(1, 2))
        losses: dict[str, Tensor | None] = {}
        trivial: dict[str, Tensor | None] = {}
        outputs: dict[str, Tensor] = {}
        for name, head in self.config.heads.items():
            wanted = self._wanted(name, batch.labels[head.column or name])
            answer = self.heads[name](pooled).float()
            losses[name] = _mean_known(_errors(head, answer, wanted), wanted)
            constant = self._constant(name, answer)
            trivial[name] = _mean_known(_errors(head, constant, wanted), wanted)
            outputs |= {f"aux_{name}": answer.detach(), f"aux_{name}_wanted": wanted}
        total = self._together(losses, pooled)
        parts = {"auxiliary": total.detach()}
        if self.training:
            return Losses(total, parts)
        parts["auxiliary_mean"] = self._together(trivial, pooled).detach()
        return Losses(total, parts, outputs | {"aux_subject": batch.codes["subject"]})

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return mean absolute errors of numbers and balanced accuracies of classes, of people."""
        figures: dict[str, float] = {}
        for name, head in self.config.heads.items():
            answer, wanted = (outputs[f"aux_{name}{end}"].double() for end in ("", "_wanted"))
            if head.kind == "classification":
                answer = answer.softmax(dim=1)
            known = torch.isfinite(wanted).numpy()
            subject = outputs["aux_subject"].numpy()[known]
            made, truth = answer.numpy()[known], wanted.numpy()[known]
            people = [subject == each for each in np.unique(subject)]
            if not people:
                continue
            means = np.array([made[rows].mean(axis=0) for rows in people])
            truths = np.array([truth[rows][0] for rows in people])
            if head.kind == "classification":
                found = _balanced_accuracy(means.argmax(axis=1), truths)
                figures[f"{name}_balanced_accuracy"] = found
            else:
                deviation = float(self.get_buffer(f"known_{name}")[1])
                figures[f"{name}_mae"] = float(np.abs(means[:, 0] - truths).mean() * deviation)
        return figures

    def _wanted(self, name: str, label: Tensor) -> Tensor:
        """Return what is wanted of a head (B,): standardised numbers, or classes."""
        if self.config.heads[name].kind == "classification":
            return label
        mean, deviation = self.get_buffer(f"known_{name}")
        standardised: Tensor = (label - mean) / deviation
        return standardised

    def _constant(self, name: str, answer: Tensor) -> Tensor:
        """Return the answer that everybody gets: the mean, which is 0, or the shares of classes."""
        if self.config.heads[name].kind == "classification":
            return self.get_buffer(f"known_{name}").clamp(min=1e-3).log().expand_as(answer)
        return torch.zeros_like(answer)

    def _together(self, losses: Mapping[str, Tensor | None], pooled: Tensor) -> Tensor:
        known = {name: loss for name, loss in losses.items() if loss is not None}
        if not known:
            # Nothing is asked of anybody: no gradient, neither of a head nor of the encoder.
            return pooled.new_zeros((), dtype=torch.float32)
        weights = {name: self.config.heads[name].weight for name in known}
        total: Tensor = torch.stack([weights[name] * loss for name, loss in known.items()]).sum()
        return total / sum(weights.values())


def of_people(store: WindowStore, column: str) -> NDArray[np.float64]:
    """Return what is known of the people of a store, (S,) a number for each of whom it is known."""
    values, subject = known_column(store, column), store.column("subject").astype(str)
    known = np.isfinite(values)
    _, first = np.unique(subject[known], return_index=True)
    of_each: NDArray[np.float64] = values[known][first].astype(np.float64)
    return of_each


def _head(width: int, config: AuxiliaryConfig, head: HeadConfig) -> nn.Module:
    n_outputs = head.n_classes if head.kind == "classification" else 1
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, config.hidden),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, n_outputs),
    )


def _summary(head: HeadConfig, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if head.kind == "classification":
        return np.bincount(values.astype(int), minlength=head.n_classes) / len(values)
    return np.array([values.mean(), values.std() or 1.0])


def _errors(head: HeadConfig, answer: Tensor, wanted: Tensor) -> Tensor:
    """Return the error of each window (B,); where nothing is known it is finite and not used."""
    known = torch.where(torch.isfinite(wanted), wanted, 0.0)
    if head.kind == "classification":
        return F.cross_entropy(answer, known.long(), reduction="none")
    return (answer[:, 0] - known).square()


def _mean_known(errors: Tensor, wanted: Tensor) -> Tensor | None:
    """Return the mean of errors (B,) where it is known what was wanted; None if it nowhere is."""
    is_known = torch.isfinite(wanted)
    if not bool(is_known.any()):
        return None
    return (errors * is_known).sum() / is_known.sum()


def _balanced_accuracy(answer: NDArray[np.int64], truth: NDArray[np.float64]) -> float:
    """Return the mean over classes of the share that is answered rightly."""
    return float(np.mean([(answer[truth == each] == each).mean() for each in np.unique(truth)]))
