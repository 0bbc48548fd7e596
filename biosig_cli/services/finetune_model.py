"""What `finetune` trains: an encoder that fits the windows, a head that fits the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from biosig_cli import __version__
from biosig_cli.core.errors import CheckpointError, ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import WindowStore
from biosig_cli.engine.stages import Stage, fit_stages
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from biosig_cli.models.base import Encoder
from biosig_cli.models.heads import LineHead, RhythmHead
from biosig_cli.models.inflate import Inflation, inflate_weights
from biosig_cli.models.pretrained import Released, Trained, Weights, find_weights
from biosig_cli.models.ttm import TtmConfig, TtmEncoder
from biosig_cli.models.weights import load_weights, owned_by
from biosig_cli.services.training import fitted_plan, make_loader
from biosig_cli.tasks.base import FineTuning, Values
from biosig_cli.tasks.examples import Examples, find_examples
from biosig_cli.tasks.kinds import AnyTask
from biosig_cli.tasks.starting import start_at_line

if TYPE_CHECKING:
    from biosig_cli.services.finetune import FinetuneConfig

MOST = 4096
"""Training windows from which the first line of a head is found."""


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
    model_config: TtmConfig
    weights: Weights | None

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
        }

    @property
    def trivial_name(self) -> str:
        """What the answer is called that needs no signal."""
        return "shares of train" if self.task.kind == "classification" else "mean of train"

    def trivial_score(self, split: str) -> dict[str, float]:
        """Return what the figures of a split are when everyone gets the same answer."""
        target, n = self.examples["train"].target, len(self.examples[split])
        if self.task.kind == "classification":
            shares = np.bincount(target.astype(int), minlength=self.task.n_outputs) / len(target)
            answer: Values = np.tile(shares, (n, 1))
        else:
            answer = np.full(n, target.mean())
        return self.task.score(self.examples[split].target, answer)


def find_parent(config: "FinetuneConfig") -> Weights | None:
    """Return the encoder to start from, or whose architecture to take; None for the config's own.

    Raises:
        CheckpointError: If there is none.
    """
    if config.from_scratch and "pretrained" not in config.model_fields_set:
        return None
    try:
        return find_weights(config.pretrained)
    except CheckpointError as error:
        hint = f"{error.hint}; or start without one: --from-scratch"
        raise CheckpointError(str(error), hint=hint) from None


def make_model(
    config: "FinetuneConfig",
    parent: Weights | None,
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
        encoder = model_config.build(store.spec)
        source = "random weights"
        if parent is not None and not config.from_scratch:
            source = f"{parent.source}: {load_parent(encoder, parent, config, reporter)}"
        head = task.head.build(store.spec.n_channels, encoder.width, task.n_outputs)
        if parent is not None and not config.from_scratch:
            if isinstance(head, RhythmHead):
                load_reader(head, parent)
            start_head(head, encoder, task, store, examples["train"])
    n_encoder, n_head = (sum(p.numel() for p in m.parameters()) for m in (encoder, head))
    reporter.fact("encoder", f"ttm, {n_encoder:,} parameters", source)
    reporter.fact("head", f"{task.head.kind}, {n_head:,} parameters")
    loss = task.make_loss(examples["train"].target)
    trainable = FineTuning(encoder, head, task, loss, examples["val"])
    weights = None if config.from_scratch else parent
    return Model(trainable, task, examples, model_config, weights)


def settle_task(
    task: AnyTask, stores: Mapping[str, WindowStore]
) -> tuple[AnyTask, dict[str, Examples]]:
    """Return the task with its classes or scale, and the labelled windows of each split.

    Raises:
        DataError: If `train` or `val` has no labels, or only one class where ranks are compared.
    """
    train = stores["train"]
    labels = find_examples(train, task.label, classes=None).target
    settled = task.settle(labels, train.manifest.get("labels", {}).get(task.label, {}))
    examples = {
        name: find_examples(store, task.label, classes=settled.known_values)
        for name, store in stores.items()
    }
    if settled.known_values and settled.monitored[0] != "loss":
        found = np.unique(examples["val"].target)
        if len(found) < 2:
            whose = ", ".join(sorted(set(examples["val"].subject.tolist())))
            raise DataError(
                f"all {len(examples['val'])} validation windows (subjects {whose}) are of class "
                f"{settled.say(found[0])}: {settled.monitored[0]} is not defined on "
                "them, so no epoch can be chosen by it",
                hint="split with another seed (prepare-splits --seed 1), or --monitor loss",
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


def load_parent(
    encoder: TtmEncoder, parent: Weights, config: "FinetuneConfig", reporter: Reporter
) -> str:
    """Fill `encoder` with the parent's weights, by the names of channels; say what became of them.

    Raises:
        ConfigError: If the windows are sampled at another rate.
        CheckpointError: If no channel is known, or a tensor does not fit.
    """
    if isinstance(parent, Released):
        return parent.load_into(encoder).describe()
    spec = parent.spec
    if spec.sampling_hz != encoder.spec.sampling_hz:
        raise ConfigError(
            f"{parent.source} was trained on windows at {spec.sampling_hz:g} Hz, these are at "
            f"{encoder.spec.sampling_hz:g} Hz",
            hint="build the windows with its sampling rate",
        )
    inflation = Inflation(spec.names, encoder.spec.names, config.map, config.init, config.seed)
    weights, fates = inflate_weights(parent.encoder, encoder.channel_dims, inflation)
    load_weights(encoder, weights, source=parent.source)
    if not inflation.is_identity:
        rows = [(each.channel, each.how) for each in inflation.origins]
        reporter.table("channels", ("channel", "parameters"), rows)
    n_widened = sum(fate.fate == "widened" for fate in fates)
    return f"{len(fates) - n_widened} tensors copied, {n_widened} mapped by channel"


def load_reader(head: RhythmHead, parent: Weights) -> None:
    """Fill the reader of a head with the one that pretraining left.

    Raises:
        CheckpointError: If the parent was not pretrained with the rhythm objective.
    """
    reader = owned_by("rhythm.reader", parent.decoder) if isinstance(parent, Trained) else {}
    if not reader:
        raise CheckpointError(
            f"{parent.source} was not asked for the rhythm while pretraining, so there is nothing "
            "that the head could read with",
            hint="choose another head, such as --head linear; or pretrain with a PPG and "
            "--config ssl_pretrain_rhythm",
        )
    load_weights(head.reader, reader, source=f"{parent.source} (rhythm)")


def start_head(
    head: nn.Module, encoder: Encoder, task: AnyTask, store: WindowStore, examples: Examples
) -> None:
    """Let a head of one layer start as the line through what it is given of training windows.

    From zero, few labels and few validation people stop a training before the line is found.
    """
    if not isinstance(head, LineHead):
        return
    chosen = np.linspace(0, len(examples) - 1, min(MOST, len(examples))).astype(int)
    rows, target = examples.row[chosen], examples.target[chosen]
    encoder.eval()
    with torch.no_grad():
        numbers = [
            head.numbers(encoder(torch.from_numpy(store.read(part))).tokens)
            for part in np.array_split(rows, -(-len(rows) // 256))
        ]
    if task.kind == "regression":
        target = (target - task.center) / task.scale
    n_classes = task.n_outputs if task.kind == "classification" else None
    start_at_line(head.out, torch.cat(numbers).double().numpy(), target, n_classes=n_classes)


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


def make_stages(config: "FinetuneConfig", encoder: Encoder, reporter: Reporter) -> list[Stage]:
    """Return what moves when: what is new, then the last blocks too, then everything if asked.

    Raises:
        ConfigError: If the encoder has fewer blocks than are to move.
    """
    plan = config.plan
    by_channel = [f"encoder.{name}" for name in encoder.channel_dims]
    new_head = [f"head.{name}" for name in config.task.head.new]
    new = (*new_head, f"encoder.{encoder.fusion}", *by_channel)
    everything = ("head.*", *(f"encoder.{name}" for name in encoder.reached))
    if config.from_scratch:
        return [Stage("everything, from random weights", plan.epochs, config.new_lr, everything)]
    if config.unfreeze_last_n > len(encoder.blocks):
        raise ConfigError(
            f"--unfreeze-last-n {config.unfreeze_last_n}: the encoder has "
            f"{len(encoder.blocks)} blocks",
            hint="give fewer, or --full-finetune to let everything move",
        )
    blocks = encoder.blocks[len(encoder.blocks) - config.unfreeze_last_n :]
    scales = dict.fromkeys(new, config.new_lr / plan.lr)
    head = min(config.head_only_epochs, plan.epochs)
    rest = plan.epochs - head
    full = min(config.full_finetune_epochs, (rest + 1) // 2) if config.full_finetune else 0
    if not blocks:
        head, rest = plan.epochs - full, full
    moves = (*new, "head.*", *(f"encoder.{name}.*" for name in blocks))
    named = f"and the last {len(blocks)} of {len(encoder.blocks)} blocks"
    stages = [
        Stage("head, new channels and channel mixer", head, plan.lr, new, scales),
        Stage(named, rest - full, plan.lr, moves, scales),
        Stage("everything", full, plan.lr / 10, everything, scales),
    ]
    asked = config.head_only_epochs, config.full_finetune_epochs * config.full_finetune
    if (head, full) != asked and blocks:
        reporter.warn(
            f"stages of {asked[0]} and {asked[1]} epochs are shortened to {head} and {full}: "
            f"--epochs {plan.epochs} bounds them all"
        )
    fitted = fit_stages(stages, plan.epochs)
    for name in blocks if len(fitted) > 1 else ():
        n = sum(p.numel() for p in encoder.get_submodule(name).parameters())
        reporter.fact("unfreezes", name, f"{n:,} parameters")
    return fitted
