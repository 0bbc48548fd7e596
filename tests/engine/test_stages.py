"""Stages: what is frozen stays bit-identical, and a stopped run goes on in the stage it was in."""

import contextlib
from typing import Any

import pytest
import torch
from torch import nn

from biosig_cli.core.errors import InterruptedRunError, TrainingError
from biosig_cli.engine.checkpoint import LAST, load_checkpoint
from biosig_cli.engine.course import Course
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.stages import Stage, fit_stages, let_move, moving, train_what_moves
from tests.engine.conftest import Line

STAGES = [Stage("head", 2, 0.05, ("head.*",)), Stage("all", 2, 0.01)]


def test_frozen_parameters_stay_bit_identical(make_training: Any, plan: PlanConfig) -> None:
    training = make_training(plan)
    before = training.trainable.encoder.weight.clone()
    head = training.trainable.head.weight.clone()
    training = make_training(plan, trainable=training.trainable, stages=STAGES[:1])
    training.fit()
    assert torch.equal(training.trainable.encoder.weight, before)
    assert not torch.equal(training.trainable.head.weight, head)


def test_a_later_stage_moves_what_an_earlier_one_froze(
    make_training: Any, plan: PlanConfig
) -> None:
    training = make_training(plan, stages=STAGES)
    before = training.trainable.encoder.weight.clone()
    result = training.fit()
    assert result.n_epochs == 4
    assert not torch.equal(training.trainable.encoder.weight, before)
    assert result.history["lr"][1] < 0.001 < result.history["lr"][2], "each has its own schedule"


@pytest.mark.parametrize("step", [3, 14, 20])
def test_a_stopped_run_goes_on_in_its_stage(
    make_training: Any, plan: PlanConfig, step: int
) -> None:
    straight = make_training(plan, stages=STAGES)
    straight.fit()
    stopped = make_training(plan, folder="other", stages=STAGES)
    with contextlib.suppress(InterruptedRunError):
        stopped.fit(stop_after=step)
    resumed = make_training(plan, folder="other", stages=STAGES)
    resumed.restore(load_checkpoint(resumed.run.folder / LAST))
    assert resumed.state.step == step
    resumed.fit()
    for name, tensor in straight.trainable.state_dict().items():
        assert torch.equal(resumed.trainable.state_dict()[name], tensor), name
    assert resumed.state.history == straight.state.history


def test_stages_are_shortened_to_the_epochs_there_are() -> None:
    stages = [Stage("one", 5, 1.0), Stage("two", 25, 0.1), Stage("three", 10, 0.01)]
    assert [(each.name, each.epochs) for each in fit_stages(stages, 12)] == [("one", 5), ("two", 7)]
    assert [each.epochs for each in fit_stages(stages, 1)] == [1]


def test_a_pattern_that_names_nothing_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"no parameter is called like tail\.\*"):
        moving(Line(), ("head.*", "tail.*"))


def test_what_is_frozen_is_in_eval_mode() -> None:
    model = Line()
    model.encoder = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    let_move(model, ("head.*",))
    train_what_moves(model)
    assert not model.encoder.training
    assert not model.encoder[0].training
    assert model.head.training


def test_a_pattern_scales_the_learning_rate_of_some_parameters(
    make_training: Any, plan: PlanConfig
) -> None:
    stage = Stage("all", 4, 0.01, scales={"head.*": 10.0})
    training = make_training(plan, stages=[stage])
    highest = {
        id(parameter): group["initial_lr"]
        for group in training.course.optimizer.param_groups
        for parameter in group["params"]
    }
    assert highest[id(training.trainable.head.weight)] == pytest.approx(0.1)
    assert highest[id(training.trainable.encoder.weight)] == pytest.approx(0.01)


def rates(course: Course, n: int) -> list[float]:
    each = []
    for _ in range(n):
        each.append(course.lr)
        course.optimizer.step()
        course.schedule.step()
    return each


def test_a_rise_takes_a_tenth_of_a_stage_at_most_and_all_that_was_asked_of_a_whole_run(
    make_training: Any, plan: PlanConfig
) -> None:
    trainable = make_training(plan).trainable
    plan = plan.model_copy(update={"epochs": 20, "warmup_epochs": 5, "lr": 1.0})
    staged = Course(trainable, [Stage("a", 10, 1.0), Stage("b", 10, 0.5)], plan, 10, "cpu")
    for number, highest in enumerate((1.0, 0.5)):
        staged.enter(number)
        found = rates(staged, 100)
        assert found.index(max(found)) == 10, "one epoch of ten"
        assert max(found) == pytest.approx(highest)
    whole = Course(trainable, [], plan, 10, "cpu")
    whole.enter(0)
    found = rates(whole, 200)
    assert found.index(max(found)) == 50
    assert found[0] == pytest.approx(1 / 51)


def test_a_course_says_what_moves_unless_all_of_it_is_alike(
    make_training: Any, plan: PlanConfig
) -> None:
    trainable = make_training(plan).trainable
    course = Course(trainable, STAGES, plan, 4, "cpu")
    course.enter(0)
    n_all = sum(p.numel() for p in trainable.parameters())
    n_head = sum(p.numel() for p in trainable.head.parameters())
    expected = f"stage 1 of 2: head, 2 epochs at 5.0e-02; {n_head:,} of {n_all:,} parameters move"
    assert course.announce() == expected
    alone = Course(trainable, STAGES[:1], plan, 4, "cpu")
    alone.enter(0)
    assert alone.announce().startswith("head, 2 epochs")
    alike = Course(trainable, [], plan, 4, "cpu")
    alike.enter(0)
    assert alike.announce() == ""
