"""Bring samples of any rate onto one clock: every channel of a record shares its grid."""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import signal

from biosig_cli.core.errors import SignalError

LARGEST_TERM = 1000
"""Largest number in a fraction between two rates; 125/128 is fine, 125/499.9731 is not."""

HALF_LENGTH = 16
"""Half of the anti-alias filter, in samples of the slower rate."""
KAISER_BETA = 5.5
"""Shape of the anti-alias filter: 57 dB or more in the stop band."""
CUTOFF = 0.445
"""Middle of the slope over the slower rate: it ends just below that rate's Nyquist frequency."""
SHORTEST_PADDING_S = 1.0
BLOCK = 1 << 20
"""Native samples that are resampled at a time."""


def valid_segments(valid: NDArray[np.bool_], min_samples: int) -> list[slice]:
    """Return the runs of valid samples that have at least `min_samples`.

    Args:
        valid: (T,) whether each sample can be used.
        min_samples: Shorter runs are left out.
    """
    steps = np.flatnonzero(np.diff(np.concatenate(([False], valid, [False])).astype(np.int8)))
    runs = zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True)
    return [slice(start, stop) for start, stop in runs if stop - start >= max(min_samples, 1)]


def resample_segment(
    samples: NDArray[np.floating],
    *,
    sampling_hz: float,
    target_hz: float,
    start_index: int = 0,
    pad_s: float = 0.0,
) -> tuple[int, NDArray[np.float64]]:
    """Resample a segment without gaps onto the grid of its record.

    Grid point k lies at k / target_hz seconds, native sample i at i / sampling_hz. So
    segments and channels of other rates meet on the same points, wherever they begin. The mean is
    removed first, and is NOT added back: without that, the filter's ripple would be as
    large as the offset. Both ends are continued by odd reflection for at least a second.

    Args:
        samples: (T,) native samples, in any unit, none missing.
        sampling_hz: Rate of `samples`, in Hz.
        target_hz: Rate of the grid, in Hz.
        start_index: Native index of the segment's first sample in its record.
        pad_s: The last sample stands for the time until a next one would have come. Grid points in
            that time, but at most so many seconds of them, are continued by odd reflection.

    Returns:
        The first grid index, and the (N,) values at all grid points between the segment's first
        and last sample, or its padded end (N may be 0), in the unit of `samples` about their mean.

    Raises:
        SignalError: If a rate is not positive, the rates are not in a ratio of small
            whole numbers, or a sample is missing.

    Source:
        `scipy.signal.resample_poly`, with a longer filter: the default one lets 4 % of a
        70 Hz tone pass from 500 into 125 Hz, this one less than 0.1 %.
    """
    ratio = rate_ratio(sampling_hz, target_hz)
    up, down = ratio.numerator, ratio.denominator
    n_missing = int(np.count_nonzero(~np.isfinite(samples)))
    if n_missing:
        raise SignalError(
            f"{n_missing} of {len(samples)} samples are missing or infinite, expected none",
            hint="cut the record at its gaps with valid_segments, resample each segment",
        )
    first = -(-start_index * up // down)
    if len(samples) == 0:
        return first, np.empty(0)
    last = (start_index + len(samples) - 1) * up // down
    if up == down:
        return first, _without(_mean(samples), samples)
    # The continued signal must begin on a sample that is also a grid point, or the grid shifts.
    padding = _padding(sampling_hz, target_hz)
    lead = start_index - (start_index - padding) // down * down
    resampled = _in_blocks(samples, lead, padding, up, down)
    offset = (start_index - lead) * up // down
    end = -(-(start_index + len(samples)) * up // down) - 1
    last += min(end - last, int(pad_s * target_hz + 1e-6))
    return first, np.array(resampled[first - offset : last + 1 - offset])


def anti_alias_gain(
    sampling_hz: float, target_hz: float
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what `resample_segment` leaves of the power at each frequency, in Hz.

    Raises:
        SignalError: If the rates are not in a ratio of small whole numbers.
    """
    ratio = rate_ratio(sampling_hz, target_hz)
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        return np.ones_like
    taps = _anti_alias(up, down)

    def gain(frequencies_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        _, passed = signal.freqz(taps, worN=frequencies_hz, fs=sampling_hz * up)
        return np.asarray(np.abs(passed) ** 2)

    return gain


def rate_ratio(sampling_hz: float, target_hz: float) -> Fraction:
    """Return target over sampling rate as a fraction of small whole numbers.

    Raises:
        SignalError: If a rate is not positive, or they are not in such a ratio.
    """
    for name, rate_hz in (("sampling", sampling_hz), ("target", target_hz)):
        if not (np.isfinite(rate_hz) and rate_hz > 0):
            raise SignalError(
                f"{name} rate {rate_hz:g} Hz, expected a positive number",
                hint="the recording's header is damaged, or its recipe names a wrong rate",
            )
    exact = target_hz / sampling_hz
    ratio = Fraction(exact).limit_denominator(LARGEST_TERM)
    # A billionth is 10 microseconds in three hours: far less than a sample.
    if ratio.numerator > LARGEST_TERM or abs(float(ratio) / exact - 1) > 1e-9:
        raise SignalError(
            f"sampling rate {sampling_hz!r} Hz and target rate {target_hz!r} Hz are not in a "
            f"ratio of whole numbers up to {LARGEST_TERM}",
            hint="give the device's nominal rate, or choose another target rate",
        )
    return ratio


def _in_blocks(
    samples: NDArray[np.floating], lead: int, tail: int, up: int, down: int
) -> NDArray[np.float64]:
    """Return samples about their mean, continued at both ends and resampled, block by block.

    A day at 500 Hz is 350 MB in float64, and twice that while it is filtered. The filter sees so
    much of the neighbouring blocks that each value is what it would be without blocks.

    Args:
        samples: (T,) native samples.
        lead: How many samples the signal is continued before its first one.
        tail: How many after its last one.
        up: Numerator of target over sampling rate.
        down: Denominator of it.
    """
    mean, taps, n_samples = _mean(samples), _anti_alias(up, down), len(samples)
    step = BLOCK // down * down
    reach = (-(-HALF_LENGTH * max(up, down) // (up * down)) + 1) * down
    n_blocks = max(1, (lead + n_samples + tail) // step)  # what is left over is in the last one
    blocks = []
    for block in range(n_blocks):
        start = block * step - lead
        stop = n_samples + tail if block == n_blocks - 1 else start + step
        seen = max(-lead, start - reach), min(n_samples + tail, stop + reach)
        known = samples[max(0, seen[0]) : min(n_samples, seen[1])]
        missing = max(0, -seen[0]), max(0, seen[1] - n_samples)
        piece = np.pad(_without(mean, known), missing, mode="reflect", reflect_type="odd")
        resampled = _filtered(piece, taps, up, down)
        first = (start - seen[0]) * up // down
        n_points = -(-(stop - start) * up // down)
        blocks.append(np.array(resampled[first : first + n_points]))
    return np.concatenate(blocks)


def _filtered(
    samples: NDArray[np.float64], taps: NDArray[np.float64], up: int, down: int
) -> NDArray[np.float64]:
    """Return what `scipy.signal.resample_poly` makes of samples, to rounding.

    Where every so many samples become one, each value is one product of two short rows, which is
    five times as fast.
    """
    if up > 1:
        return np.asarray(signal.resample_poly(samples, up, down, window=taps))
    around = sliding_window_view(np.pad(samples, len(taps) // 2), len(taps))[::down]
    return np.asarray(np.vecdot(around, taps))


def _mean(samples: NDArray[np.floating]) -> tuple[float, float]:
    """Return the first sample, and what the mean is beyond it; of a flat line exactly zero."""
    first, total = float(samples[0]), 0.0
    for start in range(0, len(samples), BLOCK):
        total += float((samples[start : start + BLOCK].astype(np.float64) - first).sum())
    return first, total / len(samples)


def _without(mean: tuple[float, float], samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return samples minus their mean."""
    first, beyond = mean
    moved: NDArray[np.float64] = samples.astype(np.float64) - first
    moved -= beyond
    return moved


def _padding(sampling_hz: float, target_hz: float) -> int:
    """Return native samples of a second, or of the filter's half length where that is longer."""
    half_length_s = HALF_LENGTH / min(sampling_hz, target_hz)
    return int(np.ceil(max(SHORTEST_PADDING_S, half_length_s) * sampling_hz))


@lru_cache(maxsize=32)
def _anti_alias(up: int, down: int) -> NDArray[np.float64]:
    """Return the taps of a low-pass filter below the slower rate's Nyquist frequency."""
    longest = max(up, down)
    taps: NDArray[np.float64] = signal.firwin(
        2 * HALF_LENGTH * longest + 1, 2 * CUTOFF / longest, window=("kaiser", KAISER_BETA)
    )
    taps.setflags(write=False)
    return taps
