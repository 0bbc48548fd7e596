"""Labelled windows without their samples: which, whose, from when, and what is asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.store import WindowStore

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
Texts = NDArray[np.str_]
Choice = Indices | NDArray[np.bool_]
Level = Literal["window", "record", "subject"]
LEVELS: tuple[Level, ...] = ("window", "record", "subject")


@dataclass(frozen=True)
class Examples:
    """N labelled windows; all arrays have one entry per window."""

    row: Indices
    """(N,) places in the store."""
    target: Values
    """(N,) numbers of classes, 0 to K - 1, or values of the label."""
    subject: Texts
    """(N,) whose windows they are; "" where the store does not say."""
    record: Texts
    """(N,) which recording they are from; "" where the store does not say."""
    start_s: Values
    """(N,) where they start in it, in seconds; NaN where the store does not say."""
    attributes: dict[str, Values]
    """(N,) what is known of the person, such as `age`; NaN where it is not."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def n_subjects(self) -> int:
        """How many people they are from, as far as the store says."""
        return len(np.unique(self.subject[self.subject != ""]))

    def take(self, chosen: Choice) -> "Examples":
        """Return the windows at `chosen`, in that order, or those that a mask keeps."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        attributes = {name: values[chosen] for name, values in own.pop("attributes").items()}
        return Examples(
            **{name: values[chosen] for name, values in own.items()}, attributes=attributes
        )


def find_examples(store: WindowStore, label: str, *, classes: Sequence[float] | None) -> Examples:
    """Return the windows of `store` whose `label` is known, in the order of the store.

    Args:
        store: Windows with labels.
        label: Name of the label.
        classes: Values of the label that stand for class 0, 1, ...; None for a label on a scale.

    Raises:
        DataError: If the store has no such label, no window has a value, or a value is no class.
    """
    if label not in store.labels:
        people = ", ".join(store.attributes)
        of_people = f" (of people it knows {people}: to learn one, name it as a label)"
        raise DataError(
            f"{store.path} has no label {label!r}; it has {', '.join(store.labels) or 'none'}"
            + (of_people if people else ""),
            hint="name one that is there (--label NAME), or build the windows again with this "
            "one under `labels` of a dataset.yaml beside the recordings, or under "
            "`dataset.labels` of a recipe",
        )
    values = store.column(f"label_{label}").astype(np.float64)
    row = np.flatnonzero(~np.isnan(values))
    if not len(row):
        raise DataError(
            f"label {label!r} is missing in all {len(store)} windows of {store.path}",
            hint="check that its table names these records or subjects, then build them again",
        )
    known = values[row]
    target = known if classes is None else _class_numbers(known, label, classes)
    attributes = {
        name: store.column(f"subject_{name}")[row].astype(np.float64) for name in store.attributes
    }
    return Examples(
        row=row,
        target=target,
        subject=_column_or(store, "subject", "")[row].astype(str),
        record=_column_or(store, "record", "")[row].astype(str),
        start_s=_column_or(store, "start_s", np.nan)[row].astype(np.float64),
        attributes=attributes,
    )


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Return the windows of all parts, one part after the other; each keeps its row in its store.

    An attribute that a part does not have is NaN in its windows.
    """
    names = dict.fromkeys(name for part in parts for name in part.attributes)
    attributes = {
        name: np.concatenate([p.attributes.get(name, np.full(len(p), np.nan)) for p in parts])
        for name in names
    }
    plain = [field.name for field in fields(Examples) if field.name != "attributes"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in plain}
    return Examples(**joined, attributes=attributes)


def need_subjects(examples: Examples) -> None:
    """Make sure that every window says whose it is.

    Raises:
        DataError: If one does not.
    """
    n_unknown = int((examples.subject == "").sum())
    if n_unknown:
        raise DataError(
            f"{n_unknown} of {len(examples)} windows do not say whose they are, and windows of "
            "one person must be kept together",
            hint="add `subject`, one id per window, to the file of windows",
        )


def by_level(examples: Examples, score: Values, level: Level) -> tuple[Examples, Values]:
    """Return one example, and one score, for each window, record or subject.

    A score is the mean over the windows. So is a target on a scale; of classes, the most frequent
    is taken, the lowest of those that are equally frequent. Records of two people are two, even
    where they bear one id.

    Args:
        examples: N windows.
        score: (N, K) probabilities, or (N,) values for a label on a scale.
        level: What one answer is about.

    Raises:
        DataError: If the windows do not say which record or subject they belong to.
    """
    if level == "window":
        return examples, score
    group = _groups(examples, level)
    order = np.lexsort((examples.row, examples.start_s, group))
    first = order[np.unique(group[order], return_index=True)[1]]
    target = _group_means(examples.target[:, None], group)[:, 0]
    if score.ndim == 2:
        counts = np.zeros((len(first), score.shape[1]), np.int64)
        np.add.at(counts, (group, examples.target.astype(np.int64)), 1)
        target = counts.argmax(axis=1).astype(np.float64)
    grouped = examples.take(first)
    own = {field.name: getattr(grouped, field.name) for field in fields(grouped)}
    means = _group_means(score.reshape(len(score), -1), group)
    return Examples(**own | {"target": target}), means.reshape(-1, *score.shape[1:])


def _groups(examples: Examples, level: Level) -> Indices:
    """Return (N,) the number of each window's record or subject."""
    if level == "subject":
        need_subjects(examples)
    elif (examples.record == "").any():
        raise DataError(
            "the windows do not say which record they are from",
            hint="judge them by window, or add `record`, one id per window, to the file of windows",
        )
    subject = np.unique(examples.subject, return_inverse=True)[1]
    if level == "subject":
        return subject.astype(np.int64)
    names, record = np.unique(examples.record, return_inverse=True)
    pair = subject.astype(np.int64) * len(names) + record
    return np.asarray(np.unique(pair, return_inverse=True)[1], np.int64)


def _group_means(values: Values, group: Indices) -> Values:
    """Return (G, M) means of values (N, M), the same to the last bit in any order of windows."""
    sums = []
    for column in values.T:
        order = np.lexsort((column, group))
        sums.append(np.bincount(group[order], weights=column[order]))
    return np.stack(sums, axis=1) / np.bincount(group)[:, None]


def _class_numbers(values: Values, label: str, classes: Sequence[float]) -> Values:
    known = np.asarray(classes, np.float64)
    is_class = values[:, None] == known
    if not is_class.any(axis=1).all():
        odd = np.unique(values[~is_class.any(axis=1)])
        raise DataError(
            f"label {label!r} is {', '.join(f'{value:g}' for value in odd[:5])} in some windows; "
            f"its classes are {', '.join(f'{value:g}' for value in known)}",
            hint="name every value that the label may have as a class, or take it as a value on "
            "a scale (task regression)",
        )
    return np.asarray(is_class.argmax(axis=1), np.float64)


def _column_or(store: WindowStore, name: str, missing: str | float) -> NDArray[Any]:
    """Return a column of the store; full of `missing` where a bare array of windows lacks it."""
    try:
        return store.column(name)
    except DataError:
        return np.full(len(store), missing)
