"""Attention, by whichever way is fast on the machine."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Return scaled dot-product attention.

    On a CPU by two matrix products: torch's fused kernel is made for long rows, and its backward
    pass takes several times as long for rows of 8 to 129 tokens.

    Args:
        query: (..., H, Q, D).
        key: (..., H, K, D).
        value: (..., H, K, D).
        allowed: (..., 1 or H, 1 or Q, K) bool, what may be looked at; everything if None.

    Returns:
        (..., H, Q, D).

    Source:
        Vaswani et al., NeurIPS 2017, arXiv 1706.03762, equation 1.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(dim=-1).to(value.dtype) @ value
