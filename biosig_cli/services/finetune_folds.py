"""Fine-tuning again and again with other people left out, because one split is luck.

Every subject is left out once; what is said of them by a model that never saw them stands in
`folds/predictions.parquet`, from which `evaluate` takes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.core.artifacts import atomic_path, read_json, write_json
from biosig_cli.core.errors import DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.loader import Loader
from biosig_cli.data.store import WindowStore
from biosig_cli.data.views import choose, join
from biosig_cli.engine.checkpoint import BEST, load_checkpoint
from biosig_cli.engine.predict import predict
from biosig_cli.engine.state import Run
from biosig_cli.services.finetune_model import make_model, make_training, settle_task
from biosig_cli.services.finetune_start import Parent
from biosig_cli.tasks.base import Answering
from biosig_cli.tasks.examples import Examples, find_examples
from biosig_cli.tasks.folds import Fold, subject_folds

if TYPE_CHECKING:
    from biosig_cli.services.finetune import FinetuneConfig

FOLDS = "folds"
PREDICTIONS = "predictions.parquet"
DONE = "fold.json"


@dataclass(frozen=True)
class FoldPlan:
    """Who is left out when.

    Attributes:
        digest: What identifies the windows of all splits together.
        examples: Those of them that have a label.
        folds: Places among these.
        parts: For each fold, its windows by split.
    """

    digest: str
    examples: Examples
    folds: Sequence[Fold]
    parts: Sequence[Mapping[str, WindowStore]]


def plan_folds(config: "FinetuneConfig", stores: Mapping[str, WindowStore]) -> FoldPlan:
    """Part the people of all splits into folds, each of which can be trained.

    Raises:
        ConfigError: If there are fewer people than folds.
        DataError: If there are too few people at all, or a fold can't be trained.
    """
    whole = join(list(stores.values()))
    task = config.task
    examples = find_examples(whole, task.label, classes=task.known_values)
    n_classes = task.n_outputs if task.known_values else None
    folds = subject_folds(examples, config.folds, config.seed, n_classes=n_classes)
    parts = [split_rows(whole, examples, fold) for fold in folds]
    for number, each in enumerate(parts):
        try:
            settle_task(task, each)
        except DataError as error:
            who = ", ".join(each["test"].subjects)
            raise DataError(f"fold {number} (without {who}): {error}", hint=error.hint) from None
    return FoldPlan(digest_of(stores), examples, folds, parts)


def cross_validate(
    config: "FinetuneConfig", parent: Parent | None, plan: FoldPlan, run: Run, reporter: Reporter
) -> Path:
    """Fine-tune once per group of subjects left out, and write what is said of them.

    A fold that was finished with the same people and windows is not trained again.

    Returns:
        The table of predictions: one row per labelled window of all splits together.
    """
    folder = config.output_dir / FOLDS
    quiet = replace(run, reporter=Reporter(silent=True))
    with reporter.progress("folds", len(plan.folds)) as advance:
        for number, parts in enumerate(plan.parts):
            place = folder / f"{number}"
            whose = {"windows": plan.digest, "subjects": subjects_by_split(parts)}
            if not is_done(place / DONE, whose):
                said = train_fold(config, parent, parts, replace(quiet, folder=place))
                write_json(place / DONE, whose | said)
            advance(note=f"fold {number + 1}")
    path = folder / PREDICTIONS
    write_predictions(path, plan)
    reporter.fact(
        "folds", path, f"{len(plan.folds)} trainings, {plan.examples.n_subjects} subjects"
    )
    return path


def subjects_by_split(stores: Mapping[str, WindowStore]) -> dict[str, list[str]]:
    """Return whose windows each split has, so that the same split is found again."""
    return {name: list(store.subjects) for name, store in stores.items()}


def is_done(file: Path, whose: Mapping[str, Any]) -> bool:
    """Return whether a fold was finished, and with the same people and windows."""
    if not file.exists():
        return False
    done = read_json(file)
    return all(done.get(name) == value for name, value in whose.items())


def split_rows(whole: WindowStore, examples: Examples, fold: Fold) -> dict[str, WindowStore]:
    """Return the windows of a fold, by split."""
    return {
        name: choose(whole, examples.row[rows])
        for name, rows in (("train", fold.train), ("val", fold.val), ("test", fold.test))
    }


def train_fold(
    config: "FinetuneConfig", parent: Parent | None, parts: Mapping[str, WindowStore], run: Run
) -> dict[str, Any]:
    """Train on `train`, choose by `val`, and return what is said of `test`."""
    model = make_model(config, parent, parts, run.reporter)
    result = make_training(config, model, parts, run).fit()
    best = load_checkpoint(run.folder / BEST)
    for name, module in model.trainable.parts.items():
        module.load_state_dict(best[f"{name}_state_dict"])
    test = Loader(parts["test"], batch_size=config.plan.batch_size, seed=0, shuffle=False)
    answering = Answering(model.trainable.encoder, model.trainable.head, model.task)
    scores = predict(answering, test, device=run.device, precision=run.precision)
    for file in run.folder.glob("*.pt"):  # the weights of a fold are used for nothing else
        file.unlink()
    threshold = best["metrics"].get("val_threshold")
    return {"best_epoch": result.best_epoch, "threshold": threshold, "scores": scores.tolist()}


def digest_of(stores: Mapping[str, WindowStore]) -> str:
    """Return what identifies the windows of all splits together."""
    return " ".join(f"{name}:{store.digest}" for name, store in stores.items())


def write_predictions(path: Path, plan: FoldPlan) -> None:
    """Put what each fold says of the people left out into one table, in the order of windows."""
    examples = plan.examples
    columns: dict[str, Any] = {
        "row": examples.row,
        "subject": examples.subject,
        "record": examples.record,
        "start_s": examples.start_s,
        "target": examples.target,
        "fold": np.zeros(len(examples), np.int64),
        "threshold": np.full(len(examples), np.nan),
    }
    for number, fold in enumerate(plan.folds):
        said = read_json(path.parent / f"{number}" / DONE)
        scores = np.asarray(said["scores"], np.float64)
        for name, column in score_columns(scores).items():
            columns.setdefault(name, np.full(len(examples), np.nan))[fold.test] = column
        columns["fold"][fold.test] = number
        if said["threshold"] is not None:
            columns["threshold"][fold.test] = said["threshold"]
    table = pa.table(columns).replace_schema_metadata({"digest": plan.digest})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def score_columns(scores: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return scores as columns: `score_0`, `score_1`, ... for classes, `score` for values."""
    if scores.ndim == 1:
        return {"score": scores}
    return {f"score_{number}": scores[:, number] for number in range(scores.shape[1])}
