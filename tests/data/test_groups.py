"""Batches of people who met the same moments."""

import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data.groups import GroupLoader, GroupsConfig
from biosig_cli.data.loader import known_column

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


def eyes(n_subjects=5, n_windows=6, states=("eyes_closed", "eyes_open", "trial")):
    """Return windows of people in states: the times of which say nothing."""
    return [
        (f"s{person}", state)
        for person in range(n_subjects)
        for state in states
        for _ in range(n_windows)
    ]


class Stated(Watched):
    """All of it from 90 s to 95 s after the start of something."""

    def column(self, name):
        if name == "segment_s":
            return np.arange(len(self.seen)) % 6 + 90.0
        if name in ("subject", "segment"):
            return super().column(name)
        raise DataError(name)


def compare(seen, states, **groups):
    groups = GroupsConfig(n_segments=4, n_subjects=4, states=states, **groups)
    return GroupLoader(Stated(seen), groups, batch_size=64, seed=1, shuffle=True, codes=CODES)


def test_states_are_compared_among_the_same_people_where_they_are_named():
    seen = eyes()
    loader = compare(seen, ("eyes_open", "eyes_closed"), held_out_s=20)
    plan = loader.plan(0)
    for rows in plan:
        people = {seen[row][0] for row in rows}
        assert len(people) == 4
        states = {"eyes_open", "eyes_closed"}
        assert {seen[row] for row in rows} == {(p, s) for p in people for s in states}
        assert len(rows) == 8
    # As often as people have windows of a state, each time others of these.
    assert len(plan) == 6
    assert len({row for rows in plan for row in rows}) > 20
    assert len(next(loader.batches(0)).codes["movie"].unique()) == 1


def test_states_are_no_moments_where_they_are_not_named():
    with pytest.raises(DataError, match="0 windows of 0 people are in segments that count"):
        compare(eyes(), ())
    seen = eyes() + everybody()
    met = {seen[row][1].partition(":")[0] for rows in compare(seen, ()).plan(0) for row in rows}
    assert met == {"A", "B"}
    both = compare(seen, ("eyes_open", "eyes_closed")).plan(0)
    assert {frozenset(seen[row][1].partition(":")[0] for row in rows) for rows in both} == {
        frozenset("A"),
        frozenset("B"),
        frozenset(("eyes_open", "eyes_closed")),
    }


def test_states_have_no_time_that_could_be_near():
    store = Stated([*eyes(), ("s0", "A:4")])
    time_s = known_column(store, "movie_s")
    assert np.isnan(time_s[:-1]).all()
    assert time_s[-1] == known_column(store, "segment_s")[-1]


def test_a_state_that_is_not_there_or_alone_is_refused():
    with pytest.raises(DataError, match=r"no windows of asleep; .*: eyes_closed, eyes_open, trial"):
        compare(eyes(), ("eyes_open", "asleep"))
    with pytest.raises(ValueError, match="eyes_open alone is told apart from nothing"):
        GroupsConfig(states=("eyes_open",))
