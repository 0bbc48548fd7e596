"""The score of the EEG Foundation Challenge: reaction times, and a score of each child."""

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.answers import check_answered

Values = NDArray[np.float64]

SHARES = (0.3, 0.7)
"""What challenge 1 and challenge 2 count in the overall score."""


def nrmse(target: Values, answer: Values) -> float:
    """Return the root mean squared error over the standard deviation of the targets (ddof 0).

    The mean of these targets gets 1. Sums are taken in the order of the values, so that the order
    of windows changes not a bit.

    Args:
        target: (N,) true values.
        answer: (N,) answers, in the same unit.

    Raises:
        DataError: If answers are missing, not finite, or all targets are the same.

    Source:
        Aristimunha et al., arXiv 2506.19141; `normalized_rmse` of the challenge's starter kit.
    """
    check_answered(target, answer)
    order = np.lexsort((answer, target))
    target, answer = target[order], answer[order]
    spread = float(target.std()) if len(target) else 0.0
    if not spread > 0:
        raise DataError(
            f"all {len(target)} targets are the same, so there is no spread to measure errors by",
            hint="score more windows, or more people",
        )
    return float(np.sqrt(np.mean((answer - target) ** 2))) / spread


def overall_score(reaction_time: float, externalizing: float) -> float:
    """Return 0.3 times the NRMSE of challenge 1 plus 0.7 times that of challenge 2."""
    return SHARES[0] * reaction_time + SHARES[1] * externalizing
