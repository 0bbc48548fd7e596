"""The learning rate rises, then falls; decay touches matrices only."""

import pytest
from torch import nn

from biosig_cli.engine.optimize import PlanConfig, fit_warmup, make_optimizer, make_schedule


def rates(plan: PlanConfig, steps_per_epoch: int) -> list[float]:
    optimizer = make_optimizer(nn.Linear(2, 2), plan, "cpu")
    schedule = make_schedule(optimizer, plan, steps_per_epoch)
    found = []
    for _ in range(plan.epochs * steps_per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_learning_rate_rises_linearly_then_falls_as_half_a_cosine() -> None:
    found = rates(PlanConfig(epochs=10, lr=1.0, min_lr=0.1, warmup_epochs=2), steps_per_epoch=4)
    assert found[:8] == pytest.approx([(step + 1) / 9 for step in range(8)])
    assert found[8] == pytest.approx(1.0)
    assert found[8 + 16] == pytest.approx(0.55)
    assert found[40] == pytest.approx(0.1)
    assert found[8:] == sorted(found[8:], reverse=True)


def test_no_warmup_starts_at_the_top() -> None:
    assert rates(PlanConfig(epochs=2, lr=1.0, warmup_epochs=0), 3)[0] == 1.0


def test_warmup_that_does_not_fit_is_a_tenth_of_the_run() -> None:
    assert fit_warmup(PlanConfig(epochs=5, warmup_epochs=10)).warmup_epochs == 0.5
    fitting = PlanConfig(epochs=20, warmup_epochs=10)
    assert fit_warmup(fitting) == fitting


def test_only_matrices_decay() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    decayed, kept = make_optimizer(module, PlanConfig(weight_decay=0.3), "cpu").param_groups
    assert [p.ndim for p in decayed["params"]] == [2]
    assert [p.ndim for p in kept["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
