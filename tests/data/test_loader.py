"""An epoch sees each window once; order and draws depend on seed and epoch alone."""

import numpy as np
import pytest
import torch

from biosig_cli.data.loader import Loader, spread


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


def test_a_limit_takes_windows_from_the_whole_store():
    assert spread(10, 4).tolist() == [0, 2, 5, 7]
    assert spread(10, None).tolist() == spread(10, 99).tolist() == list(range(10))
    assert sorted(rows(load(0, limit=4))) == [0, 2, 5, 7]
