"""Randomness that depends on (seed, epoch, window) alone.

A window gets the same draws whatever batch, process or resumed run it is in, so that accumulation,
more processes or an interruption change nothing. What torch draws by itself, dropout, depends on
(seed, step, process).
"""

import hashlib

import torch
from torch import Tensor

# Constants of splitmix64 as signed 64-bit integers; products wrap around, as they should.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def window_keys(seed: int, epoch: int, windows: Tensor) -> Tensor:
    """Return one key per window, to draw from.

    Args:
        seed: The run's seed.
        epoch: Which pass over the windows this is.
        windows: (B,) int64 numbers that identify the windows.

    Returns:
        (B,) int64 keys.
    """
    base = _mix(_mix(torch.tensor(seed)) + torch.tensor(epoch))
    return _mix(base.to(windows.device) + windows * _STEP)


def fork(keys: Tensor, purpose: int) -> Tensor:
    """Return other keys (B,), independent of `keys`, for another purpose."""
    return _mix(keys ^ _mix(torch.tensor(purpose + 1)).to(keys.device))


def uniform(keys: Tensor, n: int) -> Tensor:
    """Return `n` uniform draws in [0, 1) per key.

    Args:
        keys: (B,) int64 keys.
        n: Draws per key.

    Returns:
        (B, n) float64.

    Source:
        The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014, doi 10.1145/2660193.2660195)
        as a counter-based generator; the upper 53 bits are the fraction.
    """
    counters = torch.arange(1, n + 1, device=keys.device) * _STEP
    bits = _mix(keys[:, None] + counters)
    return _shifted(bits, 11).double() * 2.0**-53


def seed_step(seed: int, step: int, process: int, device: str) -> None:
    """Seed torch's own generators for one step, so that nothing drawn before it matters.

    Args:
        seed: The run's seed.
        step: Number of the step in the run.
        process: Number of the process; each draws for its own share of a batch.
        device: Where the step is computed.
    """
    digest = hashlib.blake2b(f"{seed} {step} {process}".encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "little", signed=True)
    # torch.manual_seed would ask after every kind of device there is, at 60 times the cost.
    torch.default_generator.manual_seed(key)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(key)
    elif device == "mps":
        torch.mps.manual_seed(key)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift to the right, filling with zeros: torch's own shift repeats the sign bit."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
