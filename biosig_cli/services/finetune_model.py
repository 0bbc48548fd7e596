"""What `finetune` trains: an encoder that fits the windows, a head that fits the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from biosig_cli import __version__
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from biosig_cli.models.base import Encoder
from biosig_cli.models.kinds import AnyModel, build_encoder
from biosig_cli.services.finetune_stages import make_stages
from biosig_cli.services.finetune_start import Parent, load_parent, start_head
from biosig_cli.services.training import fitted_plan, make_loader
from biosig_cli.tasks.base import FineTuning, Values
from biosig_cli.tasks.examples import Examples, by_level, find_examples
from biosig_cli.tasks.kinds import AnyTask

if TYPE_CHECKING:
    from biosig_cli.services.finetune import FinetuneConfig


@dataclass(frozen=True)
class Model:
    """What is trained, and the labelled windows that it is trained on.

    Attributes:
        trainable: Encoder, head and task.
        task: With the classes, or the scale, that the training labels have.
        examples: The labelled windows of each split.
        model_config: The architecture of the encoder.
        weights: What it starts from; None for random weights.
    """

    trainable: FineTuning
    task: AnyTask
    examples: Mapping[str, Examples]
    model_config: AnyModel
    weights: Parent | None

    def describe(
        self, config: "FinetuneConfig", past: tuple[Mapping[str, Any], ...]
    ) -> dict[str, Any]:
        """Return what a checkpoint says besides its weights: all it takes to load it."""
        return {
            "biosig_version": __version__,
            "spec": self.trainable.encoder.spec.dump(),
            "model_config": self.model_config.dump(),
            "config": config.dump(),
            "task": self.task.dump(),
            "parent": self.weights.provenance() if self.weights else None,
            "lineage": [dict(run) for run in past],
            "told": list(self.weights.told) if self.weights else [],
        }

    @property
    def trivial_name(self) -> str:
        """What the answer is called that needs no signal."""
        return "shares of train" if self.task.kind == "classification" else "mean of train"

    def trivial_score(self, split: str) -> dict[str, float]:
        """Return the figures of a split when everyone gets the same answer; NaN for undefined."""
        target, n = self.examples["train"].target, len(self.examples[split])
        if self.task.kind == "classification":
            shares = np.bincount(target.astype(int), minlength=self.task.n_outputs) / len(target)
            answer: Values = np.tile(shares, (n, 1))
        else:
            answer = np.full(n, target.mean())
        figures = self.task.score(self.examples[split].target, answer)
        return {name: value for name, value in figures.items() if name != "threshold"}


def make_model(
    config: "FinetuneConfig",
    parent: Parent | None,
    stores: Mapping[str, WindowStore],
    reporter: Reporter,
) -> Model:
    """Return encoder, head and task for the labelled windows of `stores`.

    Raises:
        DataError: If labels are missing, all alike, or windows hold no numbers.
        CheckpointError: If the encoder can't be fitted to the windows.
    """
    task, examples = settle_task(config.task, stores)
    announce_labels(task, examples, stores, reporter)
    store = stores["train"]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model_config = parent.config if parent else config.model
        encoder = build_encoder(model_config, store.spec)
        source = "random weights"
        if parent is not None and not config.from_scratch:
            source = f"{parent.source}: {load_parent(encoder, parent, config, reporter)}"
        check_moments(task, encoder)
        head = task.head.build(len(encoder.montage()), encoder.width, task.n_outputs)
        if parent is not None and not config.from_scratch:
            start_head(head, parent, encoder, task, store, examples["train"])
    n_encoder, n_head = (sum(p.numel() for p in m.parameters()) for m in (encoder, head))
    reporter.fact("encoder", f"{model_config.called}, {n_encoder:,} parameters", source)
    reporter.fact("head", f"{task.head.kind}, {n_head:,} parameters")
    loss = task.make_loss(examples["train"].target)
    trainable = FineTuning(encoder, head, task, loss, examples["val"])
    weights = None if config.from_scratch else parent
    return Model(trainable, task, examples, model_config, weights)


def check_moments(task: AnyTask, encoder: Encoder) -> None:
    """Refuse to ask an encoder when something was whose token is of the whole window.

    Raises:
        ConfigError: If so.
    """
    if task.head.kind == "temporal" and encoder.n_positions < 2:
        raise ConfigError(
            "a temporal head weighs moments of a window, and this encoder makes one token of all",
            hint="take another head: --head linear or mlp",
        )


def settle_task(
    task: AnyTask, stores: Mapping[str, WindowStore]
) -> tuple[AnyTask, dict[str, Examples]]:
    """Return the task with its classes or scale, and the labelled windows of each split.

    Raises:
        DataError: If `train` or `val` has no labels, only one class where ranks are compared, or
            does not say which record or subject a window is from where answers are about those.
    """
    train = stores["train"]
    labels = find_examples(train, task.label, classes=None).target
    settled = task.settle(labels, train.manifest.get("labels", {}).get(task.label, {}))
    examples = {
        name: find_examples(store, task.label, classes=settled.known_values)
        for name, store in stores.items()
    }
    n_val = len(examples["val"])
    nothing = np.zeros((n_val, settled.n_outputs) if settled.known_values else n_val)
    val, _ = by_level(examples["val"], nothing, settled.level)
    if settled.known_values and settled.monitored[0] != "loss":
        found = np.unique(val.target)
        if len(found) < 2:
            whose = ", ".join(sorted(set(val.subject.tolist())))
            raise DataError(
                f"all {len(val)} validation {settled.level}s (subjects {whose}) are of class "
                f"{settled.say(found[0])}: {settled.monitored[0]} is not defined on "
                "them, so no epoch can be chosen by it",
                hint="split with another seed (prepare-splits --seed 1), or --monitor loss",
            )
    if settled.monitored[0] in ("nrmse", "r") and len(np.unique(val.target)) < 2:
        raise DataError(
            f"{settled.label} is the same in all validation {settled.level}s, of which there are "
            f"{len(val)}: {settled.monitored[0]} is not defined on them, so no epoch can be chosen "
            "by it",
            hint="split with another seed (prepare-splits --seed 1), or --monitor mae",
        )
    return settled, examples


def announce_labels(
    task: AnyTask,
    examples: Mapping[str, Examples],
    stores: Mapping[str, WindowStore],
    reporter: Reporter,
) -> None:
    """Say what is asked, and how often each answer is right in each split."""
    reporter.fact("task", task.kind, f"label {task.label}, by {task.level}")
    rows = []
    for name, each in examples.items():
        labelled = f"{len(each):,} of {len(stores[name]):,}"
        if task.kind == "classification":
            counts = np.bincount(each.target.astype(int), minlength=len(task.classes))
            said = [f"{count:,}" for count in counts]
        else:
            said = [f"{each.target.mean():.1f} ± {each.target.std():.1f} {task.unit}".rstrip()]
        rows.append((name, each.n_subjects, labelled, *said))
    columns = task.class_names if task.kind == "classification" else (task.label,)
    reporter.table("labelled windows", ("split", "subjects", "windows", *columns), rows)


def make_training(
    config: "FinetuneConfig", model: Model, stores: Mapping[str, WindowStore], run: Run
) -> Training:
    """Return the training of a model on the labelled windows of `train` and `val`."""
    labels = [model.task.label]
    train, val = (
        make_loader(
            config, name, stores[name], run.device, rows=model.examples[name].row, labels=labels
        )
        for name in ("train", "val")
    )
    stages = make_stages(config, model.trainable.encoder, run.reporter)
    plan = fitted_plan(config, run.reporter)
    return Training(model.trainable, train, val, plan, run, stages)
