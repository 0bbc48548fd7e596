"""Embeddings of raw recordings are those of their windows, and bad files are counted."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import biosig_cli
from biosig_cli.catalog import load_encoder
from biosig_cli.cli import run
from biosig_cli.data.store import open_split
from biosig_cli.models.heads import pool
from tests.recordings import cut_file, write_case, write_vital


@pytest.fixture
def source(windows: Path) -> Path:
    """The recordings that the store of windows was cut from."""
    return windows.parent / "source"


def embed(run_folder: Path, output: Path, *rest: object) -> int:
    return run(["embed", "--checkpoint", str(run_folder), "--output", str(output), *map(str, rest)])


def vectors(table) -> np.ndarray:
    return np.stack(table["embedding"].to_pylist()).astype(np.float32)


def test_embeddings_of_recordings_are_those_of_the_stored_windows(
    windows: Path, encoder_run: Path, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "emb.parquet"
    assert embed(encoder_run, output, source) == 0
    table = pq.read_table(output)
    usable = table.filter(table["usable"])
    encoder = load_encoder(encoder_run)
    store = open_split(windows, "train")
    signal = torch.from_numpy(store.read(np.arange(len(store))))
    with torch.no_grad():
        expected = pool(encoder(signal).tokens).numpy()
    place = {
        (record, start): row
        for row, (record, start) in enumerate(
            zip(usable["record"].to_pylist(), usable["start_s"].to_pylist(), strict=True)
        )
    }
    keys = zip(store.column("record").tolist(), store.column("start_s").tolist(), strict=True)
    found = vectors(usable)[[place[key] for key in keys]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    about = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert about["channels"] == "PPG,ECG"
    assert len(about["sha256"]) == 64


def test_store_and_recordings_give_the_same_rows(
    windows: Path, encoder_run: Path, source: Path, tmp_path: Path
) -> None:
    assert embed(encoder_run, tmp_path / "a.parquet", source) == 0
    assert embed(encoder_run, tmp_path / "b.parquet", windows) == 0
    raw, stored = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    raw = raw.filter(raw["usable"]).sort_by([("record", "ascending"), ("start_s", "ascending")])
    stored = stored.sort_by([("record", "ascending"), ("start_s", "ascending")])
    assert raw["record"].to_pylist() == stored["record"].to_pylist()
    np.testing.assert_allclose(vectors(raw), vectors(stored), atol=1e-5)


def test_tokens_say_channel_and_moment(encoder_run: Path, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "tokens.parquet"
    assert embed(encoder_run, output, source / "0.vital", "--per", "token") == 0
    table = pq.read_table(output)
    encoder = load_encoder(encoder_run)
    per_window = 2 * encoder.n_positions
    assert table.num_rows % per_window == 0
    first = table.slice(0, per_window)
    assert first["channel"].to_pylist() == ["PPG"] * (per_window // 2) + ["ECG"] * (per_window // 2)
    starts = np.array(first["token_start_s"].to_pylist()) - first["start_s"][0].as_py()
    np.testing.assert_allclose(np.diff(starts[: per_window // 2]), encoder.patch_length / 125)
    assert vectors(first).shape[1] == encoder.width


def test_python_streams_one_window_after_the_other(encoder_run: Path, source: Path) -> None:
    embeddings = biosig_cli.embed(source, checkpoint=encoder_run)
    first = next(iter(embeddings))
    assert (first.record, first.subject, first.usable, first.flags) == ("0", "0", True, "")
    assert first.values.ndim == 1
    assert len(list(embeddings)) == len(list(embeddings)) > 20
    one = next(iter(biosig_cli.embed(source, checkpoint=encoder_run, per="token")))
    assert one.values.shape[0] == 2


def test_bad_file_is_counted_and_the_others_go_on(
    encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        write_case(tmp_path / "raw", name)
    cut_file(tmp_path / "raw" / "b.vital", 0.5)
    output = tmp_path / "emb.parquet"
    assert embed(encoder_run, output, tmp_path / "raw") == 0
    assert set(pq.read_table(output)["record"].to_pylist()) == {"a", "c"}
    with (tmp_path / "emb_skipped.csv").open(encoding="utf-8") as file:
        (skipped,) = csv.DictReader(file)
    assert skipped["record"] == "b"
    assert "truncated" in skipped["reason"]
    assert "b skipped" in capsys.readouterr().out


def test_nothing_usable_is_an_error(
    encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path / "raw", "a")
    cut_file(tmp_path / "raw" / "a.vital", 0.5)
    output = tmp_path / "emb.parquet"
    assert embed(encoder_run, output, tmp_path / "raw") == 3
    assert not output.exists()
    said = capsys.readouterr().err
    assert "1 records skipped; a: a.vital is truncated" in said
    assert embed(encoder_run, output) == 2
    assert "inputs: needed" in capsys.readouterr().err


def test_only_poor_windows_are_written_and_an_error(encoder_run: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    noise = draw.normal(size=(2, 5000)).astype(np.float32)
    tracks = {
        name: (125.0, [(0.0, each)])
        for name, each in zip(("SNUADC/PLETH", "SNUADC/ECG_II"), noise, strict=True)
    }
    write_vital(tmp_path / "raw/a.vital", tracks)
    output = tmp_path / "emb.parquet"
    assert embed(encoder_run, output, tmp_path / "raw") == 3
    table = pq.read_table(output)
    assert table.num_rows == 4
    assert not any(table["usable"].to_pylist())
    assert all(table["flags"].to_pylist())


def test_package_loads_without_torch() -> None:
    code = "import sys, biosig_cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
