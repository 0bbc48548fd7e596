"""Batches in which the same people met the same moments, or were in the same states."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError
from biosig_cli.data.loader import Loader, Rows, known_column, named_column

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
    states: tuple[str, ...] = ()
    """Segments that are compared as the moments of a movie are, though they have no time: such as
    eyes_open and eyes_closed, or tasks. Two at least; windows of a state are alike in different
    people, those of another apart."""

    @field_validator("states")
    @classmethod
    def _are_told_apart(cls, states: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(states)) == 1:
            raise ValueError(f"{states[0]} alone is told apart from nothing: name another state")
        return states

    def is_held_out(self, time_s: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which moments (n,), in seconds of movie time, are not trained on."""
        return np.asarray(time_s % PERIOD_S >= PERIOD_S - self.held_out_s, np.bool_)


class GroupLoader(Loader):
    """Batches of some moments of one movie, seen by the same people each.

    Who somebody is, or which recording it was, then tells nothing of which moment it is. In an
    epoch every moment is met once, by people drawn anew; a state, of which people have many
    windows, as often as they have on average. Where fewer people than asked for saw all moments of
    a batch, those who did are in it; a batch of fewer than two is left out.

    Rows go by moment, then by person, so that a batch cut in two keeps the same people in both.

    Args:
        store: The windows, with columns `subject`, `segment` and `movie`.
        groups: Size of a batch.
        settings: As `Loader` has them.

    Raises:
        DataError: If there is no such state, or no two people met the same two moments.
    """

    def __init__(self, store: Any, groups: GroupsConfig, **settings: Any) -> None:
        super().__init__(store, **settings)
        self.groups = groups
        self.rows = self.rows[self._compared()[self.rows]]
        self.subject, self.segment, self.movie = (
            self.codes[name][self.rows] for name in ("subject", "segment", "movie")
        )
        if not self.plan(0):
            where = f" of {store.path}" if hasattr(store, "path") else ""
            raise DataError(
                f"no two people have windows of the same two moments{where}, so nothing can be "
                f"compared: {len(self.rows)} windows of {len(np.unique(self.subject))} people are "
                "in segments that count",
                hint="build windows in segments that several people share (windows.segments, "
                "is_timed); or name states to compare (objectives.contrastive.groups.states); or "
                "use another objective",
            )

    def _compared(self) -> NDArray[np.bool_]:
        """Return which windows of the store (n,) are compared: of movies, and of the states."""
        movie, segment = (named_column(self.store, name) for name in ("movie", "segment"))
        lacking = [state for state in self.groups.states if state not in segment[movie == ""]]
        if lacking:
            there = ", ".join(sorted({str(each) for each in segment[movie == ""]} - {""})) or "none"
            raise DataError(
                f"no windows of {', '.join(lacking)}; segments without a time are: {there}",
                hint="name some of these as groups.states, or build windows with windows.segments",
            )
        wanted = (movie != "") | np.isin(segment, self.groups.states)
        if self.groups.held_out_s and self.shuffle:
            wanted &= ~self.groups.is_held_out(known_column(self.store, "movie_s"))
        return np.asarray(wanted, np.bool_)

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
            for rows in self._rounds(np.flatnonzero(self.movie == movie), draw)
        ]
        order = draw.permutation(len(batches)) if self.shuffle else range(len(batches))
        return [batches[number] for number in order]

    def _rounds(self, places: NDArray[np.int64], draw: np.random.Generator) -> list[Rows]:
        """Return the batches of a movie, or of all states: as many as use most windows once."""
        n_met = len(np.unique(self.segment[places])) * len(np.unique(self.subject[places]))
        n_rounds = max(1, len(places) // n_met)
        return [rows for _ in range(n_rounds) for rows in self._of_movie(places, draw)]

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
