"""The same waveform twice: copied, or cut, scaled, resampled and stored in another way.

Runs of peaks are looked up among those of all other recordings. Two recordings of one moment agree
again and again at one distance between their clocks, two people only by chance. Each agreement is
compared sample by sample, and where it holds, so is everything else that the two recordings share.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.progress import Advance
from biosig_cli.data.findings import Finding, Kind, Part, Trained
from biosig_cli.data.recordings import Recordings, Rows, channel_labels
from biosig_cli.data.store import SPLITS
from biosig_cli.signal.fingerprint import N_FINE_BITS, find_peaks, make_keys, pass_band

SCAN_VALUES = 4_000_000
"""Samples that are filtered at once."""
N_NEIGHBOURS = 16
"""A key is compared with so many of its equals."""
COMMONEST = 64
"""A key that more stretches have says nothing: a paced heart, a ventilated chest."""
MAX_FINE = int(0.15 * (1 << N_FINE_BITS))
CLOCK_CELL_S = 0.04
MIN_VOTES = 2
BUDGET = 20_000
"""Agreements that are looked at, some hundreds a second, however few the windows are."""
N_TRIED = 2
"""Pairs of windows that are compared before an agreement counts as chance."""
SAME = 0.9993
"""Correlation in the best channel that one pair of windows alone is believed by. Over 30,000
agreeing pairs, the same moment stored otherwise gave 0.9996 or more, another moment 0.9992 or less
(the same person at rest), another person 0.9925 or less."""
ALIKE = 0.98
"""Mean over channels that is believed when it holds wherever the two recordings meet: another
filter leaves no more of a PPG."""
MIN_MEETINGS, MAX_MEETINGS = 4, 9
SHARED_MEAN = 0.95
"""Over all channels, for windows that meet on clocks known to agree."""


@dataclass(frozen=True)
class Scan:
    """What one reading of a part gave."""

    digests: NDArray[np.uint64]
    """(N,) of each window's samples; zero where it is flat."""
    broken: Rows
    """Windows with a sample that is not a finite number."""
    keys: dict[str, tuple[NDArray[np.uint64], Rows, NDArray[np.float64]]]
    """By channel: keys, the window of each, and its time in the window."""


def scan(part: Part, advance: Advance) -> Scan:
    """Read every window of `part` once."""
    spec, n_windows = part.store.spec, len(part.store)
    digests, broken = np.zeros(n_windows, np.uint64), np.zeros(n_windows, np.bool_)
    found: dict[str, list[tuple[NDArray[np.uint64], Rows, NDArray[np.float64]]]] = {}
    names = channel_labels(spec)
    by_label = np.argsort(names)
    n_rows = max(1, SCAN_VALUES // (spec.n_channels * spec.n_samples))
    for start in range(0, n_windows, n_rows):
        rows = np.arange(start, min(start + n_rows, n_windows))
        windows = part.store.read(rows)
        broken[rows] = ~np.isfinite(windows).all(axis=(1, 2))
        digests[rows] = _digests(windows[:, by_label])
        for place, name in enumerate(names):
            band = pass_band(windows[:, place], spec.sampling_hz)
            if band is not None:
                peaks = find_peaks(band, spec.sampling_hz)
                first, keys = make_keys(peaks)
                item = keys, peaks.window[first] + start, peaks.time_s[first]
                found.setdefault(name, []).append(item)
        advance(len(rows))
    joined = {name: _join(each) for name, each in found.items()}
    return Scan(digests, np.flatnonzero(broken), joined)


@dataclass(frozen=True)
class Agreement:
    """Stretches of two recordings that have keys in common at one distance of their clocks."""

    windows: tuple[tuple[int, int], ...]
    """Pairs of windows, by their number over all parts."""
    shift_s: float
    """The first clock less the second, at the same moment."""
    votes: int
    """How many runs of peaks agree."""


@dataclass(frozen=True)
class Twins:
    """Two windows, by their number over all parts, and why they count as the same waveform."""

    one: int
    other: int
    why: str


def exact_twins(recordings: Recordings, scans: Sequence[Scan]) -> list[Twins]:
    """Return the windows whose samples another window has, each with the first that has them."""
    digests = np.concatenate([each.digests for each in scans])
    order = np.argsort(digests, kind="stable")
    ordered = digests[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    first = np.repeat(order[starts], np.diff(np.r_[starts, len(ordered)]))
    again = (order != first) & (ordered != 0)
    pairs = zip(first[again].tolist(), order[again].tolist(), strict=True)
    return [Twins(a, b, "the same samples") for a, b in pairs if not recordings.is_known(a, b)]


def find_agreements(
    recordings: Recordings, scans: Sequence[Scan], *, budget: int = BUDGET
) -> tuple[list[Agreement], int]:
    """Return where keys of two recordings agree more than once, the most agreeing first.

    Args:
        recordings: The windows of all parts.
        scans: What was read of each part.
        budget: So many agreements, or one per window, are looked at; those with fewer votes are
            left out where there are more.

    Returns:
        The agreements, and the fewest votes that one of them may have.
    """
    votes = [_votes(recordings, scans, name) for name in sorted({n for s in scans for n in s.keys})]
    pairs = np.concatenate([each for each, _ in votes] or [np.empty((0, 2), np.int64)])
    shift_s = np.concatenate([each for _, each in votes] or [np.empty(0)])
    # Cells that lie half a cell apart, so that an agreement is whole in one or the other.
    cells = [_group(recordings, pairs, shift_s, part_of_cell) for part_of_cell in (0.0, 0.5)]
    sizes = np.sort(np.concatenate([size for _, _, size in cells]))[::-1]
    budget = max(budget, len(recordings.node))
    fewest = max(MIN_VOTES, int(sizes[budget]) + 1 if len(sizes) > budget else 0)
    found = []
    for order, starts, size in cells:
        for group in np.flatnonzero(size >= fewest):
            members = order[starts[group] : starts[group] + size[group]]
            windows = Counter((int(a), int(b)) for a, b in pairs[members]).most_common()
            middle_s = float(np.median(shift_s[members]))
            found.append(Agreement(tuple(pair for pair, _ in windows), middle_s, len(members)))
    return sorted(found, key=lambda each: -each.votes), fewest


def _group(
    recordings: Recordings, pairs: Rows, shift_s: NDArray[np.float64], part_of_cell: float
) -> tuple[Rows, Rows, Rows]:
    """Return an order that brings agreeing votes together, and start and size of each group."""
    cell = np.floor(shift_s / CLOCK_CELL_S + part_of_cell).astype(np.int64)
    keys = np.stack([recordings.node[pairs[:, 0]], recordings.node[pairs[:, 1]], cell])
    order = np.lexsort(keys[::-1])
    keys = keys[:, order]
    is_new = np.r_[True, (keys[:, 1:] != keys[:, :-1]).any(0)][: len(order)]
    starts = np.flatnonzero(is_new)
    return order, starts, np.diff(np.r_[starts, len(order)])


def near_twins(
    recordings: Recordings,
    agreements: Sequence[Agreement],
    known: set[tuple[int, int]],
    advance: Advance,
) -> Iterator[Twins]:
    """Yield the windows that hold the same stretch; those in `known` are told already.

    A heart that beats evenly resembles itself a minute later, so a window whose twin in a
    recording is known is not looked for there again; the best agreements come first.
    """
    told = set(known)
    met = {side for pair in known for side in recordings.sides(*pair)}
    for agreement in agreements:
        advance()
        shift_s = _confirm(recordings, agreement, met)
        if shift_s is None:
            continue
        for one, other in _meeting(recordings, agreement.windows[0], shift_s):
            if (one, other) in told or recordings.is_known(one, other):
                continue
            alike, overlap_s, _ = recordings.compare(one, other, shift_s)
            if alike and np.mean(list(alike.values())) >= SHARED_MEAN:
                told.add((one, other))
                met.update(recordings.sides(one, other))
                said = ", ".join(f"{name} {value:.4f}" for name, value in alike.items())
                yield Twins(one, other, f"{overlap_s:.1f} s in common, correlation {said}")


def describe_twins(
    recordings: Recordings, twins: Sequence[Twins], trained: Sequence[Trained]
) -> list[Finding]:
    """Return a finding for each pair, about the window that is further from training."""
    digests = {digest for model in trained for digest in model.digests}
    found = []
    for each in twins:
        sides = [recordings.place(each.one), recordings.place(each.other)]
        sides.sort(key=lambda side: SPLITS.index(side[0].split) if side[0].split in SPLITS else 0)
        (source, row), (named, named_row) = sides
        twin = source.finding("waveform", "", [row])
        when = "" if twin.start_s is None else f" from {twin.start_s:.1f} s"
        whose = f"record {twin.record}" if twin.record else f"row {row}"
        against = f"{twin.split} {whose}{when} ({twin.store}): {each.why}"
        is_trained = source.store.digest in digests and named.split == "test" if digests else False
        kind: Kind = "pretrained" if is_trained else "waveform"
        found.append(named.finding(kind, against, [named_row]))
    return found


def _votes(
    recordings: Recordings, scans: Sequence[Scan], name: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (n, 2) windows of two recordings that share a key, and their shifts in seconds."""
    parts = [
        (keys, windows + first, time_s)
        for first, each in zip(recordings.first[:-1], scans, strict=True)
        if name in each.keys
        for keys, windows, time_s in [each.keys[name]]
    ]
    keys, windows, time_s = _join(parts)
    order = np.argsort(keys, kind="stable")
    keys, windows = keys[order], windows[order]
    moment_s = (recordings.clock_s[windows] + time_s[order]).astype(np.float64)
    stretch, fine = keys >> np.uint64(N_FINE_BITS), keys & np.uint64((1 << N_FINE_BITS) - 1)
    fine = fine.astype(np.int64)
    _, place, count = np.unique(stretch, return_inverse=True, return_counts=True)
    is_rare = count[place] <= COMMONEST
    node = recordings.node[windows]
    pairs, shifts = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for lag in range(1, min(N_NEIGHBOURS, len(keys) - 1) + 1):
        agree = is_rare[lag:] & (stretch[lag:] == stretch[:-lag])
        if not agree.any():
            break
        agree &= (node[lag:] != node[:-lag]) & (fine[lag:] - fine[:-lag] <= MAX_FINE)
        low = np.flatnonzero(agree)
        swap = node[low] > node[low + lag]
        ones, others = np.where(swap, low + lag, low), np.where(swap, low, low + lag)
        pairs.append(np.stack([windows[ones], windows[others]], axis=1))
        shifts.append(moment_s[ones] - moment_s[others])
    return np.concatenate(pairs), np.concatenate(shifts, dtype=np.float64)


def _confirm(
    recordings: Recordings, agreement: Agreement, met: set[tuple[int, int]]
) -> float | None:
    """Return the exact shift where windows of an agreement are of one waveform, else None."""
    waiting = [pair for pair in agreement.windows if met.isdisjoint(recordings.sides(*pair))]
    for pair in waiting[:N_TRIED]:
        alike, _, shift_s = recordings.compare(pair[0], pair[1], agreement.shift_s)
        values = list(alike.values())
        if not values or np.mean(values) < SHARED_MEAN:
            continue
        if max(values) >= SAME or (
            np.mean(values) >= ALIKE and _holds_throughout(recordings, agreement, pair, shift_s)
        ):
            return shift_s
    return None


def _holds_throughout(
    recordings: Recordings, agreement: Agreement, pair: tuple[int, int], shift_s: float
) -> bool:
    """Return whether two recordings are alike wherever they meet, as chance never is for long."""
    if agreement.votes < MIN_MEETINGS:
        return False
    meetings = list(_meeting(recordings, pair, shift_s))
    chosen = np.linspace(0, len(meetings) - 1, min(len(meetings), MAX_MEETINGS)).astype(int)
    places = [meetings[int(number)] for number in chosen]
    compared = [recordings.compare(one, other, shift_s)[0] for one, other in places]
    means = [float(np.mean(list(alike.values()))) for alike in compared if alike]
    return len(means) >= MIN_MEETINGS and bool(np.median(means) >= ALIKE)


def _meeting(
    recordings: Recordings, pair: tuple[int, int], shift_s: float
) -> Iterator[tuple[int, int]]:
    """Yield the windows of two recordings that overlap when the second's clock is shifted."""
    ones, others = (recordings.of(int(recordings.node[window])) for window in pair)
    length_s = recordings.place(pair[0])[0].store.spec.duration_s
    other_length_s = recordings.place(pair[1])[0].store.spec.duration_s
    begin_s = recordings.clock_s[others] + shift_s
    for one in ones:
        low, high = recordings.clock_s[one] - other_length_s, recordings.clock_s[one] + length_s
        first, stop = np.searchsorted(begin_s, (low, high))
        yield from ((int(one), int(other)) for other in others[first:stop])


def _digests(windows: NDArray[np.float32]) -> NDArray[np.uint64]:
    stored = np.ascontiguousarray(windows.astype(np.float16))
    raw = b"".join(hashlib.blake2b(each.tobytes(), digest_size=8).digest() for each in stored)
    is_flat = np.ptp(stored.reshape(len(stored), -1).astype(np.float32), axis=1) == 0
    return np.where(is_flat, np.uint64(0), np.frombuffer(raw, np.uint64))


def _join(
    items: Sequence[tuple[NDArray[np.uint64], Rows, NDArray[np.float64]]],
) -> tuple[NDArray[np.uint64], Rows, NDArray[np.float64]]:
    keys, windows, time_s = zip(*items, strict=True)
    return np.concatenate(keys), np.concatenate(windows), np.concatenate(time_s)
