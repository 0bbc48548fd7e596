"""What a model, a probe or a baseline says of every window."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.examples import Choice, Examples, Level, by_level

Values = NDArray[np.float64]
Threshold = float | Values | None
"""From which probability on it is class 1: one for all windows, one for each, or 0.5 for None."""


@dataclass(frozen=True)
class Answer:
    """Scores of N windows, and where they come from."""

    name: str
    kind: Literal["model", "probe", "baseline"]
    about: str
    """How it was made, in a sentence."""
    score: Values
    """(N, K) probabilities of classes, or (N,) values in the unit of the label."""
    threshold: Threshold = None
    """Two classes only; answers of several folds have one for each window."""
    is_constant: bool = False
    """Whether it says the same of every window, whatever is in it."""

    @property
    def n_classes(self) -> int | None:
        """K, or None for values."""
        return self.score.shape[1] if self.score.ndim == 2 else None

    def take(self, chosen: Choice) -> "Answer":
        """Return the answers to the windows at `chosen`, or to those that a mask keeps."""
        threshold = self.threshold
        if isinstance(threshold, np.ndarray):
            threshold = threshold[chosen]
        return replace(self, score=self.score[chosen], threshold=threshold)

    def at_level(self, examples: Examples, level: Level) -> tuple[Examples, "Answer"]:
        """Return one example and one answer for each window, record or subject: the means.

        Args:
            examples: The N windows that were asked.
            level: What one answer is to be about.

        Raises:
            DataError: If the windows do not say which record or subject they belong to.
        """
        check_answered(examples.target, self.score)
        grouped, score = by_level(examples, self.score, level)
        threshold = self.threshold
        if isinstance(threshold, np.ndarray):
            _, threshold = by_level(examples, threshold, level)
        return grouped, replace(self, score=score, threshold=threshold)


def check_answered(target: Values, score: Values) -> None:
    """Make sure that there is a finite answer for each target, a probability where it is one.

    Raises:
        DataError: Saying what is there instead.
    """
    if len(target) != len(score):
        raise DataError(f"{len(score)} answers for {len(target)} labelled windows")
    finite = np.isfinite(score) if score.ndim == 1 else np.isfinite(score).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{int((~finite).sum())} of {len(score)} answers are not finite",
            hint="look for missing samples in these windows, and for a training that diverged",
        )
    if score.ndim == 2 and score.size:
        low, high = float(score.min()), float(score.max())
        if low < -1e-6 or high > 1 + 1e-6:
            raise DataError(f"expected probabilities, found scores from {low:g} to {high:g}")
