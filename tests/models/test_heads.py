"""Heads: channels stay apart, spread over time is heard, and every head can learn a batch."""

import pytest
import torch
from torch.nn import functional

from biosig_cli.core.errors import ConfigError
from biosig_cli.models.heads import AttentionHead, HeadConfig, TemporalHead, pool

KINDS = ("linear", "mlp", "attention")


def test_pooled_tokens_are_mean_and_spread_of_each_channel() -> None:
    # Two channels, two moments, one feature: 1 and 3, then 10 and 10.
    tokens = torch.tensor([[[[1.0], [3.0]], [[10.0], [10.0]]]])
    torch.testing.assert_close(
        pool(tokens), torch.tensor([[2.0, 1.0, 10.0, 0.0]]), atol=2e-3, rtol=0
    )


def test_channels_can_not_be_taken_for_each_other() -> None:
    tokens = torch.randn(2, 2, 5, 3)
    assert not torch.allclose(pool(tokens), pool(tokens.flip(1)))
    torch.testing.assert_close(pool(tokens).view(2, 2, 6).flip(1).flatten(1), pool(tokens.flip(1)))


def test_a_flat_channel_has_a_gradient() -> None:
    tokens = torch.ones(1, 1, 4, 2, requires_grad=True)
    pool(tokens).sum().backward()
    assert tokens.grad is not None
    assert torch.isfinite(tokens.grad).all(), "the root of no spread has none"


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_learns_one_batch_by_heart(kind: str) -> None:
    torch.manual_seed(0)
    head = HeadConfig.parse({"kind": kind, "dropout": 0.0}).build(2, 4, 3)
    tokens, target = torch.randn(9, 2, 5, 4), torch.arange(9) % 3
    assert head(tokens).shape == (9, 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        loss = functional.cross_entropy(head(tokens), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05, f"chance is {torch.log(torch.tensor(3.0)):.2f}"
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_attention_answers_with_the_token_that_it_is_asked_for() -> None:
    head = AttentionHead(width=2, n_outputs=2, dropout=0.0)
    with torch.no_grad():
        head.question.weight.copy_(torch.tensor([[1000.0, 0.0]]))
        head.out.weight.copy_(torch.eye(2))
        head.out.bias.zero_()
    # Of normed tokens, the second alone is 1 in its first feature.
    tokens = torch.tensor([[[[0.0, 4.0], [4.0, 0.0], [0.0, 9.0]]]])
    torch.testing.assert_close(head(tokens), torch.tensor([[1.0, -1.0]]), atol=1e-4, rtol=0)


def test_dropout_is_off_when_it_is_to_answer() -> None:
    for kind in KINDS:
        head = HeadConfig.parse({"kind": kind, "dropout": 0.9}).build(1, 8, 2).eval()
        tokens = torch.randn(3, 1, 5, 8)
        assert torch.equal(head(tokens), head(tokens)), kind


def test_only_the_last_layer_of_a_rhythm_head_is_new() -> None:
    assert HeadConfig(kind="rhythm").new == ("out.*",)
    assert HeadConfig(kind="linear").new == ("*",)


class _AsItIs(torch.nn.Module):
    """Shows what the head would be told, without its layers."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens


def test_a_moment_is_the_mean_time_of_tokens_weighted_by_what_they_show() -> None:
    head = TemporalHead(width=1, hidden=1, dropout=0.0, span_s=(0.5, 2.5))
    head.norm = head.hidden = head.out = _AsItIs()
    # Two channels, four moments; what is far above zero passes the nonlinearity as it is.
    shown = torch.tensor([[10.0, 12.0, 10.0, 10.0], [10.0, 10.0, 14.0, 10.0]])
    weights = torch.softmax(torch.tensor([10.0, 11.0, 12.0, 10.0]), dim=0)
    expected = (weights * torch.tensor([0.75, 1.25, 1.75, 2.25])).sum()
    torch.testing.assert_close(head(shown[None, :, :, None])[0, 0], expected)


def test_a_moment_starts_in_the_middle_and_is_found_whatever_the_montage() -> None:
    torch.manual_seed(0)
    config = HeadConfig.parse({"kind": "temporal", "dropout": 0.0, "span_s": [0.5, 2.5]})
    head = config.build(3, 4, 1)

    def windows(n: int, n_channels: int) -> tuple[torch.Tensor, torch.Tensor]:
        place = torch.arange(n) % 8
        tokens = 0.1 * torch.randn(n, n_channels, 8, 4)
        tokens[torch.arange(n), :, place, 0] += 3.0
        return tokens, 0.5 + 2.0 * (place + 0.5) / 8

    tokens, target = windows(64, 3)
    torch.testing.assert_close(head(tokens), torch.full((64, 1), 1.5))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        functional.mse_loss(head(tokens)[:, 0], target).backward()
        optimizer.step()
    others, when = windows(16, 5)
    assert (head(others)[:, 0] - when).abs().max() < 0.15
    torch.testing.assert_close(head(others), head(others.flip(1)))


def test_a_moment_is_one_number_within_some_time() -> None:
    with pytest.raises(ConfigError, match="asks for 2"):
        HeadConfig(kind="temporal").build(3, 4, 2)
    with pytest.raises(ConfigError, match="no stretch of time"):
        HeadConfig.parse({"span_s": [2.5, 0.5]})
