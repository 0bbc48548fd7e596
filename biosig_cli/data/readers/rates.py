"""Rates as devices mean them: a clock that is off by a part in two thousand is a nominal rate."""

from fractions import Fraction

from biosig_cli.signal.resample import LARGEST_TERM

MAX_ROUNDING = 5e-4
"""A rate this close to a whole number is that number."""


def simple_rate(found_hz: float) -> float:
    """Return the rate nearest to `found_hz` that stands in a simple ratio to usual rates.

    Devices are made for whole rates, and a resampler needs a ratio of small numbers. The change is
    below 0.05 %, and the same for all channels of a file.
    """
    if abs(round(found_hz) / found_hz - 1) < MAX_ROUNDING:
        return float(round(found_hz))
    return float(125 * Fraction(found_hz / 125).limit_denominator(100))


def nominal_rate(stated_hz: float) -> float:
    """Return a stated rate, or the nominal one where it only carries the error of a clock.

    62.4725 Hz is a device's 62.5 Hz by the clock of a computer.
    """
    exact = Fraction(stated_hz / 125).limit_denominator(LARGEST_TERM)
    if exact.numerator <= LARGEST_TERM and abs(float(exact) * 125 / stated_hz - 1) < 1e-9:
        return stated_hz
    near_hz = simple_rate(stated_hz)
    return near_hz if abs(near_hz / stated_hz - 1) < MAX_ROUNDING else stated_hz
