"""Chosen windows of one or several stores behave like a store of just these windows."""

import pickle

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import DataError
from biosig_cli.data.findings import Part
from biosig_cli.data.integrity import check_content
from biosig_cli.data.loader import Loader
from biosig_cli.data.parts import write_npz
from biosig_cli.data.store import open_npz, open_split, open_store
from biosig_cli.data.views import StoreView, choose, join, of_subjects
from tests.stores import change_manifest, cut, spec_of, waves, write_clean, write_store

N_EACH = 12
"""Windows of ten seconds in the two minutes of each person."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Train with s0 to s3, val with s4 and s5, test with s6 and s7."""
    facts = {"labels": {"quality": {"unit": "", "known": 48}}, "statistics": None}
    return write_clean(tmp_path_factory.mktemp("stores"), **facts)


@pytest.fixture
def stores(data_dir):
    return [open_split(data_dir, split) for split in ("train", "val", "test")]


def moments(record, rows):
    """Return windows as they were written: each ten seconds of a person's waves, in its unit."""
    samples = waves(int(record.removeprefix("r")))
    return np.stack([samples[:, 1250 * row : 1250 * (row + 1)] for row in rows])


def test_windows_of_several_stores_come_back_in_the_order_asked_for(stores):
    whole = join(stores)
    assert len(whole) == 8 * N_EACH
    rows = np.array([95, 0, 48, 0, 71, 30])
    expected = [
        stores[2].read(np.array([23]))[0],
        stores[0].read(np.array([0]))[0],
        stores[1].read(np.array([0]))[0],
        stores[0].read(np.array([0]))[0],
        stores[1].read(np.array([23]))[0],
        stores[0].read(np.array([30]))[0],
    ]
    np.testing.assert_array_equal(whole.read(rows), expected)
    subjects = whole.column("subject")[rows]
    assert subjects.tolist() == ["s7", "s0", "s4", "s0", "s5", "s2"]


def test_physical_units_come_back_through_a_view(stores):
    chosen = of_subjects(join(stores), ["s5"])
    found = chosen.physical(np.array([11, 2]))
    # Stored as float16: ten bits of a value of about three standard deviations.
    np.testing.assert_allclose(found, moments("r5", [11, 2]), atol=4e-3)


def test_a_choice_keeps_the_order_of_rows_and_a_mask_that_of_the_store(stores):
    train = stores[0]
    back = choose(train, np.array([30, 3, 12]))
    assert back.column("record").tolist() == ["r2", "r0", "r1"]
    np.testing.assert_array_equal(back.read(np.arange(3)), train.read(np.array([30, 3, 12])))
    kept = choose(train, train.column("start_s") == 50.0)
    assert kept.column("record").tolist() == ["r0", "r1", "r2", "r3"]
    assert set(kept.column("start_s")) == {50.0}


def test_a_choice_of_a_choice_shows_the_stores_behind_both(stores):
    twice = of_subjects(choose(join(stores), np.arange(96)[::-1]), ["s7", "s0"])
    assert twice.subjects == ("s0", "s7")
    assert twice.column("start_s")[:2].tolist() == [110.0, 100.0]
    assert [store.path for store in twice.stores] == [store.path for store in stores]
    np.testing.assert_array_equal(twice.read(np.array([0])), stores[2].read(np.array([23])))


def test_each_store_is_read_once_for_a_batch(stores, monkeypatch):
    calls = []
    read = type(stores[0]).read

    def counted(store, rows):
        if not isinstance(store, StoreView):
            calls.append((store.path.name, len(rows)))
        return read(store, rows)

    whole = join(stores)
    monkeypatch.setattr(type(stores[0]), "read", counted)
    whole.read(np.array([95, 0, 48, 1, 70]))
    assert sorted(calls) == [("test", 1), ("train", 2), ("val", 2)]


def test_one_store_joined_is_itself(stores):
    assert join(stores[:1]) is stores[0]


def test_no_window_is_no_error(stores):
    empty = of_subjects(join(stores), ["nobody"])
    assert len(empty) == 0
    assert empty.subjects == ()
    assert empty.read(np.array([], int)).shape == (0, 2, 1250)


def test_a_row_that_is_not_there_is_refused_at_once(stores):
    with pytest.raises(IndexError):
        choose(stores[0], np.array([48]))


def test_the_digest_tells_content_rows_and_their_order_apart(stores, data_dir):
    train, again = stores[0], open_split(data_dir, "train")
    some = np.array([1, 2, 3])
    assert choose(train, some).digest == choose(again, some).digest
    others = {choose(train, rows).digest for rows in ([1, 2, 3], [3, 2, 1], [1, 2], [1, 2, 4])}
    others |= {choose(stores[1], some).digest, train.digest}
    assert len(others) == 6


def test_a_manifest_says_what_is_so_of_any_of_the_windows(stores):
    manifest = choose(stores[0], np.arange(5)).manifest
    assert manifest["n_windows"] == 5
    assert manifest["normalization"] == "window"
    assert manifest["labels"] == {"quality": {"unit": ""}}
    assert not manifest.keys() & {"shards", "index", "subjects", "split"}
    assert choose(stores[0], np.arange(5)).labels == ("quality",)


def test_a_column_that_is_not_there_is_an_error_as_in_a_store(stores):
    with pytest.raises(DataError, match="no column 'label_mood'"):
        join(stores).column("label_mood")
    with pytest.raises(DataError, match="no 'row' of its own"):
        join(stores).column("row")


def test_stores_of_other_windows_are_not_joined(tmp_path, stores):
    slow = spec_of(sampling_hz=64.0)
    records = [cut("r9", "s9", waves(9, sampling_hz=64.0), slow)]
    other = open_store(write_store(tmp_path / "slow", records, slow))
    with pytest.raises(DataError, match=r"sampling_hz 125 and 64; n_samples 1250 and 640"):
        join([stores[0], other])


def test_channels_are_taken_by_name_whatever_their_order_on_disk(tmp_path, data_dir):
    turned = spec_of(names=("ECG", "PPG"))
    records = [cut("r9", "s9", waves(9)[::-1], turned)]
    write_store(tmp_path / "turned", records, turned)
    one, other = open_split(data_dir, "train"), open_store(tmp_path / "turned")
    with pytest.raises(DataError, match="channels PPG, ECG and ECG, PPG"):
        join([one, other])
    other = open_store(tmp_path / "turned", channels=["PPG", "ECG"])
    whole = join([one, other])
    np.testing.assert_allclose(whole.physical(np.array([48])), moments("r9", [0]), atol=4e-3)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"normalization": "record"}, "normalization window and record"),
        ({"statistics": {"fitted_on": ["train"]}}, "statistics none and"),
        ({"labels": {"quality": {"unit": "%"}}}, "quality is not the same in .*: unit '' and '%'"),
    ],
)
def test_windows_that_mean_something_else_are_not_joined(tmp_path, facts, said):
    write_clean(tmp_path, labels={"quality": {"unit": ""}})
    change_manifest(tmp_path / "val", **facts)
    with pytest.raises(DataError, match=said):
        join([open_split(tmp_path, "train"), open_split(tmp_path, "val")])


def test_a_label_that_one_of_the_stores_lacks_is_no_label_of_both(tmp_path):
    write_clean(tmp_path, labels={"quality": {}, "hr": {"unit": "bpm"}})
    change_manifest(tmp_path / "val", labels={"hr": {"unit": "bpm"}})
    assert join([open_split(tmp_path, "train"), open_split(tmp_path, "val")]).labels == ("hr",)


def test_the_audit_judges_a_choice_by_the_store_it_is_from(tmp_path):
    write_clean(tmp_path)
    view = of_subjects(open_split(tmp_path, "train"), ["s1", "s2"])
    assert check_content(Part(tmp_path, "train", view)) == []
    change_manifest(tmp_path / "train", subjects=["s0", "s1", "s2", "s8"])
    view = of_subjects(open_split(tmp_path, "train"), ["s1", "s2"])
    found = check_content(Part(tmp_path, "train", view))
    assert [each.against for each in found] == ["manifest and index differ in subjects s3, s8"]


def test_an_npz_file_can_be_split_by_subject_too(tmp_path):
    write_npz(open_split(write_clean(tmp_path), "train"), tmp_path / "some.npz")
    whole = open_npz(tmp_path / "some.npz", channels=["ECG"])
    some = of_subjects(whole, ["s3"])
    assert some.spec.names == ("ECG",)
    np.testing.assert_allclose(some.physical(np.array([4])), moments("r3", [4])[:, 1:], atol=4e-3)


def test_windows_of_nobody_known_have_no_subjects(tmp_path):
    data = np.zeros((4, 1, 8), np.float32)
    np.savez(tmp_path / "bare.npz", data=data, channels=["PPG"], sampling_hz=8.0)
    bare = open_npz(tmp_path / "bare.npz")
    assert choose(bare, np.arange(2)).subjects == ()
    with pytest.raises(DataError, match="has no 'subject'"):
        of_subjects(bare, ["s1"])


def test_a_view_that_was_used_can_be_pickled_without_its_open_files(stores):
    view = of_subjects(join(stores), ["s2", "s6"])
    before = view.read(np.arange(24))
    copy = pickle.loads(pickle.dumps(view))
    assert all(not store._maps for store in copy.stores)
    np.testing.assert_array_equal(copy.read(np.arange(24)), before)
    assert copy.digest == view.digest
    assert copy.subjects == ("s2", "s6")


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes_read_the_same_batches(stores, context, monkeypatch):
    view = of_subjects(join(stores), ["s2", "s4", "s7"])
    how = {"batch_size": 7, "seed": 3, "shuffle": True}
    alone = list(Loader(view, **how).batches(0))
    loader = torch.utils.data.DataLoader
    monkeypatch.setattr(
        "biosig_cli.data.loader.DataLoader",
        lambda *a, **k: loader(*a, **k, multiprocessing_context=context),
    )
    together = list(Loader(view, **how, n_workers=2).batches(0))
    assert len(alone) == len(together) == 6
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.window, other.window)
        assert torch.equal(one.signal, other.signal)
