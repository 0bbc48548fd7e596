"""What a fine-tuned model says of unlabelled recordings, by window, record and person."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from biosig_cli.cli import run
from biosig_cli.core.artifacts import sha256
from biosig_cli.core.progress import Reporter
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint
from biosig_cli.services.evaluate_models import open_candidate
from biosig_cli.services.finetune import FinetuneConfig, finetune
from biosig_cli.tasks.base import Answering
from tests.recordings import ecg, ppg, write_vital

TASKS = {
    "classification": {"kind": "classification", "label": "fast"},
    "regression": {"kind": "regression", "label": "rate"},
}


@pytest.fixture(scope="module")
def tuned(windows: Path, encoder_run: Path, tmp_path_factory: pytest.TempPathFactory):
    """Runs of a model that tells fast hearts from slow ones, and one that tells their rate."""
    folder = tmp_path_factory.mktemp("tuned")
    data = shutil.copytree(windows, folder / "windows")
    for number, split in enumerate(("train", "val", "test")):
        index = pq.read_table(data / split / "index.parquet")
        labels = (np.arange(index.num_rows) + number) % 2
        index = index.append_column("label_fast", pa.array(labels.astype(np.float32)))
        index = index.append_column("label_rate", pa.array((60.0 + 40 * labels).astype(np.float32)))
        pq.write_table(index, data / split / "index.parquet")
        manifest = json.loads((data / split / "manifest.json").read_text("utf-8"))
        manifest["labels"] = {"fast": {"values": {"slow": 0, "fast": 1}}, "rate": {"unit": "bpm"}}
        manifest["index"]["sha256"] = sha256(data / split / "index.parquet")
        (data / split / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    for name, task in TASKS.items():
        settings = {"pretrained": str(encoder_run), "data_dir": data, "output_dir": folder / name}
        settings |= {"task": task, "plan": {"epochs": 1, "warmup_epochs": 0}, "device": "cpu"}
        finetune(FinetuneConfig.parse(settings), Reporter(silent=True))
    return folder


def predict(checkpoint: Path, output: Path, *rest: object) -> int:
    words = ["predict", "--checkpoint", checkpoint, "--output", output, *rest]
    return run([str(word) for word in words])


def rows(table, level: str):
    return table.filter(pc.equal(table["level"], level))


@pytest.mark.parametrize("name", TASKS)
def test_raw_recordings_get_the_answers_of_their_stored_windows(
    name: str, tuned: Path, tmp_path: Path
) -> None:
    source = Path(open_split(tuned / "windows", "train").manifest["source"]["path"])
    assert predict(tuned / name, tmp_path / "p.parquet", source) == 0
    table = rows(pq.read_table(tmp_path / "p.parquet"), "window")
    table = table.filter(table["usable"])
    model = open_candidate(tuned / name / "best_model.pt", name)
    store = open_split(tuned / "windows", "train", channels=model.encoder.spec.names)
    with torch.no_grad():
        signal = torch.from_numpy(store.read(np.arange(len(store))))
        expected = Answering(model.encoder, model.head, model.task)(signal).numpy()
    expected = expected if expected.ndim == 1 else expected[:, 1]
    column = table["p_fast" if name == "classification" else "value"].to_pylist()
    keys = list(zip(table["record"].to_pylist(), table["start_s"].to_pylist(), strict=True))
    found = dict(zip(keys, column, strict=True))
    stored = zip(store.column("record").tolist(), store.column("start_s").tolist(), strict=True)
    np.testing.assert_allclose([found[key] for key in stored], expected, rtol=1e-5, atol=1e-5)


def test_record_is_the_mean_of_its_usable_windows(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    pulse, heart = ppg(125.0, 60.0, delay_s=0.2), ecg(125.0, 60.0)
    pulse[2500:3750] = np.random.default_rng(0).normal(size=1250)
    for case in ("a", "b"):
        tracks = {"SNUADC/PLETH": (125.0, [(0, pulse)]), "SNUADC/ECG_II": (125.0, [(0, heart)])}
        write_vital(tmp_path / "raw" / f"{case}.vital", tracks)
    (tmp_path / "raw/cases.csv").write_text("caseid,subjectid\na,7\nb,7\n", "utf-8")
    assert predict(tuned / "regression", tmp_path / "p.parquet", tmp_path / "raw") == 0
    table = pq.read_table(tmp_path / "p.parquet")
    window, record, subject = (rows(table, level) for level in ("window", "record", "subject"))
    assert (window.num_rows, record.num_rows, subject.num_rows) == (12, 2, 1)
    assert (record["n_windows"].to_pylist(), record["n_usable"].to_pylist()) == ([6, 6], [5, 5])
    usable = window.filter(window["usable"])
    values = np.array(usable["value"].to_pylist())
    assert record["value"][0].as_py() == pytest.approx(values[:5].mean())
    assert subject["value"][0].as_py() == pytest.approx(values.mean())
    assert subject["subject"].to_pylist() == ["7"]
    assert record["start_s"].null_count == 2


@pytest.mark.parametrize(("threshold", "answer"), [(0.0, "fast"), (1.0, "slow")])
def test_stored_threshold_decides(
    threshold: float, answer: str, tuned: Path, tmp_path: Path
) -> None:
    content = load_checkpoint(tuned / "classification")
    content["metrics"]["val_threshold"] = threshold
    save_checkpoint(tmp_path / "best_model.pt", content)
    assert predict(tmp_path, tmp_path / "p.parquet", tuned / "windows") == 0
    table = pq.read_table(tmp_path / "p.parquet")
    assert set(table["answer"].to_pylist()) == {answer}
    assert float(table.schema.metadata[b"threshold"]) == threshold
    chances = np.array([table["p_slow"].to_pylist(), table["p_fast"].to_pylist()])
    np.testing.assert_allclose(chances.sum(axis=0), 1.0, rtol=1e-5)


def test_record_without_a_usable_window_gets_no_answer(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    noise = np.random.default_rng(0).normal(size=(2, 3750)).astype(np.float32)
    names = ("SNUADC/PLETH", "SNUADC/ECG_II")
    tracks = {name: (125.0, [(0, each)]) for name, each in zip(names, noise, strict=True)}
    write_vital(tmp_path / "raw/a.vital", tracks)
    assert predict(tuned / "classification", tmp_path / "p.parquet", tmp_path / "raw") == 3
    table = pq.read_table(tmp_path / "p.parquet")
    record = rows(table, "record")
    assert record["answer"].to_pylist() == record["p_fast"].to_pylist() == [None]
    assert rows(table, "window")["answer"].null_count == 0


def test_pretrained_encoder_has_no_answer(
    encoder_run: Path, windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(encoder_run, tmp_path / "p.parquet", windows) == 4
    assert "biosig finetune" in capsys.readouterr().err
