"""Batches in which the same people met the same moments."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError
from biosig_cli.data.loader import Loader, Rows, known_column

FEWEST = 2
"""People and moments below which there is nothing to compare."""
PERIOD_S = 100.0
"""Movie time, in seconds, of which each such stretch may have an end that is not trained on."""


class GroupsConfig(Config):
    """How many people and moments a batch has; it takes the place of the plan's batch size."""

    n_segments: int = Field(8, ge=FEWEST)
    """Moments of one movie in a batch."""
    n_subjects: int = Field(8, ge=FEWEST)
    """People in a batch, each with all of its moments."""
    held_out_s: float = Field(0.0, ge=0, lt=PERIOD_S)
    """Seconds at the end of every 100 s of a movie that are not trained on, so that moments are
    there that nobody has seen."""

    def is_held_out(self, time_s: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which moments (n,), in seconds of movie time, are not trained on."""
        return np.asarray(time_s % PERIOD_S >= PERIOD_S - self.held_out_s, np.bool_)


class GroupLoader(Loader):
    """Batches of some moments of one movie, seen by the same people each.

    Who somebody is, or which recording it was, then tells nothing of which moment it is. In an
    epoch every moment is met once, by people drawn anew. Where fewer people than asked for saw all
    moments of a batch, those who did are in it; a batch of fewer than two is left out.

    Rows go by moment, then by person, so that a batch cut in two keeps the same people in both.

    Args:
        store: The windows, with columns `subject`, `segment` and `movie`.
        groups: Size of a batch.
        settings: As `Loader` has them.

    Raises:
        DataError: If no two people met the same two moments.
    """

    def __init__(self, store: Any, groups: GroupsConfig, **settings: Any) -> None:
        super().__init__(store, **settings)
        self.groups = groups
        self.subject, self.segment, self.movie = (
            self.codes[name][self.rows] for name in ("subject", "segment", "movie")
        )
        if groups.held_out_s and self.shuffle:
            time_s = known_column(store, "segment_s")[self.rows]
            kept = ~groups.is_held_out(time_s)
            self.rows = self.rows[kept]
            self.subject, self.segment, self.movie = (
                each[kept] for each in (self.subject, self.segment, self.movie)
            )
        if not self.plan(0):
            raise DataError(
                "no two people have windows of the same two moments, so nothing can be compared",
                hint="build windows in segments that several people share (windows.segments, "
                "is_timed), or use another objective",
            )

    @property
    def n_windows(self) -> int:
        """Windows in the first epoch; others may differ by a few."""
        return sum(len(rows) for rows in self.plan(0))

    def plan(self, epoch: int) -> list[Rows]:
        """Return the rows of each batch of `epoch`."""
        draw = np.random.Generator(np.random.Philox(key=[self.seed, epoch if self.shuffle else 0]))
        batches = [
            rows
            for movie in np.unique(self.movie)
            for rows in self._of_movie(np.flatnonzero(self.movie == movie), draw)
        ]
        order = draw.permutation(len(batches)) if self.shuffle else range(len(batches))
        return [batches[number] for number in order]

    def _of_movie(self, places: NDArray[np.int64], draw: np.random.Generator) -> list[Rows]:
        """Return the batches of one movie, whose windows are at `places` of `rows`."""
        moments, when = np.unique(self.segment[places], return_inverse=True)
        people, who = np.unique(self.subject[places], return_inverse=True)
        # Of a person who has a moment twice, one window is drawn.
        where = np.full((len(moments), len(people)), -1)
        shuffled = draw.permutation(len(places))
        where[when[shuffled], who[shuffled]] = places[shuffled]
        order = draw.permutation(len(moments))
        size = self.groups.n_segments
        batches = []
        for start in range(0, len(order), size):
            chosen = where[order[start : start + size]]
            whole = draw.permutation(np.flatnonzero((chosen >= 0).all(axis=0)))
            whole = whole[: self.groups.n_subjects]
            if len(whole) >= FEWEST and len(chosen) >= FEWEST:
                batches.append(self.rows[chosen[:, whole].ravel()])
        return batches
