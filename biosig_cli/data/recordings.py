"""The windows of several stores as recordings: whose clock they are on, and how alike two are."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from biosig_cli.data.findings import Part
from biosig_cli.signal.fingerprint import likeness, pass_band
from biosig_cli.signal.spec import SignalSpec

Rows = NDArray[np.int64]

MIN_OVERLAP_S = 2.0
"""Less in common is not compared; half of a window where that is less."""
GAP_S = 10.0


def channel_labels(spec: SignalSpec) -> tuple[str, ...]:
    """Return what each channel is compared by: its kind where that is alone, else its name."""
    count = Counter(spec.kinds)
    return tuple(
        channel.name if count[channel.kind] > 1 or channel.kind == "other" else channel.kind
        for channel in spec.channels
    )


class Recordings:
    """The windows of all parts in one row, each with its recording and its time on that's clock."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.first = np.cumsum([0, *(len(part.store) for part in parts)])
        nodes, clocks, n_nodes = [], [], 0
        for part in parts:
            names, codes = part.records or ([""], np.zeros(len(part.store), np.int64))
            nodes.append(codes + n_nodes + 1)  # a missing record, -1, is one of its own
            n_nodes += len(names) + 1
            clocks.append(_clock(part))
        self.node = np.concatenate(nodes) if nodes else np.empty(0, np.int64)
        self.clock_s = np.concatenate(clocks) if clocks else np.empty(0)
        self.n_nodes = n_nodes + 1
        self._by_node = np.lexsort((self.clock_s, self.node))
        self._edges = np.searchsorted(self.node[self._by_node], np.arange(self.n_nodes + 1))
        self._band = lru_cache(maxsize=1024)(self._read_band)

    def place(self, window: int) -> tuple[Part, int]:
        """Return the part that a window is in, and its row there."""
        number = int(np.searchsorted(self.first, window, side="right")) - 1
        return self.parts[number], window - int(self.first[number])

    def of(self, node: int) -> Rows:
        """Return the windows of a recording, by time."""
        return self._by_node[self._edges[node] : self._edges[node + 1]]

    def sides(self, one: int, other: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return each of two windows with the recording that the other one is in."""
        return (one, int(self.node[other])), (other, int(self.node[one]))

    def is_known(self, one: int, other: int) -> bool:
        """Whether the index alone says that two windows are of the same moment."""
        (first, row), (second, other_row) = self.place(one), self.place(other)
        if first.data_dir != second.data_dir or not (first.is_dated and second.is_dated):
            return False
        apart_s = abs(float(self.clock_s[one] - self.clock_s[other]))
        is_one_record = first.record_at(row) == second.record_at(other_row)
        return is_one_record and apart_s < first.store.spec.duration_s

    def compare(
        self, one: int, other: int, shift_s: float
    ) -> tuple[dict[str, float], float, float]:
        """Return how alike two windows are by channel, the overlap, and a finer shift."""
        (first, _), (second, _) = self.place(one), self.place(other)
        mine, theirs = self._band(one), self._band(other)
        shared = [name for name in mine if name in theirs]
        rates = first.store.spec.sampling_hz, second.store.spec.sampling_hz
        offset_s = float(self.clock_s[other] + shift_s - self.clock_s[one])
        lengths_s = first.store.spec.duration_s, second.store.spec.duration_s
        overlap_s = min(lengths_s[0], lengths_s[1] + offset_s) - max(0.0, offset_s)
        if not shared or overlap_s < min(MIN_OVERLAP_S, *(0.5 * each for each in lengths_s)):
            return {}, overlap_s, shift_s
        stacked = (np.stack([each[name] for name in shared]) for each in (mine, theirs))
        values, best_s = likeness(*stacked, rates_hz=rates, offset_s=offset_s)
        alike = {name: float(r) for name, r in zip(shared, values, strict=True) if np.isfinite(r)}
        return alike, overlap_s, shift_s + best_s - offset_s

    def _read_band(self, window: int) -> dict[str, NDArray[np.float32]]:
        part, row = self.place(window)
        spec = part.store.spec
        band = pass_band(part.store.read(np.array([row]))[0], spec.sampling_hz)
        return {} if band is None else dict(zip(channel_labels(spec), band, strict=True))


def _clock(part: Part) -> NDArray[np.float64]:
    """Return when each window begins; apart from each other where the index does not say."""
    if part.is_dated and part.start_s is not None:
        return part.start_s
    apart_s = 2 * part.store.spec.duration_s + GAP_S
    return np.arange(len(part.store), dtype=np.float64) * apart_s
