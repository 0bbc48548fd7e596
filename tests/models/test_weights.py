"""Weights load whole, or not at all, and say which name was the matter."""

import pytest
import torch
from torch import nn

from biosig_cli.core.errors import CheckpointError
from biosig_cli.models.weights import load_weights


def make() -> nn.Module:
    return nn.ModuleDict({"body": nn.Linear(3, 2), "head": nn.Linear(2, 1)})


def test_all_names_are_matched() -> None:
    source, target = make(), make()
    report = load_weights(target, source.state_dict(), source="a run")
    assert len(report.matched) == 4
    torch.testing.assert_close(target.state_dict(), source.state_dict())


def test_what_the_model_makes_itself_may_be_missing() -> None:
    weights = {k: v for k, v in make().state_dict().items() if k.startswith("body")}
    report = load_weights(make(), weights, source="a run", created=("head.weight", "head.bias"))
    assert report.matched == ("body.weight", "body.bias")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("head.bias"), "1 missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 unexpected"),
        (lambda w: w.update({"body.bias": torch.zeros(5)}), "1 of another shape"),
        (lambda w: w.clear(), "0 tensors matched"),
    ],
)
def test_anything_else_is_refused_and_changes_nothing(spoil, message: str) -> None:
    weights = dict(make().state_dict())
    spoil(weights)
    target = make()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_weights(target, weights, source="a run")
    torch.testing.assert_close(target.state_dict(), before)


def test_nothing_matched_is_never_a_success() -> None:
    names = tuple(make().state_dict())
    with pytest.raises(CheckpointError, match="0 tensors matched"):
        load_weights(make(), {}, source="a run", created=names)
