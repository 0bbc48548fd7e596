"""What must hold for any numbers: scale, tiling, who is where, counts, and what is saved."""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import BiosigError, ConfigError, DataError
from biosig_cli.data.record import Record, Track
from biosig_cli.data.splits import (
    SPLITS,
    Splits,
    find_overlap,
    read_splits,
    split_subjects,
    write_splits,
)
from biosig_cli.data.windows import RecordWindows, cut_record
from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint
from biosig_cli.objectives.masks import block_mask, n_hidden, random_mask
from biosig_cli.signal.filters import ButterworthConfig, zero_phase
from biosig_cli.signal.normalize import center_and_scale, normalize
from biosig_cli.signal.resample import resample_segment
from tests.faults.targets import recipe_of, windows_config
from tests.recordings import ppg

anything = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
RATES_HZ = (30.0, 50.0, 62.5, 100.0, 125.0, 128.0, 250.0, 500.0, 1000.0)
scales = st.sampled_from((1e-12, 1e-3, 0.37, 1.0, 1e3, 1e12, 1e30, -1.0))
seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, n_samples: int) -> Any:
    return np.random.default_rng(seed).normal(size=n_samples)


def same(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9 * float(np.abs(other).max()))


@anything
@given(seeds, scales, st.sampled_from(RATES_HZ), st.integers(0, 5000), st.integers(200, 3000))
def test_resampling_commutes_with_scaling(
    seed: int, scale: float, rate_hz: float, start: int, n_samples: int
) -> None:
    samples, how = noise(seed, n_samples), {"sampling_hz": rate_hz, "target_hz": 125.0}
    first, once = resample_segment(samples, start_index=start, **how)
    again, scaled = resample_segment(samples * scale, start_index=start, **how)
    assert first == again
    same(scaled, once * scale)


@anything
@given(seeds, scales, st.sampled_from(RATES_HZ[3:]), st.integers(200, 3000))
def test_filtering_commutes_with_scaling(
    seed: int, scale: float, rate_hz: float, n_samples: int
) -> None:
    config = ButterworthConfig(low_hz=0.5, high_hz=40.0, order=4)
    samples, sos = noise(seed, n_samples), config.design(rate_hz)
    how = {"sampling_hz": rate_hz, "settle_s": config.settle_s}
    same(zero_phase(samples * scale, sos, **how), zero_phase(samples, sos, **how) * scale)


@anything
@given(seeds, scales, st.sampled_from(("window", "record", "minmax")))
def test_a_normalized_window_does_not_know_its_unit(seed: int, scale: float, method: Any) -> None:
    windows = noise(seed, 6 * 50).reshape(3, 2, 50)
    one = normalize(windows, *center_and_scale(windows, method))
    other = normalize(windows * abs(scale), *center_and_scale(windows * abs(scale), method))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def windows_of(samples: Any, rate_hz: float, **config: Any) -> RecordWindows:
    recipe = recipe_of("PLETH", kind="other").model_copy(
        update={"windows": windows_config(gate="missing", normalization="window", **config)}
    )
    track = Track(np.asarray(samples, np.float32), rate_hz)
    return cut_record(Record("r", "s", {"PLETH": track}), recipe, subject="s")


@anything
@given(seeds, st.sampled_from(RATES_HZ), st.integers(1000, 8000), st.integers(1, 1000))
def test_windows_tile_the_record(seed: int, rate_hz: float, n_samples: int, step: int) -> None:
    duration_s = n_samples / rate_hz
    if duration_s < 4.2:
        with pytest.raises(DataError, match=r"has no 4 s|usable is only"):
            windows_of(noise(seed, int(3.9 * rate_hz)), rate_hz)
        return
    cut = windows_of(noise(seed, n_samples), rate_hz, step_s=step / 125)
    starts = cut.columns["start_s"] * 125
    np.testing.assert_allclose(starts, np.arange(len(starts)) * step, atol=1e-6)
    # The next window would have no room: not one is missing, and none goes over the end.
    assert starts[-1] + 500 <= duration_s * 125 + 1
    assert starts[-1] + step + 500 > duration_s * 125 - 6.25 - 1
    assert cut.n_cut == len(cut.data)


@anything
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=3), max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_splits_partition_subjects(subjects: dict[str, str], seed: int) -> None:
    cases = split_subjects(subjects, seed=seed)
    assert sorted(case for each in cases.values() for case in each) == sorted(subjects)
    assert find_overlap(cases, subjects) == ""
    people = {split: {subjects[case] for case in cases[split]} for split in SPLITS}
    n_people = len(set(subjects.values()))
    assert sum(map(len, people.values())) == n_people
    if n_people >= 3:
        assert all(people.values())
    shuffled = dict(sorted(subjects.items(), key=lambda item: hash(item[0]) % 7))
    assert split_subjects(shuffled, seed=seed) == cases


@anything
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), seeds)
def test_a_split_file_is_read_as_it_was_written(
    tmp_path: Path, people: list[str], seed: int
) -> None:
    subjects = {f"sub-{number}/é {number}": each for number, each in enumerate(people)}
    splits = Splits(split_subjects(subjects, seed=seed), subjects, {"seed": seed})
    write_splits(tmp_path / "s.json", splits)
    once = (tmp_path / "s.json").read_bytes()
    read = read_splits(tmp_path / "s.json")
    assert (read.cases, read.subjects) == (splits.cases, splits.subjects)
    write_splits(tmp_path / "s.json", read)
    assert (tmp_path / "s.json").read_bytes() == once


@anything
@given(st.integers(2, 200), st.floats(0, 1), st.integers(1, 64), st.integers(0, 2**31))
def test_masks_hide_exactly_as_many_as_asked_for(
    n_positions: int, ratio: float, span: int, key: int
) -> None:
    try:
        wanted = n_hidden(n_positions, ratio)
    except ConfigError:
        assert round(n_positions * ratio) in (0, n_positions)
        return
    assert wanted == round(n_positions * ratio)
    keys = torch.arange(key, key + 9)
    for mask in (
        random_mask(keys, n_positions, wanted),
        block_mask(keys, n_positions, wanted, span),
    ):
        assert mask.shape == (9, n_positions)
        assert mask.sum(dim=1).tolist() == [wanted] * 9


def members(path: Path) -> dict[str, bytes]:
    """Return what a checkpoint is made of; its folder is called as the file was, for a while."""
    with zipfile.ZipFile(path) as archive:
        named = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    return {name: each for name, each in named.items() if "serialization_id" not in name}


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@anything
@given(st.dictionaries(st.text(max_size=5), plain, max_size=4), seeds)
def test_a_checkpoint_that_is_read_and_saved_is_the_same(
    tmp_path: Path, said: dict[str, Any], seed: int
) -> None:
    weights = {"w": torch.from_numpy(noise(seed, 6)).reshape(2, 3), "b": torch.tensor(3)}
    content = {"encoder_state_dict": weights} | {f"x{key}": each for key, each in said.items()}
    save_checkpoint(tmp_path / "a.pt", content)
    read = load_checkpoint(tmp_path / "a.pt")
    assert torch.equal(read["encoder_state_dict"]["w"], weights["w"])
    assert repr({k: v for k, v in read.items() if k[0] == "x"}) == repr(
        {k: v for k, v in content.items() if k[0] == "x"}
    )
    once = members(tmp_path / "a.pt")
    save_checkpoint(tmp_path / "a.pt", read)
    assert members(tmp_path / "a.pt") == once


N = 3000
ODD = {
    "constant": np.full(N, 7.0),
    "zero": np.zeros(N),
    "huge": ppg(125.0, 24.0).astype(np.float64) * 1e30,
    "large": ppg(125.0, 24.0).astype(np.float64) * 1e9,
    "one huge": np.where(np.arange(N) == 1500, 1e30, ppg(125.0, 24.0)),
    "tiny": ppg(125.0, 24.0).astype(np.float64) * 1e-30,
    "nothing": np.full(N, np.nan),
    "infinite": np.full(N, np.inf),
    "one sample": np.ones(1),
    "no sample": np.empty(0),
    "every other": np.where(np.arange(N) % 2, 1.0, np.nan),
    "one infinite": np.where(np.arange(N) == 1500, np.inf, ppg(125.0, 24.0)),
    "jumps": np.where(np.arange(N) < 1500, -3e38, 3e38),
    "a millisecond": np.ones(1),
}


@pytest.mark.parametrize("gate", ["missing", "all"])
@pytest.mark.parametrize("name", ODD)
def test_windows_of_odd_signals_are_finite_or_there_are_none(name: str, gate: str) -> None:
    samples = ODD[name].astype(np.float32)
    recipe = recipe_of("PLETH").model_copy(update={"windows": windows_config(gate=gate)})
    record = Record("r", "s", {"PLETH": Track(samples, 125.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            cut = cut_record(record, recipe, subject="s")
        except BiosigError:
            assert name not in ("constant", "zero", "large", "tiny", "one infinite", "one huge")
            return
    assert np.isfinite(cut.data).all()
    assert np.isfinite(cut.columns["scale_PLETH"]).all()
    if name in ("large", "tiny") and gate == "all":
        usual = cut_record(
            Record("r", "s", {"PLETH": Track(ppg(125.0, 24.0), 125.0)}), recipe, subject="s"
        )
        assert len(cut.data) == len(usual.data)
        np.testing.assert_allclose(cut.data, usual.data, atol=0.01)


def thousands_of_wfdb(folder: Path, names: list[str]) -> float:
    samples = np.rint(100 * ppg(125.0, 8.0)).astype("<i2")
    (folder / "r.dat").write_bytes(np.repeat(samples[:, None], len(names), axis=1).tobytes())
    lines = [f"r.dat 16 100/mV 16 0 0 0 0 {name}" for name in names]
    (folder / "r.hea").write_text("\n".join([f"r {len(names)} 125 {len(samples)}", *lines]))
    return float(len(samples) / 125)


def thousands_of_edf(folder: Path, names: list[str]) -> float:
    eeg = pytest.importorskip("tests.eeg_recordings")
    names = names[:9998]  # and one of events: its header has four digits for their number
    wave = eeg.tones(1, 8.0, 100.0)[0]
    eeg.write_edf(folder / "r.edf", {f"EEG {name}": wave for name in names}, 100.0)
    return 8.0


def thousands_of_brainvision(folder: Path, names: list[str]) -> float:
    eeg = pytest.importorskip("tests.eeg_recordings")
    wave = eeg.tones(1, 8.0, 100.0)[0]
    eeg.write_brainvision(folder / "r.vhdr", dict.fromkeys(names, wave), 100.0)
    return 8.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "kind", "unit"),
    [
        (thousands_of_wfdb, "ppg", ""),
        (thousands_of_edf, "eeg", "uV"),
        (thousands_of_brainvision, "eeg", "uV"),
    ],
)
def test_one_of_ten_thousand_channels_is_read(
    tmp_path: Path, write: Any, kind: str, unit: str
) -> None:
    names = [f"c{number}" for number in range(9_999)]
    duration_s = write(tmp_path, ["Cz", *names])
    source = open_source(str(tmp_path))
    track = source.read("r", recipe_of("Cz", kind=kind, unit=unit).channels).tracks["Cz"]
    assert len(track.samples) / track.sampling_hz == duration_s
    assert float(np.std(track.samples)) > 0
