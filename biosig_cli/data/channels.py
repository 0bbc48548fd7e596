"""What a channel is called in the recordings, how it is filtered, and what quality it needs.

The shipped `channels.yaml` and `windows.yaml` are the defaults, so the values stand in one place.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import Field

from biosig_cli.core.config import Config, find_config, read_file
from biosig_cli.core.errors import ConfigError
from biosig_cli.signal.electrodes import electrode_positions, montage_electrodes
from biosig_cli.signal.filters import AnyFilter
from biosig_cli.signal.spec import Channel, ChannelKind, Position


class ChannelConfig(Config):
    """One channel: where its samples are found and what is done to them."""

    kind: ChannelKind
    """What it measures; rules of quality belong to a kind."""
    unit: str = ""
    """Unit of its samples, as it is shown."""
    tracks: tuple[str, ...] = ()
    """Names of its track in the recordings, the preferred one first; each matches exactly."""
    inverted: tuple[str, ...] = ()
    """Those of its tracks that stand upside down and are turned over: a camera's brightness falls
    when blood comes."""
    filter: AnyFilter | None = None
    """Filter of the continuous signal; null leaves it as it is."""
    min_quality: float | None = Field(None, ge=0, le=1)
    """A window whose score in this channel is lower is dropped; the windows' own if null."""
    electrodes: str | tuple[str, ...] | None = None
    """Makes it stand for many channels, one for each electrode, which carry its settings: a list of
    names, a montage of mne such as GSN-HydroCel-129, or `all` that the recordings have."""
    position: Position | None = None
    """Where an electrode sits on the unit sphere; `electrodes` fills it in."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the samples; a setting that came later and is not used is no part."""
        dumped = self.dump()
        return {key: dumped[key] for key in dumped if key not in LATER or dumped[key] is not None}


LATER = ("electrodes", "position")
ALL = "all"


@cache
def _shipped(name: str, key: str) -> dict[str, Any]:
    values: dict[str, Any] = read_file(find_config(name))[key]
    return values


def shipped_channels() -> dict[str, Any]:
    """Return the channels of the shipped `channels.yaml`."""
    return _shipped("channels", "channels")


def shipped_sets() -> dict[str, Any]:
    """Return the named sets of the shipped `channels.yaml`."""
    return _shipped("channels", "sets")


def shipped_windows() -> dict[str, Any]:
    """Return the settings of the shipped `windows.yaml`."""
    return _shipped("windows", "windows")


def overlay(base: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `update`, so that a recipe states only what it changes.

    A mapping of another `kind` replaces the one in `base`: the settings of a Butterworth filter
    mean nothing to another family.
    """
    merged = dict(base)
    for key, value in update.items():
        old = merged.get(key)
        is_other_kind = (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and value.get("kind", old.get("kind")) != old.get("kind")
        )
        if isinstance(value, Mapping) and isinstance(old, Mapping) and not is_other_kind:
            merged[key] = overlay(old, value)
        else:
            merged[key] = value
    return merged


def choose(
    channels: Mapping[str, ChannelConfig],
    sets: Mapping[str, Sequence[str]],
    name: str,
    electrodes: Callable[[], Sequence[str]] | None = None,
) -> dict[str, ChannelConfig]:
    """Return the channels of the set called `name`, in its order.

    Args:
        channels: Every channel that is described.
        sets: The channels of each set.
        name: The set.
        electrodes: Tells which electrodes the recordings have.

    Raises:
        ConfigError: If there is no such set, it names a channel that is not described, or nothing
            tells which electrodes a channel stands for.
    """
    if name not in sets:
        raise ConfigError(
            f"no channel set {name!r}",
            hint=f"there are {', '.join(sets)}; see configs/channels.yaml",
        )
    unknown = [channel for channel in sets[name] if channel not in channels]
    if unknown:
        raise ConfigError(
            f"set {name!r} names {', '.join(unknown)}, which `channels` does not describe",
            hint=f"described are {', '.join(channels)}",
        )
    if not sets[name] or len(set(sets[name])) != len(sets[name]):
        raise ConfigError(f"set {name!r} must name each of its channels once: {list(sets[name])}")
    chosen: dict[str, ChannelConfig] = {}
    for channel in sets[name]:
        chosen |= _each_electrode(channel, channels[channel], electrodes)
    return chosen


def _each_electrode(
    name: str, channel: ChannelConfig, there: Callable[[], Sequence[str]] | None
) -> dict[str, ChannelConfig]:
    """Return the channel, or in its place the electrodes that it stands for."""
    if channel.electrodes is None:
        return {name: channel}
    if channel.electrodes == ALL:
        names = there() if there is not None else ()
        if not names:
            raise ConfigError(
                f"channels.{name}.electrodes: all: no recording at hand has a channel that a "
                "montage knows by name",
                hint=f"give --source, or a list of names: channels.{name}.electrodes=[Fp1,Fp2]",
            )
    elif isinstance(channel.electrodes, str):
        names = montage_electrodes(channel.electrodes)
    else:
        names = channel.electrodes
    one = channel.model_copy(update={"electrodes": None})
    return {
        electrode: one.model_copy(update={"tracks": (electrode,), "position": position})
        for electrode, position in electrode_positions(names).items()
    }


def spec_channels(channels: Mapping[str, ChannelConfig]) -> tuple[Channel, ...]:
    """Return the channels as a window's spec holds them."""
    return tuple(
        Channel(name=name, kind=config.kind, unit=config.unit, position=config.position)
        for name, config in channels.items()
    )


def kind_of(name: str) -> ChannelKind:
    """Return the kind of a channel that the shipped `channels.yaml` describes, else `other`."""
    kind: ChannelKind = shipped_channels().get(name, {}).get("kind", "other")
    return kind
