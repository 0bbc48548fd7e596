"""What a fine-tuning starts from: a pretrained encoder, and a head that can read it."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import WindowStore
from biosig_cli.models.base import Encoder
from biosig_cli.models.heads import LineHead, RhythmHead
from biosig_cli.models.inflate import Inflation, inflate_weights
from biosig_cli.models.pretrained import Released, Trained, find_weights
from biosig_cli.models.ttm import TtmEncoder
from biosig_cli.models.weights import load_weights, owned_by
from biosig_cli.tasks.examples import Examples
from biosig_cli.tasks.kinds import AnyTask
from biosig_cli.tasks.starting import start_at_line

if TYPE_CHECKING:
    from biosig_cli.services.finetune import FinetuneConfig

Parent = Released | Trained
MOST, AT_ONCE = 4096, 4_000_000
"""Training windows from which the first line of a head is found, and samples encoded at once."""


def find_parent(config: "FinetuneConfig") -> Parent | None:
    """Return the encoder to start from, or whose architecture to take; None for the config's own.

    Raises:
        CheckpointError: If there is none.
    """
    if config.from_scratch and "pretrained" not in config.model_fields_set:
        return None
    try:
        return find_weights(config.pretrained)
    except CheckpointError as error:
        hint = f"{error.hint} (--pretrained); or start without one: --from-scratch"
        raise CheckpointError(str(error), hint=hint) from None


def load_parent(
    encoder: Encoder, parent: Parent, config: "FinetuneConfig", reporter: Reporter
) -> str:
    """Fill `encoder` with the parent's weights, by the names of channels; say what became of them.

    Raises:
        ConfigError: If the windows are sampled at another rate.
        CheckpointError: If no channel is known, or a tensor does not fit.
    """
    if isinstance(parent, Released):
        assert isinstance(encoder, TtmEncoder)
        return parent.load_into(encoder).describe()
    spec = parent.spec
    if spec.sampling_hz != encoder.spec.sampling_hz:
        raise ConfigError(
            f"{parent.source} was trained on windows at {spec.sampling_hz:g} Hz, these are at "
            f"{encoder.spec.sampling_hz:g} Hz",
            hint="build the windows with its sampling rate",
        )
    if config.task.label in parent.told:
        reporter.warn(
            f"{parent.source} was told {config.task.label} of the people it was pretrained with "
            "(objectives.auxiliary): scores are of new people only where none of these is tested, "
            "and no measure of what signals alone teach"
        )
    if encoder.any_montage:
        load_weights(encoder, parent.encoder, source=parent.source)
        return f"{len(parent.encoder)} tensors copied; channels are known by where they sit"
    inflation = Inflation(spec.names, encoder.spec.names, config.map, config.init, config.seed)
    weights, fates = inflate_weights(parent.encoder, encoder.channel_dims, inflation)
    load_weights(encoder, weights, source=parent.source)
    if encoder.channel_dims is None:
        return f"{len(fates)} tensors copied"
    if not encoder.channel_dims:
        return f"{len(fates)} tensors copied, the same for every channel"
    if not inflation.is_identity:
        rows = [(each.channel, each.how) for each in inflation.origins]
        reporter.table("channels", ("channel", "parameters"), rows)
    n_widened = sum(fate.fate == "widened" for fate in fates)
    return f"{len(fates) - n_widened} tensors copied, {n_widened} mapped by channel"


def start_head(
    head: nn.Module,
    parent: Parent,
    encoder: Encoder,
    task: AnyTask,
    store: WindowStore,
    examples: Examples,
) -> None:
    """Let a head read what pretraining left, and start as the line through training windows.

    A head of one layer that starts from zero is stopped, by few labels and few validation people,
    before it finds that line.

    Raises:
        CheckpointError: If the head is to read what pretraining did not leave.
    """
    if isinstance(head, RhythmHead):
        load_reader(head, parent)
    if not isinstance(head, LineHead):
        return
    chosen = np.linspace(0, len(examples) - 1, min(MOST, len(examples))).astype(int)
    rows, target = examples.row[chosen], examples.target[chosen]
    n_parts = -(-len(rows) * store.spec.n_channels * store.spec.n_samples // AT_ONCE)
    encoder.eval()
    with torch.no_grad():
        numbers = [
            head.numbers(encoder(torch.from_numpy(store.read(part))).tokens)
            for part in np.array_split(rows, n_parts)
        ]
    values = torch.cat(numbers).double().numpy()
    if task.kind == "regression":
        start_at_line(head.out, values, (target - task.center) / task.scale, n_classes=None)
    else:
        is_balanced = task.class_weights == "balanced"
        start_at_line(head.out, values, target, n_classes=task.n_outputs, is_balanced=is_balanced)


def load_reader(head: RhythmHead, parent: Parent) -> None:
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
