"""What may move, when and how fast, is what the parameters then do."""

import pytest
import torch
from torch import nn

from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.stages import Stage, let_move, moving
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.kinds import ObjectivesConfig
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.objectives.rhythm import RhythmConfig
from biosig_cli.services.moving import MoveConfig, layer_scales
from tests.stores import spec_of

WHOLE = [Stage("training", 10, 1e-3)]


def make(**asked):
    encoder = TtmConfig(width=16, n_layers=1, n_levels=1).build(spec_of(names=("PPG", "ECG")))
    objectives = ObjectivesConfig(**(asked or {"masked": MaskedConfig()}))
    return objectives.build(encoder), objectives


def names_that_move(trainable, stage):
    return set(moving(trainable, stage.moves))


def test_everything_moves_if_nothing_is_said():
    trainable, asked = make()
    (stage,) = MoveConfig().apply(WHOLE, trainable, hides=asked.hides)
    assert names_that_move(trainable, stage) == {n for n, _ in trainable.named_parameters()}
    assert (stage.epochs, dict(stage.scales)) == (10, {})


def test_what_only_hiding_needs_rests_where_nothing_is_hidden():
    trainable, asked = make(rhythm=RhythmConfig())
    (stage,) = MoveConfig().apply(WHOLE, trainable, hides=asked.hides)
    rest = {n for n, _ in trainable.named_parameters()} - names_that_move(trainable, stage)
    assert rest == {"encoder.mask_token"}


def test_a_frozen_encoder_rests_and_then_moves_slower():
    trainable, asked = make()
    move = MoveConfig(frozen_epochs=3, encoder_lr=0.1)
    frozen, free = move.apply(WHOLE, trainable, hides=asked.hides)
    assert (frozen.epochs, free.epochs) == (3, 7)
    assert all(name.startswith("objectives.") for name in names_that_move(trainable, frozen))
    assert any(name.startswith("encoder.") for name in names_that_move(trainable, free))
    assert set(free.scales.values()) == {0.1}


def test_frozen_epochs_are_cut_from_the_stages_in_turn():
    trainable, asked = make()
    stages = [Stage("a", 2, 1e-3), Stage("b", 4, 1e-4)]
    made = MoveConfig(frozen_epochs=3).apply(stages, trainable, hides=asked.hides)
    assert [(stage.name, stage.epochs, stage.lr) for stage in made] == [
        ("a", 2, 1e-3),
        ("b", 1, 1e-4),
        ("b", 3, 1e-4),
    ]
    assert [stage.moves == ("objectives.*",) for stage in made] == [True, True, False]


def test_only_some_blocks_move():
    trainable, asked = make()
    move = MoveConfig(only=("mixer.*",))
    (stage,) = move.apply(WHOLE, trainable, hides=asked.hides)
    let_move(trainable, stage.moves)
    moved = {n for n, p in trainable.encoder.named_parameters() if p.requires_grad}
    assert moved
    assert all(name.startswith("mixer.") for name in moved)
    with pytest.raises(ConfigError, match="called like mixr"):
        MoveConfig(only=("mixr.*",)).apply(WHOLE, trainable, hides=True)


def test_freezing_where_nothing_else_learns_is_refused():
    trainable, _ = make()
    trainable.objectives = nn.ModuleDict()
    with pytest.raises(ConfigError, match="nothing moves"):
        MoveConfig(frozen_epochs=1).apply(WHOLE, trainable, hides=True)


def test_early_blocks_move_less():
    trainable, _ = make()
    encoder = trainable.encoder
    scales = layer_scales(encoder, 0.5, 0.8)
    n = len(encoder.blocks)
    assert scales[f"encoder.{encoder.blocks[-1]}.*"] == pytest.approx(0.5)
    assert scales[f"encoder.{encoder.blocks[0]}.*"] == pytest.approx(0.5 * 0.8 ** (n - 1))
    assert scales["encoder.*"] == pytest.approx(0.5 * 0.8**n)
    assert list(scales)[-1] == "encoder.*"
    assert torch.is_tensor(encoder.mask_token)
