"""Batches of several stores come in their shares, each window as often as any other."""

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.data.loader import Loader
from biosig_cli.data.mixture import Mixture, take_turns
from biosig_cli.engine.broken import one_by_one


class Windows:
    """Windows of so many channels that hold their own number and the store's."""

    def __init__(self, n, *, channels=1, level=0):
        self.n, self.channels, self.level = n, channels, level

    def __len__(self):
        return self.n

    def read(self, rows):
        windows = np.asarray(rows, np.float32)[:, None, None] + self.level
        return np.repeat(windows, self.channels, axis=1)

    def column(self, name):
        return np.array([f"{self.level + row}" for row in range(self.n)])


def make(n_first=40, n_second=12, shares=(0.7, 0.3), *, shuffle=True, seed=1, **settings):
    settings = {"batch_size": 4, "seed": seed, "shuffle": shuffle} | settings
    stores = [Windows(n_first, channels=2), Windows(n_second, channels=3, level=1000)]
    return Mixture([Loader(store, **settings) for store in stores], shares)


def stores_of(batches):
    return [int(batch.signal[0, 0, 0] >= 1000) for batch in batches]


def seen(batches):
    return [value for batch in batches for value in batch.signal[:, 0, 0].tolist()]


def test_any_ten_batches_are_seven_and_three():
    turns = take_turns(500, (0.7, 0.3))
    assert {int(turns[start : start + 10].sum()) for start in range(491)} == {3}


@pytest.mark.parametrize("shares", [(1, 2, 3), (0.5, 0.3, 0.2), (0.61, 0.39), (0.9, 0.05, 0.05)])
def test_nobody_is_a_turn_behind_its_share(shares):
    turns = take_turns(400, shares)
    due = np.asarray(shares) / np.sum(shares) * np.arange(1, 401)[:, None]
    taken = np.cumsum(np.eye(len(shares))[turns], axis=0)
    assert np.abs(due - taken).max() < 1


def test_a_batch_holds_windows_of_one_store():
    batches = list(make().batches(0))
    assert len(batches) == 13
    assert [batch.signal.shape[1] - 2 for batch in batches] == stores_of(batches)
    assert stores_of(batches)[:10].count(1) == 3


def test_without_shares_an_epoch_sees_each_window_once():
    mixture = make(shares=None)
    windows = seen(mixture.batches(3))
    assert sorted(windows) == [*range(40), *range(1000, 1012)]
    assert mixture.n_windows == 52


def test_a_small_store_begins_anew_and_a_large_one_goes_on():
    mixture = make(n_first=40, n_second=12, shares=(0.5, 0.5))
    values = [value for epoch in range(20) for value in seen(mixture.batches(epoch))]
    counts = {value: values.count(value) for value in values}
    first = [counts.get(float(row), 0) for row in range(40)]
    second = [counts.get(float(1000 + row), 0) for row in range(12)]
    assert max(first) - min(first) <= 1
    assert max(second) - min(second) <= 1
    assert min(second) > max(first)


def test_a_window_that_comes_twice_in_an_epoch_is_drawn_for_anew():
    batches = list(make(n_second=4, shares=(0.5, 0.5)).batches(0))
    keys = [key for batch in batches for key in batch.key.tolist()]
    assert len(set(keys)) == len(keys)


def test_validation_is_the_same_every_time():
    mixture = make(shares=None, shuffle=False)
    first, second = (list(mixture.batches(0)) for _ in range(2))
    assert seen(first) == seen(second)
    assert sorted(seen(first)) == [*range(40), *range(1000, 1012)]
    assert all(torch.equal(a.key, b.key) for a, b in zip(first, second, strict=True))


def test_order_depends_on_seed_and_epoch_alone():
    assert seen(make().batches(2)) == seen(make().batches(2))
    assert seen(make().batches(2)) != seen(make().batches(3))
    assert seen(make().batches(2)) != seen(make(seed=2).batches(2))


@pytest.mark.parametrize("start", [0, 1, 7, 13])
def test_an_epoch_that_is_taken_up_goes_on_as_it_would_have(start):
    whole = list(make().batches(4))
    rest = list(make(n_workers=1).batches(4, start))
    assert seen(rest) == seen(whole[start:])
    assert [b.key.tolist() for b in rest] == [b.key.tolist() for b in whole[start:]]


def test_plan_names_the_windows_that_come():
    mixture = make()
    for rows, batch in zip(mixture.plan(1), mixture.batches(1), strict=True):
        assert rows.tolist() == batch.window.tolist()
    assert len({row for rows in mixture.plan(0) for row in rows.tolist()}) > 40


def test_processes_share_each_batch():
    mixture = make()
    halves = [seen(mixture.batches(0, cut=lambda rows, n=n: [rows[n::2]])) for n in range(2)]
    assert sorted(halves[0] + halves[1]) == sorted(seen(mixture.batches(0)))
    assert len(list(mixture.batches(0, 3, one_by_one))) == sum(map(len, mixture.plan(0)[3:]))


def test_windows_are_described_by_their_store():
    mixture = make()
    first, second = mixture.describe([5, 43])
    assert (first["store"], first["record"]) == ("0", "5")
    assert (second["store"], second["record"]) == ("1", "1003")


def test_a_share_too_small_for_a_batch_is_refused():
    with pytest.raises(ConfigError, match="leave a store without a batch"):
        make(shares=(0.99, 0.01))
