"""`build-windows --denoise`: twins in the store, in its manifest, in its picture and on screen."""

import json

import numpy as np
import pytest

from biosig_cli.cli import run
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_split
from biosig_cli.services import windows_report
from tests.data.test_segments import save, signals, table, write_array, write_table
from tests.recordings import write_case
from tests.services.test_sources import chain

EVERYONE = {"splits": {"train": tuple("012345")}}


@pytest.fixture
def segments(tmp_path):
    """Six segments of 12 s, with twins of half their size for all but the last."""
    folder = tmp_path / "in"
    write_array(folder)
    write_table(folder / "metadata.parquet", table())
    for row, samples in enumerate(signals()[:5]):
        save(folder / "twins" / f"{row:06d}.npy", 0.5 * samples)
    index = {str(row): f"twins\\{row:06d}.npy" for row in range(5)}
    (folder / "denoised_index.json").write_text(json.dumps(index))
    return folder


def build(folder, tmp_path, reporter=None, **windows):
    ten = {"windows.duration_s": 10.0, "windows.n_samples": 1250, "windows.step_s": 10.0}
    quiet = reporter or Reporter(silent=True)
    windows = ten | {"split": "train"} | windows
    return chain(
        folder, tmp_path, recipe="ppg_segments", reporter=quiet, splits=EVERYONE, windows=windows
    )


def test_the_command_makes_twins_says_what_they_are_worth_and_draws_them(tmp_path, capsys):
    for number in range(3):
        write_case(tmp_path / "in", f"{number}", rate_bpm=60.0 + 7 * number)
    source = ["--source", str(tmp_path / "in"), "--output", str(tmp_path), "--mode", "full"]
    assert run(["prepare-splits", *source]) == 0
    into = ["--split-file", str(tmp_path / "splits_full.json"), "--workers", "1"]
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        draw = windows_report.draw_windows
        patch.setattr(
            windows_report, "draw_windows", lambda *a, **k: (drawn.append(k), draw(*a, **k))
        )
        assert run(["build-windows", *into, "--outdir", str(tmp_path / "w"), "--denoise"]) == 0
    said = capsys.readouterr().out
    assert "db4, 5 levels, soft, adaptive threshold" in said
    assert all(word in said for word in ("signal to white noise", "before", "after"))
    store = open_split(tmp_path / "w", "train")
    assert store.manifest["target"]["channels"] == ["PPG"]
    quality = store.manifest["target_quality"]["PPG"]
    assert quality["target_snr_db"]["median"] >= quality["snr_db"]["median"] > 10
    assert np.isfinite(store.column("snr_db_PPG")).all()
    rows = np.arange(len(store))
    np.testing.assert_array_equal(store.read_target(rows)[:, 1], store.read(rows)[:, 1])
    assert (store.read_target(rows)[:, 0] != store.read(rows)[:, 0]).any()
    assert all(each["over"].shape[-2:] == (2, 1250) for each in drawn)
    assert run(["build-windows", *into, "--outdir", str(tmp_path / "w"), "--denoise"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(["build-windows", *into, "--outdir", str(tmp_path / "w")]) == 2
    assert "windows.denoise" in capsys.readouterr().err


def test_twins_of_the_source_are_stored_and_a_segment_without_one_is_skipped(
    segments, tmp_path, capsys
):
    result = build(segments, tmp_path, Reporter(), denoise=True)
    store = open_split(tmp_path / "w", "train")
    assert store.manifest["target"] == {
        "kind": "denoised",
        "channels": ["PPG"],
        "origin": "the source's own",
    }
    rows = np.arange(len(store))
    half = store.read(rows) / 2
    np.testing.assert_allclose(store.read_target(rows), half, atol=0.01)
    assert list(result.splits["train"].skipped) == ["5"]
    assert "no denoised twin" in result.splits["train"].skipped["5"]
    assert sorted(set(store.column("subject"))) == ["p000052", "p000053", "p000054"]
    np.testing.assert_allclose(np.unique(store.column("label_snr_db")), [40, 41, 42, 43, 44])
    # What was taken away, half of the signal, counts as its noise.
    np.testing.assert_allclose(store.column("snr_db_PPG"), 0, atol=0.1)
    said = capsys.readouterr().out
    assert "brings its own" in said
    assert "not known" in said


def test_without_the_flag_twins_are_not_asked_for(segments, tmp_path):
    result = build(segments, tmp_path)
    assert not result.splits["train"].skipped
    assert not open_split(tmp_path / "w", "train").has_target


def test_an_index_that_names_no_twin_at_all_is_an_error(segments, tmp_path):
    (segments / "denoised_index.json").write_text("{}")
    with pytest.raises(DataError, match=r"not one window is left.*no denoised twin"):
        build(segments, tmp_path, denoise=True)


def test_nothing_to_denoise_is_said_before_a_recording_is_read(segments, tmp_path):
    with pytest.raises(ConfigError, match="names ECG, which no window has"):
        build(segments, tmp_path, **{"windows.denoise": {"channels": ["ECG"]}})


def test_ten_minutes_of_real_pulses_are_one_window_with_a_better_twin(real_data, tmp_path):
    rest = tuple(f"sub-{number:02d}_task-rest_run-01" for number in (1, 2))
    windows = {"windows.duration_s": 600.0, "windows.n_samples": 75000, "windows.step_s": 600.0}
    result = chain(
        real_data / "ppg_long",
        tmp_path,
        recipe="ppg_long",
        splits={"splits": {"train": rest}},
        windows={"split": "train", "denoise": True, "windows.normalization": "minmax"} | windows,
    )
    store = open_split(tmp_path / "w", "train", in_memory=True)
    assert result.n_windows == len(store) == 2
    rows = np.arange(2)
    data, target = store.read(rows), store.read_target(rows)
    assert data.shape == target.shape == (2, 1, 75_000)
    assert (data.min(), data.max()) == (0, 1)
    assert (store.column("target_snr_db_PPG") > store.column("snr_db_PPG")).all()
    assert np.corrcoef(data[0, 0], target[0, 0])[0, 1] > 0.999
