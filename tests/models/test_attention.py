"""Attention by two products is that of torch."""

import pytest
import torch
import torch.nn.functional as F

from biosig_cli.models.attention import attend


@pytest.mark.parametrize("is_masked", [False, True])
def test_it_is_the_attention_of_torch(is_masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, n, 4) for n in (5, 7, 7))
    allowed = torch.rand(3, 1, 5, 7) < 0.6 if is_masked else None
    if allowed is not None:
        allowed[..., 0] = True
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    torch.testing.assert_close(attend(query, key, value, allowed), expected)
