"""The labelled windows of an evaluation: those that are scored, and those to learn answers from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.remote import local_store, stated
from biosig_cli.data.store import WindowStore
from biosig_cli.models.pretrained import told_of_people
from biosig_cli.services.audit import check_before_scoring, trained_by
from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.task_windows import open_for_scoring, open_task_windows
from biosig_cli.tasks.examples import Examples, find_examples, join_examples
from biosig_cli.tasks.folds import Fold
from biosig_cli.tasks.kinds import AnyTask

if TYPE_CHECKING:
    from biosig_cli.services.evaluate import EvaluateConfig

Question = Callable[[WindowStore, NDArray[np.int64]], NDArray[Any]]
LEARNED = ("train", "val")


@dataclass(frozen=True)
class Labelled:
    """Labelled windows of several stores, put together in an order that is always the same.

    Attributes:
        data_dir: Where the windows that are scored lie.
        split: Whose they are.
        stores: By split: those of `train` and `val`, where they could be had, and of `test`.
        parts: The labelled windows of each.
        task: The task, with its classes.
        is_own: Whether all of it is one data set, so that people can be left out in turn.
        notices: What a reader has to know.
        seen: The same, where people are left out in turn.
    """

    data_dir: Path
    split: str
    stores: dict[str, WindowStore]
    parts: dict[str, Examples]
    task: AnyTask
    is_own: bool
    notices: list[str]
    seen: list[str]

    @property
    def examples(self) -> Examples:
        """All labelled windows."""
        return join_examples(list(self.parts.values()))

    @property
    def fold(self) -> Fold:
        """Which of them are learned from, and which are scored."""
        sizes = {name: len(each) for name, each in self.parts.items()}
        ends = dict(zip(sizes, np.cumsum(list(sizes.values())), strict=True))
        places = {name: np.arange(ends[name] - sizes[name], ends[name]) for name in sizes}
        none = np.arange(0)
        return Fold(places.get("train", none), places.get("val", none), places["test"])

    @property
    def can_learn(self) -> bool:
        """Whether there are windows to fit baselines and probes on."""
        return "train" in self.parts

    @property
    def is_of_trials(self) -> bool:
        """Whether the label was measured between the events of each trial."""
        facts = self.stores["test"].manifest.get("labels", {}).get(self.task.label, {})
        return "what" in facts

    def ask(self, question: Question) -> NDArray[Any]:
        """Return what `question` answers to a store and rows, for all labelled windows."""
        each = [question(self.stores[name], part.row) for name, part in self.parts.items()]
        return np.concatenate(each)

    def describe(self) -> dict[str, Any]:
        """Return what the report says of the windows that are scored."""
        test, store = self.parts["test"], self.stores["test"]
        source = store.manifest.get("source") or {}
        counts = {}
        if self.task.kind == "classification":
            numbers = np.bincount(test.target.astype(int), minlength=len(self.task.classes))
            counts = dict(zip(self.task.class_names, numbers.tolist(), strict=True))
        records = set(zip(test.subject.tolist(), test.record.tolist(), strict=True))
        return {
            "data_dir": str(self.data_dir),
            "dataset": str(source.get("kind", "")),
            "licence": str(source.get("licence", "")),
            "split": self.split,
            "n_windows": len(test),
            "n_records": len(records) if (test.record != "").any() else 0,
            "n_subjects": test.n_subjects,
            "counts": counts,
            "channels": list(store.spec.names),
            "digest": store.digest,
        }


def open_labelled(
    config: "EvaluateConfig",
    models: Sequence[Candidate],
    task: AnyTask,
    folder: Path,
    reporter: Reporter,
) -> Labelled:
    """Open the windows that are scored, and those that the first model was trained beside.

    Raises:
        ConfigError: If it is not said which windows.
        DataError: If there are none, or none with a label.
        LeakageError: If a model saw someone in the test split.
    """
    first = models[0]
    own = first.content["config"].get("data_dir") if first.head is not None else None
    data_dir = config.data_dir or (local_store(own, reporter) if own else None)
    if data_dir is None:
        raise ConfigError(
            f"{first.path} is a pretrained encoder: it is not said which windows to score",
            hint="give them: --data-dir FOLDER",
        )
    stores, notices = open_splits(config, models, data_dir, own, folder, reporter)
    past = [run for model in models for run in model.past]
    is_own = own is None or stated(data_dir) == own
    if config.split in ("test", "all"):
        # Windows of another data set may bear ids that mean other people.
        checked = stores if is_own and config.split == "test" else {"test": stores["test"]}
        check_before_scoring(data_dir, checked, reporter, past=past, labels=[task.label])
    else:
        what = "trained" if config.split == "train" else "chose the best epoch of"
        notices.append(f"these windows {what} the model: this is no figure of unseen people")
    labels = find_examples(stores.get("train", stores["test"]), task.label, classes=None).target
    if first.task is None:
        facts = stores["test"].manifest.get("labels", {}).get(task.label, {})
        task = task.settle(labels, facts)
    parts = {
        name: in_order(find_examples(store, task.label, classes=task.known_values))
        for name, store in stores.items()
    }
    before = first.past[:-1] if first.head is not None else first.past
    seen = seen_before(before, parts) if is_own else []
    notices += [
        f"{model.name} was told {task.label} of the people it was pretrained with "
        "(objectives.auxiliary): its frozen encoder is no measure of what signals alone teach, and "
        "left out in turn, their answers are no news to it"
        for model in models
        if task.label in told_of_people(model.content)
    ]
    return Labelled(data_dir, config.split, stores, parts, task, is_own, notices, seen)


def seen_before(past: Sequence[Mapping[str, Any]], parts: Mapping[str, Examples]) -> list[str]:
    """Return what is to be said where pretraining saw people who are left out in turn."""
    seen = {who for run in trained_by(past) for who in run.subjects}
    here = {str(who) for part in parts.values() for who in np.unique(part.subject)}
    if not seen & here:
        return []
    return [
        f"pretraining saw signals of {len(seen & here)} of these {len(here)} subjects, without "
        "labels: left out in turn, they are not people that the encoder never saw"
    ]


def open_splits(
    config: "EvaluateConfig",
    models: Sequence[Candidate],
    data_dir: Path,
    own: str | None,
    folder: Path,
    reporter: Reporter,
) -> tuple[dict[str, WindowStore], list[str]]:
    """Return the windows to learn answers from and those to score, and what is missing."""
    first = models[0]
    # None: all that there are, where no model asks for any.
    channels = list(dict.fromkeys(name for model in models for name in model.channels)) or None
    if own is None:  # a pretrained encoder: the windows themselves are split
        windows = open_task_windows(
            data_dir,
            channels=channels,
            sampling_hz=config.sampling_hz,
            seed=config.seed,
            recipe=config.recipe,
            work_dir=folder,
            reporter=reporter,
        )
        reporter.fact("split", windows.origin)
        return learned_and_scored(windows.stores, config.split), []

    def opened(place: Path, split: str, reporter: Reporter) -> WindowStore:
        return open_for_scoring(
            place,
            split,
            channels=channels,
            sampling_hz=config.sampling_hz,
            known_splits=first.content.get("splits"),
            recipe=config.recipe or first.content["config"].get("recipe"),
            work_dir=first.folder,
            reporter=reporter,
        )

    test = opened(data_dir, config.split, reporter)
    if config.split in LEARNED:
        why = "no baseline is fitted: these windows are those that one would learn from"
        return {"test": test}, [why]
    try:
        # What there is to say of its own windows was said just now, or by finetune.
        learned = {name: opened(local_store(own), name, Reporter(silent=True)) for name in LEARNED}
    except DataError as error:
        why = (
            f"the windows that {first.name} was trained on can't be opened, so no baseline or "
            f"probe could be fitted: {error}"
        )
        return {"test": test}, [why]
    return learned | {"test": test}, []


def learned_and_scored(stores: Mapping[str, WindowStore], split: str) -> dict[str, WindowStore]:
    """Return the windows to learn from and those of `split` to score.

    Raises:
        ConfigError: If the split is one to learn from.
    """
    if split != "test" or "test" not in stores:
        raise ConfigError(
            f"a pretrained encoder is probed by learning from train and val and scoring test; "
            f"asked for {split}, there are {', '.join(stores)}",
            hint="give --split test, and windows that have one",
        )
    return dict(stores)


def in_order(examples: Examples) -> Examples:
    """Return the windows in an order that does not depend on the store's."""
    return examples.take(np.lexsort((examples.start_s, examples.record, examples.subject)))
