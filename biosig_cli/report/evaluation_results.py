"""What an evaluation found, as `test_metrics.json` holds it: checked, and with a type each."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from biosig_cli.core.artifacts import check_format
from biosig_cli.core.errors import DataError

LevelName = Literal["window", "record", "subject"]
FEW_SUBJECTS = 20
"""Below this many test subjects an interval by bootstrap is clearly too narrow."""


class _Part(BaseModel):
    """Base of all parts: what a later version adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> Self:
        """Return what `metrics` holds.

        Raises:
            DataError: Naming each entry that is missing or wrong, or the version that wrote them.
        """
        check_format(metrics, "the result of an evaluation")
        try:
            return cls.model_validate(dict(metrics))
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            ]
            raise DataError(
                "the result of an evaluation can't be shown: " + "; ".join(problems),
                hint="make it again with `biosig evaluate`",
            ) from None


class Estimate(_Part):
    """A figure with its 95 % interval."""

    value: float | None = None
    """None where it is not defined."""
    low: float | None = None
    high: float | None = None
    why: str = ""
    """Why it or its interval is not defined, or what else is to be said of it."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its ends, None where there is none."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return self.low, self.high


Figures = Mapping[str, Estimate]
"""Estimates by the key of the metric: `auroc`, `mae`, ..."""


class Task(_Part):
    """What was asked of the model."""

    kind: Literal["classification", "regression"]
    label: str
    classes: tuple[str, ...] = ()
    """Names of the classes; of two, the second is the positive one."""
    level: LevelName
    """The level that decides."""
    primary: str
    """The metric that decides."""
    unit: str = ""
    higher_is_better: bool = True

    @property
    def is_binary(self) -> bool:
        """Whether it asks for one of two classes."""
        return self.kind == "classification" and len(self.classes) == 2


class Data(_Part):
    """What the model was tested on."""

    data_dir: str = ""
    dataset: str = ""
    licence: str = ""
    split: str
    n_windows: int
    n_records: int
    n_subjects: int
    counts: Mapping[str, int] = {}
    """Windows by class."""


class Model(_Part):
    """A checkpoint that was evaluated."""

    name: str
    checkpoint: str = ""
    sha256: str = ""
    n_parameters: int | None = None
    channels: tuple[str, ...] = ()
    epoch: int | None = None
    parent: str | None = None
    """The checkpoint that its training started from."""


class Group(_Part):
    """The primary figure of a model over a part of the people."""

    group: str
    n_windows: int
    n_subjects: int
    figure: Estimate


class Curve(_Part):
    """Points of a curve; `n` counts the windows behind each."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    n: tuple[int, ...] = ()


class Fold(_Part):
    """One fold of a cross-validation."""

    fold: int
    subjects: tuple[str, ...] = ()
    n_windows: int
    value: float | None = None


class Answer(_Part):
    """A model, a probe or a baseline, and how well it answers."""

    name: str
    kind: Literal["model", "probe", "baseline"]
    about: str = ""
    """How it was made, in a sentence."""
    threshold: float | None = None
    """Score above which it says the positive class."""
    levels: Mapping[LevelName, Figures]
    difference: Estimate | None = None
    """How much better the first answer is, by the primary figure; above 0 it is, of errors too."""
    groups: Mapping[str, tuple[Group, ...]] = {}
    confusion: tuple[tuple[int, ...], ...] | None = None
    """Windows by true class (rows) and class said (columns)."""
    curves: Mapping[str, Curve] = {}
    folds: tuple[Fold, ...] = ()


class CrossValidation(_Part):
    """The same answers with other people left out in turn."""

    how: str
    n_folds: int
    n_windows: int
    n_subjects: int
    answers: tuple[Answer, ...]


class Point(_Part):
    """How well an answer does with a part of the labels."""

    fraction: float
    n_windows: int
    median: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[float | None, ...] = ()


class Learner(_Part):
    """An answer over growing parts of the labels."""

    name: str
    points: tuple[Point, ...]


class LabelEfficiency(_Part):
    """How many labels the answers need."""

    metric: str
    answers: tuple[Learner, ...]


class Evaluation(_Part):
    """All of it."""

    biosig_version: str = ""
    made_at: str = ""
    task: Task
    data: Data
    models: tuple[Model, ...] = ()
    notices: tuple[str, ...] = ()
    lead: Literal["cross_validation", "split"] = "split"
    answers: tuple[Answer, ...]
    cross_validation: CrossValidation | None = None
    label_efficiency: LabelEfficiency | None = None

    @property
    def cross_validation_leads(self) -> bool:
        """Whether the page begins with the cross-validation."""
        return self.lead == "cross_validation" and self.cross_validation is not None

    def primary(self, answer: Answer) -> Estimate:
        """Return the figure that decides, not defined where the answer has none."""
        figures = answer.levels.get(self.task.level, {})
        return figures.get(self.task.primary, Estimate(why="not measured"))


class ChannelResult(_Part):
    """How well one channel is reconstructed, by answer and metric."""

    answers: Mapping[str, Figures]


class Reconstruction(_Part):
    """What was found of an encoder alone."""

    biosig_version: str = ""
    made_at: str = ""
    task: Mapping[str, Any]
    data: Data
    models: tuple[Model, ...] = ()
    notices: tuple[str, ...] = ()
    channels: Mapping[str, ChannelResult]


class Person(_Part):
    """How well the windows of one person are drawn again."""

    subject: str
    n_windows: int
    channels: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    """By channel, answer and metric."""


class Read(_Part):
    """A rate as it was read from one thing."""

    name: str
    kind: Literal["probe", "baseline"]
    about: str = ""
    figures: Figures
    difference: Estimate | None = None
    """How much better the first answer is."""


class Probe(_Part):
    """How well a rate is read from embeddings."""

    label: str
    unit: str
    how: str
    """Where the true rate comes from."""
    n_windows: int
    n_subjects: int
    n_new_subjects: int
    """People among them that the encoder never saw."""
    answers: tuple[Read, ...]


class Drawings(Reconstruction):
    """What was found of an autoencoder alone."""

    subjects: tuple[Person, ...]
    probes: tuple[Probe, ...] = ()


def models_of(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers under test: the models or, where none is, the first answer."""
    return [answer for answer in answers if answer.kind == "model"] or list(answers[:1])
