"""Parameters that a batch may leave alone stay as they are, in one process and in several."""

import pytest
import torch
from torch import nn

from biosig_cli.engine import distributed


class Other:
    """A second process: what it would add to each message."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[torch.Tensor]) -> None:
        self.answers = answers
        monkeypatch.setattr(distributed, "n_processes", lambda: 2)
        monkeypatch.setattr(distributed, "add_up", lambda values: values + self.answers.pop(0))


def parameters() -> tuple[nn.Parameter, nn.Parameter]:
    trunk, head = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    trunk.grad = torch.tensor([1.0, 2.0])
    return trunk, head


def test_where_no_process_asked_a_head_it_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk, head = parameters()
    Other(monkeypatch, [torch.zeros(1), torch.ones(5)])
    distributed.sum_gradients([trunk, head], [head])
    assert trunk.grad.tolist() == [2.0, 3.0]
    assert head.grad is None


def test_where_another_process_asked_it_all_have_its_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trunk, head = parameters()
    Other(monkeypatch, [torch.ones(1), torch.ones(5)])
    distributed.sum_gradients([trunk, head], [head])
    assert head.grad.tolist() == [1.0, 1.0, 1.0]
