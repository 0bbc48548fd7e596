"""What a line through a frozen encoder says of a label: before a training, on its way, after it.

Always of the same windows and people, each left out in turn, so that what a phase adds is seen.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from biosig_cli.catalog import load_encoder
from biosig_cli.core.artifacts import read_json, write_json
from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.loader import Loader, spread
from biosig_cli.data.store import WindowStore, open_split
from biosig_cli.data.views import join
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import BEST
from biosig_cli.engine.history import write_history
from biosig_cli.engine.predict import predict
from biosig_cli.engine.state import TrainResult
from biosig_cli.engine.train import Training
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.base import Pretraining
from biosig_cli.report.history import draw_history
from biosig_cli.services.run_facts import MANIFEST
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples, find_examples
from biosig_cli.tasks.folds import FEWEST, Fold, out_of_fold, subject_folds
from biosig_cli.tasks.intervals import difference, with_intervals
from biosig_cli.tasks.metrics import (
    HIGHER_IS_BETTER,
    Figure,
    classification_figures,
    regression_figures,
)
from biosig_cli.tasks.probes import probe

Values = NDArray[np.float64]

METRIC = {"regression": "nrmse", "classification": "auroc"}
MOST_FOLDS, MOST_WINDOWS, N_STRETCHES = 10, 2000, 8
BATCH_SIZE = 64


class ProbeConfig(Config):
    """A label that a frozen encoder is asked for, by ridge or logistic regression."""

    label: str = "reaction_time"
    """Name of the label in the store; where it has none, nothing is probed, which is said."""
    kind: Literal["regression", "classification"] = "regression"
    """A value on a scale, judged by NRMSE; or classes, by AUROC."""
    store: Path | None = None
    """Folder with the windows `train` and `val`, whose people are left out in turn; the first
    store of the training if not given."""


@dataclass(frozen=True)
class ProbeSet:
    """The windows that every encoder is probed on."""

    config: ProbeConfig
    store: WindowStore
    examples: Examples
    n_classes: int | None
    folds: list[Fold]
    device: str

    @property
    def metric(self) -> str:
        """The figure that is told."""
        return METRIC[self.config.kind]

    def ask(self, encoder: Encoder) -> Answer:
        """Return what a line through what `encoder` makes of the windows says of each."""
        rows = self.examples.row
        data = Loader(self.store, batch_size=BATCH_SIZE, seed=0, shuffle=False, rows=rows)

        def embed(model: nn.Module, signal: Tensor) -> Tensor:
            return features(model(signal, None, self.store.spec).tokens, encoder)

        made = predict(encoder, data, device=self.device, ask=embed)

        def answer(fold: Fold) -> list[Answer]:
            n_classes = self.n_classes
            return [probe("ridge", made, self.examples, fold, n_classes=n_classes, name="probe")]

        pooled, _ = out_of_fold(self.examples, self.folds, answer, metric=self.metric)
        return pooled[0].answer

    def score(self, answer: Answer) -> Figure:
        """Return how good an answer is, with an interval over people."""
        return with_intervals(self.examples, answer)[self.metric]

    def value(self, encoder: Encoder) -> float:
        """Return how good the line through what `encoder` makes is, without an interval."""
        answer, target = self.ask(encoder), self.examples.target
        if self.n_classes is None:
            return _value(regression_figures(target, answer.score)[self.metric])
        return _value(classification_figures(target, answer.score)[self.metric])


def features(tokens: Tensor, encoder: Encoder) -> Tensor:
    """Return (B, F): tokens (B, C, P, D) averaged over eight stretches of time, side by side.

    And over channels, where an encoder treats them alike by their places. When something happens
    stays visible, which a mean over time would hide.
    """
    if encoder.any_montage:
        tokens = tokens.mean(dim=1, keepdim=True)
    n_stretches = min(N_STRETCHES, tokens.shape[2])
    courses = tokens.float().transpose(2, 3).flatten(1, 2)
    return functional.adaptive_avg_pool1d(courses, n_stretches).flatten(1)


@dataclass(frozen=True)
class Watched:
    """A training whose encoder was probed before it began."""

    windows: ProbeSet
    before: Answer
    reporter: Reporter

    def conclude(self, folder: Path, result: TrainResult) -> None:
        """Probe the best weights and those that were kept on the way; write, draw and say it."""
        windows = self.windows
        answer = windows.ask(load_encoder(folder / BEST))
        before, after = windows.score(self.before), windows.score(answer)
        gap = difference(windows.examples, answer, self.before, windows.metric)
        n_subjects = windows.examples.n_subjects
        told: dict[str, Any] = {
            "label": windows.config.label,
            "metric": windows.metric,
            "n_windows": len(windows.examples),
            "n_subjects": n_subjects,
            "before": before.plain(),
            "after": after.plain(),
            "gain": gap.plain(),
        }
        write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"probe": told})
        course = [math.nan] * result.n_epochs
        for epoch in range(1, result.n_epochs + 1):
            kept = folder / f"checkpoint_epoch_{epoch}.pt"
            if epoch == result.best_epoch:
                course[epoch - 1] = _value(after)
            elif kept.is_file():
                course[epoch - 1] = windows.value(load_encoder(kept))
        history = result.history | {f"val_probe_{windows.metric}": course}
        write_history(folder, history)
        draw_history(history, folder / "history.png")
        better = "higher" if HIGHER_IS_BETTER[windows.metric] else "lower"
        what = (
            f"{windows.metric} of {windows.config.label} ({better} is better), {n_subjects} people "
            f"left out in turn; gained {shown(gap)}"
        )
        self.reporter.fact("probe", f"{_value(before):.3f} -> {_value(after):.3f}", what)


def watch(config: ProbeConfig | None, store: Path, training: Training) -> Watched | None:
    """Probe the encoder of a training that has not begun; None where that is not asked or possible.

    Args:
        config: What to probe for.
        store: Where the windows are, if the config does not say.
        training: The training, with the weights that it starts from.
    """
    if config is None or not distributed.is_first():
        return None
    run, pretraining = training.run, training.trainable
    assert isinstance(pretraining, Pretraining)
    try:
        windows = open_probe_set(config, config.store or store, pretraining.encoder, run.device)
    except DataError as error:
        run.reporter.say(f"no probe: {error}")
        return None
    return Watched(windows, windows.ask(pretraining.encoder), run.reporter)


def open_probe_set(config: ProbeConfig, folder: Path, encoder: Encoder, device: str) -> ProbeSet:
    """Open the windows of `train` and `val` that have the label, at most 2,000 of them.

    Raises:
        DataError: If there is no such label, or of fewer than three people.
    """
    channels = None if encoder.any_montage else encoder.spec.names
    store = join([open_split(folder, split, channels=channels) for split in ("train", "val")])
    examples = find_examples(store, config.label, classes=None)
    n_classes = None
    if config.kind == "classification":
        classes = np.unique(examples.target).tolist()
        examples, n_classes = find_examples(store, config.label, classes=classes), len(classes)
    examples = examples.take(spread(len(examples), MOST_WINDOWS))
    n_people = examples.n_subjects
    if n_people < FEWEST:
        raise DataError(f"{config.label} is known of {n_people} people, {FEWEST} are needed")
    folds = subject_folds(examples, min(MOST_FOLDS, n_people), n_classes=n_classes)
    return ProbeSet(config, store, examples, n_classes, folds, device)


def shown(gap: Figure) -> str:
    """Return what was gained, with its interval over people."""
    if gap.low is None or gap.high is None:
        return f"{_value(gap):+.3f}"
    return f"{_value(gap):+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def _value(figure: Figure) -> float:
    return math.nan if figure.value is None else figure.value
