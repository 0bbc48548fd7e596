"""An epoch sees each window once; order and draws depend on seed and epoch alone."""

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import DataError
from biosig_cli.data.loader import Loader, mix_shards, spread


class Numbers:
    """Windows that hold their own number."""

    def __len__(self):
        return 10

    def read(self, rows):
        return np.asarray(rows, np.float32)[:, None, None]


def load(epoch, *, start=0, **settings):
    settings = {"batch_size": 4, "seed": 1, "shuffle": True} | settings
    return list(Loader(Numbers(), **settings).batches(epoch, start))


def rows(batches):
    return [row for batch in batches for row in batch.window.tolist()]


def keys(batches):
    return {
        row: key
        for b in batches
        for row, key in zip(b.window.tolist(), b.key.tolist(), strict=True)
    }


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_sees_each_window_once_and_drops_none(shuffle):
    batches = load(0, shuffle=shuffle)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(rows(batches)) == list(range(10))
    for batch in batches:
        assert batch.signal.flatten().tolist() == batch.window.tolist()


def test_training_order_is_new_each_epoch_and_the_same_each_time():
    assert rows(load(0)) != rows(load(1))
    assert rows(load(0)) != rows(load(0, seed=2))
    assert rows(load(3)) == rows(load(3))
    assert rows(load(0)) != list(range(10))


def test_draws_of_a_window_are_new_each_epoch_whatever_its_batch():
    assert keys(load(0)) == keys(load(0, batch_size=3))
    assert all(keys(load(0))[row] != keys(load(1))[row] for row in range(10))


def test_validation_has_the_same_order_and_draws_every_epoch():
    first, second = load(0, shuffle=False), load(5, shuffle=False)
    assert rows(first) == rows(second) == list(range(10))
    assert keys(first) == keys(second)


def test_an_epoch_goes_on_from_the_middle():
    assert rows(load(2, start=1)) == rows(load(2))[4:]


def test_other_processes_read_the_same_batches():
    for here, there in zip(load(1), load(1, n_workers=2), strict=True):
        assert torch.equal(here.signal, there.signal)
        assert torch.equal(here.key, there.key)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_what_can_not_be_read_is_said_as_it_is(monkeypatch, n_workers):
    def refuse(self, rows):
        raise DataError("a shard is gone", hint="build it again")

    monkeypatch.setattr(Numbers, "read", refuse)
    with pytest.raises(DataError, match=r"^a shard is gone$") as caught:
        load(0, n_workers=n_workers)
    assert caught.value.hint == "build it again"


def test_a_limit_takes_windows_from_the_whole_store():
    assert spread(10, 4).tolist() == [0, 2, 5, 7]
    assert spread(10, None).tolist() == spread(10, 99).tolist() == list(range(10))
    assert sorted(rows(load(0, limit=4))) == [0, 2, 5, 7]


class Sharded(Numbers):
    """Forty shards of fifty windows."""

    shards = np.repeat(np.arange(40), 50)

    def __len__(self):
        return len(self.shards)


def mixed(n_shards=5, **settings):
    settings = {"batch_size": 64, "seed": 1, "shuffle": True, "n_shards": n_shards} | settings
    return Loader(Sharded(), **settings)


def test_mixed_shards_give_each_window_once_in_an_order_of_seed_and_epoch_alone():
    one = rows(mixed().batches(0))
    assert sorted(one) == list(range(2000))
    assert one == rows(mixed().batches(0))
    assert one != rows(mixed().batches(1))
    assert one != rows(mixed(seed=2).batches(0))
    assert rows(mixed().batches(3, start=7)) == rows(mixed().batches(3))[7 * 64 :]


def test_a_few_shards_are_read_from_at_a_time_and_most_of_them_once():
    met = Sharded.shards[np.concatenate(mixed().plan(0))]
    for start in range(0, 2000, 50):
        # Five are mixed; while fifty windows pass, one leaves and one joins.
        assert len(np.unique(met[start : start + 50])) <= 7
    spans = [np.ptp(np.flatnonzero(met == shard)) for shard in range(40)]
    # The windows of a shard lie within an eighth of the epoch, but for those that end and begin it.
    assert sum(span > 250 + 50 for span in spans) <= 5


def test_batches_of_mixed_shards_are_mixed():
    plan = mixed().plan(0)
    for batch in (plan[0], plan[10], plan[-2]):
        assert len(np.unique(Sharded.shards[batch])) >= 4


def test_shards_that_are_all_mixed_are_an_even_shuffle():
    order = mix_shards(Sharded.shards, 99, np.random.default_rng(0))
    places = np.empty(2000)
    places[order] = np.arange(2000)
    # A shard's windows have the mean place of all, within five errors of a mean of fifty.
    error = 2000 / np.sqrt(12 * 50)
    assert all(abs(places[Sharded.shards == s].mean() - 1000) < 5 * error for s in range(40))


def test_unshuffled_batches_and_chosen_rows_stay_what_they_are():
    assert np.concatenate(mixed(shuffle=False).plan(0)).tolist() == list(range(2000))
    chosen = np.arange(0, 2000, 3)
    met = np.concatenate(mixed(rows=chosen).plan(0))
    assert sorted(met) == chosen.tolist()
    for start in range(0, len(met), 16):
        assert len(np.unique(Sharded.shards[met[start : start + 16]])) <= 7


def test_shards_come_in_an_order_of_their_own_each_epoch():
    def order(epoch):
        met = Sharded.shards[np.concatenate(mixed().plan(epoch))]
        return np.argsort([np.median(np.flatnonzero(met == shard)) for shard in range(40)])

    assert np.mean(np.abs(np.diff(order(0)))) > 5  # side by side, they would differ by one
    assert order(0).tolist() != order(1).tolist()
