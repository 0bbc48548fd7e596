"""From the electrodes that a recording has to those that an encoder works on.

All adapters go by names and positions, never by the order of channels, and none has a parameter
that belongs to a channel: the same weights take any montage.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError
from biosig_cli.models.attention import attend
from biosig_cli.signal.electrodes import electrode_positions
from biosig_cli.signal.spec import Channel
from biosig_cli.signal.splines import spline_matrix

TEN_TWENTY = (
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8"),
    *("T7", "C3", "Cz", "C4", "T8"),
    *("P7", "P3", "Pz", "P4", "P8", "O1", "O2"),
)
"""The 19 electrodes of the 10-20 system."""

MOST_DEGREES = 20
"""Two electrodes nearer than this stand for each other."""

Channels = Sequence[Channel]


@dataclass(frozen=True)
class Adapted:
    """A signal at the electrodes of an encoder.

    Attributes:
        signal: (B, C', T).
        absent: (C',) bool, True where there is no signal and zeros stand for it; None if it is
            nowhere so.
    """

    signal: Tensor
    absent: Tensor | None = None


class Adapter(nn.Module, ABC):
    """Turns a signal at some electrodes into one at others, before the encoder looks at it."""

    @abstractmethod
    def channels(self, there: Channels) -> tuple[Channel, ...]:
        """Return the channels that a signal of `there` is turned into.

        Raises:
            ConfigError: If it can't be turned.
        """

    @abstractmethod
    def forward(self, signal: Tensor, there: Channels) -> Adapted:
        """Turn a signal (B, C, T) of the channels `there`."""


class Unchanged(Adapter):
    """Takes the electrodes as they are, for an encoder that knows where each sits."""

    def channels(self, there: Channels) -> tuple[Channel, ...]:
        """Return them."""
        return tuple(there)

    def forward(self, signal: Tensor, there: Channels) -> Adapted:
        """Return the signal."""
        return Adapted(signal)


class Towards(Adapter):
    """Base of those that have electrodes to turn a signal into.

    Args:
        targets: The electrodes.
    """

    def __init__(self, targets: Channels) -> None:
        super().__init__()
        self.targets = tuple(targets)

    def channels(self, there: Channels) -> tuple[Channel, ...]:
        """Return the targets."""
        return self.targets


class Select(Towards):
    """Takes the electrodes that stand for the targets; a montage that lacks one is refused."""

    def channels(self, there: Channels) -> tuple[Channel, ...]:
        """Return the targets."""
        found = stand_ins(there, self.targets)
        missing = [c.name for c, row in zip(self.targets, found, strict=True) if row is None]
        if missing:
            raise ConfigError(
                f"adapter select: the windows have nothing at {', '.join(missing)}",
                hint="adapter zero_pad, spline or perceiver makes up for electrodes that are not "
                "there; or name others: model.adapter.electrodes=[...]",
            )
        return self.targets

    def forward(self, signal: Tensor, there: Channels) -> Adapted:
        """Return the channels of the targets, in their order."""
        self.channels(there)
        return Adapted(signal[:, stand_ins(there, self.targets)])


class ZeroPad(Towards):
    """Takes the electrodes that stand for the targets; the rest is zero, and marked."""

    def channels(self, there: Channels) -> tuple[Channel, ...]:
        """Return the targets."""
        if all(row is None for row in stand_ins(there, self.targets)):
            raise ConfigError(
                "adapter zero_pad: the windows have none of the target electrodes",
                hint="name others: model.adapter.electrodes=[...]",
            )
        return self.targets

    def forward(self, signal: Tensor, there: Channels) -> Adapted:
        """Return the targets, zero where a montage has nothing there."""
        self.channels(there)
        found = stand_ins(there, self.targets)
        known = [place for place, row in enumerate(found) if row is not None]
        padded = signal.new_zeros(signal.shape[0], len(found), signal.shape[-1])
        padded[:, known] = signal[:, [found[place] for place in known]]
        if len(known) == len(found):
            return Adapted(padded)
        return Adapted(padded, torch.tensor([row is None for row in found], device=signal.device))


def stand_ins(there: Channels, targets: Channels) -> list[int | None]:
    """Return, of each target, the channel that stands for it: by name, else the nearest one.

    A channel at most 20 degrees away is taken for the target, as electrodes of a dense net that
    have numbers instead of names are; None where there is none.
    """
    names = [channel.name for channel in there]
    cosines = places_of(targets) @ places_of(there).T
    nearest = cosines.argmax(axis=1)
    is_near = cosines.max(axis=1) >= np.cos(np.radians(MOST_DEGREES))
    return [
        names.index(target.name)
        if target.name in names
        else (int(nearest[place]) if is_near[place] else None)
        for place, target in enumerate(targets)
    ]


class Spline(Towards):
    """Interpolates the target electrodes from all that are there, by spherical splines.

    From 19 electrodes no more than 19 independent signals come, however many targets there are: a
    hidden target can then be told from its neighbours, and masked modelling asks little.
    """

    def __init__(self, targets: Channels) -> None:
        super().__init__(targets)
        self._weights: dict[tuple[Channel, ...], Tensor] = {}

    def forward(self, signal: Tensor, there: Channels) -> Adapted:
        """Return the targets as a weighted sum of the channels that are there."""
        known = tuple(there)
        if known not in self._weights:
            matrix = spline_matrix(places_of(known), places_of(self.targets))
            self._weights[known] = torch.from_numpy(matrix).float()
        weights = self._weights[known].to(signal.device)
        # In float32: sums over all electrodes are differences of large numbers.
        with torch.autocast(signal.device.type, enabled=False):
            made = torch.einsum("mn,bnt->bmt", weights, signal.float())
        return Adapted(made)


class Perceiver(nn.Module):
    """Learned queries at target positions attend over the tokens of the electrodes that are there.

    Works on tokens, one position in time at a time: the targets gather from the electrodes, and
    after the encoder's blocks the electrodes read from the targets, so that there is a token for
    each channel again. Weights are shared by all montages; the order of channels does not matter.

    Args:
        targets: The electrodes that the blocks work on.
        width: D.
        n_heads: Heads of attention.

    Source:
        Jaegle et al., ICML 2021, arXiv 2103.03206, with queries that know their position.
    """

    def __init__(self, targets: Channels, width: int, n_heads: int) -> None:
        super().__init__()
        self.targets = tuple(targets)
        self.queries = nn.Parameter(torch.randn(len(targets), width) * 0.02)
        # What is attended to where every electrode is hidden.
        self.nothing = nn.Parameter(torch.zeros(1, width))
        self.gathering = CrossAttention(width, n_heads)
        self.reading = CrossAttention(width, n_heads)

    def gather(
        self, tokens: Tensor, place: Tensor, target: Tensor, hidden: Tensor | None
    ) -> Tensor:
        """Return tokens of the targets.

        Args:
            tokens: (B, C, P, D) of the electrodes, without their places.
            place: (C, D) embedded places of the electrodes.
            target: (Q, D) embedded places of the targets.
            hidden: (B, C, P) bool, which tokens may not be looked at.

        Returns:
            (B, Q, P, D).
        """
        n_windows, _, n_positions, width = tokens.shape
        values = tokens.transpose(1, 2).flatten(0, 1)
        nothing = self.nothing.expand(values.shape[0], 1, width)
        values = torch.cat([values, nothing.to(values.dtype)], dim=1)
        keys = values + F.pad(place, (0, 0, 0, 1))
        blocked = None
        if hidden is not None:
            blocked = F.pad(hidden.transpose(1, 2).flatten(0, 1), (0, 1))
        queries = (self.queries + target).expand(values.shape[0], -1, -1)
        made: Tensor = self.gathering(queries, keys, values, blocked)
        return made.view(n_windows, n_positions, -1, width).transpose(1, 2)

    def read(self, latents: Tensor, place: Tensor, target: Tensor) -> Tensor:
        """Return tokens (B, C, P, D) of electrodes from those of the targets (B, Q, P, D)."""
        n_windows, _, n_positions, width = latents.shape
        values = latents.transpose(1, 2).flatten(0, 1)
        queries = place.expand(values.shape[0], -1, -1)
        made: Tensor = self.reading(queries, values + target, values, None) + place
        return made.view(n_windows, n_positions, -1, width).transpose(1, 2)


class CrossAttention(nn.Module):
    """Attention of some tokens to others.

    Args:
        width: D.
        n_heads: Heads.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None
    ) -> Tensor:
        """Return (N, Q, D) from (N, Q, D) and (N, K, D); `blocked` (N, K) is not attended to."""
        q, k, v = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        mask = None if blocked is None else ~blocked[:, None, None]
        made = attend(q, k, v, mask)
        answer: Tensor = self.out(made.transpose(1, 2).flatten(2))
        return answer


class AdapterConfig(Config):
    """How an encoder takes windows of other electrodes than it works on."""

    kind: Literal["none", "select", "zero_pad", "spline", "perceiver"] = "none"
    """none takes all electrodes as they are, by their positions."""
    electrodes: Annotated[tuple[str, ...], Field(min_length=1)] = TEN_TWENTY
    """The electrodes that the encoder works on; not looked at with `none`."""

    def build(self) -> Adapter:
        """Return the adapter of signals; `perceiver` works on tokens and leaves signals alone.

        Raises:
            ConfigError: If an electrode is not known.
        """
        kinds: Mapping[str, type[Towards]] = {
            "select": Select,
            "zero_pad": ZeroPad,
            "spline": Spline,
        }
        return kinds[self.kind](self.targets()) if self.kind in kinds else Unchanged()

    def targets(self) -> tuple[Channel, ...]:
        """Return the electrodes with their positions."""
        places = electrode_positions(self.electrodes)
        return tuple(
            Channel(name=name, kind="eeg", unit="uV", position=position)
            for name, position in places.items()
        )


def places_of(channels: Channels) -> np.ndarray:
    """Return where channels sit, (C, 3) on the unit sphere.

    Raises:
        ConfigError: If one of them has no position.
    """
    missing = [channel.name for channel in channels if channel.position is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing[:5])} have no position on the head",
            hint="an eeg encoder takes EEG channels alone: --channels, or a set without the others",
        )
    return np.array([channel.position for channel in channels], np.float64)
