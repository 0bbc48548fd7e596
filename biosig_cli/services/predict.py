"""`biosig predict`: what a fine-tuned model says of recordings that nobody has labelled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from biosig_cli.core.errors import CheckpointError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Machine, choose_device
from biosig_cli.data.flagged import FlaggedWindows
from biosig_cli.engine.checkpoint import find_checkpoint
from biosig_cli.services.embed import ask_windows
from biosig_cli.services.evaluate_models import Candidate, open_candidate
from biosig_cli.services.given_report import Tally, about_windows, conclude, origin, write_tables
from biosig_cli.services.given_windows import GivenConfig, open_given
from biosig_cli.tasks.base import Answering
from biosig_cli.tasks.kinds import AnyTask

Values = NDArray[np.float64]
LEVELS = ("window", "record", "subject")


class PredictConfig(GivenConfig):
    """Settings of `biosig predict`."""

    checkpoint: Path = Path("artifacts/finetune")
    """A fine-tuned run, or one of its checkpoints."""
    output: Path = Path("predictions.parquet")
    """The table that is written."""


@dataclass(frozen=True)
class _Said:
    """What the model said of the windows of one portion."""

    source: str
    windows: FlaggedWindows
    scores: Values
    """(N, K) probabilities, or (N, 1) values."""


def predict(config: PredictConfig, reporter: Reporter) -> Path:
    """Write what a fine-tuned model says of each window, record and subject as one table.

    The answer about a record or a person is the mean over its usable windows, as in fine-tuning;
    one that has none gets no answer. Two classes are told apart by the threshold that validation
    chose, at the level that the task is about.

    Returns:
        The file.

    Raises:
        CheckpointError: If the checkpoint can't be read, holds no task, or does not say how its
            windows are made.
        DataError: If not one window is there, or none is usable.
        ConfigError: If the device is not there.
    """
    file = find_checkpoint(config.checkpoint)
    model = open_candidate(file, file.parent.name)
    if model.head is None or model.task is None:
        raise CheckpointError(
            f"{file} is a pretrained encoder and has no task to answer",
            hint=f"teach it one: biosig finetune --pretrained {config.checkpoint}; or take what "
            f"it makes of windows: biosig embed --checkpoint {config.checkpoint}",
        )
    given = open_given(config, model.content, file)
    device = choose_device(config.device, Machine.detect())
    task, threshold = model.task, model.threshold
    reporter.fact("model", file, f"{task.kind} of {task.label}, by {task.level}")
    reporter.fact("device", device.value, device.why)
    if threshold is not None:
        reporter.fact("threshold", f"{threshold:.3f}", "as validation chose it")
    for each in given:
        reporter.fact("input", each.name, each.kind)
    asked = Answering(model.encoder, model.head, task).to(device.value).eval()
    tally = Tally()

    def answers() -> Iterator[_Said]:
        with reporter.progress("predict", sum(map(len, given))) as advance:
            for portion in (portion for each in given for portion in each.portions()):
                tally.count(portion)
                for windows in [] if portion.windows is None else portion.windows.parts():
                    scores = ask_windows(
                        asked, windows.data, batch_size=config.batch_size, device=device.value
                    )
                    scores = scores.reshape(len(windows), -1)
                    yield _Said(portion.source, windows, scores.astype(np.float64))
                advance(note=portion.record)

    about = origin(file) | {"label": task.label, "task": task.kind, "level": task.level}
    about |= {} if threshold is None else {"threshold": repr(threshold)}
    n_rows = write_tables(config.output, _tables(answers(), model, task), about, tally)
    conclude(config.output, n_rows, tally, reporter)
    return config.output


def _tables(answers: Iterator[_Said], model: Candidate, task: AnyTask) -> Iterator[pa.Table]:
    """Yield the answers about windows as they come, then those about records and subjects."""
    groups: dict[str, dict[tuple[str, ...], _Mean]] = {"record": {}, "subject": {}}
    for said in answers:
        windows = said.windows
        yield _table("window", about_windows(said.source, windows), said.scores, task, model)
        whose = {
            "record": zip(windows.subject.tolist(), windows.record.tolist(), strict=True),
            "subject": ((subject,) for subject in windows.subject.tolist()),
        }
        for level, names in whose.items():
            for name, usable, score in zip(
                names, windows.usable.tolist(), said.scores, strict=True
            ):
                key = (said.source, *name)
                groups[level].setdefault(key, _Mean()).add(score, usable=usable)
    for level, means in groups.items():
        if means:
            yield _of_groups(level, means, task, model)


@dataclass
class _Mean:
    """The mean answer about a record or a person."""

    n_windows: int = 0
    n_usable: int = 0
    total: Values | float = 0.0

    def add(self, score: Values, *, usable: bool) -> None:
        """Add a window; one that is not usable is only counted."""
        self.n_windows += 1
        if usable:
            self.n_usable += 1
            self.total = self.total + score


def _of_groups(
    level: str, means: dict[tuple[str, ...], _Mean], task: AnyTask, model: Candidate
) -> pa.Table:
    width = task.n_outputs
    nothing = np.full(width, np.nan)
    scores = np.stack([m.total / m.n_usable if m.n_usable else nothing for m in means.values()])
    keys: Sequence[tuple[str, ...]] = list(means)
    about = {
        "source": pa.array([key[0] for key in keys]),
        "record": pa.array([key[2] if level == "record" else None for key in keys], pa.string()),
        "subject": pa.array([key[1] for key in keys]),
        "start_s": pa.nulls(len(keys), pa.float64()),
        "usable": pa.array([m.n_usable > 0 for m in means.values()]),
        "flags": pa.array([""] * len(keys)),
    }
    counts = {
        "n_windows": pa.array([m.n_windows for m in means.values()], pa.int32()),
        "n_usable": pa.array([m.n_usable for m in means.values()], pa.int32()),
    }
    return _table(level, about, scores, task, model, counts)


def _table(
    level: str,
    about: dict[str, pa.Array],
    scores: Values,
    task: AnyTask,
    model: Candidate,
    counts: dict[str, pa.Array] | None = None,
) -> pa.Table:
    """Return rows of one level: what they are about, the answer, and what it rests on."""
    n_rows = len(scores)
    levels = pa.array([level] * n_rows)
    one = pa.array(np.ones(n_rows, np.int32))
    usable = about["usable"].cast(pa.int32())
    return pa.table(
        {"level": levels}
        | about
        | (counts or {"n_windows": one, "n_usable": usable})
        | _answers(scores, task, model.threshold)
    )


def _answers(scores: Values, task: AnyTask, threshold: float | None) -> dict[str, pa.Array]:
    """Return the columns with the answers: null where there is none."""
    known = np.isfinite(scores).all(axis=1)
    if task.kind == "regression":
        return {"value": pa.array(scores[:, 0], mask=~known)}
    if threshold is not None and task.n_outputs == 2:
        chosen = (scores[:, 1] >= threshold).astype(int)
    else:
        chosen = np.where(known, np.nan_to_num(scores).argmax(axis=1), 0)
    names = np.array([task.say(number) for number in range(task.n_outputs)])
    return {"answer": pa.array(names[chosen], mask=~known)} | {
        f"p_{name}": pa.array(scores[:, place], mask=~known) for place, name in enumerate(names)
    }
