"""Giving an encoder other channels: what depends on channels is mapped by their names.

Known channels keep their parameters exactly, so that what the encoder says of them stays the same
while the new ones are absent. The rest of the encoder does not depend on channels at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_cli.core.errors import CheckpointError, ConfigError
from biosig_cli.signal.spec import Position
from biosig_cli.signal.splines import spline_matrix

NOISE = 0.01
"""Deviation of what is added to the mean of the known channels, so that new ones differ."""

STARTS = ("mean", "zero", "copy", "position")
"""How a new channel may start."""

Fate = Literal["copied", "widened", "created", "dropped"]


@dataclass(frozen=True)
class ChannelOrigin:
    """Where the parameters of a channel come from: another channel's, or an initial value."""

    channel: str
    known: str | None
    how: str


@dataclass(frozen=True)
class TensorFate:
    """What became of one tensor."""

    name: str
    fate: Fate
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None


@dataclass(frozen=True)
class Inflation:
    """How channels map to channels.

    Attributes:
        known: Channels that the encoder has, in its order.
        wanted: Channels that it is to have, in their order.
        renamed: By wanted channel, the known one whose parameters it takes.
        init: What a new channel starts from: `mean` of the known ones plus noise, `zero`,
            `copy:NAME`, a known channel, or `position`, what a spherical spline draws there.
        seed: Of the noise.
        places: Where electrodes sit on the unit sphere, by name; needed for `position`.
    """

    known: tuple[str, ...]
    wanted: tuple[str, ...]
    renamed: Mapping[str, str]
    init: str = "mean"
    seed: int = 42
    places: Mapping[str, Position] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind, _, name = self.init.partition(":")
        if kind not in STARTS or (kind == "copy") != bool(name):
            raise ConfigError(
                f"unknown --init {self.init!r}",
                hint="give mean, zero, position, or copy:NAME of a channel",
            )
        if kind == "position":
            self._check((*self.known, *self.wanted), tuple(self.places), "no position is known of")
        named = [*self.renamed.values(), *([name] if name else [])]
        self._check(named, self.known, "the encoder has no channel")
        self._check(self.renamed, self.wanted, "--map names what is not among --channels:")
        twice = sorted({each for each in self.wanted if self.wanted.count(each) > 1})
        if twice:
            raise ConfigError(f"channel {', '.join(twice)} stands twice in --channels")
        if kind != "position" and all(each.known is None for each in self.origins):
            raise CheckpointError(
                f"nothing to carry over: the encoder knows {', '.join(self.known)}, none of which "
                f"is among {', '.join(self.wanted)}",
                hint=f"say which is which: --map {self.wanted[0]}={self.known[0]}",
            )

    @staticmethod
    def _check(names: Sequence[str] | Mapping[str, str], among: Sequence[str], said: str) -> None:
        unknown = [name for name in names if name not in among]
        if unknown:
            raise ConfigError(f"{said} {', '.join(unknown)}", hint=f"there are {', '.join(among)}")

    @property
    def origins(self) -> tuple[ChannelOrigin, ...]:
        """Where each wanted channel comes from, in their order."""
        return tuple(self._origin(name) for name in self.wanted)

    def drawn_from(self, name: str) -> NDArray[np.float64]:
        """Return what of each known channel goes into a new one that is drawn by position, (C,)."""
        places = np.array([self.places[each] for each in self.known])
        weights: NDArray[np.float64] = spline_matrix(places, np.array([self.places[name]]))[0]
        return weights

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return tuple(each.known for each in self.origins) == self.known

    def _origin(self, name: str) -> ChannelOrigin:
        known = self.renamed.get(name, name)
        if known in self.known:
            return ChannelOrigin(name, known, f"copied from {known}")
        if self.init == "position":
            nearest = self.known[int(self.drawn_from(name).argmax())]
            return ChannelOrigin(name, None, f"spherical spline, most of it from {nearest}")
        if self.init == "mean":
            return ChannelOrigin(name, None, f"mean of {', '.join(self.known)} + noise {NOISE:g}")
        return ChannelOrigin(name, None, self.init)


def inflate_weights(
    weights: Mapping[str, Tensor],
    channel_dims: Mapping[str, tuple[int, ...]] | None,
    inflation: Inflation,
) -> tuple[dict[str, Tensor], list[TensorFate]]:
    """Return the weights of an encoder for the wanted channels, and what became of each tensor.

    Args:
        weights: Tensors by name, of the encoder for the known channels.
        channel_dims: Which of them depend on channels, and along which dimensions; None where
            that is not known.
        inflation: How channels map to channels.

    Raises:
        CheckpointError: If a tensor that depends on channels is missing or of another size, or it
            is not known which do.
    """
    if channel_dims is None:
        if not inflation.is_identity:
            raise CheckpointError(
                f"the encoder takes {', '.join(inflation.known)}, and no other channels",
                hint=f"--channels {','.join(inflation.known)}; or train one for these from scratch",
            )
        channel_dims = {}
    missing = [name for name in channel_dims if name not in weights]
    if missing:
        raise CheckpointError(f"the encoder has no {', '.join(missing)}; it is of another family")
    draw = torch.Generator().manual_seed(inflation.seed)
    inflated, fates = {}, []
    for name, tensor in weights.items():
        dims = channel_dims.get(name, ())
        wider = _inflate(name, tensor, dims, inflation, draw)
        inflated[name] = wider
        fate: Fate = "copied" if inflation.is_identity or not dims else "widened"
        fates.append(TensorFate(name, fate, tuple(tensor.shape), tuple(wider.shape)))
    return inflated, fates


def _inflate(
    name: str,
    tensor: Tensor,
    dims: Sequence[int],
    inflation: Inflation,
    draw: torch.Generator,
) -> Tensor:
    is_new = torch.zeros((), dtype=torch.bool)
    for dim in dims:
        if tensor.shape[dim] != len(inflation.known):
            raise CheckpointError(
                f"{name} has {tensor.shape[dim]} channels along dimension {dim}, "
                f"the encoder knows {len(inflation.known)}"
            )
        slices = [_slice(tensor, dim, origin, inflation) for origin in inflation.origins]
        tensor = torch.cat(slices, dim)
        shape = [1] * tensor.ndim
        shape[dim] = -1
        along = torch.tensor([origin.known is None for origin in inflation.origins])
        is_new = is_new | along.view(shape)
    if inflation.init != "mean" or not is_new.any():
        return tensor.clone()
    noise = NOISE * torch.randn(tensor.shape, generator=draw)
    return torch.where(is_new, tensor + noise.to(tensor.dtype), tensor)


def _slice(tensor: Tensor, dim: int, origin: ChannelOrigin, inflation: Inflation) -> Tensor:
    """Return the part of `tensor` along `dim` that belongs to one wanted channel."""
    kind, _, named = inflation.init.partition(":")
    source = origin.known or named
    if source:
        return tensor.narrow(dim, inflation.known.index(source), 1)
    if kind == "position":
        weights = torch.from_numpy(inflation.drawn_from(origin.channel)).to(tensor.dtype)
        drawn: Tensor = torch.tensordot(tensor, weights, dims=([dim], [0]))
        return drawn.unsqueeze(dim)
    mean = tensor.mean(dim, keepdim=True)
    return torch.zeros_like(mean) if kind == "zero" else mean
