"""What the quality gate did, counted: by rule, by subject, by label, and at other thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Verdict = NDArray[np.bool_]
Values = NDArray[np.float64]

MISSING = "missing"
MOST_CLASSES = 10
"""A label with more values is shown in quarters."""
LABELS = ("label_", "subject_")
"""How columns begin that hold what is known of a window or of a person."""


class Asked(Protocol):
    """A rule of the gate, as a page needs it."""

    @property
    def name(self) -> str:
        """As it is counted."""

    @property
    def figure(self) -> str:
        """The column it looks at; empty for missing samples."""

    @property
    def limit(self) -> float:
        """Where it breaks."""

    @property
    def breaks(self) -> Literal["above", "below"]:
        """On which side of the limit."""

    @property
    def column(self) -> str:
        """The column that says whether a window breaks it."""


@dataclass(frozen=True)
class Judged:
    """Every window that was cut, kept or not."""

    columns: Mapping[str, NDArray[Any]]
    """(N,) per window: `record`, `subject`, `start_s`, figures, `broken_RULE`, `label_NAME`."""
    kept: Verdict
    """(N,) whether the store holds it."""
    reason: NDArray[Any]
    """(N,) why it does not; empty for a window that is kept."""
    rules: Sequence[Asked]

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def broken(self) -> dict[str, Verdict]:
        """(N,) whether each window breaks a rule, by the rule's name."""
        return {rule.name: np.asarray(self.columns[rule.column], bool) for rule in self.rules}

    @cached_property
    def n_broken(self) -> NDArray[np.int64]:
        """(N,) how many rules each window breaks."""
        counts: NDArray[np.int64] = np.zeros(len(self), np.int64)
        for verdict in self.broken.values():
            counts += verdict
        return counts

    @property
    def passing(self) -> Verdict:
        """(N,) whether a window breaks no rule, whatever the gate drops."""
        return np.asarray(self.n_broken == 0)

    @cached_property
    def first(self) -> NDArray[Any]:
        """(N,) the first rule that each window breaks; empty where it breaks none."""
        first = np.full(len(self), "", object)
        for name, verdict in self.broken.items():
            first[verdict & (first == "")] = name
        return first

    @cached_property
    def margin(self) -> Values:
        """(N,) how far each window is inside the limits, 1 for far, below 0 for outside.

        The smallest distance of a figure to its limit, as a part of the limit or, for a score
        that ends at one, of what is left above it. Missing samples are as far out as can be.
        """
        margin = np.where(self.broken.get(MISSING, np.zeros(len(self), bool)), -np.inf, 1.0)
        for rule in self.rules:
            if rule.figure:
                distance = self._distance(rule)
                margin = np.where(np.isnan(distance), margin, np.minimum(margin, distance))
        return margin

    def _distance(self, rule: Asked) -> Values:
        values = np.asarray(self.columns[rule.figure], np.float64)
        if rule.breaks == "above":
            return (rule.limit - values) / max(rule.limit, 1e-9)
        is_score = 0 < rule.limit < 1
        return (values - rule.limit) / max(1 - rule.limit if is_score else rule.limit, 1e-9)


@dataclass(frozen=True)
class RuleYield:
    """How many windows a rule took."""

    name: str
    limit: str
    n_broken: int
    n_first: int
    """Dropped and counted under this rule."""
    n_only: int
    """Break this rule and no other: what would come back without it."""


@dataclass(frozen=True)
class GroupYield:
    """How many windows of a group were kept."""

    name: str
    n_cut: int
    n_kept: int
    n_passing: int
    worst: str
    """The rule that most of its windows break; empty where none does."""

    @property
    def kept(self) -> float:
        """Part that was kept."""
        return self.n_kept / self.n_cut

    @property
    def passing(self) -> float:
        """Part that breaks no rule, whatever the gate drops."""
        return self.n_passing / self.n_cut


@dataclass(frozen=True)
class Sweep:
    """What part of the windows would be left at other limits of one rule."""

    limits: Values
    alone: Values
    """With this rule and no other."""
    together: Values
    """With all other rules as they are."""


def by_rule(judged: Judged) -> list[RuleYield]:
    """Return what each rule took, in the order in which they are asked."""
    rows = []
    for rule in judged.rules:
        broken = judged.broken[rule.name]
        sign = "at most" if rule.breaks == "above" else "at least"
        limit = f"{rule.figure} {sign} {rule.limit:g}" if rule.figure else "no sample missing"
        n_first = int((judged.reason == rule.name).sum())
        only = int((broken & (judged.n_broken == 1)).sum())
        rows.append(RuleYield(rule.name, limit, int(broken.sum()), n_first, only))
    return rows


def by_group(judged: Judged, groups: NDArray[Any]) -> list[GroupYield]:
    """Return the yield of each group of windows, in the order of the groups' names.

    Args:
        judged: The windows.
        groups: (N,) name of each window's group.
    """
    names, where = np.unique(groups.astype(str), return_inverse=True)
    size = len(names)
    n_cut = np.bincount(where, minlength=size)
    n_kept = np.bincount(where[judged.kept], minlength=size)
    n_passing = np.bincount(where[judged.passing], minlength=size)
    breaks = np.array(
        [np.bincount(where[broken], minlength=size) for broken in judged.broken.values()]
    )
    rules = list(judged.broken)
    rows = []
    for place, name in enumerate(names):
        worst = rules[int(breaks[:, place].argmax())] if rules and breaks[:, place].any() else ""
        figures = int(n_cut[place]), int(n_kept[place]), int(n_passing[place])
        rows.append(GroupYield(str(name), *figures, worst))
    return rows


def by_label(judged: Judged) -> dict[str, list[GroupYield]]:
    """Return the yield by value of each label, missing values last; none where none is known."""
    found = [name for name in judged.columns if name.startswith(LABELS)]
    return {name.partition("_")[2]: _of_label(judged, name) for name in found}


def _of_label(judged: Judged, column: str) -> list[GroupYield]:
    names, order = _classes(judged.columns[column])
    rows = {row.name: row for row in by_group(judged, names)}
    return [rows[name] for name in order if name in rows]


def _classes(values: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Return the name of each value's class, and the names in the order to show them."""
    is_number = values.dtype.kind in "fiub"
    known = np.isfinite(values) if is_number else np.array([v is not None for v in values], bool)
    names = np.full(len(values), MISSING, dtype=object)
    distinct = np.unique(values[known])
    if not is_number or len(distinct) <= MOST_CLASSES:
        names[known] = [shown(value) for value in values[known]]
        return names, [*dict.fromkeys(shown(value) for value in distinct), MISSING]
    edges = np.unique(np.quantile(values[known], [0, 0.25, 0.5, 0.75, 1]))
    place = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, len(edges) - 2)
    order = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    names[known] = np.array(order, dtype=object)[place]
    return names, [*order, MISSING]


def shown(value: Any) -> str:
    """Return a label's value as it is shown."""
    if value is None or value != value:
        return MISSING
    return value if isinstance(value, str) else f"{value:g}"


def sweep(judged: Judged, rule: Asked, limits: Values) -> Sweep:
    """Return what part of the windows would be left if `rule` broke at each of `limits`.

    A figure that is not known breaks no rule, here as in the gate.
    """
    values = np.asarray(judged.columns[rule.figure], np.float64)
    others = judged.n_broken - judged.broken[rule.name] == 0
    return Sweep(
        limits, _left(values, limits, rule), _left(values[others], limits, rule, len(others))
    )


def _left(values: Values, limits: Values, rule: Asked, n_windows: int | None = None) -> Values:
    known = np.sort(values[np.isfinite(values)])
    if rule.breaks == "above":
        n_beyond = len(known) - np.searchsorted(known, limits, side="right")
    else:
        n_beyond = np.searchsorted(known, limits, side="left")
    return np.asarray((len(values) - n_beyond) / max(n_windows or len(values), 1))
