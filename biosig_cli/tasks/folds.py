"""Who is fitted to, who chooses and who is tested: one split, or everybody left out in turn."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import ConfigError, DataError, LeakageError
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples, Texts, join_examples, need_subjects
from biosig_cli.tasks.metrics import Figure, classification_figures, regression_figures

Indices = NDArray[np.int64]
Maker = Callable[["Fold"], Sequence[Answer]]

VAL_SHARE = 0.15
"""Part of the people who are not tested that validate."""
FEWEST = 3


@dataclass(frozen=True)
class Fold:
    """Places of windows among the examples, by what they are for."""

    train: Indices
    val: Indices
    test: Indices

    @property
    def known(self) -> Indices:
        """Windows whose labels may be looked at: those of training, then those of validation."""
        return np.concatenate([self.train, self.val])

    def groups(self, examples: Examples) -> Texts:
        """Return whose the known windows are; by split where it is not stated."""
        split = np.repeat(["train", "val"], [len(self.train), len(self.val)])
        subject = examples.subject[self.known]
        return np.where(subject == "", split, np.char.add("subject ", subject))

    def check(self, examples: Examples) -> None:
        """Make sure that no person stands on two sides.

        Raises:
            LeakageError: Naming the people and the sides.
        """
        sides = {name: getattr(self, name) for name in ("train", "val", "test")}
        people = {name: set(examples.subject[rows]) - {""} for name, rows in sides.items()}
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            shared = sorted(people[one] & people[other])
            if shared:
                raise LeakageError(
                    f"subject {', '.join(shared[:5])} stands in {one} and in {other}",
                    hint="split by subject: what is known of a person helps to guess the rest",
                )


def one_fold(train: Examples, val: Examples, test: Examples) -> tuple[Examples, Fold]:
    """Return all windows together, and the fold that says which of them are for what."""
    edges = np.cumsum([0, len(train), len(val), len(test)])
    places = [np.arange(first, last) for first, last in pairwise(edges)]
    return join_examples([train, val, test]), Fold(*places)


def subject_folds(
    examples: Examples, n_folds: int, seed: int = 0, *, n_classes: int | None = None
) -> list[Fold]:
    """Return folds in which every person is tested exactly once.

    Of the others, 15 % validate, one at least; those with more classes among their windows are
    preferred, because one class alone chooses no threshold.

    Args:
        examples: Labelled windows of known people.
        n_folds: How many folds; as many as people leaves out each in turn, in order of their ids.
        seed: Seed of who is tested and who validates together.
        n_classes: K, or None for values.

    Raises:
        DataError: If the windows do not say whose they are, or people are fewer than 3.
        ConfigError: If there can't be so many folds.
    """
    need_subjects(examples)
    names, place = np.unique(examples.subject, return_inverse=True)
    if len(names) < FEWEST:
        raise DataError(
            f"cross-validation needs {FEWEST} subjects, one each to fit to, to choose by and to "
            f"test; there are {len(names)}: {', '.join(names)}",
            hint="take more recordings",
        )
    fewest_left = len(names) - -(-len(names) // max(n_folds, 1))
    if not 2 <= n_folds <= len(names) or fewest_left < 2:
        raise ConfigError(
            f"{len(names)} subjects can't be parted into {n_folds} folds",
            hint=f"take 2 to {len(names)}, so that two subjects at least are left in each",
        )
    draw = np.random.default_rng(seed)
    order = np.arange(len(names)) if n_folds == len(names) else draw.permutation(len(names))
    n_seen = np.zeros(len(names), np.int64)
    if n_classes is not None:
        pairs = np.unique(np.stack([place, examples.target.astype(np.int64)], 1), axis=0)
        n_seen = np.bincount(pairs[:, 0], minlength=len(names))
    folds = []
    for test in np.array_split(order, n_folds):
        others = draw.permutation(np.setdiff1d(order, test))
        others = others[np.argsort(-n_seen[others], kind="stable")]
        n_val = max(1, round(VAL_SHARE * len(others)))
        sides = (others[n_val:], others[:n_val], test)
        folds.append(Fold(*(np.flatnonzero(np.isin(place, side)) for side in sides)))
    return folds


@dataclass(frozen=True)
class OutOfFold:
    """What was said of every window by a fit that had not seen its person."""

    answer: Answer
    """Scores of all windows, in their order, each with the threshold of its fold."""
    folds: list[dict[str, Any]]
    """By fold: `fold`, `subjects`, `n_windows` and `value`, None where it is not defined."""


def out_of_fold(
    examples: Examples, folds: Sequence[Fold], make: Maker, *, metric: str, unit: str = ""
) -> tuple[list[OutOfFold], list[str]]:
    """Answer in every fold, and put the scores together.

    An answer that looks at nothing, such as the mean, is averaged over the folds: it would differ
    from fold to fold by who is left out, and rank people by just that.

    Args:
        examples: The windows that the folds point into.
        folds: Folds that test every window once.
        make: Answers to the test windows of a fold, in their order.
        metric: Name of the figure that is told for each fold.
        unit: Unit of the label, for a label on a scale.

    Returns:
        The answers that every fold has, and a sentence for each that is left out.

    Raises:
        LeakageError: If a person stands on two sides of a fold.
        DataError: If some window is not tested exactly once.
    """
    tested = np.concatenate([fold.test for fold in folds])
    if not np.array_equal(np.sort(tested), np.arange(len(examples))):
        raise DataError("the folds do not test every window exactly once")
    said: dict[str, list[Answer]] = {}
    for fold in folds:
        fold.check(examples)
        for answer in make(fold):
            said.setdefault(answer.name, []).append(answer)
    whole = [name for name, answers in said.items() if len(answers) == len(folds)]
    notes = [f"{name} is left out: not every fold has it" for name in said if name not in whole]
    pooled = [_pooled(said[name], folds) for name in whole]
    return [
        OutOfFold(answer, fold_values(examples, answer, folds, metric, unit)) for answer in pooled
    ], notes


def fold_values(
    examples: Examples, answer: Answer, folds: Sequence[Fold], metric: str, unit: str = ""
) -> list[dict[str, Any]]:
    """Return how well a pooled answer does in each fold: `fold`, `subjects`, `n_windows`, `value`.

    Args:
        examples: The windows that the folds point into.
        answer: Scores of all of them.
        folds: Which of them were tested together.
        metric: Name of the figure.
        unit: Unit of the label, for a label on a scale.
    """
    return [
        {
            "fold": number,
            "subjects": np.unique(examples.subject[fold.test]).tolist(),
            "n_windows": len(fold.test),
            "value": scored(examples, answer.take(fold.test), fold, metric, unit).value,
        }
        for number, fold in enumerate(folds)
    ]


def scored(examples: Examples, answer: Answer, fold: Fold, metric: str, unit: str = "") -> Figure:
    """Return a figure of an answer to the test windows of a fold, without interval."""
    target = examples.target[fold.test]
    if answer.n_classes is None:
        return regression_figures(target, answer.score, unit)[metric]
    return classification_figures(target, answer.score, answer.threshold)[metric]


def _pooled(answers: Sequence[Answer], folds: Sequence[Fold]) -> Answer:
    """Return one answer to all windows, in their order."""
    order = np.argsort(np.concatenate([fold.test for fold in folds]))
    score = np.concatenate([answer.score for answer in answers])[order]
    if all(answer.is_constant for answer in answers):
        score = np.broadcast_to(score.mean(axis=0), score.shape).copy()
    about = answers[0].about
    if any(answer.about != about for answer in answers):
        about += "; so in the first fold"
    threshold = _thresholds(answers, folds, order)
    return replace(answers[0], about=about, score=score, threshold=threshold)


def _thresholds(
    answers: Sequence[Answer], folds: Iterable[Fold], order: Indices
) -> NDArray[np.float64] | None:
    if any(answer.threshold is None for answer in answers):
        return None
    each = [np.full(len(f.test), a.threshold) for a, f in zip(answers, folds, strict=True)]
    return np.concatenate(each)[order]
