"""Batches from several stores in fixed shares: each batch of one store, none left to chance."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.batch import Batch
from biosig_cli.data.loader import Loader, Portion, Rows, read_ahead
from biosig_cli.engine.contract import Cut


class Mixture:
    """Batches of several loaders, taken in turn so that any stretch has them in their shares.

    With shares of 0.7 and 0.3, any ten batches in a row are seven and three. An epoch has as many
    batches as all loaders together. A loader that has fewer than its share begins a new pass over
    its windows, in a new order and with new draws; one that has more goes on in the next epoch
    where it stopped, so that each of its windows is seen as often as any other. Which batch comes
    when depends on the seed and the epoch alone.

    Rows count through all stores, one store after the other.

    Args:
        loaders: The batches of each store, of one batch size.
        shares: What each is to have of all batches, as ratios; if None, each loader has as many
            as it holds, and an epoch sees every window once.

    Raises:
        ConfigError: If a loader is so large beside its share that an epoch would not reach it.
    """

    def __init__(self, loaders: Sequence[Loader], shares: Sequence[float] | None = None) -> None:
        self.loaders = tuple(loaders)
        sizes = [len(loader.plan(0)) for loader in self.loaders]
        self.turns = take_turns(sum(sizes), sizes if shares is None else shares)
        self.n_batches = np.bincount(self.turns, minlength=len(sizes))
        if not self.n_batches.all():
            raise ConfigError(
                f"shares of {', '.join(f'{share:g}' for share in shares or sizes)} leave a store "
                f"without a batch in an epoch of {sum(sizes)}",
                hint="give it a larger share, or smaller batches",
            )
        # A store of one channel list has rows of its own; in a mixture they count on.
        self.starts = [0, *accumulate(len(loader.store) for loader in self.loaders)]

    @property
    def n_windows(self) -> int:
        """Windows in the first epoch; with shares, later ones may differ by a last batch."""
        return sum(len(rows) for rows in self.plan(0))

    def plan(self, epoch: int) -> list[Rows]:
        """Return the rows of each batch of `epoch`."""
        return [portion.rows + self.starts[portion.part] for portion in self._portions(epoch)]

    def batches(self, epoch: int, start: int = 0, cut: Cut | None = None) -> Iterator[Batch]:
        """Yield the batches of `epoch` from number `start` on; see `Loader.batches`."""
        portions = list(self._portions(epoch))[start:]
        return read_ahead(self.loaders, portions, cut, self.starts)

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return store, record, subject and start of each window, where they are stated."""
        described = []
        for row in rows:
            part = int(np.searchsorted(self.starts, row, side="right")) - 1
            loader = self.loaders[part]
            (about,) = loader.describe([row - self.starts[part]])
            described.append({"store": str(getattr(loader.store, "path", part))} | about)
        return described

    def _portions(self, epoch: int) -> Iterator[Portion]:
        streams = [
            islice(self._stream(part, first=epoch * int(n)), int(n))
            for part, n in enumerate(self.n_batches)
        ]
        for part in self.turns:
            yield next(streams[part])

    def _stream(self, part: int, first: int) -> Iterator[Portion]:
        """Yield the batches of one loader, pass after pass, from its batch number `first` on."""
        loader = self.loaders[part]
        number, n_passed = divmod(first, len(loader.plan(0)))
        while True:
            yield from (Portion(part, number, rows) for rows in loader.plan(number)[n_passed:])
            number, n_passed = number + 1, 0


def take_turns(n_turns: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """Return whose turn it is, `n_turns` times: always of whoever lacks most of its share.

    Args:
        n_turns: How many turns there are.
        shares: What each is to have, as ratios; they need not sum to 1.

    Returns:
        (n_turns,) places among `shares`.
    """
    due = np.asarray(shares, np.float64) / np.sum(shares)
    taken = np.zeros(len(due))
    turns = np.empty(n_turns, np.int64)
    for turn in range(n_turns):
        # Rounded, so that ties fall alike whatever the last digit of a share.
        turns[turn] = np.argmax(np.round(due * (turn + 1) - taken, 9))
        taken[turns[turn]] += 1
    return turns
