import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from biosig_cli.core.config import load_config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data import work
from biosig_cli.data.store import open_split
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import cut_file, write_case

QUIET = Reporter(silent=True)
CASES = ("1", "2", "3", "4", "5")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Five clean recordings of 40 s, of five subjects; made once, and never changed."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, case in enumerate(CASES):
        write_case(folder, case, rate_bpm=60 + 7 * number, integers=number % 2 == 1)
    return folder


@pytest.fixture
def folder(recordings, tmp_path):
    return shutil.copytree(recordings, tmp_path / "in")


def settings(tmp_path, **more):
    return {
        "split_file": tmp_path / "splits_fasttrack.json",
        "outdir": tmp_path / "out",
        "workers": 1,
    } | more


def build(tmp_path, reporter=QUIET, **more):
    return build_windows(BuildWindowsConfig.parse(settings(tmp_path, **more)), reporter)


@pytest.fixture
def prepared(folder, tmp_path):
    prepare_splits(PrepareSplitsConfig(source=str(folder), output=tmp_path), QUIET)
    return folder


def rewrite_splits(tmp_path, **splits):
    path = tmp_path / "splits_fasttrack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | splits))


def everything_in_train(tmp_path):
    rewrite_splits(tmp_path, train=list(CASES), val=[], test=[])


def test_each_split_gets_its_store_with_all_that_goes_with_it(prepared, tmp_path, capsys):
    result = build(tmp_path, Reporter())
    assert sorted(result.splits) == ["test", "train", "val"]
    assert result.n_windows == 20  # five cases of four windows
    for split in ("train", "val", "test"):
        opened = open_split(tmp_path / "out", split)
        assert opened.spec.names == ("PPG", "ECG")
        assert opened.read(np.arange(len(opened))).shape == (len(opened), 2, 1250)
        assert (tmp_path / "out" / split / "windows.png").stat().st_size > 10_000
        manifest = opened.manifest
        assert manifest["filters"]["PPG"]["kind"] == "chebyshev2"
        assert manifest["kept"] + sum(manifest["dropped"].values()) == manifest["cut"]
        assert manifest["source"]["kind"] == ".vital files"
        assert not list((tmp_path / "out" / split).glob("parts-*"))
    said = capsys.readouterr().out
    assert all(word in said for word in ("cases", "kept", "dropped", "hours", "MB"))


def test_windows_are_normalized_and_come_back_in_physical_units(prepared, tmp_path):
    build(tmp_path)
    opened = open_split(tmp_path / "out", "train")
    rows = np.arange(len(opened))
    windows = opened.read(rows)
    np.testing.assert_allclose(windows.mean(-1), 0, atol=1e-3)
    np.testing.assert_allclose(windows.std(-1), 1, atol=2e-3)
    # Every planted pulse is one unit high.
    heights = np.ptp(opened.physical(rows), axis=-1)
    assert heights[:, 0] == pytest.approx(1, abs=0.25)
    assert heights[:, 1] == pytest.approx(1, abs=0.25)


def test_one_bad_file_does_not_stop_the_rest(prepared, tmp_path, capsys):
    everything_in_train(tmp_path)
    cut_file(prepared / "2.vital", 0.5)
    (prepared / "4.vital").unlink()
    result = build(tmp_path, Reporter())
    assert result.n_windows == 12
    with (tmp_path / "out" / "train" / "skipped.csv").open(newline="") as file:
        skipped = {row["record"]: row["reason"] for row in csv.DictReader(file)}
    assert "truncated" in skipped["2"]
    assert "is not in" in skipped["4"]
    assert result.splits["train"].skipped == skipped
    assert "2 cases skipped" in capsys.readouterr().out


def test_a_record_without_a_channel_is_skipped_with_the_reason(prepared, tmp_path):
    everything_in_train(tmp_path)
    with pytest.raises(DataError, match="no ACC_X"):
        build(tmp_path, channel_set="finetune")


def test_nothing_left_is_a_data_error(prepared, tmp_path):
    for case in CASES:
        cut_file(prepared / f"{case}.vital", 0.3)
    with pytest.raises(DataError, match=r"not one window.*5 cases skipped.*truncated") as caught:
        build(tmp_path)
    assert caught.value.exit_code == 3
    with pytest.raises(DataError, match="no train windows"):
        open_split(tmp_path / "out", "train")


def test_the_same_command_twice_does_nothing_and_says_so(prepared, tmp_path, capsys, monkeypatch):
    build(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    monkeypatch.setattr(work.Maker, "make", None)
    result = build(tmp_path, Reporter())
    assert "nothing to do" in capsys.readouterr().out
    assert result.n_windows == 20
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_killed_build_redoes_only_unfinished_cases(prepared, tmp_path, monkeypatch, capsys):
    everything_in_train(tmp_path)
    make, made = work.Maker.make, []

    def stop_at_the_third(self, task):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(task.record)
        return make(self, task)

    monkeypatch.setattr(work.Maker, "make", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path)
    assert made == ["1", "2"]
    made.clear()
    monkeypatch.setattr(
        work.Maker, "make", lambda self, task: made.append(task.record) or make(self, task)
    )
    assert build(tmp_path, Reporter()).n_windows == 20
    assert made == ["3", "4", "5"]
    assert "2 of 5 cases were done before" in capsys.readouterr().out


def test_a_process_killed_without_mercy_leaves_nothing_half_written(prepared, tmp_path):
    everything_in_train(tmp_path)
    script = (
        "import time\n"
        "from biosig_cli.core.progress import Reporter\n"
        "from biosig_cli.data import work\n"
        "from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows\n"
        "make = work.Maker.make\n"
        "work.Maker.make = lambda self, task: (make(self, task), time.sleep(0.3))[0]\n"
        f"build_windows(BuildWindowsConfig(split_file={str(tmp_path / 'splits_fasttrack.json')!r},"
        f" outdir={str(tmp_path / 'out')!r}, workers=1), Reporter(silent=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 30
    while len(list((tmp_path / "out").rglob("parts-*/*.npz"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "train" / "manifest.json").exists()
    assert build(tmp_path).n_windows == 20
    interrupted = open_split(tmp_path / "out", "train").digest
    build(tmp_path, outdir=tmp_path / "straight")
    assert open_split(tmp_path / "straight", "train").digest == interrupted


def test_parts_of_another_recipe_are_not_mixed_in(prepared, tmp_path, monkeypatch):
    everything_in_train(tmp_path)
    make = work.Maker.make

    def stop_at_the_third(self, task):
        if task.record == "3":
            raise KeyboardInterrupt
        return make(self, task)

    with monkeypatch.context() as patched:
        patched.setattr(work.Maker, "make", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path)
    result = build(tmp_path, windows={"step_s": 5.0})
    assert result.n_windows == 35  # seven windows a case, not a mixture of seven and four
    with pytest.raises(ConfigError, match=r"windows\.step_s: 5\.0 then, 10\.0 now"):
        build(tmp_path)


def test_a_changed_recording_is_built_again(prepared, tmp_path):
    everything_in_train(tmp_path)
    build(tmp_path)
    write_case(prepared, "3", duration_s=60)
    assert build(tmp_path).n_windows == 22


def test_several_processes_make_the_same_store(prepared, tmp_path):
    everything_in_train(tmp_path)
    cut_file(prepared / "2.vital", 0.5)
    build(tmp_path)
    result = build(tmp_path, outdir=tmp_path / "two", workers=2)
    assert list(result.splits["train"].skipped) == ["2"]
    one, two = (open_split(tmp_path / name, "train") for name in ("out", "two"))
    assert one.digest == two.digest


def test_npz_holds_the_same_windows(prepared, tmp_path):
    build(tmp_path, format="npz")
    (tmp_path / "copy").mkdir()
    shutil.move(tmp_path / "out" / "train_windows.npz", tmp_path / "copy")
    one, two = open_split(tmp_path / "out", "train"), open_split(tmp_path / "copy", "train")
    rows = np.arange(len(one))
    np.testing.assert_array_equal(one.read(rows), two.read(rows))


def test_a_recipe_states_only_what_it_changes(prepared, tmp_path):
    changed = {
        "channels": {"PPG": {"filter": {"high_hz": 8.0}}},
        "sets": {"alone": ["PPG"]},
        "windows": {"step_s": 5.0},
    }
    config = BuildWindowsConfig.parse(changed)
    assert config.channels["PPG"].filter.high_hz == 8.0
    assert config.channels["PPG"].filter.low_hz == 0.5
    assert config.channels["ECG"].filter.kind == "butterworth"
    assert config.windows.n_samples == 1250
    build(tmp_path, channel_set="alone", **changed)
    assert open_split(tmp_path / "out", "train").spec.names == ("PPG",)


def test_the_written_config_repeats_the_command(prepared, tmp_path):
    build(tmp_path, windows={"step_s": 5.0})
    file = str(tmp_path / "out" / "build_windows_config.json")
    again = load_config(BuildWindowsConfig, file=file, flags={"outdir": str(tmp_path / "again")})
    assert build_windows(again, QUIET).n_windows == 35
    stores = [open_split(tmp_path / name, "train").digest for name in ("out", "again")]
    assert stores[0] == stores[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"channel_set": "none"}, "no channel set 'none'"),
        ({"sets": {"pretrain": ["PPG", "EKG"]}}, "names EKG"),
        ({"channels": {"PPG": {"filter": {"kind": "notch"}}}}, "notch"),
        ({"channels": {"PPG": {"filtr": None}}}, "did you mean .*filter"),
        ({"windows": {"n_samples": 1024}}, "1250 samples, n_samples says 1024"),
    ],
)
def test_what_is_unknown_is_an_error(prepared, tmp_path, wrong, said):
    with pytest.raises(ConfigError, match=said):
        build(tmp_path, **wrong)


def test_real_recordings_keep_nearly_all_windows(real_data, tmp_path):
    source = str(real_data / "vital")
    prepare_splits(PrepareSplitsConfig(source=source, output=tmp_path), QUIET)
    result = build(tmp_path, split="val")
    assert result.n_windows >= 0.95 * result.splits["val"].manifest["cut"]
    opened = open_split(tmp_path / "out", "val")
    assert np.isfinite(opened.read(np.arange(len(opened)))).all()
