"""The examples run on recordings as they stand."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from biosig_cli import catalog
from biosig_cli.cli import run
from biosig_cli.data.store import open_split
from tests.documented import wrong_in
from tests.recordings import ecg, ppg, write_but_ppg, write_case

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_chain_goes_from_recordings_to_embeddings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        write_case(tmp_path / "source", f"{number}", rate_bpm=60 + 9 * number)
    chain = runpy.run_path(str(EXAMPLES / "chain.py"))
    chain["main"](str(tmp_path / "source"), tmp_path / "out")
    assert "test windows as vectors of 192" in capsys.readouterr().out


def test_chain_is_forty_lines() -> None:
    lines = (EXAMPLES / "chain.py").read_text("utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(('"""', "python"))]
    assert len(code) <= 40


def test_demo_takes_recordings_in_the_stated_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_source = runpy.run_path(str(EXAMPLES / "demo.py"))["find_source"]
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("BIOSIG_DATA", raising=False)
    folder, what, recipe = find_source()
    assert "HeartPy" in what
    assert recipe == ["--config", "demo"]
    assert {"data.csv", "data2.csv", "data3.csv"} <= {path.name for path in folder.iterdir()}
    (tmp_path / "shared/data/vital").mkdir(parents=True)
    assert find_source()[0] == Path("../shared/data/vital")
    monkeypatch.setenv("BIOSIG_DATA", "mine")
    assert find_source()[0] == Path("mine")


EXAMPLES_OF_SLURM = EXAMPLES / "slurm"


def test_own_data_goes_by_the_lines_that_it_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(EXAMPLES / "own_data", tmp_path / "examples/own_data")
    monkeypatch.chdir(tmp_path)
    said = (EXAMPLES / "own_data/dataset.yaml").read_text("utf-8")
    lines = [line.removeprefix("#   biosig ") for line in said.split("\n") if "#   biosig" in line]
    assert len(lines) == 4
    for line in lines[:2]:
        assert run(line.split()) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert "CSV files, 6 records" in said
    assert "12 of 12" in said
    # What training is told of elsewhere is tried for an epoch.
    assert run([*lines[2].split(), "--epochs", "1"]) == 0
    assert run(lines[3].split()) == 0
    assert (tmp_path / "artifacts/finetune/report.html").is_file()

    own_loop = runpy.run_path(str(EXAMPLES / "pretrain_in_python.py"))
    capsys.readouterr()
    own_loop["main"](tmp_path / "data/own_windows", 3)
    assert "after 3 steps" in capsys.readouterr().out


def test_own_reader_reads_its_format_and_counts_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalog, "FOLDERS", catalog.FOLDERS)
    (tmp_path / "source").mkdir()
    for number in range(4):
        both = np.stack([each(100.0, 30.0, rate_bpm=60 + 9 * number) for each in (ppg, ecg)], 1)
        rows = "\n".join(f"{a:.4f} {b:.4f}" for a, b in both)
        name = f"p{number}_night.dump"
        (tmp_path / "source" / name).write_text(f"# rate 100\nppg ecg\n{rows}\n", "utf-8")
    (tmp_path / "source/p4_night.dump").write_text("nothing\n", "utf-8")
    reader = runpy.run_path(str(EXAMPLES / "own_reader.py"))
    reader["main"](str(tmp_path / "source"), tmp_path / "out")
    said = capsys.readouterr().out
    assert "text dumps, 5 records" in said
    assert "begins with 'nothing'" in said
    store = open_split(tmp_path / "out/windows", "train")
    assert len(store) >= 6
    assert store.spec.names == ("PPG", "ECG")


def test_pipeline_runs_to_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        write_case(tmp_path / "source", f"{number}", rate_bpm=60 + 9 * number)
    # The script writes its lines down here; they are run below, in one process.
    teller = tmp_path / "tell"
    teller.write_text(f'#!/bin/bash\nprintf "%s\\n" "$*" >>{tmp_path}/lines\n', "utf-8")
    teller.chmod(0o755)
    told = {"BIOSIG": str(teller), "EPOCHS": "1", "FOLDS": "2"}
    pipeline = [EXAMPLES / "pipeline.sh", "source", "labelled", "out"]
    subprocess.run(pipeline, env=os.environ | told, cwd=tmp_path, check=True, timeout=60)
    lines = (tmp_path / "lines").read_text("utf-8").splitlines()
    assert [line.split()[0] for line in lines] == [
        "prepare-splits", "build-windows", "audit", "smoke",
        "pretrain", "finetune", "finetune", "evaluate",
    ]  # fmt: skip
    labelled_people(tmp_path / "labelled")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        # The check of the chain has tests of its own, and takes a while.
        if line.startswith("smoke"):
            continue
        assert run(line.split()) == 0, (line, capsys.readouterr())
    assert (tmp_path / "out/report/report.html").is_file()


def labelled_people(folder: Path) -> None:
    """Write six people with two records each, one of them good."""
    rows = ["ID,Quality,HR"]
    for person in range(101, 107):
        for place, duration_s in ((1, 10.0), (2, 10.0)):
            record = f"{person}00{place}"
            write_but_ppg(folder, record, duration_s=duration_s, rate_bpm=60 + person % 7)
            rows.append(f"{record},{place - 1},{60 + person % 7}")
    (folder / "quality-hr-ann.csv").write_text("\n".join(rows) + "\n", "utf-8")


def test_windows_on_a_cluster_are_a_line_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    command = runpy.run_path(str(EXAMPLES_OF_SLURM / "build_windows.py"))["command"]
    line = command(Path("splits.json"), Path("out"), "tcp://here:8786")
    assert line[1:4] == ["-m", "biosig_cli", "build-windows"]
    assert wrong_in(shlex.join(["biosig", *line[3:]])) == ""


def test_job_trains_by_a_line_of_ours() -> None:
    job = (EXAMPLES_OF_SLURM / "pretrain.sbatch").read_text("utf-8")
    line = re.search(r"-m biosig_cli (pretrain .*?) &$", job.replace("\\\n", " "), re.MULTILINE)
    assert line is not None
    assert wrong_in(f"biosig {line[1]}") == ""
    assert "--resume" in line[1]
