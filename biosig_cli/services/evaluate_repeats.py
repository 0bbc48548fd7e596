"""The same comparison on other splits: people left out in turn, and fewer labels to learn from."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from biosig_cli.core.progress import Reporter
from biosig_cli.services.evaluate_answers import Comparison
from biosig_cli.services.evaluate_models import Candidate
from biosig_cli.services.finetune_folds import FOLDS, PREDICTIONS, digest_of
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.folds import Fold, out_of_fold, subject_folds
from biosig_cli.tasks.intervals import FEW_SUBJECTS
from biosig_cli.tasks.label_efficiency import label_efficiency as efficiency

MOST_FOLDS = 10


def cross_validation(
    compared: Comparison, reporter: Reporter
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what everything scores when each group of people is left out once, and notes.

    Probes and baselines are fitted anew; of a fine-tuned model there are answers where
    `finetune --folds` trained it anew. It is made where few people are tested, or asked for.
    """
    n_folds, why = choose_folds(compared)
    if not n_folds:
        return None, why
    examples = compared.examples
    folds = subject_folds(examples, n_folds, fold_seed(compared), n_classes=compared.n_classes)
    trained, notes = fold_answers(compared, folds)

    def make(fold: Fold) -> list[Answer]:
        others, _ = compared.others(fold)
        return [answer.take(fold.test) for answer in trained] + others

    pooled, more = out_of_fold(examples, folds, make, metric=compared.metric, unit=compared.unit)
    first = pooled[0].answer
    found = [
        {
            "name": each.answer.name,
            "kind": each.answer.kind,
            "about": each.answer.about,
            "levels": compared.levels(examples, each.answer),
            "difference": None
            if each is pooled[0]
            else compared.difference(examples, first, each.answer).plain(),
            "folds": each.folds,
        }
        for each in pooled
    ]
    each = "each subject" if len(folds) == examples.n_subjects else "each group of subjects"
    return {
        "how": f"{each} left out in turn, {len(folds)} folds of {examples.n_subjects} subjects",
        "n_folds": len(folds),
        "n_windows": len(examples),
        "n_subjects": examples.n_subjects,
        "answers": found,
    }, [*why, *notes, *more]


def choose_folds(compared: Comparison) -> tuple[int, list[str]]:
    """Return how many groups of people are left out, 0 for no cross-validation, and why."""
    data, asked = compared.data, compared.config.folds
    n_subjects = compared.examples.n_subjects
    if asked == 0 or not data.can_learn or not data.is_own:
        return 0, []
    if (compared.examples.subject == "").any():
        return 0, ["no cross-validation: the windows do not say whose they are"]
    if asked is None and data.parts["test"].n_subjects >= FEW_SUBJECTS:
        return 0, []
    if n_subjects < 3:
        return 0, [f"no cross-validation: {n_subjects} subjects are too few to be left out"]
    return min(asked or n_trained(compared.models[0]) or MOST_FOLDS, n_subjects), []


def n_trained(model: Candidate) -> int:
    """Return in how many folds a model was trained anew."""
    path = model.folder / FOLDS / PREDICTIONS
    return len(pc.unique(pq.read_table(path, columns=["fold"])["fold"])) if path.is_file() else 0


def fold_seed(compared: Comparison) -> int:
    """Return the seed that the first model's own folds were drawn with."""
    return int(compared.models[0].content["config"]["seed"])


def fold_answers(compared: Comparison, folds: list[Fold]) -> tuple[list[Answer], list[str]]:
    """Return what fine-tuned models say of people that they did not see, fold by fold."""
    found, notes = [], []
    for model in compared.models:
        if model.head is None:
            continue
        path = model.folder / FOLDS / PREDICTIONS
        if not path.is_file():
            notes.append(
                f"{model.name} was trained once: to train it anew without each group of people, "
                f"biosig finetune --output-dir {model.folder} --resume --folds {len(folds)}"
            )
            continue
        answer, why = read_fold_answers(compared, model.name, path, folds)
        found += [answer] if answer else []
        notes += [why] if why else []
    return found, notes


def read_fold_answers(
    compared: Comparison, name: str, path: Path, folds: list[Fold]
) -> tuple[Answer | None, str]:
    """Return the answers in a table of folds for all labelled windows, or why there are none."""
    table = pq.read_table(path)
    stores = compared.data.stores
    if (table.schema.metadata or {}).get(b"digest", b"").decode() != digest_of(stores):
        return None, (
            f"{path} was made from other windows: make them once by build-windows, and run "
            "finetune --folds on those"
        )
    rows = np.full(sum(len(store) for store in stores.values()), -1)
    rows[table["row"].to_numpy()] = np.arange(len(table))
    starts = np.cumsum([0, *(len(store) for store in stores.values())])
    each = zip(starts, compared.data.parts.values(), strict=False)
    wanted = rows[np.concatenate([start + part.row for start, part in each])]
    left_out = table["fold"].to_numpy()[wanted]
    if any(len(np.unique(left_out[fold.test])) != 1 for fold in folds):
        return None, f"{path} has other folds than these {len(folds)}: evaluate with its --folds"
    columns = [column for column in table.column_names if column.startswith("score")]
    score = np.stack([table[column].to_numpy()[wanted] for column in columns], axis=1)
    threshold = table["threshold"].to_numpy()[wanted]
    return Answer(
        name,
        "model",
        f"fine-tuned anew in each of {len(folds)} folds",
        score if columns != ["score"] else score[:, 0],
        threshold if np.isfinite(threshold).all() else None,
    ), ""


def label_efficiency(compared: Comparison, reporter: Reporter) -> dict[str, Any] | None:
    """Return how good probes and hand-made features get from a part of the training labels."""
    fractions = compared.config.label_fractions
    if not fractions or not compared.data.can_learn:
        return None
    examples = compared.examples
    n_folds, _ = choose_folds(compared)
    folds = [compared.data.fold]
    if n_folds:
        folds = subject_folds(examples, n_folds, fold_seed(compared), n_classes=compared.n_classes)
    makers: dict[str, Callable[[Fold], Answer]] = {
        f"{name} + {compared.config.probe} probe": partial(compared.probe, name)
        for name in compared.embeddings
    }
    makers["features by hand"] = compared.from_features
    found = []
    with reporter.progress("label efficiency", len(makers)) as advance:
        for name, make in makers.items():
            points = efficiency(
                examples,
                folds,
                make,
                fractions=fractions,
                seeds=range(compared.config.n_seeds),
                metric=compared.metric,
                n_classes=compared.n_classes,
                unit=compared.unit,
            )
            found.append({"name": name, "points": points})
            advance(note=name)
    return {"metric": compared.metric, "answers": found}
