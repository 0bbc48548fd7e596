"""Batches from a store: the same ones in the same order for the same seed and epoch."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from biosig_cli.core.errors import DataError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Cut
from biosig_cli.engine.draws import window_keys

Rows = NDArray[np.int64]
Labels = Mapping[str, NDArray[np.float32]]


class Windows(Protocol):
    """Anything that holds windows and hands out some of them."""

    def __len__(self) -> int:
        """Return the number of windows."""

    def read(self, rows: Rows) -> NDArray[np.float32]:
        """Return windows (n, C, T)."""

    def assert_target(self) -> None:
        """Raise a `DataError` where the windows have no denoised twins."""

    def read_target(self, rows: Rows) -> NDArray[np.float32]:
        """Return the denoised twins (n, C, T)."""

    def column(self, name: str) -> NDArray[Any]:
        """Return one value per window: `label_X`, `subject`, ..."""

    @property
    def shards(self) -> NDArray[np.int64]:
        """Number of the file that each window lies in; asked for where these are mixed."""


class Loader:
    """Batches of a store, for one epoch at a time.

    Args:
        store: The windows.
        batch_size: Windows in a batch; the last one may be smaller, none is dropped.
        seed: What order and draws depend on, together with the epoch.
        shuffle: A new order each epoch; otherwise the same order and the same draws each time.
        n_shards: Mix the windows of only so many shards at a time, for a store larger than memory;
            those of all if None.
        rows: The windows to take; all of the store if None.
        labels: Labels that come with the windows, by name.
        known: Labels or attributes that come with the windows; not a number where nothing is known.
        codes: Columns, such as `subject`, that come as numbers which tell their values apart.
        target: Whether the denoised twins come with the windows.
        limit: At most this many windows, spread evenly over those.
        n_workers: Processes that read ahead; 0 reads in this one.
        pin: Keep batches in page-locked memory, for a GPU.

    Raises:
        DataError: If the store lacks a label, or the twins.
    """

    def __init__(
        self,
        store: Windows,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        n_shards: int | None = None,
        rows: Rows | None = None,
        labels: Sequence[str] = (),
        known: Sequence[str] = (),
        codes: Sequence[str] = (),
        target: bool = False,
        limit: int | None = None,
        n_workers: int = 0,
        pin: bool = False,
    ) -> None:
        self.store = store
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        taken = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
        self.rows = taken[spread(len(taken), limit)]
        self.n_shards = n_shards
        self.shards = store.shards[self.rows] if shuffle and n_shards else None
        # Once here rather than once in every worker.
        self.labels = {name: store.column(f"label_{name}").astype(np.float32) for name in labels}
        self.labels |= {name: known_column(store, name) for name in known}
        self.codes = {name: code(named_column(store, name)) for name in codes}
        if target:
            store.assert_target()
        self.target = target
        self.n_workers = n_workers
        self.pin = pin

    @property
    def n_windows(self) -> int:
        """Windows in an epoch."""
        return len(self.rows)

    def plan(self, epoch: int) -> list[Rows]:
        """Return the rows of each batch of `epoch`."""
        rows = self.rows
        if self.shuffle:
            draw = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            if self.shards is None or not self.n_shards:
                rows = draw.permutation(rows)
            else:
                rows = rows[mix_shards(self.shards, self.n_shards, draw)]
        return [
            rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)
        ]

    def batches(self, epoch: int, start: int = 0, cut: Cut | None = None) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on.

        Args:
            epoch: Which pass over the windows this is.
            start: Number of the first batch.
            cut: Cuts the rows of a batch into those of several, as the training loop asks for.
        """
        portions = [Portion(0, epoch, rows) for rows in self.plan(epoch)[start:]]
        return read_ahead([self], portions, cut)

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the record, the subject and the start of each window, where they are stated."""
        stated: dict[str, list[Any]] = {}
        for name in ("record", "subject", "start_s"):
            with suppress(DataError):
                stated[name] = self.store.column(name)[np.asarray(rows, np.int64)].tolist()
        return [
            {name: values[place] for name, values in stated.items()} for place in range(len(rows))
        ]


def known_column(store: Windows, name: str) -> NDArray[np.float32]:
    """Return the label or attribute `name` of each window (n,), not a number where unknown.

    `movie_s` is when in its movie a window is; what everybody met at a time of its own has none.
    """
    if name == "movie_s":
        in_movie = named_column(store, "movie") != ""
        return np.where(in_movie, known_column(store, "segment_s"), np.float32(np.nan))
    for column in (f"label_{name}", f"subject_{name}", name):
        with suppress(DataError):
            return store.column(column).astype(np.float32)
    return np.full(len(store), np.nan, np.float32)


def named_column(store: Windows, name: str) -> NDArray[Any]:
    """Return a column; `movie` is what comes before the colon in `segment`, "" without one."""
    if name == "movie":
        return np.array([each.rpartition(":")[0] for each in store.column("segment").tolist()])
    return store.column(name)


def code(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return numbers (n,) that tell values apart, and are the same wherever a value is met."""
    each, place = np.unique(values.astype(str), return_inverse=True)
    digests = [hashlib.blake2b(value.encode(), digest_size=8).digest() for value in each]
    return np.array([int.from_bytes(d, "big", signed=True) for d in digests], np.int64)[place]


def mix_shards(
    shards: NDArray[np.int64], n_together: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    """Return an order in which all windows come once, those of few shards at a time.

    The shards stand on a circle in an order of their own. The windows of each are scattered evenly
    over the stretch of `n_together` shards that begins with it, so that at any moment as many are
    mixed, and one leaves where another joins. Those of the last stretch begin the epoch. With as
    many shards as there are, all windows are shuffled.

    Args:
        shards: (n,) number of the shard of each window.
        n_together: How many shards are mixed.
        draw: What the order depends on.

    Returns:
        (n,) places among `shards`.
    """
    numbers, which = np.unique(shards, return_inverse=True)
    n_together = min(n_together, len(numbers))
    begins = draw.permutation(len(numbers))[which]
    return np.argsort((begins + n_together * draw.random(len(shards))) % len(numbers))


def spread(n_windows: int, limit: int | None) -> Rows:
    """Return the rows of at most `limit` windows, evenly spread, in order."""
    if limit is None or limit >= n_windows:
        return np.arange(n_windows)
    return np.arange(limit) * n_windows // limit


@dataclass(frozen=True)
class Portion:
    """What is to be read as one batch.

    Attributes:
        part: Which of several loaders has the windows.
        epoch: Which pass over its windows this is.
        rows: (n,) rows of its store.
    """

    part: int
    epoch: int
    rows: Rows


def read_ahead(
    loaders: Sequence[Loader],
    portions: Sequence[Portion],
    cut: Cut | None = None,
    starts: Sequence[int] = (0,),
) -> Iterator[Batch]:
    """Yield a batch for each of `portions`, or for each piece that `cut` makes of them.

    Args:
        loaders: Those that the portions are of; the first says how many processes read.
        portions: What to read, in order.
        cut: Cuts the rows of a batch into those of several.
        starts: By loader, what the rows of its windows count from in all of them together.

    Raises:
        DataError: If windows can't be read.
        MemoryError: If a process that reads was ended.
    """
    if cut is not None:
        portions = [replace(each, rows=rows) for each in portions for rows in cut(each.rows)]
    batches = DataLoader(
        _Reader(loaders, starts),
        sampler=portions,
        batch_size=None,
        num_workers=loaders[0].n_workers,
        pin_memory=loaders[0].pin,
        # Each epoch would otherwise take a number from those that dropout draws.
        generator=torch.Generator(),
    )
    ahead = iter(batches)
    for portion in portions:
        try:
            batch = next(ahead)
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            # The system ended a process that reads as it handed a batch over.
            raise MemoryError(f"a process that reads ahead is gone: {error}") from None
        if isinstance(batch, DataError):
            raise batch
        # Here rather than in the reader, which may be another process.
        yield replace(batch, spec=getattr(loaders[portion.part].store, "spec", None))


class _Reader(Dataset[Batch | DataError]):
    """Reads one batch at a time; an item is a batch, its index is a portion.

    What can't be read is given back as an error: torch would make a traceback of it on its way out
    of another process.
    """

    def __init__(self, loaders: Sequence[Loader], starts: Sequence[int]) -> None:
        self.loaders, self.starts = loaders, starts

    def __getitem__(self, portion: Portion) -> Batch | DataError:
        try:
            return self._read(portion)
        except DataError as error:
            return error

    def _read(self, portion: Portion) -> Batch:
        loader, rows = self.loaders[portion.part], np.asarray(portion.rows, np.int64)
        window = torch.from_numpy(rows + self.starts[portion.part])
        return Batch(
            torch.from_numpy(loader.store.read(rows)),
            window,
            window_keys(loader.seed, portion.epoch if loader.shuffle else 0, window),
            {name: torch.from_numpy(values[rows]) for name, values in loader.labels.items()},
            torch.from_numpy(loader.store.read_target(rows)) if loader.target else None,
            {name: torch.from_numpy(values[rows]) for name, values in loader.codes.items()},
        )
