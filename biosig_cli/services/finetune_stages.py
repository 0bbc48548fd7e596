"""What moves when in a fine-tuning: first what is new, then the last blocks, then everything."""

from typing import TYPE_CHECKING

from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.stages import Stage, fit_stages
from biosig_cli.models.base import Encoder

if TYPE_CHECKING:
    from biosig_cli.services.finetune import FinetuneConfig


def make_stages(config: "FinetuneConfig", encoder: Encoder, reporter: Reporter) -> list[Stage]:
    """Return what moves when: what is new, then the last blocks too, then everything if asked.

    Raises:
        ConfigError: If the encoder has fewer blocks than are to move.
    """
    plan = config.plan
    by_channel = [f"encoder.{name}" for name in encoder.channel_dims or ()]
    new_head = [f"head.{name}" for name in config.task.head.new]
    # An encoder that treats channels alike has nothing between them that could move.
    fusion = [f"encoder.{encoder.fusion}"] if encoder.fusion else []
    new = (*new_head, *fusion, *by_channel)
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
        Stage(
            "head, new channels and channel mixer" if fusion else "head", head, plan.lr, new, scales
        ),
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
