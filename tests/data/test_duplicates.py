import numpy as np
import pytest
from scipy import signal

from biosig_cli.data.duplicates import (
    describe_twins,
    exact_twins,
    find_agreements,
    near_twins,
    scan,
)
from biosig_cli.data.findings import Trained, find_places
from biosig_cli.data.recordings import Recordings
from tests.stores import cut, spec_of, waves, write_clean, write_store


def quiet(n_done=1, *, note=""):
    pass


def twins_of(*folders, trained=()):
    """Return the findings, exact ones first, and how many of them are exact."""
    parts = [place.open() for folder in folders for place in find_places(folder)]
    scans = [scan(part, quiet) for part in parts]
    recordings = Recordings(parts)
    exact = exact_twins(recordings, scans)
    known = {(each.one, each.other) for each in exact}
    near = list(near_twins(recordings, find_agreements(recordings, scans)[0], known, quiet))
    return describe_twins(recordings, [*exact, *near], trained), len(exact)


def test_different_people_and_neighbouring_windows_are_no_twins(tmp_path):
    write_clean(tmp_path)
    write_store(tmp_path / "more", [cut("r", "s", waves(99), spec_of(), step_s=2.5)])
    assert twins_of(tmp_path, tmp_path / "more") == ([], 0)


def test_an_exact_copy_is_found_in_another_store_and_in_the_same_one(tmp_path):
    write_clean(tmp_path)
    copy = cut("copy", "new", waves(1), spec_of(), starts_s=[40.0])
    write_store(tmp_path / "other", [copy])
    found, n_exact = twins_of(tmp_path, tmp_path / "other")
    assert n_exact == 1
    assert len(found) == 1
    assert "the same samples" in found[0].against
    records = [cut("a", "a", waves(1), spec_of()), cut("b", "b", waves(1), spec_of())]
    write_store(tmp_path / "twice", records)
    found, n_exact = twins_of(tmp_path / "twice")
    assert n_exact == len(found) == 12
    assert {finding.kind for finding in found} == {"waveform"}


@pytest.mark.parametrize(
    ("sampling_hz", "change"),
    [
        (125.0, lambda x: -40 + 0.01 * x),
        (125.0, lambda x: np.round(x / np.abs(x).max() * 2000)),
        (250.0, lambda x: x),
        (500.0, lambda x: x),
        (62.5 * 1.6, lambda x: x),
        (
            125.0,
            lambda x: signal.sosfiltfilt(
                signal.butter(2, (0.5, 25), "bandpass", output="sos", fs=125), x
            ),
        ),
    ],
    ids=["scaled", "12 bits", "250 Hz", "500 Hz", "100 Hz", "filtered"],
)
def test_a_copy_cut_elsewhere_and_stored_otherwise_is_found_window_by_window(
    tmp_path, sampling_hz, change
):
    write_clean(tmp_path / "a")
    spec = spec_of(sampling_hz, 8.0)
    samples = change(waves(2, 120.0, sampling_hz)[:, round(3.3 * sampling_hz) :])
    write_store(tmp_path / "b" / "test", [cut("x", "y", samples, spec, step_s=8.0)], spec)
    found, n_exact = twins_of(tmp_path / "a", tmp_path / "b")
    assert n_exact == 0
    assert {(f.kind, f.split, f.record) for f in found} == {("waveform", "test", "x")}
    # Every window of the copy, and where it holds parts of two windows, both of them.
    assert {f.start_s for f in found} == set(np.arange(0, 108.1, 8.0))
    assert all("train record r2" in f.against for f in found)


def test_one_window_without_record_or_clock_is_found(tmp_path):
    write_clean(tmp_path)
    data = waves(6)[None, :, 4125:5375]  # from 33 s
    others = np.stack([waves(50 + n, 10.0) for n in range(3)])
    facts = {"channels": np.array(["PPG", "ECG"]), "sampling_hz": np.array(125.0)}
    file = tmp_path / "loose_windows.npz"
    np.savez(file, data=np.concatenate([others, 5 * data]).astype(np.float32), **facts)
    found, _ = twins_of(tmp_path, file)
    assert {f.record for f in found} == {"r6"}
    assert {f.start_s for f in found} == {30.0, 40.0}
    assert all("row 3" in f.against for f in found)


def test_channels_meet_by_kind_and_one_in_common_is_enough(tmp_path):
    write_clean(tmp_path / "a")
    spec = spec_of(names=("ECG",))
    write_store(tmp_path / "b" / "val", [cut("x", "y", waves(7)[1:, 400:], spec)], spec)
    found, _ = twins_of(tmp_path / "a", tmp_path / "b")
    assert {f.record for f in found} == {"r7"}
    assert all("ecg 1.0000" in f.against or "ecg 0.999" in f.against for f in found)


def test_an_overlap_that_the_index_tells_is_not_told_twice(tmp_path):
    write_clean(tmp_path)
    write_store(tmp_path / "test", [cut("r0", "s9", waves(0), spec_of(), starts_s=[35.0])])
    assert twins_of(tmp_path)[0] == []


def test_a_test_window_in_the_pretraining_store_is_told_as_that(tmp_path):
    write_clean(tmp_path / "a")
    write_store(tmp_path / "b" / "test", [cut("x", "y", waves(2)[:, 300:], spec_of())])
    train = find_places(tmp_path / "a")[0].open().store
    model = Trained("run", {"train": {"digest": train.digest, "subjects": []}})
    found, _ = twins_of(tmp_path / "a", tmp_path / "b", trained=[model])
    assert {f.kind for f in found} == {"pretrained"}


def test_a_budget_leaves_out_the_agreements_with_the_fewest_votes(tmp_path):
    write_clean(tmp_path / "a")
    write_store(tmp_path / "b" / "val", [cut("x", "y", waves(7)[:, 400:], spec_of())])
    parts = [place.open() for name in "ab" for place in find_places(tmp_path / name)]
    scans = [scan(part, quiet) for part in parts]
    recordings = Recordings(parts)
    every, fewest = find_agreements(recordings, scans)
    assert fewest == 2
    assert every[0].votes > 50
    assert every[0].shift_s == pytest.approx(3.2, abs=0.02)
    few, fewest = find_agreements(recordings, [*scans], budget=1)
    assert len(few) <= len(every)
    assert fewest >= 2
