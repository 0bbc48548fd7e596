"""The windows of a pretraining: those of one store, or of several in fixed shares."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.loader import Loader
from biosig_cli.data.mixture import Mixture
from biosig_cli.data.remote import StorePath
from biosig_cli.data.store import WindowStore, open_split
from biosig_cli.models.base import Encoder
from biosig_cli.objectives.kinds import ObjectivesConfig
from biosig_cli.services.training import (
    TrainingConfig,
    announce_store,
    describe_data,
    make_loader,
)

Stores = Mapping[str, Sequence[WindowStore]]
"""By split, the stores whose windows are mixed."""


class StoreConfig(Config):
    """Windows to train on."""

    store: StorePath
    """Folder, or URL, with the window stores `train` and `val`."""
    share: float | None = Field(None, gt=0)
    """What it is to have of all batches, beside the shares of others; by default, as many as it
    holds. Validation takes all windows of all stores."""


def read_windows(value: Any) -> Any:
    """Return what a config says of its windows as a list: a path alone is a store, too."""
    each = value if isinstance(value, list | tuple) else [value]
    return [{"store": one} if isinstance(one, str | Path) else one for one in each]


def check_shares(windows: Sequence[StoreConfig]) -> None:
    """Refuse shares that only some stores have, as those of the others could mean anything.

    Raises:
        ValueError: Naming a store without one.
    """
    unshared = [str(each.store) for each in windows if each.share is None]
    if unshared and len(unshared) < len(windows):
        raise ValueError(f"{unshared[0]} has no share, others have: give all of them one, or none")


def open_stores(
    windows: Sequence[StoreConfig],
    *,
    channels: Sequence[str] | None,
    sampling_hz: float | None,
    in_memory: bool,
) -> Stores:
    """Open the training and validation windows of all stores.

    Raises:
        DataError: If one is not there, or lacks a channel.
    """
    return {
        split: [
            open_split(
                each.store,
                split,
                channels=channels,
                sampling_hz=sampling_hz,
                in_memory=in_memory,
            )
            for each in windows
        ]
        for split in ("train", "val")
    }


def announce_stores(config: TrainingConfig, stores: Stores, reporter: Reporter) -> None:
    """Say how many windows of how many subjects each split has, store by store."""
    for split, each in stores.items():
        for store in each:
            where = f" of {store.path.parent}" if len(each) > 1 else ""
            announce_store(config, split, store, reporter, where)


def check_subjects(stores: Stores) -> None:
    """Refuse a subject who is in `train` of one store and in `val` of another of the same source.

    Raises:
        DataError: Naming one. Equal ids in different sources are different people.
    """
    for one in stores["train"]:
        for other in stores["val"]:
            is_same_source = one.manifest.get("source") == other.manifest.get("source")
            both = sorted(set(one.subjects) & set(other.subjects)) if is_same_source else []
            if both:
                raise DataError(
                    f"subject {both[0]} is in {one.path} and in {other.path}: validation would "
                    "see people that were trained on",
                    hint="build both stores from one split file",
                )


def check_alike(stores: Stores, encoder: Encoder) -> None:
    """Refuse stores whose windows `encoder` can't take.

    Raises:
        ConfigError: If they differ in rate or length, or in channels where it takes one montage.
    """
    first, *others = stores["train"]
    for other in others:
        one, two = (
            f"{s.spec.sampling_hz:g} Hz, {s.spec.n_samples} samples"
            + ("" if encoder.any_montage else f", {', '.join(s.spec.names)}")
            for s in (first, other)
        )
        if one != two:
            raise ConfigError(
                f"{type(encoder).__name__} takes windows of one kind: {first.path} has {one}; "
                f"{other.path} has {two}",
                hint="build them by one recipe, or choose channels that all have: --channels A,B",
            )
        encoder.montage(other.spec)


def mix(
    config: TrainingConfig,
    windows: Sequence[StoreConfig],
    stores: Stores,
    split: str,
    device: str,
    *,
    objectives: ObjectivesConfig,
) -> Loader | Mixture:
    """Return the batches of a split; only those of `train` are shuffled, and in shares.

    Raises:
        ConfigError: If a store would have no batch in an epoch.
        DataError: If denoised twins are asked for that a store does not have.
    """
    asked: dict[str, Any] = {"known": objectives.labels, "target": objectives.draws_target}
    asked |= {"codes": objectives.codes, "groups": objectives.groups}
    loaders = [make_loader(config, split, each, device, **asked) for each in stores[split]]
    if len(loaders) == 1:
        return loaders[0]
    shares = [each.share for each in windows if each.share is not None]
    return Mixture(loaders, shares if shares and split == "train" else None)


def describe_stores(stores: Stores) -> dict[str, Any]:
    """Return what a checkpoint keeps of its windows, as `describe_data` does of one store."""
    return {split: _together(describe_each(each)) for split, each in stores.items()}


def describe_each(stores: Sequence[WindowStore]) -> list[dict[str, Any]]:
    """Return of each store what a checkpoint keeps."""
    return list(describe_data({str(n): store for n, store in enumerate(stores)}).values())


def _together(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    content = "".join(part["digest"] for part in parts)
    return {
        "digest": hashlib.sha256(content.encode()).hexdigest(),
        "n_windows": sum(part["n_windows"] for part in parts),
        "subjects": sorted({subject for part in parts for subject in part["subjects"]}),
        "people": [people for part in parts for people in part["people"]],
        "sources": [source for part in parts for source in part["sources"]],
    }
