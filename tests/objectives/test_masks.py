"""Masks hide exactly what is asked for, everywhere equally often."""

import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.engine.draws import fork, uniform, window_keys
from biosig_cli.objectives.masks import block_mask, n_hidden, random_mask

KEYS = window_keys(42, 0, torch.arange(20_000))


@pytest.mark.parametrize(
    ("n_positions", "ratio", "expected"), [(10, 0.4, 4), (16, 0.4, 6), (10, 0.75, 8), (16, 0.5, 8)]
)
def test_exactly_round_of_p_times_ratio_is_hidden(
    n_positions: int, ratio: float, expected: int
) -> None:
    count = n_hidden(n_positions, ratio)
    assert count == expected
    assert (random_mask(KEYS, n_positions, count).sum(1) == expected).all()
    assert (block_mask(KEYS, n_positions, count, span=5).sum(1) == expected).all()


@pytest.mark.parametrize("kind", ["random", "block"])
@pytest.mark.parametrize(("n_positions", "count"), [(10, 4), (16, 6), (12, 11)])
def test_every_position_is_hidden_equally_often(kind: str, n_positions: int, count: int) -> None:
    mask = (
        random_mask(KEYS, n_positions, count)
        if kind == "random"
        else block_mask(KEYS, n_positions, count, span=5)
    )
    share = count / n_positions
    # Five standard deviations of a share counted over 20,000 windows.
    tolerance = 5 * (share * (1 - share) / len(KEYS)) ** 0.5
    assert (mask.double().mean(0) - share).abs().max() < tolerance


def test_block_mask_hides_one_run_on_a_circle() -> None:
    mask = block_mask(KEYS, 10, 4, span=5)
    n_starts = (mask & ~mask.roll(1, dims=1)).sum(1)
    assert (n_starts == 1).all()


def test_random_mask_has_more_runs_than_block_mask() -> None:
    mask = random_mask(KEYS, 10, 4)
    n_starts = (mask & ~mask.roll(1, dims=1)).sum(1).double()
    # 10 positions on a circle, each begins a run with probability 4/10 * 6/9.
    assert abs(n_starts.mean() - 10 * 0.4 * 6 / 9) < 0.05


@pytest.mark.parametrize("ratio", [0.04, 0.99])
def test_ratio_that_hides_nothing_or_everything_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="of 10 patches"):
        n_hidden(10, ratio)


def test_draws_depend_on_window_seed_and_epoch_and_on_nothing_else() -> None:
    windows = torch.tensor([7, 3, 5])
    keys = window_keys(1, 2, windows)
    assert torch.equal(keys[[0]], window_keys(1, 2, torch.tensor([7])))
    for other in (window_keys(2, 2, windows), window_keys(1, 3, windows), fork(keys, 0)):
        assert not torch.equal(keys, other)
    assert torch.equal(uniform(keys, 4)[1], uniform(keys[1:2], 4)[0])


def test_draws_are_uniform_and_uncorrelated() -> None:
    draws = uniform(KEYS, 4)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert (draws.mean(0) - 0.5).abs().max() < 5 * (1 / 12 / len(KEYS)) ** 0.5
    assert (draws.var(0) - 1 / 12).abs().max() < 0.002
    off_diagonal = torch.corrcoef(draws.T) - torch.eye(4)
    assert off_diagonal.abs().max() < 5 / len(KEYS) ** 0.5
