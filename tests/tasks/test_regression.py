"""Values: learned in units of the training labels' spread, judged in the label's own."""

import math

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.regression import RegressionConfig

LABELS = np.array([60.0, 80.0])
"""Their mean is 70, their deviation 10."""


def test_scale_and_unit_come_from_the_training_labels() -> None:
    task = RegressionConfig().settle(LABELS, {"unit": "bpm"})
    assert (task.center, task.scale, task.unit) == (70.0, 10.0, "bpm")
    assert task.say(71.26) == "71.3 bpm"
    assert RegressionConfig(unit="1/min").settle(LABELS, {"unit": "bpm"}).unit == "1/min"
    assert task.known_values is None
    assert task.n_outputs == 1


def test_labels_that_are_all_alike_are_refused() -> None:
    with pytest.raises(DataError, match="label hr is 72 in every training window"):
        RegressionConfig().settle(np.array([72.0, 72.0]), {})


@pytest.mark.parametrize(
    ("loss", "costs"),
    # The targets 75 and 100 are 0.5 and 3 deviations from the mean, the answer is 0 from it.
    [("huber", [0.5**2 / 2, 3 - 0.5]), ("mse", [0.25, 9.0]), ("l1", [0.5, 3.0])],
)
def test_an_error_costs_what_it_is_in_deviations(loss: str, costs: list[float]) -> None:
    task = RegressionConfig.parse({"loss": loss}).settle(LABELS, {})
    target = task.targets(torch.tensor([75.0, 100.0]))
    cost = task.make_loss(LABELS)(torch.zeros(2, 1), target)
    torch.testing.assert_close(cost, torch.tensor(costs))


def test_answers_are_in_the_unit_of_the_label() -> None:
    task = RegressionConfig().settle(LABELS, {})
    assert task.answers(torch.tensor([[0.0], [-1.5]])).tolist() == [70.0, 55.0]


def test_errors_are_scored_in_the_unit_of_the_label() -> None:
    score = RegressionConfig().score(np.array([60.0, 80.0, 70.0]), np.array([63.0, 80.0, 66.0]))
    assert score["mae"] == pytest.approx(7 / 3)
    assert score["rmse"] == pytest.approx(math.sqrt(25 / 3))
    assert score["r"] == pytest.approx(np.corrcoef([60, 80, 70], [63, 80, 66])[0, 1])
    constant = RegressionConfig().score(LABELS, np.array([70.0, 70.0]))
    assert math.isnan(constant["r"]), "an answer that never changes goes along with nothing"


def test_correlation_is_the_only_figure_of_which_more_is_better() -> None:
    assert RegressionConfig().monitored == ("mae", False)
    assert RegressionConfig(monitor="r").monitored == ("r", True)


def test_a_head_that_says_when_answers_in_the_unit_of_the_label() -> None:
    task = RegressionConfig.parse({"head": {"kind": "temporal"}}).settle(LABELS, {"unit": "s"})
    assert (task.center, task.scale, task.unit) == (0.0, 1.0, "s")
    assert task.answers(torch.tensor([[1.25]])).tolist() == [1.25]


def test_the_mean_scores_a_normalized_error_of_one() -> None:
    assert RegressionConfig().score(LABELS, np.full(2, 70.0))["nrmse"] == pytest.approx(1.0)
    assert RegressionConfig(monitor="nrmse").monitored == ("nrmse", False)
