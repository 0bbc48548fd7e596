"""How well answers do with a part of the labels: what pretraining should save is labelling."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import ConfigError
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples
from biosig_cli.tasks.folds import Fold, scored

FEWEST = 2
"""Windows of each class that are labelled, however small the part."""


def label_efficiency(
    examples: Examples,
    folds: Sequence[Fold],
    make: Callable[[Fold], Answer],
    *,
    fractions: Sequence[float],
    seeds: Sequence[int],
    metric: str,
    n_classes: int | None,
    unit: str = "",
) -> list[dict[str, Any]]:
    """Label a random part of the known windows, fit, and score the test windows, many times.

    The part is drawn from training and validation windows together, because both are fitted to;
    class by class, two windows of each at least. The windows of a smaller part are among those of
    a larger one. All labels are there once per fold, a part of them once per fold and seed.

    Args:
        examples: The windows that the folds point into.
        folds: One split, or folds of a cross-validation.
        make: The answer to the test windows of a fold, fitted to the windows that it names.
        fractions: Parts of the known windows, above 0 and at most 1.
        seeds: Seeds of the draws.
        metric: Name of the figure.
        n_classes: K, or None for values.
        unit: Unit of the label, for a label on a scale.

    Returns:
        By fraction: `fraction`, `n_windows` labelled on average, `median`, `low` and `high` (5th
        and 95th percentile) and `values` over folds and seeds in which the figure is defined.

    Raises:
        ConfigError: If a fraction is not above 0 and at most 1.
        LeakageError: If a person stands on two sides of a fold.
    """
    if not all(0 < fraction <= 1 for fraction in fractions):
        raise ConfigError(f"label fractions must be above 0 and at most 1, found {fractions}")
    for fold in folds:
        fold.check(examples)
    points = []
    for fraction in fractions:
        labelled = [
            _labelled(examples, fold, fraction, (seed, number), n_classes)
            for number, fold in enumerate(folds)
            for seed in (seeds if fraction < 1 else seeds[:1])
        ]
        figures = [scored(examples, make(fold), fold, metric, unit).value for fold in labelled]
        values = [value for value in figures if value is not None]
        low, median, high = np.percentile(values, (5, 50, 95)).tolist() if values else [None] * 3
        points.append(
            {
                "fraction": fraction,
                "n_windows": round(float(np.mean([len(fold.known) for fold in labelled]))),
                "median": median,
                "low": low,
                "high": high,
                "values": values,
            }
        )
    return points


def _labelled(
    examples: Examples, fold: Fold, fraction: float, seed: tuple[int, int], n_classes: int | None
) -> Fold:
    """Return the fold with a part of its training and validation windows."""
    known = fold.known
    kind = examples.target[known] if n_classes is not None else np.zeros(len(known))
    draw = np.random.default_rng(seed)
    kept = [_share(draw.permutation(known[kind == each]), fraction) for each in np.unique(kind)]
    chosen = np.concatenate(kept)
    return replace(
        fold,
        train=fold.train[np.isin(fold.train, chosen)],
        val=fold.val[np.isin(fold.val, chosen)],
    )


def _share(shuffled: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    return shuffled[: max(FEWEST, round(fraction * len(shuffled)))]
