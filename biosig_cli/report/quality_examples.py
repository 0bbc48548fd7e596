"""Which windows are worth a look: the best, the worst that pass, those at the edge, and others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.report.quality_tables import Judged

N_BEST = 3
N_WORST = 6
N_BORDERLINE = 3
N_PER_RULE = 2
N_LOOKED_AT = 5000
"""Windows among which a group is chosen, so that millions cost no time."""


@dataclass(frozen=True)
class Example:
    """A window to draw."""

    group: str
    row: int
    """Its place among all windows."""


GROUPS = ("best", "worst", "borderline", "broken")
"""Groups of examples, in the order of the page."""


def examples(judged: Judged) -> list[Example]:
    """Return the windows to draw, each once, of as many records as there are."""
    rows = np.arange(len(judged))
    inside, outside = rows[judged.passing], rows[~judged.passing]
    chosen: list[Example] = []
    taken: set[int] = set()

    def take(group: str, among: NDArray[np.int64], order: NDArray[np.float64], n_most: int) -> None:
        first = among[np.argsort(order, kind="stable")[:N_LOOKED_AT]]
        free = [row for row in first.tolist() if row not in taken]
        for row in _spread(judged.columns["record"], free, n_most):
            taken.add(row)
            chosen.append(Example(group, row))

    take("best", inside, -judged.margin[inside], min(N_BEST, -(-len(inside) // 2)))
    take("worst", inside, judged.margin[inside], N_WORST)
    near = outside[np.isfinite(judged.margin[outside])]
    take("borderline", near, -judged.margin[near], N_BORDERLINE)
    for rule in judged.rules:
        because = outside[judged.first[outside] == rule.name]
        take("broken", because, _from_the_middle(judged.margin[because]), N_PER_RULE)
    return chosen


def _from_the_middle(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each margin is from the middle one, which shows what a rule usually meets."""
    if not np.isfinite(margin).all() or not len(margin):
        return np.zeros(len(margin))
    return np.asarray(np.abs(margin - np.median(margin)))


def _spread(records: NDArray[Any], rows: list[int], n_most: int) -> list[int]:
    """Return the first `n_most` of `rows`, one of each record before a second of any."""
    seen: set[str] = set()
    first: list[int] = []
    later: list[int] = []
    for row in rows:
        (later if records[row] in seen else first).append(row)
        seen.add(records[row])
        if len(first) == n_most:
            break
    return (first + later)[:n_most]
