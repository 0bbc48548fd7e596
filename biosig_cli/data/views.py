"""Windows of one or several stores, some or all of them, seen as one store."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.store import WindowStore

OF_ANY_ROWS = (
    "format",
    "normalization",
    "statistics",
    "target",
    "filters",
    "source",
    "recipe",
    "label_channels_allowed",
    "hash_subjects",
    "ignored",
)
"""What a manifest says that is so of any of its windows."""
MEANING = ("unit", "values", "derived_from")
"""What makes two labels of one name the same label."""


class StoreView(WindowStore):
    """Chosen windows of stores that hold windows of one spec; nothing is copied or read.

    Args:
        parts: The stores, opened with the same channels in the same order.
        rows: (n,) places among the windows of all of them, one store after the other, or a mask
            that keeps some; all if None.

    Raises:
        DataError: If the stores differ in what a window is, or in what a label means.
    """

    def __init__(
        self,
        parts: Sequence[WindowStore],
        rows: NDArray[np.int64] | NDArray[np.bool_] | None = None,
    ) -> None:
        self._parts = tuple(parts)
        spec = self._parts[0].spec
        for other in self._parts[1:]:
            _check_same_kind(self._parts[0], other)
        sizes = [len(part) for part in self._parts]
        places = np.arange(sum(sizes))
        self._rows: NDArray[np.int64] = places if rows is None else places[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self._part = np.searchsorted(starts, self._rows, side="right") - 1
        self._row = self._rows - starts[self._part]
        manifest = _shared_facts(self._parts) | {"n_windows": len(self._rows), "spec": spec.dump()}
        super().__init__(_common_path(self._parts), spec, manifest, range(spec.n_channels))

    @property
    def stores(self) -> tuple[WindowStore, ...]:
        """The stores that hold the windows."""
        return tuple(store for part in self._parts for store in part.stores)

    @property
    def digest(self) -> str:
        """What identifies the content: the same windows in the same order have the same digest."""
        content = json.dumps([part.digest for part in self._parts]).encode()
        return hashlib.sha256(content + self._rows.astype("<i8").tobytes()).hexdigest()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose windows these are; empty where one of the stores does not say."""
        return super().subjects if all(part.subjects for part in self._parts) else ()

    @property
    def n_bytes(self) -> int:
        """Bytes of the stores that are read from the disk."""
        return sum(part.n_bytes for part in self._parts)

    @property
    def shards(self) -> NDArray[np.int64]:
        """Number of the file that each window lies in, (n,); no two stores share one."""
        numbers, first = [], 0
        for part in self._parts:
            numbers.append(part.shards + first)
            first = int(numbers[-1].max(initial=first - 1)) + 1
        chosen: NDArray[np.int64] = np.concatenate(numbers)[self._rows]
        return chosen

    def expect(self, order: Literal["windows", "shards"], *, n_together: int = 0) -> None:
        """Tell the system how the windows of all parts will be read."""
        for part in self._parts:
            part.expect(order, n_together=n_together)

    def load(self) -> None:
        """Hold the windows of all parts in memory from now on."""
        for part in self._parts:
            part.load()

    def _gather(self, rows: NDArray[np.int64], *, is_target: bool) -> NDArray[np.float32]:
        windows = np.empty((len(rows), self.spec.n_channels, self.spec.n_samples), np.float32)
        owners, within = self._part[rows], self._row[rows]
        for number in np.unique(owners):
            places = np.flatnonzero(owners == number)
            part = self._parts[number]
            windows[places] = (part.read_target if is_target else part.read)(within[places])
        return windows

    def _read_column(self, name: str) -> NDArray[Any]:
        if name in ("shard", "row"):
            raise DataError(f"a choice of windows has no {name!r} of its own", hint="ask its store")
        values: NDArray[Any] = np.concatenate([part.column(name) for part in self._parts])
        return values[self._rows]


def join(stores: Sequence[WindowStore]) -> WindowStore:
    """Return the windows of all stores as one, in their order; one alone as it is.

    Raises:
        DataError: If they differ in channels, rate or length, or in what a label means.
    """
    return stores[0] if len(stores) == 1 else StoreView(stores)


def choose(store: WindowStore, rows: NDArray[np.int64] | NDArray[np.bool_]) -> StoreView:
    """Return the windows at `rows`, in that order, or those that a mask keeps."""
    return StoreView([store], rows)


def of_subjects(store: WindowStore, subjects: Iterable[str]) -> StoreView:
    """Return the windows of these subjects, in the order of the store.

    Raises:
        DataError: If the store does not say whose windows it holds.
    """
    return choose(store, np.isin(store.column("subject").astype(str), list(subjects)))


def _check_same_kind(one: WindowStore, other: WindowStore) -> None:
    here, there = _described(one), _described(other)
    differing = [
        f"{what} {here[what]} and {there[what]}" for what in here if here[what] != there[what]
    ]
    if differing:
        raise DataError(
            f"windows of {one.path} and {other.path} can't be taken together: they differ in "
            f"{'; '.join(differing)}",
            hint="build them by one recipe, and open them with the same channels",
        )


def _described(store: WindowStore) -> dict[str, str]:
    """Return what windows must have in common, in words that are printed."""
    channels = [
        f"{each.name} ({each.unit})" if each.unit else each.name for each in store.spec.channels
    ]
    return {
        "channels": ", ".join(channels),
        "sampling_hz": f"{store.spec.sampling_hz:g}",
        "n_samples": f"{store.spec.n_samples}",
        "normalization": str(store.manifest.get("normalization") or "not stated"),
        "statistics": str(store.manifest.get("statistics") or "none"),
    }


def _common_path(parts: Sequence[WindowStore]) -> Path:
    if len(parts) == 1:
        return parts[0].path
    return Path(os.path.commonpath([part.path.absolute() for part in parts]))


def _shared_facts(parts: Sequence[WindowStore]) -> dict[str, Any]:
    """Return what all manifests say alike, and the labels and attributes that all stores have."""
    first, *others = [part.manifest for part in parts]
    facts = {
        key: first[key]
        for key in OF_ANY_ROWS
        if key in first and all(other.get(key) == first[key] for other in others)
    }
    return facts | {what: _shared_labels(parts, what) for what in ("labels", "attributes")}


def _shared_labels(parts: Sequence[WindowStore], what: str) -> dict[str, Mapping[str, Any]]:
    first, *others = [dict(part.manifest.get(what) or {}) for part in parts]
    shared = {name: facts for name, facts in first.items() if all(name in each for each in others)}
    for name, facts in shared.items():
        for part, other in zip(parts[1:], others, strict=True):
            differing = [key for key in MEANING if _said(facts, key) != _said(other[name], key)]
            if differing:
                key = differing[0]
                raise DataError(
                    f"{name} is not the same in {parts[0].path} and {part.path}: {key} "
                    f"{facts.get(key)!r} and {other[name].get(key)!r}",
                    hint="build them by one recipe",
                )
    # How many windows have a value is not so of some of them.
    return {
        name: {key: value for key, value in facts.items() if key != "known"}
        for name, facts in shared.items()
    }


def _said(facts: Mapping[str, Any], key: str) -> Any:
    """Return what is said of a label; nothing said and said to be nothing are one."""
    return facts.get(key) or None
