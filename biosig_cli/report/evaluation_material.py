"""What an evaluation's page draws beside its figures: scores, maps, and windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Names = NDArray[Any]


@dataclass(frozen=True)
class DrawnMistake:
    """A window that was answered wrongly."""

    title: str
    """Where it comes from, what it is and what was said of it."""
    signal: Values
    """(C, T) in the unit of each channel; NaN where a sample is missing."""
    channels: Sequence[tuple[str, str, str]]
    """Name, kind and unit of each channel."""
    sampling_hz: float


@dataclass(frozen=True)
class DrawnReconstruction(DrawnMistake):
    """A window of which a part was hidden and put together again."""

    reconstructed: Values
    """(C, T) in the unit of each channel."""
    hidden: NDArray[np.bool_]
    """(C, T) whether each sample was hidden."""


def _none() -> NDArray[Any]:
    return np.empty(0)


@dataclass(frozen=True)
class Material:
    """Windows as they were scored, in the order of the test set; any part may be empty."""

    target: Values = field(default_factory=_none)
    """(N,) place of the true class, or the true value."""
    score: Values = field(default_factory=_none)
    """(N,) probability of the positive class, or predicted value, of the first model."""
    subject: Names = field(default_factory=_none)
    """(N,) whose window it is."""
    record: Names = field(default_factory=_none)
    """(N,) the record it was cut from."""
    embedding: Mapping[str, Values] = field(default_factory=dict)
    """(N, 2) places on a map, by the name of the map."""
    mistakes: Sequence[DrawnMistake] = ()
    reconstructions: Sequence[DrawnReconstruction] = ()

    def __post_init__(self) -> None:
        counts = {
            name: len(getattr(self, name)) for name in ("target", "score", "subject", "record")
        }
        counts |= {f"map {name}": len(places) for name, places in self.embedding.items()}
        known = {name: n_windows for name, n_windows in counts.items() if n_windows}
        if len(set(known.values())) > 1:
            raise ValueError(f"the same windows are asked for everywhere, found {known}")
