"""Fine-tuning: validation windows are judged in any order, and by record where it is asked."""

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biosig_cli.data.batch import Batch
from biosig_cli.models.base import Encoder, Encoding
from biosig_cli.tasks.base import Answering, FineTuning, TaskConfig
from biosig_cli.tasks.classification import ClassificationConfig
from biosig_cli.tasks.examples import Examples
from biosig_cli.tasks.regression import RegressionConfig
from tests.tasks.made import examples_of


class Mean(nn.Module):
    """One token per channel: the mean of a window."""

    def forward(self, signal: Tensor) -> Encoding:
        return Encoding(signal.mean(dim=-1)[..., None, None], signal[:, :, None])


class First(nn.Module):
    """The first channel's token is the answer, its opposite the other class's."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.n_outputs = n_outputs

    def forward(self, tokens: Tensor) -> Tensor:
        value = self.gain * tokens[:, 0, 0]
        return torch.cat([-value, value], dim=1)[:, -self.n_outputs :]


def make(task: TaskConfig, val: Examples) -> FineTuning:
    loss = task.make_loss(np.array([0.0, 1.0]))
    return FineTuning(cast(Encoder, Mean()), First(task.n_outputs), task, loss, val)


@pytest.mark.parametrize(
    ("level", "mae"),
    # Windows 0 and 1 are of record a (60), 2 and 3 of b (80); each is missed by 10, up or down.
    [("window", 10.0), ("record", (0 + 10) / 2)],
)
def test_answers_are_averaged_over_what_they_are_about(level: str, mae: float) -> None:
    task = RegressionConfig.parse({"level": level, "center": 0.0, "scale": 1.0})
    val = examples_of([60, 60, 80, 80], subject=["p"] * 4, record=["a", "a", "b", "b"])
    answer = torch.tensor([50.0, 70.0, 90.0, 90.0])
    score = make(task, val).score({"answer": answer, "window": torch.arange(4)})
    assert score["mae"] == pytest.approx(mae)


def test_windows_are_found_by_their_row_in_whatever_order_they_come() -> None:
    task = ClassificationConfig(classes=(0, 1))
    val = examples_of([0, 1, 1])
    val = type(val)(**{**vars(val), "row": np.array([7, 3, 5])})  # only these have a label
    answer = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
    score = make(task, val).score({"answer": answer, "window": torch.tensor([3, 5, 7])})
    assert score["auroc"] == 1.0
    score = make(task, val).score({"answer": answer, "window": torch.tensor([7, 5, 3])})
    assert score["auroc"] == 0.0, "class 0 is answered 0.9, and 1 is answered 0.8 and 0.3"


def test_a_batch_costs_the_mean_of_its_windows_and_says_answers_in_eval_mode_only() -> None:
    task = ClassificationConfig(classes=(4, 9), label="mood")
    trainable = make(task, examples_of([0, 1]))
    signal = torch.tensor([0.0, 2.0])[:, None, None].expand(2, 1, 5)
    labels = {"mood": torch.tensor([9.0, 9.0])}
    batch = Batch(signal, torch.tensor([3, 8]), torch.arange(2), labels)
    losses = trainable.train()(batch)
    # The outputs (-2, 2) are a probability of 1 / (1 + exp(-4)).
    by_hand = (np.log(2) + np.log1p(np.exp(-4))) / 2
    assert losses.total.item() == pytest.approx(by_hand, abs=1e-6)
    assert losses.outputs == {}
    outputs = trainable.eval()(batch).outputs
    assert outputs["window"].tolist() == [3, 8]
    np.testing.assert_allclose(outputs["answer"][:, 1].detach(), [0.5, 1 / (1 + np.exp(-4))])
    answering = Answering(trainable.encoder, trainable.head, task)
    torch.testing.assert_close(answering(signal), outputs["answer"])
