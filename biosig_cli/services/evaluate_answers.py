"""Everything that is compared on the same windows: models, probes, baselines, and their figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.models.base import Encoder
from biosig_cli.models.rhythm import RhythmReader
from biosig_cli.services.evaluate_data import Labelled
from biosig_cli.services.evaluate_models import (
    Asking,
    Candidate,
    Frozen,
    find_pretrained,
    frozen,
    random_twin,
)
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.baselines import baselines
from biosig_cli.tasks.examples import LEVELS, Examples
from biosig_cli.tasks.features import Features, hand_made, join_features
from biosig_cli.tasks.folds import Fold
from biosig_cli.tasks.intervals import difference, with_intervals
from biosig_cli.tasks.metrics import PRIMARY, Figure
from biosig_cli.tasks.probes import probe

if TYPE_CHECKING:
    from biosig_cli.services.evaluate import EvaluateConfig

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Models and the windows that they and everything else are asked about."""

    config: "EvaluateConfig"
    models: Sequence[Candidate]
    data: Labelled
    device: str

    @property
    def n_classes(self) -> int | None:
        """K, or None for values."""
        return self.data.task.n_outputs if self.data.task.known_values else None

    @property
    def unit(self) -> str:
        """Unit of the label, on a scale."""
        return self.data.task.unit if self.data.task.kind == "regression" else ""

    @property
    def metric(self) -> str:
        """The figure that everything is compared by: on a scale, the one that chose epochs."""
        task = self.data.task
        if task.kind == "regression" and task.monitor != "loss":
            return task.monitor
        return PRIMARY[task.kind]

    @property
    def asking(self) -> Asking:
        """How windows are put to models."""
        return Asking(self.config.batch_size, self.device)

    @cached_property
    def examples(self) -> Examples:
        """All labelled windows."""
        return self.data.examples

    @cached_property
    def features(self) -> Features:
        """Hand-made features of all windows, of the channels that the first model reads."""
        channels = self.models[0].encoder.spec.names
        return join_features(
            [
                hand_made(self.data.stores[name], part.row, channels)
                for name, part in self.data.parts.items()
            ]
        )

    @cached_property
    def pretrained(self) -> tuple[Frozen | None, str]:
        """The encoder that the first model started from, and why it is not there."""
        return find_pretrained(self.models[0])

    @cached_property
    def embeddings(self) -> dict[str, tuple[str, Values]]:
        """What frozen encoders make of all windows: how they came to be, and (N, F) vectors.

        None of them was trained on labels, so that a probe of them may be fitted to any fold.
        """
        first = self.models[0]
        found: dict[str, tuple[str, Values]] = {}
        for model in self.models:
            if model.head is None:
                found |= self._embedded(model.name, "pretrained encoder, frozen", frozen(model))
        pretrained, _ = self.pretrained
        if pretrained is not None:
            said = f"the encoder that {first.name} started from, frozen"
            found |= self._embedded("pretrained", said, pretrained)
        twin = Frozen(random_twin(first, self.config.seed), None)
        return found | self._embedded("random encoder", "the same architecture, untrained", twin)

    def _embedded(self, name: str, said: str, model: Frozen) -> dict[str, tuple[str, Values]]:
        """Return the pooled tokens of a frozen encoder, and its reading of the rhythm."""
        found = {f"{name}, frozen": (said, self.embed(model.encoder))}
        if model.reader is not None:
            read = self.embed(model.encoder, model.reader)
            found[f"{name}, its reading of the rhythm"] = said, read
        return found

    def embed(self, encoder: Encoder, reader: RhythmReader | None = None) -> Values:
        """Return one vector per labelled window."""
        return self.data.ask(lambda store, rows: self.asking.embed(encoder, store, rows, reader))

    def answers(self) -> tuple[list[Answer], list[str]]:
        """Return what everything says of the windows that are scored, and what is missing."""
        store, part = self.data.stores["test"], self.data.parts["test"]
        of_models = [
            Answer(
                model.name,
                "model",
                f"fine-tuned, epoch {model.content['epoch']}",
                self.asking.answer(model, store, part.row),
                model.threshold,
            )
            for model in self.models
            if model.head is not None
        ]
        others, notes = self.others(self.data.fold) if self.data.can_learn else ([], [])
        _, why = self.pretrained
        return of_models + others, [*notes, *([why] if why else [])]

    def others(self, fold: Fold) -> tuple[list[Answer], list[str]]:
        """Return what probes and baselines, fitted on the fold, say of its test windows."""
        probes = [self.probe(name, fold) for name in self.embeddings]
        based, notes = baselines(
            self.examples,
            fold,
            self.features,
            n_classes=self.n_classes,
            unit=self.unit,
            is_of_trials=self.data.is_of_trials,
        )
        return probes + based, notes

    def probe(self, name: str, fold: Fold) -> Answer:
        """Return what a probe of the embeddings called `name` says."""
        said, embeddings = self.embeddings[name]
        kind = self.config.probe
        answer = probe(
            kind,
            embeddings,
            self.examples,
            fold,
            n_classes=self.n_classes,
            name=f"{name} + {kind} probe",
        )
        return replace(answer, about=f"{said}; {answer.about}")

    def from_features(self, fold: Fold) -> Answer:
        """Return what a line through the hand-made features says."""
        name, n_classes = "features by hand", self.n_classes
        values = self.features.values
        return probe("linear", values, self.examples, fold, n_classes=n_classes, name=name)

    def difference(self, examples: Examples, first: Answer, other: Answer) -> Figure:
        """Return how much better the first answer is, by the primary figure at the task's level."""
        level = self.data.task.level
        grouped, first = first.at_level(examples, level)
        _, other = other.at_level(examples, level)
        return difference(
            grouped,
            first,
            other,
            self.metric,
            unit=self.unit,
            seed=self.config.seed,
            n_resamples=self.config.n_resamples,
        )

    def figures(self, examples: Examples, answer: Answer) -> dict[str, Figure]:
        """Return every figure of an answer with its interval."""
        return with_intervals(
            examples,
            answer,
            unit=self.unit,
            seed=self.config.seed,
            n_resamples=self.config.n_resamples,
        )

    def levels(self, examples: Examples, answer: Answer) -> dict[str, dict[str, Any]]:
        """Return the figures by window, by record and by subject, as far as these are known.

        Raises:
            DataError: If the windows do not say what an answer to the task is about.
        """
        is_known = {
            "window": True,
            "record": (examples.record != "").all(),
            "subject": (examples.subject != "").all(),
        }
        found: dict[str, dict[str, Any]] = {}
        for level in LEVELS:
            if is_known[level] or level == self.data.task.level:
                figures = self.figures(*answer.at_level(examples, level))
                found[level] = {name: figure.plain() for name, figure in figures.items()}
        return found
