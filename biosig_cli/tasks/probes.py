"""How much of an answer stands in the embeddings of a frozen encoder, within a straight line."""

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.answers import Answer
from biosig_cli.tasks.examples import Examples
from biosig_cli.tasks.fitting import Kind, fit
from biosig_cli.tasks.folds import Fold

Values = NDArray[np.float64]


def probe(
    kind: Kind,
    embeddings: Values,
    examples: Examples,
    fold: Fold,
    *,
    n_classes: int | None,
    name: str,
) -> Answer:
    """Fit a probe to training and validation windows, and ask it about the test windows.

    Args:
        kind: `linear` (logistic or ridge regression), `ridge` or `knn`.
        embeddings: (N, D) embeddings of the windows.
        examples: The N windows.
        fold: Which of them are for what.
        n_classes: K, or None for values.
        name: What the answer is called, such as `random weights, linear probe`.

    Returns:
        Scores of the test windows, in the order of `fold.test`.

    Raises:
        DataError: If there is not one finite embedding for each window.
        LeakageError: If a person stands on two sides of the fold.

    Source:
        See `fit`.
    """
    fold.check(examples)
    if len(embeddings) != len(examples):
        raise DataError(f"{len(embeddings)} embeddings for {len(examples)} labelled windows")
    lacking = ~np.isfinite(embeddings).all(axis=1)
    if lacking.any():
        raise DataError(
            f"{int(lacking.sum())} of {len(embeddings)} embeddings are not finite",
            hint="look for missing samples in these windows",
        )
    known = fold.known
    fitted = fit(
        kind,
        embeddings[known],
        examples.target[known],
        fold.groups(examples),
        n_classes=n_classes,
    )
    return Answer(
        name=name,
        kind="probe",
        about=f"{fitted.about} on {embeddings.shape[1]} features of a frozen encoder",
        score=fitted.predict(embeddings[fold.test]),
        threshold=fitted.threshold,
        is_constant=fitted.is_constant,
    )
