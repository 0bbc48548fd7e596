"""A last layer starts as the line that scikit-learn finds."""

import numpy as np
import pytest
import torch
from torch import nn

from biosig_cli.tasks.starting import start_at_line


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_are_told_apart_from_the_start(n_classes: int) -> None:
    draw = np.random.default_rng(0)
    target = draw.integers(0, n_classes, 300).astype(float)
    numbers = draw.normal(size=(300, 4)) * [1, 5, 0.1, 1] + 3
    numbers[:, 1] += 30 * target
    layer = nn.Linear(4, n_classes)
    start_at_line(layer, numbers, target, n_classes=n_classes)
    said = layer(torch.from_numpy(numbers).float()).argmax(dim=1).numpy()
    assert (said == target).mean() > 0.95


def test_a_class_without_windows_is_no_error() -> None:
    numbers, target = np.arange(20.0)[:, None], np.repeat([0.0, 2.0], 10)
    layer = nn.Linear(1, 3)
    start_at_line(layer, numbers, target, n_classes=3)
    said = layer(torch.tensor([[0.0], [19.0]])).argmax(dim=1)
    assert said.tolist() == [0, 2]


def test_values_lie_on_the_line() -> None:
    numbers = np.linspace(0, 100, 4000)[:, None]
    layer = nn.Linear(1, 1)
    start_at_line(layer, numbers, 0.02 * numbers[:, 0] - 1, n_classes=None)
    assert layer(torch.tensor([[50.0]])).item() == pytest.approx(0.0, abs=0.01)
    assert layer(torch.tensor([[100.0]])).item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("is_balanced", "mean"), [(False, 0.1), (True, None)])
def test_a_rare_class_counts_more_only_where_it_is_asked_for(
    is_balanced: bool, mean: float | None
) -> None:
    draw = np.random.default_rng(0)
    target = (np.arange(400) % 10 == 0).astype(float)
    numbers = draw.normal(size=(400, 2)) + target[:, None]
    layer = nn.Linear(2, 2)
    start_at_line(layer, numbers, target, n_classes=2, is_balanced=is_balanced)
    said = layer(torch.from_numpy(numbers).float()).softmax(dim=1)[:, 1].mean().item()
    if mean is None:
        assert said > 0.25, "a tenth of the windows counts as much as the others"
    else:
        # A logistic regression says a class as often as it is there.
        assert said == pytest.approx(mean, abs=1e-3)
