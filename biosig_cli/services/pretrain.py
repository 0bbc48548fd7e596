"""`biosig pretrain`: an encoder from unlabelled windows, which asks for what was hidden in them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosig_cli.core.progress import Reporter, duration
from biosig_cli.core.runtime import Machine, peak_memory_gb
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import BEST
from biosig_cli.engine.state import TrainResult
from biosig_cli.engine.train import Training
from biosig_cli.objectives.base import ObjectiveConfig
from biosig_cli.services.carried_recipe import recipe_of
from biosig_cli.services.mixed_windows import announce_stores, describe_stores, mix, open_stores
from biosig_cli.services.model_card import MODEL_CARD, write_model_card
from biosig_cli.services.phase_probe import watch
from biosig_cli.services.phases import close_phase, conclude_phases, open_phases
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.pretrain_model import adopt_architecture, build, describe, find_start
from biosig_cli.services.run_facts import CONFIG
from biosig_cli.services.run_folder import alone, carry_out, make_run
from biosig_cli.services.training import (
    Place,
    check_folder,
    choose_place,
    choose_shuffle,
    fitted_plan,
    settle_folder,
    unfinished,
)


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining gave.

    Attributes:
        folder: The run folder.
        checkpoint: The best epoch of it; with phases, of the last one.
        train: How the training ended, the last one's with phases.
    """

    folder: Path
    checkpoint: Path
    train: TrainResult


def pretrain(
    config: PretrainConfig, reporter: Reporter, *, resume: bool = False, anyway: bool = False
) -> PretrainResult:
    """Train an encoder on unlabelled windows, in one phase or in several.

    Args:
        config: What to do.
        reporter: Who says what happens.
        resume: Go on with the run in `config.output_dir`, if there is one.
        anyway: Go on with it even if it had other settings or windows.

    Raises:
        ConfigError: If a setting does not fit, or the folder holds another run.
        DataError: If there are no windows.
        CheckpointError: If weights can't be had or don't match.
        TrainingError: If a loss is not finite.
        InterruptedRunError: If the user stopped the run.
    """
    reporter = distributed.heard(reporter)
    config = settle_folder(config, Machine.detect(), reporter)
    if config.phases:
        return train_phases(config, reporter, resume=resume, anyway=anyway)
    return train_once(config, reporter, resume=resume, anyway=anyway)


def train_phases(
    config: PretrainConfig, reporter: Reporter, *, resume: bool, anyway: bool
) -> PretrainResult:
    """Train phase after phase, each in a folder of its own; those that are finished stay.

    Several processes on several machines need the run folder on a disk that they share.
    """
    place = choose_place(config, Machine.detect(), reporter)
    distributed.from_first(lambda: check_folder(config.output_dir, resume=resume or anyway))
    done: list[str] = []
    with alone(config.output_dir):
        distributed.from_first(lambda: open_phases(config, reporter, anyway=anyway))
        for number, (name, step) in enumerate(config.steps, start=1):
            reporter.say(f"phase {number} of {len(config.phases)}: {name}")
            begun = distributed.from_first((step.output_dir / CONFIG).exists)
            again = {"resume": begun, "anyway": anyway and begun}
            result = train_once(step, reporter, **again, place=place, of=config.output_dir)
            done.append(name)
            # The next phase begins with what the first process has written.
            distributed.from_first(lambda: close_phase(config, done))
        if distributed.is_first():
            conclude_phases(config, reporter)
            write_model_card(config.output_dir, config.output_dir / MODEL_CARD)
    return PretrainResult(config.output_dir, config.output_dir / BEST, result.train)


def train_once(
    config: PretrainConfig,
    reporter: Reporter,
    *,
    resume: bool,
    anyway: bool,
    place: Place | None = None,
    of: Path | None = None,
) -> PretrainResult:
    """Train on one set of windows, with the same objectives throughout.

    Args:
        config: What to do; its phases are not looked at.
        reporter: Who says what happens.
        resume: As `pretrain`.
        anyway: As `pretrain`.
        place: Where to compute, where that is chosen already.
        of: Folder of the run that this is a phase of.
    """
    ready = prepare(config, reporter, resume=resume, anyway=anyway, place=place, of=of)
    folder = ready.config.output_dir
    watched = watch(config.probe, ready.config.windows[0].store, ready.training)
    with alone(folder):
        result = carry_out("pretrain", ready.config, ready.training, ready.content)
        conclude(result, ready.config, ready.training.run.reporter)
        if watched is not None:
            watched.conclude(folder, result)
        if distributed.is_first():
            write_model_card(folder, folder / MODEL_CARD)
    return PretrainResult(folder, folder / BEST, result)


@dataclass(frozen=True)
class Ready:
    """A pretraining that is ready to begin; nothing of it is written yet."""

    config: PretrainConfig
    training: Training
    content: dict[str, Any] | None
    """The checkpoint to go on from."""


def prepare(
    config: PretrainConfig,
    reporter: Reporter,
    *,
    resume: bool = False,
    anyway: bool = False,
    place: Place | None = None,
    of: Path | None = None,
) -> Ready:
    """Open the windows and build what is trained on them; arguments and errors as `train_once`."""
    reporter = distributed.heard(reporter)
    distributed.from_first(lambda: check_folder(config.output_dir, resume=resume or anyway))
    stores = open_stores(
        config.windows,
        channels=config.channels,
        sampling_hz=config.sampling_hz,
        in_memory=config.load_in_memory,
    )
    machine = Machine.detect()
    place = place or choose_place(config, machine, reporter)
    weights = find_start(config.model)
    shuffle = choose_shuffle(config.shuffle, stores["train"], machine, reporter)
    config = adopt_architecture(config.resolved(place.precision, shuffle), weights)
    announce_stores(config, stores, reporter)
    trainable = build(config, stores, weights, reporter)
    data = describe_stores(stores)
    content = unfinished(config, data, reporter, anyway=anyway) if resume or anyway else None
    said = describe(config, trainable.encoder, weights)
    said |= {"data": data, "recipe": recipe_of(stores["train"])}
    run = make_run("pretrain", config, place, of=of, reporter=reporter, describe=said)
    train, val = (
        mix(config, config.windows, stores, split, place.device, objectives=config.objectives)
        for split in ("train", "val")
    )
    if config.objectives.groups is not None:
        counts = f"{train.n_windows:,} windows an epoch", f"{val.n_windows:,} to validate"
        reporter.fact("compares", *counts)
    plan = fitted_plan(config, reporter)
    if config.move.frozen_epochs >= plan.epochs:
        reporter.warn(
            f"the encoder never moves: it rests for {config.move.frozen_epochs} epochs "
            f"(move.frozen_epochs), and there are {plan.epochs}"
        )
    stages = config.objectives.stages(plan.epochs, plan.lr)
    stages = config.move.apply(stages, trainable, hides=config.objectives.hides)
    return Ready(config, Training(trainable, train, val, plan, run, stages), content)


def conclude(result: TrainResult, config: PretrainConfig, reporter: Reporter) -> None:
    """Say how good the best epoch is beside the trivial answers, and where everything lies."""
    best = {name: values[result.best_epoch - 1] for name, values in result.history.items()}
    where = ", ".join(f"{each.store}/val" for each in config.windows)
    for name, objective in config.objectives.asked.items():
        compare(objective, best, f"{name}: {where}, epoch {result.best_epoch}", reporter)
        tell_more(objective, best, reporter)
        for doubt in objective.doubts(best):
            reporter.warn(doubt)
    if "val_r" in best:
        reporter.fact("r", f"{best['val_r']:.3f}", "drawn against wanted, on people not seen")
    which = f"epoch {result.best_epoch} of {result.n_epochs}"
    reporter.fact("best", f"val_loss {result.best_val_loss:.4f}", which)
    reporter.fact("val / train", f"{best['val_loss'] / best['train_loss']:.2f}")
    reporter.fact("took", duration(result.duration_s), f"peak memory {peak_memory_gb():.1f} GB")
    reporter.fact("run", config.output_dir, f"{BEST}, {MODEL_CARD}, history.png")


def tell_more(objective: ObjectiveConfig, best: Mapping[str, float], reporter: Reporter) -> None:
    """Say what else an objective measured in the best epoch; nothing of what is not defined."""
    known = {name: best.get(f"val_{name}", math.nan) for name in objective.also}
    rows = [
        (name, f"{value:.4f}", objective.also[name])
        for name, value in known.items()
        if math.isfinite(value)
    ]
    if rows:
        reporter.table("in people not trained on", ("figure", "value", "what it is"), rows)


def compare(
    objective: ObjectiveConfig, best: Mapping[str, float], title: str, reporter: Reporter
) -> None:
    """Put what the best epoch reached beside the answers that need no model."""
    answers = {"this model": best[f"val_{objective.judged}"]}
    answers |= {said: best[f"val_{figure}"] for figure, said in objective.trivial.items()}
    first = next(iter(objective.trivial.values()))
    if answers[first] == 0:
        # People of whom nothing is known: there is nothing to be better at.
        reporter.say(f"{title}: nothing to compare, {first} is never wrong there")
        return
    columns = ["answer", objective.measure, f"of {first.removeprefix('predict ')}"]
    rows = [[said, f"{x:.4f}", f"{x / answers[first]:.3f}"] for said, x in answers.items()]
    if objective.measure == "mean squared error":
        columns.append("R2")
        rows = [[*row, f"{1 - float(row[-1]):.3f}"] for row in rows]
    reporter.table(title, columns, rows)
    better = min(objective.trivial.values(), key=lambda said: answers[said])
    if answers["this model"] >= answers[better]:
        reporter.warn(
            "on subjects it has not seen the encoder is no better than a trivial answer "
            f"({better}); it needs more subjects, more windows or longer training"
        )
