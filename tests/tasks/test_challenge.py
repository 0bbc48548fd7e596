"""The score of the challenge: by hand, whatever the order, and never over nothing."""

import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.challenge import nrmse, overall_score


def test_errors_are_counted_in_deviations_of_the_targets():
    target = np.array([1.0, 2.0, 3.0, 6.0])
    # Their mean is 3, their deviation sqrt((4 + 1 + 0 + 9) / 4).
    assert nrmse(target, np.full(4, 3.0)) == pytest.approx(1.0)
    assert nrmse(target, target + 1) == pytest.approx(1 / np.sqrt(14 / 4))
    assert nrmse(target, target) == 0


def test_the_order_changes_not_a_bit():
    draw = np.random.default_rng(0)
    # Of sizes so different that a sum depends on where it begins.
    target, answer = np.exp(6 * draw.normal(size=(2, 1001)))
    orders = [draw.permutation(1001) for _ in range(20)]
    assert {nrmse(target[order], answer[order]) for order in orders} == {nrmse(target, answer)}


@pytest.mark.parametrize("target", [np.full(5, 0.7), np.empty(0)])
def test_targets_without_a_spread_are_refused(target):
    with pytest.raises(DataError, match="are the same"):
        nrmse(target, target)


def test_challenge_two_counts_seven_tenths():
    assert overall_score(0.9, 1.0) == pytest.approx(0.97)
    assert overall_score(1.0, 0.9) == pytest.approx(0.93)
