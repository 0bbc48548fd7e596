"""The denoised twin of a window lies beside it, row by row, wherever windows are read."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from biosig_cli.core.errors import ConfigError, DataError, SignalError
from biosig_cli.data import parts
from biosig_cli.data.channels import overlay, shipped_channels, shipped_windows
from biosig_cli.data.findings import Part
from biosig_cli.data.integrity import check_content, check_shards
from biosig_cli.data.loader import Loader
from biosig_cli.data.parts import write_npz
from biosig_cli.data.record import Record, Track
from biosig_cli.data.store import open_npz, open_split
from biosig_cli.data.views import choose, join
from biosig_cli.data.windows import WindowRecipe, cut_record
from biosig_cli.signal.denoise import wavelet_denoise
from tests.recordings import ecg, ppg
from tests.stores import change_manifest, cut, spec_of, waves, write_store

FACTS = {"target": {"kind": "denoised", "channels": ["PPG"], "origin": "computed"}}


def with_twins(record):
    """Return windows whose twins are their halves."""
    return replace(record, target=(record.data * np.float16(0.5)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Train and val of two people each, in shards of five windows."""
    monkeypatch.setattr(parts, "SHARD_BYTES", 5 * 2 * 1250 * 2)
    for split, people in {"train": (0, 1), "val": (2, 3)}.items():
        records = [cut(f"r{each}", f"s{each}", waves(each), spec_of()) for each in people]
        write_store(tmp_path / split, map(with_twins, records), **FACTS)
    return tmp_path


@pytest.mark.parametrize("in_memory", [False, True])
def test_twins_come_back_row_by_row(folder, in_memory):
    store = open_split(folder, "train", in_memory=in_memory)
    rows = np.array([23, 0, 7, 7])
    assert store.has_target
    np.testing.assert_array_equal(store.read_target(rows), store.read(rows) / 2)
    alone = open_split(folder, "train", channels=["ECG"], in_memory=in_memory)
    np.testing.assert_array_equal(alone.read_target(rows), store.read(rows)[:, 1:] / 2)
    np.testing.assert_allclose(
        store.physical_target(rows), store.physical(rows) / 2, rtol=0.1, atol=0.1
    )


def test_a_store_in_memory_needs_no_files_but_for_a_copy(folder):
    store = open_split(folder, "train", in_memory=True)
    rows = np.arange(24)
    before = store.read(rows), store.read_target(rows)
    packed = pickle.dumps(store)
    assert len(packed) < 10_000
    np.testing.assert_array_equal(pickle.loads(packed).read_target(rows), before[1])
    for file in (folder / "train" / "shards").iterdir():
        file.unlink()
    np.testing.assert_array_equal(store.read(rows), before[0])
    np.testing.assert_array_equal(store.read_target(rows), before[1])


def test_views_and_npz_files_have_them_too(folder):
    stores = [open_split(folder, split) for split in ("train", "val")]
    both = choose(join(stores), np.array([30, 2]))
    expected = [stores[1].read(np.array([6]))[0] / 2, stores[0].read(np.array([2]))[0] / 2]
    assert both.has_target
    np.testing.assert_array_equal(both.read_target(np.array([0, 1])), expected)
    write_npz(both, folder / "some.npz")
    copy = open_npz(folder / "some.npz", channels=["PPG"])
    assert copy.has_target
    np.testing.assert_array_equal(copy.read_target(np.array([1])), expected[1][None, :1])
    with pytest.raises(DataError, match="no 'target'"):
        copy.column("target")
    arrays = dict(np.load(folder / "some.npz"))
    np.savez(folder / "cut.npz", **arrays | {"target": arrays["target"][:, :, :-1]})
    with pytest.raises(DataError, match=r"target has shape \(2, 2, 1249\), data has"):
        open_npz(folder / "cut.npz")


def test_batches_carry_twins_when_asked_for(folder):
    store = open_split(folder, "train")
    how = {"batch_size": 5, "seed": 1, "shuffle": True}
    for batch in Loader(store, target=True, n_workers=1, **how).batches(0):
        torch.testing.assert_close(batch.target, batch.signal / 2)
        assert torch.equal(batch.to("cpu").target, batch.target)
    assert next(Loader(store, **how).batches(0)).target is None


def test_a_twin_that_is_asked_for_and_missing_is_an_error(tmp_path):
    write_store(tmp_path / "train", [cut("r0", "s0", waves(0), spec_of())])
    store = open_split(tmp_path, "train")
    assert not store.has_target
    for ask in (
        lambda: store.read_target(np.arange(1)),
        lambda: Loader(store, batch_size=2, seed=0, shuffle=False, target=True),
    ):
        with pytest.raises(DataError, match="no denoised target") as caught:
            ask()
        assert "build-windows --denoise" in caught.value.hint


def test_twins_are_part_of_what_a_store_is(folder, tmp_path):
    store = open_split(folder, "train")
    same = [cut(f"r{each}", f"s{each}", waves(each), spec_of()) for each in (0, 1)]
    write_store(tmp_path / "plain" / "train", same)
    assert open_split(tmp_path / "plain", "train").digest != store.digest
    part = Part(folder, "train", store)
    assert check_content(part) == check_shards(part) == []
    file = folder / "train" / "shards" / "0002_target.npy"
    np.save(file, np.zeros((4, 2, 1250), np.float16))
    assert ["shape (4, 2, 1250)" in each.against for each in check_content(part)] == [True]
    assert ["0002_target.npy was changed" in each.against for each in check_shards(part)] == [True]
    file.unlink()
    with pytest.raises(DataError, match="0002_target"):
        open_split(folder, "train")


def test_a_manifest_that_promises_twins_which_no_shard_has_is_refused(tmp_path):
    write_store(tmp_path / "train", [cut("r0", "s0", waves(0), spec_of())])
    change_manifest(tmp_path / "train", **FACTS)
    with pytest.raises(DataError, match="lacks a target"):
        open_split(tmp_path, "train")


def recipe(*names, channels=None, **windows):
    described = {name: shipped_channels()[name] for name in names or ("PPG", "ECG")}
    windows = {"denoise": {}, "gate": "missing"} | windows
    return WindowRecipe.parse(
        {
            "channels": overlay(described, channels or {}),
            "windows": overlay(shipped_windows(), windows),
        }
    )


def noisy(sampling_hz, duration_s, noise):
    clean = ppg(sampling_hz, duration_s)
    return clean, clean + noise * np.random.default_rng(0).normal(size=len(clean)).astype("f4")


def units(windows, which):
    stored = windows.data if which == "data" else windows.target
    scale, center = (windows.columns[f"{what}_PPG"] for what in ("scale", "center"))
    return stored[:, 0].astype(float) * scale[:, None] + center[:, None]


@pytest.mark.parametrize("sampling_hz", [50.0, 125.0, 500.0])
def test_the_twin_is_nearer_to_the_truth_and_the_columns_say_by_how_much(sampling_hz):
    clean, signal = noisy(sampling_hz, 120.0, 0.3)
    made = [
        cut_record(Record("r", "s", {"PPG": Track(each, sampling_hz)}), recipe("PPG"), subject="s")
        for each in (clean, signal)
    ]
    truth, before, after = (
        units(*each) for each in ((made[0], "data"), (made[1], "data"), (made[1], "target"))
    )
    found = [
        10 * np.log10(truth.var() / (each - truth).var(axis=-1).mean()) for each in (before, after)
    ]
    assert found[1] > found[0] + 0.5
    said = [np.median(made[1].columns[f"{each}_PPG"]) for each in ("snr_db", "target_snr_db")]
    np.testing.assert_allclose(said, found, atol=1.0)


def test_the_twin_has_the_scale_of_its_window_and_other_channels_are_their_own():
    _, signal = noisy(125.0, 60.0, 0.2)
    record = Record("r", "s", {"PPG": Track(signal, 125.0), "ECG": Track(ecg(250.0, 60), 250.0)})
    windows = cut_record(record, recipe(), subject="s")
    plain = cut_record(record, recipe(denoise=None), subject="s")
    assert plain.target is None
    assert "snr_db_PPG" not in plain.columns
    assert "snr_db_ECG" not in windows.columns
    np.testing.assert_array_equal(windows.data, plain.data)
    np.testing.assert_array_equal(windows.target[:, 1], windows.data[:, 1])
    assert 0.8 < windows.target[:, 0].astype(float).std() < 1.0
    both = cut_record(record, recipe(denoise={"channels": ("PPG", "ECG")}), subject="s")
    assert (both.target[:, 1] != windows.data[:, 1]).any()


def test_denoising_sees_whole_stretches_never_windows_and_nothing_across_a_gap():
    _, signal = noisy(125.0, 60.0, 0.2)
    signal[3700:3800] = np.nan
    plain = {"PPG": {"filter": None}}
    record = Record("r", "s", {"PPG": Track(signal, 125.0)})
    windows = cut_record(record, recipe("PPG", channels=plain), subject="s")
    np.testing.assert_array_equal(windows.columns["start_s"], [0, 10, 40, 50])
    stretches = [wavelet_denoise(signal[:3700].astype(float)), None]
    stretches[1] = wavelet_denoise(signal[3800:].astype(float))
    found = units(windows, "target")
    np.testing.assert_allclose(found[1], stretches[0][1250:2500], atol=0.01)
    np.testing.assert_allclose(found[2], stretches[1][1200:2450], atol=0.01)


def test_twins_of_the_source_are_taken_as_they_are():
    clean, signal = noisy(125.0, 60.0, 0.3)
    plain = recipe("PPG", channels={"PPG": {"filter": None}})
    track = Track(signal, 125.0)
    record = Record("r", "s", {"PPG": track}, targets={"PPG": Track(clean, 125.0)})
    windows = cut_record(record, plain, subject="s")
    np.testing.assert_allclose(units(windows, "target").ravel(), clean, atol=0.005)
    expected = 10 * np.log10(clean.reshape(6, -1).var(axis=1) / 0.3**2)
    np.testing.assert_allclose(windows.columns["snr_db_PPG"], expected, atol=0.4)
    assert "target_snr_db_PPG" not in windows.columns
    short = Record("r", "s", {"PPG": track}, targets={"PPG": Track(clean[:-1], 125.0)})
    with pytest.raises(DataError, match="denoised PPG has 7499 samples at 125 Hz, the signal 7500"):
        cut_record(short, plain, subject="s")


def test_a_recipe_that_denoises_nothing_makes_no_sense():
    with pytest.raises(ConfigError, match="names EEG, which no window has"):
        _ = recipe("PPG", denoise={"channels": ("EEG",)}).denoise
    with pytest.raises(ConfigError, match="no channel is of kind ppg"):
        _ = recipe("ECG").denoise


def test_a_window_too_short_for_its_levels_says_so():
    record = Record("r", "s", {"PPG": Track(ppg(30.0, 60), 30.0)})
    short = recipe("PPG", denoise={"level": 9})
    with pytest.raises(SignalError, match=r"1800 samples are too few.*9 levels"):
        cut_record(record, short, subject="s")


def test_a_recipe_without_twins_is_the_recipe_that_it_was():
    """So stores of earlier builds are finished, not refused as those of another recipe."""
    assert "denoise" not in recipe("PPG", denoise=None).identity()["windows"]
    assert recipe("PPG").identity()["windows"]["denoise"]["wavelet"] == "db4"


def test_windows_in_their_own_unit_must_fit_float16():
    signal = ppg(125.0, 30.0)
    made = {
        size: Record("r", "s", {"PPG": Track((signal * size).astype("f4"), 125.0)})
        for size in (1.0, 1e6, 1e-4)
    }
    plain = recipe("PPG", normalization="none")
    windows = cut_record(made[1.0], plain, subject="s")
    np.testing.assert_array_equal(windows.columns["scale_PPG"], 1)
    for size in (1e6, 1e-4):
        with pytest.raises(DataError, match="without normalization a store holds"):
            cut_record(made[size], plain, subject="s")
    ranged = cut_record(made[1e6], recipe("PPG", normalization="minmax"), subject="s")
    assert (ranged.data.min(), ranged.data.max()) == (0, 1)
