"""The windows of one split, read in any order without loading them."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.core.runtime import allow_open_files
from biosig_cli.data.store_files import index_column, map_shard
from biosig_cli.signal.spec import SignalSpec

INDEX = "index.parquet"
MAX_OPEN_SHARDS = 4096
"""More are not kept open, and fewer where the system allows fewer files."""


class WindowStore:
    """Windows (C, T) of one split; workers may hold copies, each opens the files by itself."""

    def __init__(
        self, path: Path, spec: SignalSpec, manifest: Mapping[str, Any], positions: Sequence[int]
    ) -> None:
        self.path = path
        self.spec = spec
        self.manifest = dict(manifest)
        self._positions = list(positions)
        self._columns: dict[str, NDArray[Any]] = {}
        self._maps: OrderedDict[str, NDArray[np.float16]] = OrderedDict()
        # Each map holds a file descriptor; others need some, too.
        self._max_open = min(MAX_OPEN_SHARDS, allow_open_files() // 2)
        self._advice: str | None = None
        self._is_in_memory = False

    def __len__(self) -> int:
        return int(self.manifest["n_windows"])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": OrderedDict(), "_columns": {}}

    @property
    def digest(self) -> str:
        """What identifies the content: the same windows have the same digest."""
        content = [self.manifest["spec"], self.manifest["shards"], self.manifest["index"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def stores(self) -> tuple["WindowStore", ...]:
        """The stores that hold the windows: itself, or those that a view shows."""
        return (self,)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose windows these are, each subject once; empty where it is not stated."""
        return tuple(sorted({str(subject) for subject in set(self.column("subject").tolist())}))

    @property
    def n_bytes(self) -> int:
        """Bytes of the windows that are read from the disk; none where they are in memory."""
        if self._is_in_memory:
            return 0
        files = [shard["file"] for shard in self.manifest["shards"]]
        return sum((self.path / file).stat().st_size for file in files)

    @property
    def shards(self) -> NDArray[np.int64]:
        """Number of the file that each window lies in, (n,)."""
        return self.column("shard").astype(np.int64, copy=False)

    def expect(self, order: Literal["windows", "shards"], *, n_together: int = 0) -> None:
        """Tell the system how the windows will be read, so that it reads ahead what is needed.

        Args:
            order: `windows` of any shards in turn, so that nothing beside them is needed; or
                `shards` of which all windows are.
            n_together: How many shards are read from at a time; others are not kept open.
        """
        self._advice = "MADV_RANDOM" if order == "windows" else "MADV_WILLNEED"
        self._max_open = min(self._max_open, n_together) if n_together else self._max_open
        self._maps.clear()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels; `column("label_X")` has one per window, NaN where it is missing."""
        return tuple(self.manifest.get("labels", {}))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of what is known of people; `column("subject_X")` has one value per window."""
        return tuple(self.manifest.get("attributes", {}))

    @property
    def has_target(self) -> bool:
        """Whether a denoised twin of each window lies beside it."""
        return "target" in self.manifest

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the normalized windows at `rows`, in that order.

        Args:
            rows: (n,) places of windows in the store, in any order.

        Returns:
            (n, C, T) windows, each channel as `spec` names it.
        """
        return self._gather(np.asarray(rows, dtype=np.int64), is_target=False)

    def read_target(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the denoised twins of the windows at `rows`, by the same center and scale.

        Args:
            rows: (n,) places of windows in the store, in any order.

        Returns:
            (n, C, T) twins; a channel that was not denoised is as `read` gives it.

        Raises:
            DataError: If there are none.
        """
        self.assert_target()
        return self._gather(np.asarray(rows, dtype=np.int64), is_target=True)

    def assert_target(self) -> None:
        """Make sure that there are denoised twins.

        Raises:
            DataError: If there are none, saying how they are made.
        """
        if not self.has_target:
            raise DataError(
                f"{self.path} holds no denoised target",
                hint="make it with its windows: biosig build-windows --denoise --outdir NEW_FOLDER",
            )

    def load(self) -> None:
        """Hold all windows, and their twins, in memory from now on.

        Raises:
            DataError: If a file can't be read.
        """
        self._is_in_memory = True
        for number in range(len(self.manifest["shards"])):
            for is_target in (False, True)[: 1 + self.has_target]:
                self._open(number, is_target=is_target)

    def _gather(self, rows: NDArray[np.int64], *, is_target: bool) -> NDArray[np.float32]:
        shape = (len(rows), len(self._positions), self.spec.n_samples)
        try:
            windows = np.empty(shape, np.float32)
        except (MemoryError, ValueError):
            raise DataError(
                f"{self.path}: {len(rows)} windows of {self.spec.n_samples:,} samples are larger "
                "than the memory",
                hint="take fewer at a time; if no window is so long, the manifest is damaged: "
                "build the store again",
            ) from None
        shards, within = self.column("shard")[rows], self.column("row")[rows]
        order = np.argsort(shards, kind="stable")
        edges = np.flatnonzero(np.diff(shards[order])) + 1
        for places in np.split(order, edges):
            if len(places):
                shard = self._open(int(shards[places[0]]), is_target=is_target)
                windows[places] = self._select(self._pick(shard, within[places]))
        return windows

    def _pick(self, shard: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        is_whole = shard.ndim == 3 and shard.shape[2] == self.spec.n_samples
        is_whole = is_whole and shard.shape[1] > max(self._positions) and shard.dtype.kind == "f"
        if not is_whole or not 0 <= rows.min() <= rows.max() < len(shard):
            raise DataError(
                f"{self.path}: a shard of shape {shard.shape} does not hold the windows that the "
                "index places in it",
                hint="delete the folder and build it again",
            )
        picked: NDArray[Any] = shard[rows]
        return picked

    def physical(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the windows at `rows` in the unit of each channel; (n, C, T)."""
        return self._in_units(self.read(rows), np.asarray(rows, dtype=np.int64))

    def physical_target(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the denoised twins in the unit of each channel; errors as `read_target`."""
        return self._in_units(self.read_target(rows), np.asarray(rows, dtype=np.int64))

    def _in_units(
        self, windows: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        center, scale = self._per_channel("center", rows), self._per_channel("scale", rows)
        return windows * scale[:, :, None] + center[:, :, None]

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the index: `record`, `subject`, `start_s`, `center_PPG`, ...

        Raises:
            DataError: If the store has no such column.
        """
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> NDArray[Any]:
        column = index_column(self.path / INDEX, name)
        values: NDArray[Any]
        if pa.types.is_dictionary(column.type):
            coded = column.combine_chunks()
            # Windows of a record share its name, rather than having a copy each.
            names = coded.dictionary.to_numpy(zero_copy_only=False)
            values = names[coded.indices.to_numpy()]
        else:
            values = column.to_numpy()
        return values

    def _per_channel(self, what: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        columns = [self.column(f"{what}_{name}")[rows] for name in self.spec.names]
        return np.stack(columns, axis=1).astype(np.float32)

    def _select(self, windows: NDArray[Any]) -> NDArray[Any]:
        is_all = self._positions == list(range(windows.shape[1]))
        return windows if is_all else windows[:, self._positions]

    def _open(self, shard: int, *, is_target: bool) -> NDArray[np.float16]:
        shards = self.manifest["shards"]
        if not 0 <= shard < len(shards):
            raise DataError(
                f"{self.path / INDEX} names shard {shard} of {len(shards)}",
                hint="delete the folder and build it again",
            )
        facts = shards[shard]
        name = str(facts["target"]["file"] if is_target else facts["file"])
        if name not in self._maps:
            windows = map_shard(self.path / name, self._advice)
            self._maps[name] = np.array(windows) if self._is_in_memory else np.asarray(windows)
            if len(self._maps) > self._max_open and not self._is_in_memory:
                self._maps.popitem(last=False)
        self._maps.move_to_end(name)
        return self._maps[name]
