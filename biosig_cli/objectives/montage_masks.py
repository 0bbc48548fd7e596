"""Which patches of a montage are hidden: anywhere, at a time, or in blocks of the head and time."""

from typing import Literal

import torch
from torch import Tensor

from biosig_cli.engine.draws import fork, uniform
from biosig_cli.models.adapters import places_of
from biosig_cli.models.base import Encoder
from biosig_cli.signal.spec import SignalSpec

MontageMask = Literal["random", "time", "block"]
N_BLOCKS = 64
"""Blocks that are drawn; they cover any ratio that leaves something visible."""


def hide_share(
    encoder: Encoder,
    keys: Tensor,
    spec: SignalSpec,
    *,
    ratio: float,
    kind: MontageMask = "random",
    radius: float = 0.0,
    span: int = 1,
) -> Tensor:
    """Hide a share of the patches of every window of `spec`, (B, C, P) bool; see `draw_mask`."""
    places = torch.from_numpy(places_of(encoder.montage(spec))).float().to(keys.device)
    n_positions = spec.n_samples // encoder.patch_length
    n_hidden = round(len(places) * n_positions * ratio)
    return draw_mask(
        keys, places, n_positions, kind=kind, n_hidden=n_hidden, radius=radius, span=span
    )


def draw_mask(
    keys: Tensor,
    places: Tensor,
    n_positions: int,
    *,
    kind: MontageMask,
    n_hidden: int,
    radius: float,
    span: int,
) -> Tensor:
    """Hide exactly `n_hidden` patches of every window.

    Args:
        keys: (B,) int64 keys to draw from.
        places: (C, 3) places of the electrodes on the unit sphere.
        n_positions: Patches in time, P.
        kind: `random` hides patches anywhere, `time` those of all electrodes at once, `block` those
            of electrodes near each other for some patches on end.
        n_hidden: How many of the C times P patches to hide.
        radius: Of a block, the distance of its electrodes from their centre.
        span: Of a block, how many patches it lasts.

    Returns:
        (B, C, P) bool, True where hidden.
    """
    n_channels = len(places)
    if kind == "time":
        rank = uniform(keys, n_positions)[:, None].expand(-1, n_channels, -1)
        # Where the last position is hidden in part, electrodes are drawn.
        rank = rank + uniform(fork(keys, 1), n_channels)[:, :, None] * 1e-9
    elif kind == "random":
        rank = uniform(keys, n_channels * n_positions).view(-1, n_channels, n_positions)
    else:
        rank = _block_rank(keys, places, n_positions, radius=radius, span=span)
    order = rank.flatten(1).argsort(dim=1).argsort(dim=1)
    return (order < n_hidden).view(-1, n_channels, n_positions)


def _block_rank(
    keys: Tensor, places: Tensor, n_positions: int, *, radius: float, span: int
) -> Tensor:
    """Return which block hides a patch first, (B, C, P): the patches of low rank are hidden.

    A block is a cap of the head around an electrode, for some patches on end; patches of the last
    block that is needed are taken at random.
    """
    n_channels = len(places)
    draws = uniform(keys, 2 * N_BLOCKS + n_channels * n_positions)
    centre = (draws[:, :N_BLOCKS] * n_channels).long()
    # A block may begin before the first patch and end after the last: all are hidden as often.
    start = (draws[:, N_BLOCKS : 2 * N_BLOCKS] * (n_positions + span - 1)).long() - span + 1
    near = torch.cdist(places, places) <= radius
    position = torch.arange(n_positions, device=keys.device)
    during = (position >= start[..., None]) & (position < start[..., None] + span)
    covered = near[centre][..., None] & during[:, :, None]
    first = torch.where(covered.any(dim=1), covered.int().argmax(dim=1), N_BLOCKS)
    return first + draws[:, 2 * N_BLOCKS :].view(-1, n_channels, n_positions)
