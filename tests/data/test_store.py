import json
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data import parts, window_store
from biosig_cli.data.parts import pack, write_npz, write_part
from biosig_cli.data.store import assert_disjoint, open_npz, open_split
from biosig_cli.data.views import choose, join
from biosig_cli.data.windows import RecordWindows
from biosig_cli.signal.spec import Channel, SignalSpec

SPEC = SignalSpec(
    channels=(
        Channel(name="PPG", kind="ppg", unit="a.u."),
        Channel(name="ECG", kind="ecg", unit="mV"),
    ),
    sampling_hz=125.0,
    n_samples=50,
)


def physical_windows(n_windows, seed):
    """Return windows (n, 2, 50): PPG about 60 units, ECG about 1 mV."""
    draw = np.random.default_rng(seed)
    size, level = np.array([60.0, 1.0])[:, None], np.array([300.0, -0.2])[:, None]
    return (draw.normal(size=(n_windows, 2, 50)) * size + level).astype(np.float32)


def make_record(name, n_windows, subject, seed):
    windows = physical_windows(n_windows, seed)
    center, scale = windows.mean(-1), windows.std(-1)
    columns = {"start_s": np.arange(n_windows) * 10.0}
    for place, channel in enumerate(SPEC.names):
        columns |= {f"center_{channel}": center[:, place], f"scale_{channel}": scale[:, place]}
    return RecordWindows(
        record=name,
        subject=subject,
        data=((windows - center[..., None]) / scale[..., None]).astype(np.float16),
        columns=columns,
        dropped_columns={"start_s": np.array([500.0, 510.0]), "reason": np.array(["missing"] * 2)},
        n_cut=n_windows + 2,
        dropped={"missing": 2},
    )


def make_store(data_dir, split="train", sizes=(5, 0, 7), subject="s"):
    """Write a store of several records and return its windows in physical units."""
    folder = data_dir / split
    files = []
    for number, size in enumerate(sizes):
        files.append(folder / "parts" / f"r{number}.npz")
        record = make_record(f"r{number}", size, f"{subject}{number}", seed=number)
        write_part(files[-1], record)
    packed = pack(files, folder)
    manifest = {
        "format": 1,
        "spec": SPEC.dump(),
        "n_windows": packed.n_windows,
        "shards": packed.shards,
        "index": packed.index,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return np.concatenate([physical_windows(size, k) for k, size in enumerate(sizes)])


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "SHARD_BYTES", 2 * 50 * 2 * 4)  # four windows in a shard
    return tmp_path


def test_physical_units_come_back_within_float16(data_dir):
    expected = make_store(data_dir)
    opened = open_split(data_dir, "train")
    # float16 has 11 bits, and nothing here is further than five spreads from the mean.
    tolerance = 5 * expected.std(axis=(0, 2)) * 2**-11
    error = np.abs(opened.physical(np.arange(12)) - expected).max(axis=(0, 2))
    assert (error <= tolerance).all()


def test_rows_come_in_the_order_asked_for(data_dir):
    make_store(data_dir)
    opened = open_split(data_dir, "train")
    assert len(list((data_dir / "train" / "shards").glob("*.npy"))) == 3
    everything = opened.read(np.arange(len(opened)))
    assert everything.dtype == np.float32
    rows = np.array([11, 0, 5, 5, 4, 3, 9])
    np.testing.assert_array_equal(opened.read(rows), everything[rows])
    assert opened.read(np.array([], np.int64)).shape == (0, 2, 50)


def test_channels_are_chosen_by_name(data_dir):
    expected = make_store(data_dir)
    rows = np.array([3, 8])
    swapped = open_split(data_dir, "train", channels=["ECG", "PPG"])
    assert swapped.spec.names == ("ECG", "PPG")
    np.testing.assert_allclose(swapped.physical(rows), expected[rows][:, ::-1], atol=0.2)
    alone = open_split(data_dir, "train", channels=["ECG"])
    np.testing.assert_allclose(alone.physical(rows), expected[rows][:, 1:], atol=0.005)
    with pytest.raises(DataError, match="EEG not found; there are PPG, ECG"):
        open_split(data_dir, "train", channels=["EEG"])


def test_the_index_knows_where_each_window_comes_from(data_dir):
    make_store(data_dir)
    opened = open_split(data_dir, "train")
    assert list(opened.column("record")) == ["r0"] * 5 + ["r2"] * 7
    assert list(opened.column("subject")) == ["s0"] * 5 + ["s2"] * 7
    assert opened.column("start_s")[6] == 10.0
    with pytest.raises(DataError, match="no column 'label'"):
        opened.column("label")


def test_a_copy_for_another_process_carries_no_open_files(data_dir):
    make_store(data_dir)
    opened = open_split(data_dir, "train")
    rows = np.array([2, 10])
    before = opened.read(rows)
    packed = pickle.dumps(opened)
    assert len(packed) < 10_000
    np.testing.assert_array_equal(pickle.loads(packed).read(rows), before)


def test_few_files_stay_open(data_dir, monkeypatch):
    monkeypatch.setattr(window_store, "MAX_OPEN_SHARDS", 2)
    make_store(data_dir)
    opened = open_split(data_dir, "train")
    everything = opened.read(np.arange(12))
    np.testing.assert_array_equal(opened.read(np.arange(12)[::-1]), everything[::-1])
    assert len(opened._maps) == 2


@pytest.mark.parametrize(("order", "advice"), [("windows", "RANDOM"), ("shards", "WILLNEED")])
def test_the_system_is_told_how_windows_will_be_read(data_dir, monkeypatch, order, advice):
    make_store(data_dir)
    opened = open_split(data_dir, "train")
    everything = opened.read(np.arange(12))
    told = []
    real = window_store.map_shard
    monkeypatch.setattr(
        window_store, "map_shard", lambda file, how: told.append(how) or real(file, how)
    )
    opened.expect(order, n_together=2)
    again = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(again.read(np.arange(12)), everything)
    assert len(opened._maps) == 0
    assert len(again._maps) == 2
    assert set(told) == {f"MADV_{advice}"}


def test_a_store_knows_its_files_and_their_size(data_dir):
    make_store(data_dir)
    opened = open_split(data_dir, "train")
    files = list((data_dir / "train" / "shards").iterdir())
    assert opened.n_bytes == sum(file.stat().st_size for file in files)
    assert len(np.unique(opened.shards)) == len(files) > 2
    two = join([opened, opened])
    assert two.n_bytes == 2 * opened.n_bytes
    assert len(np.unique(two.shards)) == 2 * len(files)
    assert choose(two, np.array([13, 1])).shards.tolist() == two.shards[[13, 1]].tolist()
    opened.load()
    assert opened.n_bytes == 0


def test_the_digest_follows_the_content(data_dir):
    make_store(data_dir / "a")
    make_store(data_dir / "b")
    make_store(data_dir / "c", sizes=(5, 0, 6))
    one, same, other = (open_split(data_dir / name, "train").digest for name in "abc")
    assert one == same
    assert one != other


def test_a_npz_file_gives_the_same_windows(data_dir):
    make_store(data_dir)
    original = open_split(data_dir, "train")
    write_npz(original, data_dir / "other" / "train_windows.npz")
    copy = open_split(data_dir / "other", "train")
    rows = np.array([11, 0, 7])
    assert copy.spec == original.spec
    np.testing.assert_array_equal(copy.read(rows), original.read(rows))
    np.testing.assert_array_equal(copy.physical(rows), original.physical(rows))
    for name in ("record", "subject", "start_s", "scale_ECG"):
        np.testing.assert_array_equal(copy.column(name), original.column(name))
    alone = open_split(data_dir / "other", "train", channels=["ECG"])
    np.testing.assert_array_equal(alone.physical(rows), original.physical(rows)[:, 1:])
    assert np.isnan(copy.column("labels")).all()
    with np.load(data_dir / "other" / "train_windows.npz") as arrays:
        assert arrays["data"].shape == (12, 2, 50)
        assert arrays["data"].dtype == np.float32


def test_data_alone_needs_channels_and_rate(tmp_path):
    data = np.ones((3, 2, 50), np.float32)
    np.savez(tmp_path / "train_windows.npz", data=data)
    with pytest.raises(DataError, match="does not say its channels"):
        open_split(tmp_path, "train")
    opened = open_split(tmp_path, "train", channels=["PPG", "ECG"], sampling_hz=125)
    assert opened.spec.kinds == ("ppg", "ecg")
    assert opened.read(np.array([1])).shape == (1, 2, 50)
    with pytest.raises(DataError, match="no 'subject'"):
        opened.column("subject")


def test_a_renamed_key_or_another_shape_is_refused(tmp_path):
    file = tmp_path / "train_windows.npz"
    facts = {"channels": np.array(["PPG", "ECG"]), "sampling_hz": np.array(125.0)}
    np.savez(file, signals=np.ones((3, 2, 50)), **facts)
    with pytest.raises(DataError, match="no 'data'; it has signals"):
        open_npz(file)
    np.savez(file, data=np.ones((3, 50, 2)), **facts)
    with pytest.raises(DataError, match=r"expected \(N, 2, T\)"):
        open_npz(file)
    np.savez(file, data=np.ones((3, 2, 50)), subject=np.array(["a"]), **facts)
    with pytest.raises(DataError, match="subject has 1 rows, data has 3"):
        open_npz(file)
    file.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match="can't be read"):
        open_npz(file)


def test_a_subject_in_two_splits_is_found_at_opening(data_dir):
    make_store(data_dir, "train")
    make_store(data_dir, "val", sizes=(0, 3), subject="t")
    assert_disjoint(data_dir)
    make_store(data_dir, "test", sizes=(2,), subject="s")
    with pytest.raises(DataError, match="subject s0 stands in train and in test"):
        open_split(data_dir, "val")


def test_a_missing_store_names_the_path_and_the_two_commands(tmp_path):
    with pytest.raises(DataError, match=r"train.manifest\.json") as caught:
        open_split(tmp_path, "train")
    assert "biosig prepare-splits" in caught.value.hint
    assert "biosig build-windows" in caught.value.hint


def test_damage_and_newer_formats_are_refused(data_dir):
    make_store(data_dir)
    folder = data_dir / "train"
    manifest = json.loads((folder / "manifest.json").read_text())
    newer = manifest | {"format": 2, "biosig_version": "9.1"}
    (folder / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(DataError, match="format 2"):
        open_split(data_dir, "train")
    (folder / "manifest.json").write_text(json.dumps(manifest | {"n_windows": 11}))
    with pytest.raises(DataError, match="12 windows"):
        open_split(data_dir, "train")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    shard = folder / "shards" / "0001.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"0001\.npy can't be read"):
        open_split(data_dir, "train").read(np.arange(12))
    shard.unlink()
    with pytest.raises(DataError, match=r"lacks shards/0001\.npy"):
        open_split(data_dir, "train")
    (folder / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"index\.parquet"):
        open_split(data_dir, "train")


@pytest.mark.parametrize("n_samples", [10**14, 2**62])
def test_windows_that_no_memory_holds_are_said(data_dir, n_samples):
    make_store(data_dir)
    path = data_dir / "train" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["spec"]["n_samples"] = n_samples
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="larger than the memory"):
        open_split(data_dir, "train").read(np.arange(12))


def test_the_index_is_plain_parquet(data_dir):
    make_store(data_dir)
    table = pq.read_table(data_dir / "train" / "index.parquet")
    assert table.num_rows == 12
    assert {"shard", "row", "record", "subject", "start_s"} <= set(table.column_names)
