"""Batches of people who met the same moments."""

import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data.groups import GroupLoader, GroupsConfig

CODES = ("subject", "segment", "movie")


class Watched:
    """Windows of people at moments of movies; some people miss some."""

    def __init__(self, seen):
        self.seen = seen

    def __len__(self):
        return len(self.seen)

    def read(self, rows):
        return np.asarray(rows, np.float32)[:, None, None]

    def column(self, name):
        place = {"subject": 0, "segment": 1}[name]
        return np.array([each[place] for each in self.seen])


def everybody(n_subjects=6, n_moments=20, movies=("A", "B")):
    return [
        (f"s{person}", f"{movie}:{moment}")
        for movie in movies
        for person in range(n_subjects)
        for moment in range(n_moments)
    ]


def make(seen, *, n_segments=4, n_subjects=3, shuffle=True, seed=1):
    groups = GroupsConfig(n_segments=n_segments, n_subjects=n_subjects)
    return GroupLoader(
        Watched(seen), groups, batch_size=64, seed=seed, shuffle=shuffle, codes=CODES
    )


def test_the_same_people_met_every_moment_of_a_batch():
    seen = everybody()
    for rows in make(seen).plan(0):
        people = {seen[row][0] for row in rows}
        moments = {seen[row][1] for row in rows}
        assert len({moment[0] for moment in moments}) == 1
        assert (len(people), len(moments)) == (3, 4)
        assert {seen[row] for row in rows} == {(p, m) for p in people for m in moments}


def test_an_epoch_meets_every_moment_once():
    seen = everybody()
    moments = [seen[row][1] for rows in make(seen).plan(2) for row in rows]
    assert {moments.count(moment) for moment in set(moments)} == {3}
    assert len(set(moments)) == 40


def test_people_and_order_are_drawn_anew_by_seed_and_epoch_alone():
    seen = everybody()
    plans = [[rows.tolist() for rows in make(seen).plan(epoch)] for epoch in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    still = make(seen, shuffle=False)
    assert [r.tolist() for r in still.plan(0)] == [r.tolist() for r in still.plan(5)]


def test_people_who_missed_a_moment_are_not_in_its_batch():
    seen = [each for each in everybody(n_subjects=4) if each != ("s0", "A:3")]
    for rows in make(seen, n_subjects=4).plan(0):
        n_people = len({seen[row][0] for row in rows})
        assert n_people == (3 if any(seen[row][1] == "A:3" for row in rows) else 4)


def test_rows_cut_in_two_keep_the_same_people():
    seen = everybody()
    (rows, *_) = make(seen).plan(0)
    people = [{seen[row][0] for row in half} for half in np.array_split(rows, 2)]
    assert people[0] == people[1]


def test_batches_come_with_their_codes():
    loader = make(everybody())
    batch = next(loader.batches(0))
    assert len(batch) == 12
    assert {len(batch.codes[name].unique()) for name in ("subject",)} == {3}
    assert len(batch.codes["segment"].unique()) == 4
    assert len(batch.codes["movie"].unique()) == 1


def test_moments_that_nobody_shares_are_refused():
    alone = [("s0", "A:1"), ("s1", "A:2"), ("s2", "B:1")]
    with pytest.raises(DataError, match="no two people"):
        make(alone)


class Timed(Watched):
    """The same, ten seconds from moment to moment."""

    def column(self, name):
        if name == "segment_s":
            return np.array([10.0 * int(each[1].partition(":")[2]) for each in self.seen])
        if name in ("subject", "segment"):
            return super().column(name)
        raise DataError(name)


def test_the_end_of_every_hundred_seconds_is_left_for_validation():
    seen = everybody()
    groups = GroupsConfig(n_segments=4, n_subjects=3, held_out_s=20)
    settings = {"batch_size": 64, "seed": 1, "codes": CODES}
    train, val = (
        GroupLoader(Timed(seen), groups, shuffle=shuffle, **settings) for shuffle in (True, False)
    )
    met = {int(seen[row][1][2:]) for rows in train.plan(0) for row in rows}
    assert met == set(range(20)) - {8, 9, 18, 19}
    assert {int(seen[row][1][2:]) for rows in val.plan(0) for row in rows} == set(range(20))
    assert groups.is_held_out(np.array([79.9, 80, 99.9, 100, np.nan])).tolist() == [0, 1, 1, 0, 0]
