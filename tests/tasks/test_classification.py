"""Classes: found in the labels, weighted and judged as asked; a scale or one class is refused."""

import math

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.classification import ClassificationConfig
from tests.tasks.made import both

WEAK = 0.5
"""What a made-up answer gives the true class."""


def logits(probability: float) -> list[float]:
    """Return the outputs for which class 0 has this probability."""
    return [math.log(probability / (1 - probability)), 0.0]


def test_classes_and_their_names_come_from_the_training_labels() -> None:
    task = ClassificationConfig().settle(
        np.array([2.0, 0.0, 2.0]), {"values": {"poor": 0.0, "good": 2.0}}
    )
    assert (task.classes, task.class_names) == ((0.0, 2.0), ("poor", "good"))
    assert (task.n_outputs, task.known_values) == (2, (0.0, 2.0))
    assert [task.say(number) for number in (0, 1)] == ["poor", "good"]
    own = ClassificationConfig(classes=(2, 0), class_names=("yes", "no"))
    settled = own.settle(np.array([0.0, 2.0]), {"values": {"poor": 0.0}})
    assert (settled.classes, settled.class_names) == ((2, 0), ("yes", "no")), "what is asked stays"


def test_labels_that_can_not_be_told_apart_are_refused() -> None:
    def error(labels: list[float], said: str, **settings: object) -> None:
        with pytest.raises(DataError, match=said):
            ClassificationConfig.parse(settings).settle(np.array(labels), {})

    error([1.0, 1.0], "is 1 in every training window")
    error([3.0, 4.0], "is none of the classes", classes=[0, 1])
    error(list(range(21)), "has 21 different values, such as 0, 1, 2, 3")
    error([0.0, 1.0], "3 class names for 2 classes", class_names=["a", "b", "c"])


def test_targets_are_the_numbers_of_the_classes() -> None:
    task = ClassificationConfig(classes=(4, 1, 7))
    assert task.targets(torch.tensor([7.0, 4.0, 1.0])).tolist() == [2, 0, 1]


def test_focal_loss_cares_less_for_what_is_right_already() -> None:
    outputs, target = torch.tensor([logits(0.9), logits(0.2)]), torch.tensor([0, 0])
    task = ClassificationConfig(classes=(0, 1))
    plain = task.make_loss(np.array([0.0, 1.0]))(outputs, target)
    torch.testing.assert_close(plain, torch.tensor([-math.log(0.9), -math.log(0.2)]))
    focal = ClassificationConfig(classes=(0, 1), loss="focal", focal_gamma=2)
    cost = focal.make_loss(np.array([0.0, 1.0]))(outputs, target)
    by_hand = [-math.log(0.9) * 0.1**2, -math.log(0.2) * 0.8**2]
    torch.testing.assert_close(cost, torch.tensor(by_hand))


def test_balanced_weights_make_every_class_cost_the_same_in_all() -> None:
    targets = np.array([0.0, 0, 0, 1])
    outputs, target = torch.tensor([logits(WEAK)] * 4), torch.tensor([0, 0, 0, 1])
    cost = ClassificationConfig(classes=(0, 1, 2)).make_loss(targets)
    cost_of = cost(torch.nn.functional.pad(outputs, (0, 1), value=-99.0), target)
    assert len(set(cost_of.tolist())) == 1, "without weights, every window costs the same"
    balanced = ClassificationConfig(classes=(0, 1, 2), class_weights="balanced").make_loss(targets)
    cost_of = balanced(torch.nn.functional.pad(outputs, (0, 1), value=-99.0), target)
    torch.testing.assert_close(cost_of[:3].sum(), cost_of[3])
    torch.testing.assert_close(cost_of.mean(), torch.tensor(-math.log(WEAK)), msg="as before")


def test_probabilities_add_up_to_one() -> None:
    answers = ClassificationConfig(classes=(0, 1)).answers(torch.tensor([logits(0.8)]))
    torch.testing.assert_close(answers, torch.tensor([[0.8, 0.2]]))


def test_two_classes_are_scored_with_the_threshold_that_is_best_for_them() -> None:
    target, answer = np.array([0.0, 0, 1, 1]), both([0.1, 0.2, 0.3, 0.4])
    score = ClassificationConfig(classes=(0, 1)).score(target, answer)
    assert score == {
        "auroc": 1.0,
        "auprc": 1.0,
        "balanced_accuracy": 1.0,
        "threshold": pytest.approx(0.25),
    }
    three = ClassificationConfig(classes=(0, 1, 2)).score(np.array([0.0, 1, 2]), np.eye(3))
    assert set(three) == {"auroc", "auprc", "balanced_accuracy"}, "no threshold parts three"


def test_a_figure_that_is_not_defined_is_no_number_in_the_history() -> None:
    score = ClassificationConfig(classes=(0, 1)).score(np.array([1.0, 1]), both([0.6, 0.7]))
    assert math.isnan(score["auroc"])


def test_loss_is_the_only_figure_of_which_less_is_better() -> None:
    assert ClassificationConfig(monitor="auprc").monitored == ("auprc", True)
    assert ClassificationConfig(monitor="loss").monitored == ("loss", False)
