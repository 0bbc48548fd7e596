"""What a window is: which channels it has, how fast they were sampled, and how long it lasts."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError

ChannelKind = Literal["ppg", "ecg", "acc", "eeg", "resp", "other"]
Position = tuple[float, float, float]
"""Where an electrode sits on a head that is a sphere of radius 1: x to the right ear, y to the
nose, z up. The same place has the same position in every montage, and heads have no size."""


class Channel(Config):
    """One channel of a window; its place in the window carries no meaning, its name does."""

    name: str
    kind: ChannelKind
    unit: str = ""
    position: Position | None = None
    """Of an electrode, on the unit sphere; None where there is none."""

    @model_serializer(mode="wrap")
    def _leave_out_no_position(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A channel without a position is written as it was before there were positions."""
        dumped: dict[str, Any] = dump(self)
        if self.position is None:
            dumped.pop("position", None)
        return dumped


class SignalSpec(Config):
    """The shape and meaning of a window (C, T)."""

    channels: tuple[Channel, ...] = Field(min_length=1)
    sampling_hz: float = Field(gt=0)
    n_samples: int = Field(gt=0)

    @field_validator("channels")
    @classmethod
    def _names_are_unique(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [channel.name for channel in channels]
        if len(set(names)) != len(names):
            raise ValueError(f"channel names must be unique, found {names}")
        return channels

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names, in the order in which the window holds them."""
        return tuple(channel.name for channel in self.channels)

    @property
    def kinds(self) -> tuple[ChannelKind, ...]:
        """Channel kinds, in the order in which the window holds them."""
        return tuple(channel.kind for channel in self.channels)

    @property
    def n_channels(self) -> int:
        """Number of channels, C."""
        return len(self.channels)

    @property
    def duration_s(self) -> float:
        """Length of a window, in seconds."""
        return self.n_samples / self.sampling_hz

    def positions(self, names: Sequence[str]) -> list[int]:
        """Return where the channels called `names` are.

        Raises:
            DataError: If one of them is not here.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise DataError(
                f"channel {', '.join(missing)} not found; there are {', '.join(self.names)}",
                hint=f"choose among them: --channels {','.join(self.names)}",
            )
        return [self.names.index(name) for name in names]

    def select(self, names: Sequence[str]) -> "SignalSpec":
        """Return the spec of the same windows with only the channels called `names`."""
        chosen = tuple(self.channels[position] for position in self.positions(names))
        return self.model_copy(update={"channels": chosen})
