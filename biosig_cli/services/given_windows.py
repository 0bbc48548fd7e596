"""Windows of whatever a trained model is given: raw recordings, folders of them, window stores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from biosig_cli.catalog import open_recording, open_source
from biosig_cli.core.config import Config
from biosig_cli.core.errors import BiosigError, DataError
from biosig_cli.data.channels import ChannelConfig, overlay, shipped_channels
from biosig_cli.data.dataset import DatasetConfig
from biosig_cli.data.flagged import FlaggedWindows, flag_record, joined
from biosig_cli.data.readers.base import Source
from biosig_cli.data.readers.eeg_folder import EegFolder
from biosig_cli.data.recipe import WindowRecipe
from biosig_cli.data.remote import StorePath
from biosig_cli.data.store import MANIFEST, SPLITS, WindowStore, has_split, open_npz, open_split
from biosig_cli.data.store import open_store as open_one
from biosig_cli.data.store_files import index_file
from biosig_cli.data.window_store import INDEX
from biosig_cli.services.carried_recipe import carried_recipe
from biosig_cli.signal.spec import SignalSpec

BROKEN = "broken_"
FEWEST_ELECTRODES = 0.25
"""Share of a model's electrodes that a recording has to have, where a model takes any."""
READ_ROWS = 4096
"""Windows of a store that are held at a time."""


class GivenConfig(Config):
    """Settings of the commands that give a trained model recordings or windows."""

    recipe_parts = ("channels", "dataset")

    inputs: tuple[StorePath, ...] = Field(min_length=1)
    """Files or folders of recordings, window stores, or .npz files of windows."""
    channels: dict[str, ChannelConfig] = Field(default_factory=dict)
    """What channels are called in these recordings: of a recipe, `tracks` and `inverted` count.
    Filters and windows are the model's own."""
    dataset: DatasetConfig | None = None
    """What is known of the recordings: how files are read, whose they are."""
    batch_size: int = Field(256, gt=0)
    """Windows that the model is given at a time."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""

    @field_validator("channels", mode="before")
    @classmethod
    def _over_shipped_channels(cls, channels: Any) -> Any:
        return overlay(shipped_channels(), channels) if isinstance(channels, Mapping) else channels


@dataclass(frozen=True)
class Portion:
    """What came of one record, or of some windows of a store."""

    source: str
    """The input that it is from."""
    record: str
    windows: FlaggedWindows | None
    """None where the record can't be used."""
    problem: str = ""
    """Why not."""
    spec: SignalSpec | None = None
    """What the windows are, where they lack electrodes of the model's; None where they do not."""
    lacking: tuple[str, ...] = ()
    """Those electrodes."""


class Given(Protocol):
    """One input."""

    @property
    def name(self) -> str:
        """The path that was given."""

    @property
    def kind(self) -> str:
        """What it is, in words that are printed."""

    def __len__(self) -> int:
        """Return how many portions there are."""

    def portions(self) -> Iterator[Portion]:
        """Yield its windows, a record or some thousand windows at a time."""


def open_given(
    config: GivenConfig, content: Mapping[str, Any], file: Path, *, any_montage: bool = False
) -> list[Given]:
    """Open everything that a model is given.

    Args:
        config: The inputs, and what is known of them.
        content: The checkpoint.
        file: What it is called.
        any_montage: Take recordings that lack some of its electrodes, too.

    Raises:
        DataError: If there is no such input, or nothing in it is known.
        CheckpointError: If recordings are given, and the checkpoint does not say how they become
            windows.
    """
    spec = SignalSpec.parse(content["spec"])
    given: list[Given] = []
    for path in config.inputs:
        stores = _stores_in(path, spec)
        if stores is not None:
            given += [GivenStore(str(path), _checked(store, spec, content)) for store in stores]
            continue
        if not path.exists():
            raise DataError(
                f"no recording at {path}", hint="give a file, a folder or a window store"
            )
        recipe = named_as_here(carried_recipe(content, file), config.channels)
        if path.is_dir():
            source = open_source(str(path), config.dataset)
            given.append(_GivenRecords(str(path), source, recipe, source.ids(), any_montage))
        else:
            source, record = open_recording(path, config.dataset)
            given.append(_GivenRecords(str(path), source, recipe, [record], any_montage))
    return given


def named_as_here(recipe: WindowRecipe, here: Mapping[str, ChannelConfig]) -> WindowRecipe:
    """Return a recipe whose channels are found by the names they have in other recordings, too.

    Names that are given come first, then those of the recipe, then those that the shipped
    `channels.yaml` knows. What is done to the samples stays as it is.
    """
    shipped = {name: ChannelConfig.parse(each) for name, each in shipped_channels().items()}
    channels = {}
    for name, channel in recipe.channels.items():
        known = [each[name] for each in (here, {name: channel}, shipped) if name in each]
        names = {
            what: tuple(dict.fromkeys(n for each in known for n in getattr(each, what)))
            for what in ("tracks", "inverted")
        }
        channels[name] = channel.model_copy(update=names)
    return recipe.model_copy(update={"channels": channels})


@dataclass(frozen=True)
class _GivenRecords:
    """Recordings, one at a time."""

    name: str
    source: Source
    recipe: WindowRecipe
    ids: Sequence[str]
    any_montage: bool = False

    @property
    def kind(self) -> str:
        return self.source.kind

    def __len__(self) -> int:
        return len(self.ids)

    def portions(self) -> Iterator[Portion]:
        for record in self.ids:
            yield self._portion(record)

    def _portion(self, record: str) -> Portion:
        try:
            recipe, lacking = self._recipe_for(record)
            windows = flag_record(self.source.read(record, recipe.channels), recipe)
        except BiosigError as error:
            return Portion(self.name, record, None, str(error))
        except Exception as error:
            # One odd recording out of thousands must not stop the night's work; it is counted.
            return Portion(self.name, record, None, f"unexpected {type(error).__name__}: {error}")
        if not lacking:
            return Portion(self.name, record, windows)
        windows = windows.noting(f"no electrode {', '.join(lacking)}")
        return Portion(self.name, record, windows, spec=recipe.spec, lacking=lacking)

    def _recipe_for(self, record: str) -> tuple[WindowRecipe, tuple[str, ...]]:
        """Return the recipe for the electrodes that a record has, and those that it lacks.

        Where it has too few of them the recipe stays whole, and reading says which one is missing.
        """
        if not self.any_montage or not isinstance(self.source, EegFolder):
            return self.recipe, ()
        wanted = self.recipe.channels
        lacking = self.source.lacking(record, wanted)
        if len(wanted) - len(lacking) < max(1, FEWEST_ELECTRODES * len(wanted)):
            return self.recipe, ()
        channels = {name: each for name, each in wanted.items() if name not in lacking}
        return self.recipe.model_copy(update={"channels": channels}), lacking


@dataclass(frozen=True)
class GivenStore:
    """Windows that are there already."""

    name: str
    store: WindowStore
    kind = "a window store"

    def __len__(self) -> int:
        return -(-len(self.store) // READ_ROWS)

    def portions(self) -> Iterator[Portion]:
        """Yield some thousand windows at a time."""
        store = self.store
        record, subject = self._text("record"), self._text("subject")
        start_s, broken = _or_nan(store, "start_s"), self._broken()
        for first in range(0, len(store), READ_ROWS):
            rows = np.arange(first, min(first + READ_ROWS, len(store)))
            windows = FlaggedWindows(
                data=store.read(rows),
                start_s=start_s[rows],
                usable=np.ones(len(rows), np.bool_),
                flags=joined({name: each[rows] for name, each in broken.items()})
                if broken
                else np.full(len(rows), ""),
                record=record[rows],
                subject=subject[rows],
            )
            yield Portion(self.name, str(windows.record[0]), windows)

    def _text(self, name: str) -> NDArray[np.str_]:
        try:
            return self.store.column(name).astype(np.str_)
        except DataError:
            return np.full(len(self.store), "")

    def _broken(self) -> dict[str, NDArray[np.bool_]]:
        """Return which rules the windows break, where the store says so."""
        file = self.store.path / INDEX
        names = index_file(file).schema_arrow.names if file.is_file() else []
        return {
            name.removeprefix(BROKEN).replace("_", " "): self.store.column(name).astype(np.bool_)
            for name in names
            if name.startswith(BROKEN)
        }


def _or_nan(store: WindowStore, name: str) -> NDArray[np.float64]:
    try:
        return store.column(name).astype(np.float64)
    except DataError:
        return np.full(len(store), np.nan)


def _stores_in(path: Path, spec: SignalSpec) -> list[WindowStore] | None:
    """Return the stores at `path`, with the channels of `spec`; None where there are none."""
    names = spec.names
    if path.suffix == ".npz" and path.is_file():
        return [open_npz(path, channels=names)]
    if (path / MANIFEST).is_file():
        return [open_one(path, channels=names)]
    there = [split for split in SPLITS if has_split(path, split)]
    return [open_split(path, split, channels=names) for split in there] or None


def _checked(store: WindowStore, spec: SignalSpec, content: Mapping[str, Any]) -> WindowStore:
    """Return a store whose windows are what the model was trained on.

    Raises:
        DataError: If they have another length, rate or scale.
    """
    found = f"{store.spec.n_samples} samples at {store.spec.sampling_hz:g} Hz"
    wanted = f"{spec.n_samples} samples at {spec.sampling_hz:g} Hz"
    if found != wanted:
        raise DataError(
            f"windows of {store.path} have {found}, the model takes {wanted}",
            hint="give the recordings themselves: the checkpoint says how they are cut",
        )
    here = store.manifest.get("normalization")
    there = ((content.get("recipe") or {}).get("windows") or {}).get("normalization")
    if here and there and here != there:
        raise DataError(
            f"windows of {store.path} are normalized by {here}, those of the model by {there}",
            hint="give the recordings themselves, or windows built by the model's recipe",
        )
    return store
