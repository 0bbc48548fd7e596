"""Predictions come in the order of the windows, and none depends on its neighbours or on luck."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosig_cli.engine.predict import predict


class Windows:
    """Windows of one channel whose samples are all their own number."""

    def __init__(self, n_windows: int, batch_size: int) -> None:
        numbers = torch.arange(float(n_windows))[:, None, None]
        self.parts = numbers.expand(n_windows, 1, 4).split(batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        return (SimpleNamespace(signal=part) for part in self.parts)


class Noisy(nn.Module):
    """Doubles a window; while training it depends on luck and on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(1, affine=False)

    def forward(self, signal: Tensor) -> Tensor:
        return self.dropout(self.norm(self.weight * signal)).mean(dim=-1)


def test_answers_are_in_the_order_of_the_windows_with_the_last_short_batch() -> None:
    found = predict(Noisy(), Windows(7, batch_size=3), device="cpu")
    assert found.shape == (7, 1)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[:, 0], 2.0 * np.arange(7), rtol=1e-4)


def test_an_answer_does_not_depend_on_the_batch_it_is_in() -> None:
    model = Noisy()
    one, all_ = (predict(model, Windows(6, n), device="cpu") for n in (1, 6))
    np.testing.assert_array_equal(one, all_)
    assert not model.training
    assert model.norm.num_batches_tracked == 0, "nothing is learned while asking"


def test_one_may_ask_for_something_else_than_the_forward_pass() -> None:
    def ask(model: nn.Module, signal: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return model(signal)[:, 0] + 100

    found = predict(Noisy(), Windows(3, 2), device="cpu", ask=ask)
    np.testing.assert_allclose(found, [100, 102, 104], rtol=1e-4)


def test_less_precision_is_taken_where_it_is_asked_for() -> None:
    model = nn.Linear(4, 1, bias=False)
    nn.init.constant_(model.weight, 1 / 3)
    rough, exact = (
        predict(model, Windows(5, 5), device="cpu", precision=precision)
        for precision in ("bf16", "fp32")
    )
    assert 0 < np.abs(rough - exact).max() < 0.05
